"""The bundled judge on real vLLM: what it has learnt of ShapeWorld so far (docs/shapeworld.md).

Bounds well under its figures (docs/proof/shapebench.md): a judge that no longer understands a
prompt or a schema falls through them. Score-only prompts, rewriting and the comparing of rationales
are not asked.
"""

import json

import pytest
from real_servers import JUDGE, PYTHON, run

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def test_it_lists_what_differs_and_scores_near_the_truth(vllm, tmp_path):
    command = [PYTHON, "-m", "foundry.evals.run", "shapebench", "--endpoint", vllm.url]
    done = run([*command, "--model", JUDGE, "--rows", "160", "--out", str(tmp_path)], timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "shapebench-160.json").read_text())
    constant = {c["axis"]: c["mae"][1] for c in found["constants"]}
    for scores in found["scores"]:
        assert scores["rejected"] <= 0.02, scores
        if scores["axis"] == "consistency":
            assert scores["mae"][0] <= 0.5 * constant["consistency"], scores
        if scores["axis"] == "gen":
            assert scores["mae"][0] <= 0.7 * constant["gen"], scores
        if scores["axis"] == "execution":
            assert scores["mae"][0] <= 0.85 * constant["execution"], scores
    for listed in found["lists"]:
        assert listed["f1"][0] >= 0.7, listed
    assert found["verdicts"]["macro_f1"][0] >= 0.5
