"""Recipes from files and the command line: of builds and of trainings alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

R = TypeVar("R", bound=BaseModel)
# What pydantic calls a field that a model does not have.
_EXTRA = "extra_forbidden"


class RecipeRefused(Exception):
    """A recipe that cannot be used; the message names the file and the fields."""


def load_recipe(path: Path, model: type[R], overrides: Mapping[str, Any] | None = None) -> R:
    """Read a recipe from YAML, with `overrides` by dotted name (`gen_scores.votes`) put over it.

    Raises RecipeRefused naming the file and each field at fault.
    """
    try:
        value = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeRefused(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise RecipeRefused(f"{path}: a recipe is a mapping of fields")
    return check_recipe(value, model, overrides or {}, where=str(path))


def check_recipe(
    value: dict[str, Any], model: type[R], overrides: Mapping[str, Any], *, where: str
) -> R:
    """Check a recipe's fields, with `overrides` by dotted name put over them.

    Raises RecipeRefused naming each field at fault.
    """
    for name, new in overrides.items():
        *parents, last = name.split(".")
        part = value
        for parent in parents:
            part = part.setdefault(parent, {})
            if isinstance(part, list) and len(part) == 1:
                part = part[0]
            if not isinstance(part, dict):
                raise RecipeRefused(f"{where}: override '{name}': '{parent}' has no fields")
        part[last] = new
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, fault['loc'])) or 'recipe'}: "
            + (_unknown(model, fault["loc"]) if fault["type"] == _EXTRA else fault["msg"])
            for fault in error.errors()
        ]
        raise RecipeRefused(f"{where}: the recipe is refused:\n" + "\n".join(lines)) from None


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Overrides from `name=value` words, each value read as YAML. Raises RecipeRefused."""
    overrides = {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise RecipeRefused(f"--set {word}: write it as name=value, such as gen_scores.votes=4")
        try:
            overrides[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeRefused(f"--set {word}: the value is not YAML: {error}") from error
    return overrides


def _unknown(model: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """What to say of an unknown field: the nearest of those that stand beside it, or all."""
    *parents, last = path
    models = [model]
    for part in parents:
        fields = [m.model_fields[str(part)] for m in models if str(part) in m.model_fields]
        # The number of an item in a list, or the name of one of several kinds, is no field.
        models = [inner for field in fields for inner in _models_in(field.annotation)] or models
    known = sorted({name for one in models for name in one.model_fields})
    near = get_close_matches(str(last), known, n=1)
    told = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"no such field; {told}"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
