"""Both flows as deployments on a real Prefect server: served, in a work pool, overridden."""

import json
import urllib.request

import pytest
import yaml
from real_servers import PREFECT, PYTHON, ROOT, background, run, stop, wait_for
from stub_server import stub_process

from pipelines.law import check_law
from pipelines.preferences.recipe import PreferenceRecipe
from pipelines.recipe import EditRecipe, GenRecipe

pytestmark = pytest.mark.prefect


def prefect(env, *words):
    return run([PREFECT, *words], env)


def deployed(env, name):
    body = json.dumps({"limit": 50}).encode()
    request = urllib.request.Request(
        f"{env['PREFECT_API_URL']}/deployments/filter",
        data=body,
        headers={"Content-Type": "application/json"},
    )
    found = json.load(urllib.request.urlopen(request))
    return [d for d in found if d["entrypoint"] and name in d["entrypoint"]]


def gen_recipe(url, output):
    return {
        "output": str(output),
        "sources": {
            "kind": "imagefolder",
            "path": str(ROOT / "examples/demo/gen"),
            "columns": {"image": "file_name"},
        },
        "endpoints": {
            "planner": {"url": url, "model": "stub"},
            "judge": {"url": url, "model": "stub"},
        },
        "shard_rows": 8,
        "reject_share": 0.5,
        "control_share": 0,
    }


def test_the_recipes_of_prefect_yaml_are_those_of_the_demo():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    deployments = [d for d in deployments if "recipe" in d.get("parameters", {})]
    for deployment, model, name in zip(
        deployments,
        (GenRecipe, EditRecipe, PreferenceRecipe),
        ("gen", "edit", "preferences"),
        strict=True,
    ):
        demo = yaml.safe_load((ROOT / f"examples/demo/{name}.yaml").read_text())
        recipe = deployment["parameters"]["recipe"]
        assert model.model_validate(recipe) == model.model_validate(demo)


def test_a_served_deployment_runs_with_overrides_and_the_bare_name_is_refused(
    prefect_env, tmp_path
):
    served = background([PYTHON, "-m", "flows.serve"], tmp_path / "serve.log", prefect_env)
    try:
        wait_for(lambda: len(deployed(prefect_env, "build_firm")) >= 2)
        with stub_process() as stub:
            recipe = json.dumps(gen_recipe(stub.url, tmp_path / "ignored"))
            ran = prefect(
                prefect_env,
                "deployment",
                "run",
                "build-firm-gen/local",
                "--param",
                f"recipe={recipe}",
                "--param",
                f'overrides={{"output": "{tmp_path / "build"}", "gen_scores.attempts": 2}}',
                "--watch",
            )
        assert ran.returncode == 0, ran.stdout + ran.stderr + (tmp_path / "serve.log").read_text()
        law = check_law(tmp_path / "build")
        assert law.dataset > 0
        manifest = json.loads((tmp_path / "build/manifest.json").read_text())
        assert manifest["recipe"]["gen_scores"]["attempts"] == 2
        bare = prefect(prefect_env, "deployment", "run", "build-firm-gen")
        assert bare.returncode != 0
    finally:
        stop(served)


def test_prefect_deploy_all_and_a_worker_run_both_flows(prefect_env, tmp_path):
    assert prefect(prefect_env, "work-pool", "create", "local", "--type", "process").returncode == 0
    done = prefect(prefect_env, "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    command = [PREFECT, "worker", "start", "--pool", "local"]
    worker = background(command, tmp_path / "worker.log", prefect_env)
    try:
        with stub_process() as stub:
            edit = {
                "output": str(tmp_path / "edit"),
                "sources": {
                    "kind": "jsonl",
                    "path": "examples/demo/edit/rows.jsonl",
                    "columns": {"source_image": "source", "edited_image": "edited"},
                },
                "endpoints": {"judge": {"url": stub.url, "model": "stub"}},
                "reject_share": 0.5,
                "control_share": 0,
            }
            recipes = {"edit": edit, "gen": gen_recipe(stub.url, tmp_path / "gen")}
            for kind, recipe in recipes.items():
                ran = prefect(
                    prefect_env,
                    "deployment",
                    "run",
                    f"build-firm-{kind}/local",
                    "--param",
                    f"recipe={json.dumps(recipe)}",
                    "--watch",
                )
                log = (tmp_path / "worker.log").read_text()
                assert ran.returncode == 0, ran.stdout + ran.stderr + log
                assert check_law(tmp_path / kind).dataset > 0
    finally:
        stop(worker)


def test_a_wrong_recipe_is_refused_by_the_server_naming_the_field(prefect_env):
    recipe = gen_recipe("http://127.0.0.1:9/v1", "x") | {"shard_rowz": 8}
    ran = prefect(
        prefect_env,
        "deployment",
        "run",
        "build-firm-gen/local",
        "--param",
        f"recipe={json.dumps(recipe)}",
    )
    assert ran.returncode != 0
    assert "shard_rowz" in ran.stdout + ran.stderr
