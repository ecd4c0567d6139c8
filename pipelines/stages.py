"""What a stage is: which prompt and schema it asks with, of which model, and how.

The digest of all that is half of an answer's identity; the contents asked about are the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.endpoint_settings import Endpoint
from pipelines.identity import digest
from pipelines.questions import Question, seen_picture
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.rendering import SYSTEM_PROMPT
from pipelines.settings import ScoreSettings, StageSettings
from pipelines.weights import folder_digest
from prompts import load_prompt
from schemas import max_characters, request_schema, schema_sha256

RETRY_PROMPT = "retry.v1"
RETRY_TEMPERATURE = 0.3
# A token is rarely less than two characters of a reply; a longer reply is cut and asked again.
CHARACTERS_PER_TOKEN = 2
# A model that was not taught our keys may spell them: the shortest reply, letter by letter.
_FEWEST_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One way of asking.

    `name` is unique within a flow; several may share a `table` (the two axes of edit scores do).
    `digest` covers all that shapes an answer but its contents. `sampling` is recorded with every
    row. `votes` is 1 for a stage that does not score, and `label_mass_share` 0.
    """

    name: str
    table: str
    role: str
    prompt_id: str
    schema_id: str
    system: bool
    model: str
    revision: str | None
    attempts: int
    votes: int
    label_mass_share: float
    max_tokens: int
    sampling: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(repr=False)
    digest: str


def make_stage(
    name: str,
    *,
    table: str,
    role: str,
    prompt_id: str,
    with_pictures: bool,
    settings: StageSettings,
    endpoint: Endpoint,
) -> Stage:
    """Bind a prompt to settings and an endpoint's model.

    Raises FileNotFoundError for an unknown prompt or schema.
    """
    prompt = load_prompt(prompt_id)
    schema_id = prompt.output_schema or ""
    scores = isinstance(settings, ScoreSettings)
    votes = settings.votes if scores else 1
    budget = max_characters(request_schema(schema_id)) // CHARACTERS_PER_TOKEN
    sampling = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens or max(budget, _FEWEST_TOKENS),
        "seed": settings.seed,
        "votes": votes,
        "retry_temperature": max(RETRY_TEMPERATURE, settings.temperature),
        "extra_body": endpoint.extra_body,
    }
    provenance = {
        "asked_model": endpoint.model_name,
        "revision": _revision(endpoint),
        "prompt_id": prompt_id,
        "prompt_sha256": prompt.sha256,
        "system_sha256": load_prompt(SYSTEM_PROMPT).sha256 if with_pictures else None,
        "retry_sha256": load_prompt(RETRY_PROMPT).sha256,
        "schema_id": schema_id,
        "schema_sha256": schema_sha256(schema_id),
        "sampling": json.dumps(sampling, sort_keys=True),
    }
    return Stage(
        name=name,
        table=table,
        role=role,
        prompt_id=prompt_id,
        schema_id=schema_id,
        system=with_pictures,
        model=endpoint.model_name,
        revision=provenance["revision"],
        attempts=settings.attempts,
        votes=votes,
        label_mass_share=settings.label_mass_share if scores else 0.0,
        max_tokens=sampling["max_tokens"],
        sampling=sampling,
        provenance=provenance,
        digest=digest(provenance),
    )


def _revision(endpoint: Endpoint) -> str | None:
    """What tells the model from others of its name: as the recipe says, else by its weights.

    Only those of a launched folder can be seen.
    """
    if endpoint.revision or not endpoint.launch:
        return endpoint.revision
    found = folder_digest(Path(endpoint.launch.model))
    return found and f"sha256:{found[:16]}"


def stage_question(
    stage: Stage, text: str, pictures: Sequence[Mapping[str, Any]] = (), **more: Any
) -> Question:
    """A stage's question about picture structs of `rows/`, or about a text alone.

    `more` are further fields of `Question`. Follow-ups about the first picture go to one server.
    """
    if pictures:
        more = {"sticky": pictures[0]["seen_sha256"]} | more
    return Question(
        system=load_prompt(SYSTEM_PROMPT).text if stage.system else None,
        pictures=tuple(map(seen_picture, pictures)),
        text=text,
        schema_id=stage.schema_id,
        max_tokens=stage.max_tokens,
        temperature=stage.sampling["temperature"],
        top_p=stage.sampling["top_p"],
        **more,
    )


def gen_stages(recipe: GenRecipe) -> dict[str, Stage]:
    """The stages of `build-firm-gen`, by name, in order."""
    planner, judge = recipe.endpoints.planner[0], recipe.endpoints.judge[0]
    stages = [
        make_stage(
            "checklists",
            table="checklists",
            role="planner",
            prompt_id="gen_checklist.v1",
            with_pictures=False,
            settings=recipe.checklists,
            endpoint=planner,
        ),
        make_stage(
            "gen_scores",
            table="gen_scores",
            role="judge",
            prompt_id="gen_score.v1",
            with_pictures=True,
            settings=recipe.gen_scores,
            endpoint=judge,
        ),
    ]
    return {stage.name: stage for stage in stages}


def edit_stages(recipe: EditRecipe) -> dict[str, Stage]:
    """The stages of `build-firm-edit`, by name, in order; the two axes share `edit_scores`."""
    judge = recipe.endpoints.judge[0]
    stages = []
    if recipe.rewrites.per_row:
        stages.append(
            make_stage(
                "rewrites",
                table="rewrites",
                role="rewriter",
                prompt_id="rewrite_instruction.v1",
                with_pictures=False,
                settings=recipe.rewrites,
                endpoint=recipe.roles()["rewriter"][0],
            )
        )
    stages.append(
        make_stage(
            "differences",
            table="differences",
            role="judge",
            prompt_id="edit_differences.v1",
            with_pictures=True,
            settings=recipe.differences,
            endpoint=judge,
        )
    )
    for axis in ("execution", "consistency"):
        stages.append(
            make_stage(
                axis,
                table="edit_scores",
                role="judge",
                prompt_id=f"edit_{axis}.v1",
                with_pictures=True,
                settings=recipe.edit_scores,
                endpoint=judge,
            )
        )
    return {stage.name: stage for stage in stages}


def stage_digests(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """What is recorded of each stage in the build's manifest."""
    return {
        name: {**stage.provenance, "sampling": json.loads(stage.provenance["sampling"])}
        for name, stage in stages.items()
    }
