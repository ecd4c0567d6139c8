"""All figures of a finished build, for the page and for Prefect's artifacts alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.build import BuildRefused, read_build, read_json
from pipelines.dataset_settings import Gates
from pipelines.funnel import count_rejects, funnel_steps, tell_leaks
from pipelines.report.tally import count_missing, tally_dataset
from pipelines.report.throughput import measure_stages

# The gates in the order in which a row meets them; those of one kind of build alone are marked.
GATES: tuple[tuple[str, str | None], ...] = (
    ("leak", None),
    ("degenerate", None),
    ("contradiction", None),
    ("agreement", None),
    ("grounding", "edit"),
    ("contamination", None),
    ("duplicate", None),
)
_HOW_ASKED = ("asked_model", "revision", "prompt_id", "prompt_sha256", "schema_id")


def collect_figures(build: Path) -> dict[str, Any]:
    """The figures of a build, as JSON holds them.

    Raises BuildRefused for a folder that is no finished build, naming what is missing or damaged,
    and DatasetUnreadable for a damaged shard.
    """
    kind = read_build(build)["kind"]
    manifest = read_json(build / "manifest.json")
    if manifest is None:
        raise BuildRefused(f"{build}: not finished (no manifest.json); run its flow to the end")
    rejects = count_rejects(build)
    tallies = tally_dataset(build)
    steps = funnel_steps(manifest, rejects)
    return {
        "build": {
            "name": build.resolve().name,
            "kind": kind,
            **{k: manifest.get(k) for k in ("finished_at", "package_version", "git_commit")},
        },
        "law": manifest["law"],
        "splits": manifest["splits"],
        "funnel": steps,
        "answers": {s: c for s, c in manifest["funnel"].items() if s not in ("rows", "rejects")},
        "scores": _scores(manifest, tallies),
        "balance": manifest.get("balance"),
        "agreement": [{"axis": axis, **tally} for axis, tally in tallies.items()],
        "gates": _gates(kind, manifest, steps, rejects),
        "leaks": tell_leaks(manifest["funnel"], kind),
        "controls": manifest.get("controls"),
        "audit": _audit(build),
        "stages": measure_stages(build, manifest),
        "asked": [
            {"stage": name, **{k: stage.get(k) for k in _HOW_ASKED}, **_sampling(stage)}
            for name, stage in manifest["stages"].items()
        ],
    }


def _audit(build: Path) -> dict[str, Any] | None:
    """The build's `audit.json`; `missing` counts its answers that the dataset no longer has."""
    audit = read_json(build / "audit.json")
    if audit is None:
        return None
    answers = audit.get("answers") or []
    return {
        **{name: value for name, value in audit.items() if name != "answers"},
        "scored": sum(axis["n"] for axis in audit["axes"]),
        "audited": len(answers),
        "missing": count_missing(build, answers),
    }


def _scores(
    manifest: Mapping[str, Any], tallies: Mapping[str | None, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows by score an axis: `after` in the dataset; `before` balance and its `target`, both None
    where the manifest has none.
    """
    before: dict[str | None, list[float]] = {}
    for part in manifest.get("scores") or ():
        before[part["axis"]] = _sum(before.get(part["axis"]), part["before"])
    target: dict[str | None, list[float]] = {}
    for part in manifest.get("balance") or ():
        wanted = (share * sum(part["after"]) for share in part["target"])
        target[part["axis"]] = _sum(target.get(part["axis"]), wanted)
    axes = dict.fromkeys((*tallies, *before))
    return [
        {
            "axis": axis,
            "after": tallies[axis]["scores"] if axis in tallies else [0] * 5,
            "before": before.get(axis),
            "target": target.get(axis),
        }
        for axis in axes
    ]


def _sum(counts: list[float] | None, more: Iterable[float]) -> list[float]:
    return [a + b for a, b in zip(counts or [0] * 5, more, strict=True)]


def _gates(
    kind: str,
    manifest: Mapping[str, Any],
    steps: list[dict[str, Any]],
    rejects: Mapping[tuple[str, str], int],
) -> list[dict[str, Any]]:
    """Each gate: whether it was `on`, the scored rows it `met`, and how many it `rejected`."""
    settings = Gates.model_validate(manifest["recipe"].get("gates", {}))
    at = next(i for i, step in enumerate(steps) if step["name"] == "gates")
    met = steps[at]["left"] + steps[at]["lost"]
    lines = []
    for gate, of_kind in GATES:
        if of_kind not in (None, kind):
            continue
        rejected = sum(n for (_, reason), n in rejects.items() if reason == f"gate:{gate}")
        lines.append({"gate": gate, "on": settings.is_on(gate), "met": met, "rejected": rejected})
    return lines


def _sampling(stage: Mapping[str, Any]) -> dict[str, Any]:
    sampling = stage.get("sampling") or {}
    return {name: sampling.get(name) for name in ("temperature", "votes")}
