"""What a dataset card is made from: the build's manifest, its audit, and its Parquet files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from datasets import Features

from pipelines.build import BuildRefused, Kind, read_json
from pipelines.dataset_reading import DatasetUnreadable, whole_files
from pipelines.funnel import count_rejects, funnel_steps
from pipelines.law import check_law
from prompts import load_prompt, prompt_ids
from schemas import schema_ids, schema_sha256


@dataclass(frozen=True, kw_only=True)
class Facts:
    """`files` are the dataset's by split, in order; `split_bytes` their size in memory, and
    `download_bytes` on disk. `licenses` counts dataset rows by source and licence, `rewrites` by
    kind, `rejects` by stage and reason. `asked_with` are prompt and schema files by path whose
    digest is that of the manifest.
    """

    manifest: Mapping[str, Any]
    audit: Mapping[str, Any] | None
    features: Features
    files: Mapping[str, tuple[Path, ...]]
    split_bytes: Mapping[str, int]
    download_bytes: int
    licenses: Mapping[tuple[str, str | None], int]
    rewrites: Mapping[str, int]
    rejects: Mapping[tuple[str, str], int]
    asked_with: Mapping[str, bytes]

    @property
    def asked_with_digests(self) -> dict[str, str]:
        """Hex sha256 of each of those files, by path."""
        return {path: sha256(data).hexdigest() for path, data in self.asked_with.items()}

    @property
    def kind(self) -> Kind:
        """`gen` or `edit`."""
        return self.manifest["kind"]

    @property
    def rows(self) -> int:
        """Rows of the dataset; of edits, one an axis."""
        return self.manifest["law"]["dataset"]

    @property
    def audited(self) -> int:
        """Rows that a person has scored; of edits, one an axis."""
        return sum(axis["n"] for axis in self.audit["axes"]) if self.audit else 0

    @property
    def unmeasured(self) -> list[str | None]:
        """Axes of which no audit says how far their scores are from a person's, and how surely."""
        if self.audit is None:
            return [None] if self.kind == "gen" else ["execution", "consistency"]
        # One row has no interval, whatever stands there.
        return [a["axis"] for a in self.audit["axes"] if a["n"] < 2 or not known(a["mae_interval"])]

    @property
    def wholly_audited(self) -> bool:
        """Whether every axis has rows that a person scored, and no row was left unanswered."""
        if self.audit is None or not all(axis["n"] for axis in self.audit["axes"]):
            return False
        return not self.audit.get("unanswered")

    @property
    def scored(self) -> int:
        """Rows that got a score and so met the gates; of edits, one an axis."""
        steps = {step["name"]: step for step in funnel_steps(self.manifest, self.rejects)}
        return steps["gates"]["left"] + steps["gates"]["lost"]


def known(interval: Sequence[float | None] | None) -> bool:
    """Whether an interval of `audit.json` has both its ends."""
    return interval is not None and None not in interval


def read_facts(build: Path) -> Facts:
    """Check that a build is whole, and read what its card says.

    Raises BuildRefused, LawBroken or DatasetUnreadable, naming what is wrong and what to do: no
    build, not finished, rows lost or doubled, a file that is damaged or not the manifest's,
    pictures by reference, no rows.
    """
    law = check_law(build)
    manifest = read_json(build / "manifest.json")
    if manifest is None:
        raise BuildRefused(
            f"{build}: has no manifest.json, so its last run did not finish; run the build again"
        )
    if manifest["law"] != asdict(law):
        raise BuildRefused(
            f"{build}: manifest.json counts {manifest['law']}, the files hold {law}; "
            "run the build again"
        )
    if manifest["recipe"]["images"]["originals"] != "inside":
        raise BuildRefused(
            f"{build}: its rows hold paths of pictures on this machine, which nobody else can "
            "open; set images.originals: inside and run the build again (nothing is asked again)"
        )
    try:
        files = {split: tuple(paths) for split, paths in whole_files(build).items()}
    except DatasetUnreadable as error:
        raise BuildRefused(str(error)) from error
    if not law.dataset:
        raise BuildRefused(f"{build}: has no rows to publish; the reasons stand in rejects/")
    paths = [path for split in files.values() for path in split]
    return Facts(
        manifest=manifest,
        audit=read_json(build / "audit.json"),
        features=Features.from_arrow_schema(pq.read_schema(paths[0])),
        files=files,
        split_bytes={split: sum(map(_memory_bytes, paths)) for split, paths in files.items()},
        download_bytes=sum(path.stat().st_size for path in paths),
        licenses=_count_licenses(paths),
        rewrites=_count_rewrites(paths),
        rejects=count_rejects(build),
        asked_with=_texts(manifest),
    )


def _memory_bytes(path: Path) -> int:
    metadata = pq.read_metadata(path)
    return sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))


def _count_licenses(paths: list[Path]) -> dict[tuple[str, str | None], int]:
    counts: Counter[tuple[str, str | None]] = Counter()
    for path in paths:
        # Builds from before the column say nothing of their licences.
        columns = [c for c in ("source", "license") if c in pl.read_parquet_schema(path)]
        frame = pl.read_parquet(path, columns=columns)
        for group in frame.group_by(columns).len().iter_rows(named=True):
            counts[group["source"], group.get("license")] += group["len"]
    return dict(sorted(counts.items(), key=lambda item: (-item[1], str(item[0]))))


def _count_rewrites(paths: list[Path]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for path in paths:
        if "rewrite" in pl.read_parquet_schema(path):
            counts.update(pl.read_parquet(path, columns=["rewrite"])["rewrite"].drop_nulls())
    return dict(sorted(counts.items()))


def _texts(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """The prompts and schemas of a build whose digests this package's files still have."""
    used = {
        value
        for stage in manifest["stages"].values()
        for name, value in stage.items()
        if name.endswith("_sha256")
    }
    known = {load_prompt(name).sha256: ("prompts", f"{name}.md") for name in prompt_ids()}
    known |= {schema_sha256(name): ("schemas", f"{name}.json") for name in schema_ids()}
    return {
        f"{package}/{name}": (resources.files(package) / name).read_bytes()
        for digest, (package, name) in sorted(known.items(), key=lambda item: item[1])
        if digest in used
    }
