"""The dataset card: made from a build's facts, so that no figure in it can be out of date."""

from __future__ import annotations

import re
from collections.abc import Iterator

from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from pipelines.card import making, measures
from pipelines.card.columns import describe_columns
from pipelines.card.facts import Facts
from pipelines.card.licenses import HUB_NAMES, header_names
from pipelines.card.markdown import code, count, table, text

TAG = "firm-foundry"
_TAGS = {"gen": ["text-to-image", "image-generation"], "edit": ["image-editing"]}
_TASKS = {
    "gen": ["text-to-image", "image-text-to-text"],
    "edit": ["image-to-image", "image-text-to-text"],
}
_CITATION = """\
```bibtex
@misc{zhao2026trust,
  title         = {Trust Your Critic: Robust Reward Modeling and Reinforcement Learning for
                   Faithful Image Editing and Generation},
  author        = {Zhao, Xiangyu and Zhang, Peiyuan and Lin, Junming and Liang, Tianhao and
                   Duan, Yuchen and Ding, Shengyuan and Tian, Changyao and Zang, Yuhang and
                   Yan, Junchi and Yang, Xue},
  year          = {2026},
  eprint        = {2603.12247},
  archivePrefix = {arXiv},
  url           = {https://arxiv.org/abs/2603.12247}
}
```"""


def make_card(facts: Facts, *, repo_id: str, tag: str) -> DatasetCard:
    """The card of a build as `repo_id`, read at `tag`.

    Equal facts give an equal card, so that publishing again changes nothing. It names pictures and
    texts beside it: `scores.png`, `asked_with/`.
    """
    header = card_header(facts, repo_id).to_yaml()
    body = "\n\n".join(filter(None, _parts(facts, repo_id, tag)))
    return DatasetCard(f"---\n{header}\n---\n\n{body}\n")


