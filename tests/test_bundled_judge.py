"""The bundled judge on real vLLM: what it says of ShapeWorld is near the truth.

Bounds well under its figures (docs/proof/shapebench.md): a judge that no longer understands a prompt
or a schema falls through them, chance does not.
"""

import json

import pytest
from real_servers import JUDGE, PYTHON, run

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def test_it_is_near_the_truth_of_shapeworld(vllm, tmp_path):
    command = [PYTHON, "-m", "foundry.evals.run", "shapebench", "--endpoint", vllm.url]
    done = run(
        [*command, "--model", JUDGE, "--rows", "240", "--out", str(tmp_path)], timeout_s=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "shapebench-240.json").read_text())
    constant = {c["axis"]: c["mae"][1] for c in found["constants"]}
    for scores in found["scores"]:
        assert scores["rejected"] <= 0.02, scores
        assert scores["mae"][0] <= 0.7 * constant[scores["axis"]], scores
        assert scores["spearman"][0] >= 0.6, scores
    for listed in found["lists"]:
        assert listed["f1"][0] >= 0.7, listed
    assert found["verdicts"]["macro_f1"][0] >= 0.7
