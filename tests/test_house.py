"""The house itself: lint, types, import directions, documents, and the built wheel."""

import re
import subprocess
import sys
import venv
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from real_servers import PYTHON, ROOT, run

from pipelines.preferences.pair_rows import UNPAIRED_SCHEMA, hard_schema, pair_schema
from pipelines.preferences.recipe import PreferenceRecipe, RolloutSettings
from pipelines.preferences.rules import PairRules
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.recipe_files import check_recipe

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("pyright",), ("lint-imports",)],
    ids=lambda command: " ".join(command),
)
def test_the_code_is_clean(command):
    done = run([str(BIN / command[0]), *command[1:]])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    done = run([PYTHON, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)])
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def new_environment(folder, *requirements):
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    constraints = ["-c", str(ROOT / "requirements" / "constraints.txt")]
    if any("fastapi" in requirement for requirement in requirements):
        constraints = []
    done = run([python, "-m", "pip", "install", "-qq", "--no-compile", *constraints, *requirements])
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def test_the_base_requirements_alone_install_beside_an_old_fastapi(wheel, tmp_path):
    python = new_environment(tmp_path / "venv", str(wheel), "fastapi<0.137")
    light = "import schemas, prompts, pipelines.pictures, pipelines.chat, pipelines.votes, sys;"
    light += "import foundry.rewards.client, foundry.rewards.trl;"
    light += (
        "assert prompts.load_prompt('edit_execution.v1') and schemas.load_schema('gen_score.v1');"
    )
    light += "assert not {'prefect', 'torch', 'polars', 'pydantic_core'} & set(sys.modules)"
    done = run([python, "-c", light], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_runs_a_flow_from_another_folder(wheel, tmp_path):
    from flow_cases import gen_source, write_recipe
    from stub_server import stub_process

    python = new_environment(tmp_path / "venv", f"{wheel}[factory]")
    source = gen_source(tmp_path / "in", prompts=2, pictures=2)
    with stub_process() as stub:
        recipe = write_recipe(tmp_path / "r.yaml", "gen", stub.url, tmp_path / "out", source)
        done = run([python, "-m", "flows.build_firm_gen", str(recipe)], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 source = 4 dataset + 0 rejected + 0 duplicates" in done.stdout


def documents():
    found = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / line for line in found.stdout.split() if not line.startswith("prompts/")]


def test_the_readme_is_short_and_begins_with_the_set_up():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 150
    first = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert first is not None
    assert re.findall(r"^make \w+", first[1], re.MULTILINE) == ["make demo", "make test"]


def test_links_between_documents_lead_somewhere():
    for document in documents():
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_modules_and_files_that_the_documents_name_exist():
    for document in documents():
        text = document.read_text()
        for name in re.findall(r"python -m ((?:flows|foundry|trainers)[\w.]*)", text):
            path = ROOT / name.replace(".", "/")
            assert path.with_suffix(".py").exists() or path.is_dir(), f"{document.name}: {name}"
        for name in re.findall(r"`((?:tests|bench|examples|flows|pipelines)/[\w/.]+\.\w+)`", text):
            assert (ROOT / name).exists(), f"{document.name}: {name}"


def recipes_in_documents():
    for document in documents():
        for block in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL):
            value = yaml.safe_load(block)
            yield pytest.param(value, id=f"{document.name}-{next(iter(value))}")


@pytest.mark.parametrize("value", list(recipes_in_documents()))
def test_every_recipe_in_the_documents_is_accepted(value):
    if "dataset" in value:
        check_recipe(value, PreferenceRecipe, {}, where="document")
        return
    kind = GenRecipe if "planner" in value.get("endpoints", {}) else EditRecipe
    sources = {"sources": {"kind": "jsonl", "path": "rows.jsonl"}}
    check_recipe({"output": "x", **sources, **value}, kind, {}, where="document")


def test_every_field_of_a_recipe_is_documented():
    text = (ROOT / "docs" / "recipes.md").read_text()
    models = [GenRecipe, EditRecipe]
    seen = set()
    while models:
        model = models.pop()
        for name, field in model.model_fields.items():
            assert f"`{name}`" in text, name
            found = re.findall(r"(pipelines\.\w+)\.(\w+)", str(field.annotation))
            for module, inner in found:
                inner_model = getattr(import_module(module), inner)
                if isinstance(inner_model, type) and inner_model not in seen:
                    seen.add(inner_model)
                    models.append(inner_model)
    assert len(seen) >= 5


def test_every_field_and_column_of_preferences_is_documented():
    text = (ROOT / "docs" / "preferences.md").read_text()
    fields = [n for m in (PreferenceRecipe, RolloutSettings, PairRules) for n in m.model_fields]
    columns = [*pair_schema().names, *hard_schema().names, *UNPAIRED_SCHEMA.names]
    sides = re.compile("^(chosen|rejected)_")
    for name in [*fields, *columns]:
        assert f"`{sides.sub('*_', name)}`" in text, name


def test_every_column_of_a_dataset_is_documented():
    from pipelines.dataset_rows import dataset_schema

    text = (ROOT / "docs" / "dataset.md").read_text()
    for kind in ("gen", "edit"):
        for name in dataset_schema(kind).names:
            if name.startswith(("checklists_", "differences_")):
                continue
            name = re.sub(
                r".*_(seen_)?sha256$",
                lambda m: (
                    m[0]
                    if m[0].startswith(("prompt", "system", "schema"))
                    else "*_" + (m[1] or "") + "sha256"
                ),
                name,
            )
            assert f"`{name}`" in text, name


def test_every_deployment_of_prefect_yaml_is_documented():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    text = (ROOT / "docs" / "running.md").read_text()
    names = [d["entrypoint"].split(":")[1].replace("_", "-") + f"/{d['name']}" for d in deployments]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_readme_commands_of_the_flows_are_real():
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"\.venv/bin/python -m (flows\.\w+)", text):
        done = run([PYTHON, "-m", name, "--help"])
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_of_this_machine_stands_in_committed_files():
    text = subprocess.run(
        ["git", "grep", "-nIE", r"(^|[^A-Za-z0-9_.])/(home|root|Users)/[a-z]", "--", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert [line for line in text.splitlines() if "test_house" not in line] == []