def card_header(facts: Facts, repo_id: str) -> DatasetCardData:
    """The YAML header: configs, features, splits and sizes, licences, tags."""
    names = {name for _, name in facts.licenses}
    foreign = sorted(name for name in names if name is not None and name not in HUB_NAMES)
    licenses = header_names(names)
    data = DatasetCardData(
        pretty_name=_pretty(repo_id),
        # Prompts, schemas and so the reasons are English; what the sources hold is not looked at.
        language=["en"],
        license=licenses[0] if len(licenses) == 1 else licenses,
        license_name=", ".join(foreign) or None,
        annotations_creators=["machine-generated"],
        task_categories=_TASKS[facts.kind],
        size_categories=[size_category(facts.rows)],
        tags=[TAG, "reward-model", "image", *_TAGS[facts.kind]],
    )
    splits = {
        split: SplitInfo(name=split, num_bytes=facts.split_bytes[split], num_examples=n)
        for split, n in facts.manifest["splits"].items()
        if split in facts.files
    }
    info = DatasetInfo(
        features=facts.features,
        splits=SplitDict(splits),
        download_size=facts.download_bytes,
        dataset_size=sum(facts.split_bytes.values()),
    )
    files = [{"split": split, "path": f"data/{split}-*"} for split in splits]
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    MetadataConfigs({"default": {"data_files": files}}).to_dataset_card_data(data)
    return data


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows, such as `1K<n<10K`."""
    steps = ((10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M"))
    below = "n"
    for limit, name in steps:
        if rows < limit:
            return f"n<{name}" if below == "n" else f"{below}<n<{name}"
        below = name
    return f"{below}<n<100M" if rows < 10**8 else "100M<n<1B"


def _pretty(repo_id: str) -> str:
    words = re.sub(r"[-_.]+", " ", repo_id.rsplit("/", 1)[-1]).strip()
    return words[:1].upper() + words[1:]


def _parts(facts: Facts, repo_id: str, tag: str) -> Iterator[str]:
    yield f"# {text(_pretty(repo_id))}"
    yield _summary(facts)
    yield "## Load it\n\n" + load_snippet(facts, repo_id, tag)
    yield "## How it was made\n\n" + making.steps(facts)
    yield "## What became of the rows\n\n" + making.funnel(facts)
    if drawn := measures.scores(facts):
        yield "## Scores\n\n" + drawn
    yield "### Balance\n\n" + measures.balance(facts)
    yield "## Can the scores be trusted?\n\n### Audit\n\n" + measures.audit(facts)
    yield "### Controls\n\n" + measures.controls(facts)
    yield "### Gates\n\n" + measures.gates(facts)
    yield "## Known limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(facts))
    yield "## Licences of the sources\n\n" + making.licenses(facts)
    columns = describe_columns(facts.features)
    rows = [(f"`{name}`", meaning) for name, meaning in columns]
    yield "## Columns\n\n" + table(("column", "meaning"), rows)
    yield "## Cite the method\n\n" + _CITATION


def _summary(facts: Facts) -> str:
    manifest = facts.manifest
    what = {
        "gen": (
            "generated pictures with their prompts, each scored from 1 to 5 by a model that gives "
            "its reasons"
        ),
        "edit": (
            "scores of picture edits, each from 1 to 5, for how far the instruction was carried "
            "out (execution) or for how far all else was left alone (consistency), given "
            "by a model with its reasons"
        ),
    }[facts.kind]
    models = ", ".join(code(model) for model in making.judges_of(facts))
    made = f"Firm Foundry {text(manifest['package_version'])}"
    if manifest["git_commit"]:
        made += f" ({code(manifest['git_commit'])})"
    splits = ", ".join(f"{split} {count(n)}" for split, n in manifest["splits"].items())
    rows = [
        ("rows", splits),
        ("scored by", models),
        ("method", "FIRM, [arXiv 2603.12247](https://arxiv.org/abs/2603.12247)"),
        ("audited by a person", _audited(facts)),
        ("made with", f"{made}, {text(manifest['finished_at'])}"),
    ]
    return f"{count(facts.rows)} {what}. Made to train and test reward models.\n\n" + table(
        ("at a glance", ""), rows
    )


def _audited(facts: Facts) -> str:
    if facts.audit is None or not facts.audited:
        return "no"
    part = f"in part: {count(facts.audited)} of {count(facts.audit['rows'])} rows"
    return f"{'yes' if facts.wholly_audited else part}, [see below](#audit)"


def load_snippet(facts: Facts, repo_id: str, tag: str) -> str:
    """Python that opens this state of the published dataset."""
    picture = "image" if facts.kind == "gen" else "edited_image"
    split = next(iter(facts.files))
    return (
        "```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset("{repo_id}", revision="{tag}")\n'
        f'row = rows["{split}"][0]\n'
        f'print(row["score"], row["reasoning"], row["{picture}"].size)\n```'
    )


def _limits(facts: Facts) -> Iterator[str]:
    manifest = facts.manifest
    if unmeasured := facts.unmeasured:
        named = [axis for axis in unmeasured if axis]
        which = f"the scores of {' and '.join(named)}" if named else "these scores"
        yield f"Nobody has measured how far {which} are from a person's."
    yield "The scores and reasons are a model's. It errs, and its errors are not spread evenly."
    judges = making.judges_of(facts)
    if any("foundry/shapeworld/judge" in model for model in judges):
        yield (
            "The judge is the small model that comes with Firm Foundry. It sees drawn shapes and "
            "nothing else: its scores of other pictures mean nothing."
        )
    stages = manifest["stages"].values()
    if any(stage.get("revision") is None for stage in stages):
        yield "A model's revision was not stated: what its server held is known by name alone."
    if all(stage["sampling"]["votes"] == 1 for stage in stages):
        yield "Each score is one reply: how it would vary from reply to reply is not known."
    gates = manifest["recipe"]["gates"]
    off = [name for name in ("leak", "degenerate", "contradiction", "duplicate") if not gates[name]]
    if off:
        yield f"Gates that were off: {', '.join(off)}."
    if gates["leak"]:
        yield (
            "The leak gate knows a set of phrases; reasons may cite what a trained judge will not "
            "see (checklist, report) in other words."
        )
    if not gates.get("benchmarks"):
        yield "The rows were compared with no benchmark: some may stand in one."
    if n := manifest.get("sets_not_wholly_compared"):
        yield (
            f"{count(n)} sets of rows with one text were too large to be searched wholly for near "
            "duplicates."
        )
    if not manifest.get("controls"):
        yield "No control rows ran, so nothing shows that the judge looks at the pictures."
    yield "The language `en` is that of the reasons; the texts of the sources were not checked."
