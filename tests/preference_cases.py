"""Preference builds without Prefect, from labelled rows written here, with the stub as models."""

import asyncio
import json
import re
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from chain_cases import chat_to, completion
from dataset_cases import make_row, write_build
from real_servers import PYTHON
from stub_server import Behaviour, serve_stub

from pipelines.dataset_reading import open_dataset
from pipelines.preferences.labelled import write_labelled
from pipelines.preferences.law import check_preference_law
from pipelines.preferences.mining import groups_of, mine_group, preference_stages
from pipelines.preferences.recipe import PreferenceRecipe
from pipelines.preferences.write import write_preferences
from pipelines.rows import read_rows
from pipelines.shard_run import ShardRun, run_and_finish, run_groups

AXES = {"edit": ("execution", "consistency"), "gen": (None,)}
# What balance makes of few rows is a matter of its own.
UNBALANCED = {"targets": {}}


def label_build(folder, kind, labels, *, validation=(), last_first=False, **columns):
    """A finished build with a row for each label, the axes in turn; pictures of their own each."""
    rows = [
        make_row(
            kind,
            number,
            axis=AXES[kind][number % len(AXES[kind])],
            score=score,
            split="validation" if number in validation else "train",
            model="teacher",
            revision="r1",
            license="cc0-1.0",
            **columns,
        )
        for number, score in enumerate(labels)
    ]
    return write_build(folder, kind, rows[::-1] if last_first else rows)


def make_preferences(dataset, output, url="http://127.0.0.1:1/v1", *, judge=True, **settings):
    """A recipe with student and judge at one endpoint."""
    endpoint = {"url": url, "model": "stub", "max_in_flight": 8}
    roles = ("student", "judge") if judge else ("student",)
    base = {"dataset": str(dataset), "output": str(output), "balance": UNBALANCED}
    base |= {"endpoints": dict.fromkeys(roles, endpoint), "rollouts": {"k": 4}, "buckets": 2}
    return PreferenceRecipe.model_validate(base | settings)


def preference_command(recipe, path, *more):
    """The command of the flow, of a recipe written to `path`."""
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True)))
    return [PYTHON, "-m", "flows.build_firm_preferences", str(path), *more]


def mine(recipe, said=None, better=None, **behaviour):
    """All of a preference build but Prefect and its manifest; without `said` nobody is asked.

    `said` and `better` are those of `replies`; `{}` leaves both to the stub. Returns what was
    written, the law, and the bodies of the requests.
    """
    dataset, build = open_dataset(Path(recipe.dataset)), Path(recipe.output)
    build.mkdir(exist_ok=True)
    write_labelled(dataset, build, n_buckets=2)
    stages = preference_stages(dataset.kind, recipe)
    bodies = []

    async def ask():
        async with serve_stub(Behaviour(**behaviour)) as stub, chat_to(stub.url) as chat:
            if said:
                replies(stub, bodies, said=said, better=better)

            async def chat_of(role):
                return chat

            for bucket in range(2):
                run = ShardRun(build, bucket, stages, chat_of=chat_of)
                groups = groups_of(dataset.kind, read_rows(build, bucket))
                work = partial(mine_group, rules=recipe.pairs)
                await run_and_finish(partial(run_groups, groups, work, run, at_once=8), run)

    if said is not None:
        asyncio.run(ask())
    splits = list(dataset.splits)
    written = write_preferences(build, dataset.kind, recipe, stages, splits=splits, n_buckets=2)
    law = check_preference_law(build, n_buckets=2, most_pairs=recipe.pairs.most_pairs)
    return written, law, bodies


def rows_in(build, folder):
    """The rows of a folder by id and axis, in the order written."""
    found = {}
    for path in sorted((Path(build) / folder).glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            found.setdefault((row["row_id"], row["axis"]), []).append(row)
    return found


def replies(stub, bodies, *, said, better=None):
    """Let the stub's student say `said[number]` of row `number`, a list of (score, reasoning) or of
    raw contents, and its judge answer `better(first, second)`. Bodies of requests go to `bodies`.
    """

    def reply(body, *_):
        bodies.append(body)
        text = body["messages"][-1]["content"][-1]["text"]
        if "<first>" in text:
            value = {"reasoning": "Looked at both.", "better": better(*shown(text))}
            return completion(json.dumps(value)), None
        number = int(re.search(r"(?:Do thing|Prompt) (\d+)\.", text)[1])
        return completion([_content(one) for one in said[number]]), None

    stub._reply = reply


def _content(one):
    if isinstance(one, tuple):
        return json.dumps({"reasoning": one[1], "score": one[0]})
    return one


def shown(text):
    """The two rationales that a judge is shown, in order."""
    return re.search(r"<first>\n(.*)\n</first>\n<second>\n(.*)\n</second>", text).groups()
