"""Recipes of trainings, without torch."""

import pytest
from real_servers import PYTHON, ROOT, run
from training_cases import command_of

from pipelines.recipe_files import RecipeRefused, check_recipe, load_recipe, parse_settings
from trainers.settings import DpoRecipe, SftRecipe

RECIPES = sorted((ROOT / "trainers/recipes").glob("*.yaml"))
PLACE = {"data": "d", "output": "o"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_accepted(path):
    model = DpoRecipe if "dpo" in path.stem else SftRecipe
    assert load_recipe(path, model, PLACE).data == ("d",)


def test_the_8b_recipes_are_the_published_settings():
    for name, batch in (("edit_8b_sft", 160), ("gen_8b_sft", 80)):
        recipe = load_recipe(ROOT / f"trainers/recipes/{name}.yaml", SftRecipe, PLACE)
        assert (recipe.batch, recipe.learning_rate, recipe.warm_up) == (batch, 1e-5, 0.1)
        assert (recipe.schedule, recipe.epochs, recipe.lora) == ("cosine", 1, None)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("learning_rat=1", "learning_rat: no such field; did you mean learning_rate?"),
        ("lora={rnak: 4}", "lora.rnak: no such field; did you mean rank?"),
        ("evaluation.row=4", "evaluation.row: no such field; did you mean rows?"),
        ("zzz=1", "zzz: no such field; there are attention, batch, data,"),
        ("device_batch=7", "batch 64 is not a multiple of device_batch 7"),
        ("precision=fp4", "precision: Input should be 'bfloat16' or 'float32'"),
    ],
)
def test_a_wrong_field_is_refused_by_name(word, told):
    with pytest.raises(RecipeRefused) as refused:
        check_recipe({"model": "m", **PLACE}, SftRecipe, parse_settings([word]), where="r.yaml")
    assert told in str(refused.value)


def test_the_command_refuses_a_wrong_recipe_in_one_line_without_loading_torch(tmp_path):
    done = run(command_of("sft", tmp_path / "out", ["d"], "bach=8", python=PYTHON))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "  bach: no such field; did you mean batch?"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_field_of_a_training_recipe_is_documented():
    text = (ROOT / "docs/training.md").read_text()
    names = set(SftRecipe.model_fields) | set(DpoRecipe.model_fields)
    for field in ("lora", "evaluation"):
        inner = SftRecipe.model_fields[field].annotation
        inner = next(t for t in getattr(inner, "__args__", (inner,)) if t is not type(None))
        names |= set(inner.model_fields)
    assert {name for name in names if f"`{name}`" not in text} == set()
