"""The GRPO example: what it reports, and that it goes on where it was."""

import json
import sys
from functools import partial
from types import SimpleNamespace

import pytest

from examples.grpo_shapeworld import arms as arms_of
from examples.grpo_shapeworld import run as whole
from examples.grpo_shapeworld.arms import code_digest, deciding_sources
from examples.grpo_shapeworld.curves import smoothed
from examples.grpo_shapeworld.report import write_report


def items(*truths):
    """What was written for prompts: a truth each, None for no scene."""
    worst = dict.fromkeys(next(one for one in truths if one), 0) | {"score": 1}
    return [{"scene": one is not None, "truth": one or worst} for one in truths]


def scored(*scores):
    return items(*(None if score is None else {"score": score} for score in scores))


def result(before, after, date="2026-11-01", commit="abc"):
    names = before[0]["truth"]
    measured = {"unscored": 0, "reward_error": 0.25, "reward_correlation": 0.5}
    measured |= {f"true_{name}": 1 for name in names}
    log = [{"step": step, "reward": step / 20, **measured} for step in range(1, 21)]
    made = {"date": date, "code": {"package_version": "1.2", "git_commit": commit}}
    return {"before": before, "after": after, "log": log, "seconds": 90, **made}


JUDGE = {"model": "a/judge", "weights": "0123456789abcdef"}


def report(folder, task, arms):
    about = {critic: JUDGE for critic, _ in arms}
    text = write_report(folder, {task: arms}, about, 7, "python -m this --that")
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
        ("base", "alignment"): [result(before, before, date="2026-11-03", commit="def")] * 2,
    }
    text = report(tmp_path, "gen", arms)
    # The gains are 2 and 0.75: the last counts 1, 1 and 2 up and 2 down.
    assert "| judge | 2 | +1.38 (sd 0.88) |" in text
    assert "| base | 2 | +0.00 (sd 0.00) |" in text
    assert "With `judge` it **rose more than with `base`**: 1.38 (" in text
    assert (
        "| judge | 1 | 2.00 to 2.75 | 2.00 to 3.33 | 1.00 to 0.75 | 0.78 | 0.0% | 0.25 | 0.50 |"
        in text
    )
    assert ", seed by seed +2.00, +0.75." in text
    assert "a true score of 4 or 5: `judge` 0% to 38%; `base` 0% to 0%." in text
    assert "- judge: `a/judge`, weights 0123456789ab" in text
    head = "`python -m this --that`, firm-foundry 1.2 (abc), 1.2 (def), 2026-11-01 to 2026-11-03."
    assert text.startswith(f"# GRPO on ShapeWorld\n\n{head} Training")
    assert "`beta`: " in text
    # Four results of 90 seconds.
    assert "took 6 minutes" in text.splitlines()[2]


@pytest.mark.parametrize(
    ("silent", "reward", "error"),
    [(5, "0.65", "0.25 | 0.50"), (10, "-", "0.25 | 0.50"), (20, "-", "- | -")],
)
def test_steps_of_which_nothing_was_scored_leave_a_gap_and_count_as_unscored(
    tmp_path, silent, reward, error
):
    run = result(scored(*[1, 3] * 10), scored(*[3, 5] * 10))
    for line in run["log"][20 - silent :]:
        # As TRL logs it.
        line |= {"reward": None, "unscored": 1}
        del line["reward_error"], line["reward_correlation"]
    text = report(tmp_path, "gen", {("judge", "alignment"): [run]})
    assert f"| {reward} | {silent / 20:.1%} | {error} |\n" in text
    assert smoothed(run["log"], "reward")[0] == list(range(1, 21 - silent))


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


def finished(folder, seeds, **change):
    before = scored(*[1, 3] * 10)
    about = {"model": None, "weights": None, "steps": 120, "code": code_digest()} | change
    (folder / "gen" / "truth-alignment").mkdir(parents=True)
    (folder / "gen" / "truth-alignment" / "about.json").write_text(json.dumps(about))
    for seed in range(seeds):
        path = folder / "gen" / "truth-alignment" / f"seed-{seed}" / "result.json"
        path.parent.mkdir()
        path.with_name("before.json").write_text(json.dumps(before))
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
    assert f"run --task gen {' '.join(map(str, words))}`, firm" in told
    assert call(monkeypatch, *words, "--steps", 5) == 2
    assert capsys.readouterr().out.endswith(
        "truth-alignment was made with steps 120, now 5: give the critic another name, or --out\n"
    )


def test_what_other_code_trained_is_refused(tmp_path, monkeypatch, capsys):
    finished(tmp_path, 1, code="0123456789ab")
    assert call(monkeypatch, "--critic", "truth", "--out", tmp_path) == 2
    told = f"made with code 0123456789ab, now {code_digest()}: give the critic another name"
    assert told in capsys.readouterr().out
    (tmp_path / "gen" / "truth-alignment" / "about.json").unlink()
    assert call(monkeypatch, "--critic", "truth", "--out", tmp_path) == 2
    assert "code unknown, now" in capsys.readouterr().out


def test_a_start_that_other_code_made_is_refused_for_a_new_critic_as_well(
    tmp_path, monkeypatch, capsys
):
    def cut_off(*command, **_):
        (tmp_path / "gen" / "truth-alignment" / "seed-0").mkdir(exist_ok=True)
        return SimpleNamespace(returncode=7)

    words = ("--critic", "truth", "--out", tmp_path)
    monkeypatch.setattr(whole.subprocess, "run", cut_off)
    now = code_digest()
    for code in ("0123456789ab", now):  # Nothing was made yet.
        monkeypatch.setattr(arms_of, "code_digest", partial(str, code))
        assert call(monkeypatch, *words) == 7
    (tmp_path / "gen" / "warm").mkdir()
    (tmp_path / "gen" / "warm" / "tokenizer.json").write_text("{}")
    assert call(monkeypatch, *words) == 7
    monkeypatch.setattr(arms_of, "code_digest", lambda: "0123456789ab")
    assert call(monkeypatch, *words) == 2
    told = capsys.readouterr().out
    assert f"warm was made with code {now}, now 0123456789ab: give another --out" in told
    (tmp_path / "gen" / "warm.json").unlink()
    assert call(monkeypatch, *words) == 2
    assert "warm was made with code unknown" in capsys.readouterr().out


def test_the_code_is_that_of_all_sources_that_decide_a_result(tmp_path, monkeypatch):
    names = {path.stem for path in deciding_sources()}
    deciding = {
        "run",
        "policy",
        "prompts",
        "task",
        "scene_text",
        "pictures",
        "edits",
        "rewards",
        "train",
    }
    assert names == deciding
    digests = set()
    for name, source in [("task", "a = 1"), ("task", "a = 2"), ("edits", "a = 2")]:
        source_of = tmp_path / f"{name}.py"
        source_of.write_text(source)
        monkeypatch.setattr(arms_of, "deciding_sources", partial(list, [source_of]))
        digests.add(code_digest())
    assert len(digests) == 3


@pytest.mark.parametrize("critic", ["judge", "judge=no/such/folder", "=tests", "a/b=tests"])
def test_a_critic_that_is_none_is_refused(critic, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call(monkeypatch, "--critic", critic)
    assert f"'{critic}': give NAME=FOLDER" in capsys.readouterr().err
