"""The GRPO example: what it reports, and that it goes on where it was."""

import json
import sys

import pytest

from examples.grpo_shapeworld import run as whole
from examples.grpo_shapeworld.report import write_report


def items(*truths):
    """What was written for prompts: a truth each, None for no scene."""
    worst = dict.fromkeys(next(one for one in truths if one), 0) | {"score": 1}
    return [{"scene": one is not None, "truth": one or worst} for one in truths]


def scored(*scores):
    return items(*(None if score is None else {"score": score} for score in scores))


def result(before, after):
    names = before[0]["truth"]
    log = [{"step": s, "reward": s / 20, **{f"true_{n}": 1 for n in names}} for s in range(1, 21)]
    return {"before": before, "after": after, "log": log}


JUDGE = {"model": "a/judge", "weights": "0123456789abcdef"}


def report(folder, task, arms):
    about = {critic: JUDGE for critic, _ in arms}
    text = write_report(folder, {task: arms}, about, 7)
    assert (folder / "grpo.md").read_text() == text
    assert (folder / f"grpo-{task}.png").read_bytes().startswith(b"\x89PNG")
    return text


def test_the_report_tells_gains_and_that_the_first_critic_raised_the_truth_more(tmp_path):
    before = scored(*[1, 3] * 10)
    arms = {
        ("judge", "alignment"): [
            result(before, scored(*[3, 5] * 10)),
            result(before, scored(*[2, 5, 3, None] * 5)),
        ],
        ("base", "alignment"): [result(before, before)] * 2,
    }
    text = report(tmp_path, "gen", arms)
    # The gains are 2 and 0.75: the last counts 1, 1 and 2 up and 2 down.
    assert "| judge | 2 | +1.38 (sd 0.88) |" in text
    assert "| base | 2 | +0.00 (sd 0.00) |" in text
    assert "With `judge` it **rose more than with `base`**: 1.38 (" in text
    assert "| judge | 1 | 2.00 to 2.75 | 2.00 to 3.33 | 1.00 to 0.75 | 0.78 |" in text
    assert "- judge: `a/judge`, weights 0123456789ab" in text


def test_the_report_says_less_and_that_two_critics_are_not_told_apart(tmp_path):
    before = scored(*[3] * 20)
    arms = {
        ("judge", "alignment"): [result(before, scored(*[3, 4] * 10))],
        ("base", "alignment"): [result(before, scored(*[4, 3] * 10))],
        ("other", "alignment"): [result(before, scored(*[5] * 20))],
    }
    text = report(tmp_path, "gen", arms)
    assert "it **cannot be told apart from that with `base`**: 0.00 (-" in text
    assert "it **rose less than with `other`**: -1.50 (" in text
    assert "| judge | 1 | +0.50 |" in text


def edited(idle, execution, of=20):
    """So many texts that do nothing, and others with this execution."""
    nothing = {"execution": 1, "consistency": 5, "unchanged": 1.0}
    attempt = {"execution": execution, "consistency": 3, "unchanged": 0.0}
    return items(*[nothing] * idle, *[attempt] * (of - idle))


@pytest.mark.parametrize(
    ("idle_on_sum", "idle_on_cme", "told"),
    [(18, 2, "is reproduced"), (9, 2, "is not reproduced"), (18, 18, "is not reproduced")],
    ids=["most do nothing", "fewer than half do", "on CME as well"],
)
def test_the_report_says_whether_the_sum_ended_in_doing_nothing(
    tmp_path, idle_on_sum, idle_on_cme, told
):
    before = edited(6, 2)
    arms = {
        ("truth", "cme"): [result(before, edited(idle_on_cme, 4))],
        ("truth", "sum"): [result(before, edited(idle_on_sum, 2))],
    }
    text = report(tmp_path, "clumsy", arms)
    assert f"on the sum {idle_on_sum / 20:.0%} of the texts" in text
    assert f"**The collapse into doing nothing {told}.**" in text


@pytest.mark.parametrize(("idle", "tested"), [(0, False), (1, True)])
def test_a_start_that_never_does_nothing_is_no_test_of_the_collapse(tmp_path, idle, tested):
    run = result(edited(idle, 2), edited(0, 4))
    text = report(tmp_path, "edits", {("truth", "cme"): [run], ("truth", "sum"): [run]})
    assert "is not reproduced.**" in text
    assert ("this is no test of it" not in text) == tested


def finished(folder, seeds):
    before = scored(*[1, 3] * 10)
    for seed in range(seeds):
        path = folder / "gen" / "truth-alignment" / f"seed-{seed}" / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(result(before, scored(*[3, 5] * 10))))


def call(monkeypatch, *words):
    monkeypatch.setattr(whole, "TRAINER", "/nobody/must/start/this")
    monkeypatch.setattr(sys, "argv", ["run", "--task", "gen", *map(str, words)])
    return whole.main()


def test_what_is_trained_is_reported_and_not_trained_again(tmp_path, monkeypatch, capsys):
    finished(tmp_path, 2)
    words = ("--critic", "truth", "--seeds", 2, "--out", tmp_path)
    assert call(monkeypatch, *words) == 0
    told = capsys.readouterr().out
    assert told.startswith("critics: truth = the rules themselves\n")
    assert "| truth | 2 | +2.00 (sd 0.00) |" in told
    assert call(monkeypatch, *words, "--steps", 5) == 2
    assert "give the critic another name, or --out" in capsys.readouterr().out


@pytest.mark.parametrize("critic", ["judge", "judge=no/such/folder", "=tests", "a/b=tests"])
def test_a_critic_that_is_none_is_refused(critic, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call(monkeypatch, "--critic", critic)
    assert f"'{critic}': give NAME=FOLDER" in capsys.readouterr().err
