"""Two makings of the judge, compared by their cards."""

import shutil

import pytest

from foundry.evals import remade
from foundry.evals.remade import BUNDLED, main, read_card


@pytest.fixture
def again(tmp_path):
    shutil.copytree(BUNDLED, tmp_path / "judge")
    return tmp_path


def change(again, old, new):
    card = again / "judge" / "README.md"
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))


def test_the_bundled_judge_is_the_same_as_itself(again, capsys):
    assert main([str(again)]) == 0
    assert "the same to the bit" in capsys.readouterr().out


def test_all_of_a_card_is_read():
    card = (BUNDLED / "README.md").read_text()
    facts, measures = read_card(card)
    table = card[card.index("| asked") :].split("\n\n")[0].splitlines()[2:]
    cells = [cell for row in table for cell in row.strip("|").split("|")[2:] if cell.strip()]
    assert len(measures) == len(cells)
    assert facts["made by"].startswith("`python -m foundry.shapeworld.train_judge")


def test_two_points_apart_are_enough_to_fail_and_less_is_not(again, capsys):
    (again / "judge" / "model.safetensors").write_bytes(b"others")
    _, measures = read_card((BUNDLED / "README.md").read_text())
    was = measures["gen_checklist", "whole reply right"]
    change(again, f"| gen_checklist | 96 | {was:.1%}", f"| gen_checklist | 96 | {was - 0.019:.1%}")
    assert main([str(again)]) == 0
    told = capsys.readouterr().out
    assert "to the bit" not in told
    assert "gen_checklist, whole reply right, by 0.019" in told
    change(again, f"{was - 0.019:.1%}", f"{was - 0.03:.1%}")
    assert main([str(again)]) == 1


def test_what_one_card_alone_measured_is_named_and_not_passed(again, capsys):
    change(again, "| gen_checklist | 96 |", "| gen_checklists | 96 |")
    assert main([str(again)]) == 1
    told = capsys.readouterr().out
    assert "of one of the two alone: gen_checklist, F1 of items; gen_checklist, whole" in told


def test_a_card_without_its_table_is_refused(again, capsys):
    change(again, "| asked | n |", "| asked | m |")
    assert main([str(again)]) == 2
    assert "no table" in capsys.readouterr().err
    assert main([str(again / "nothing")]) == 2


def test_the_folder_of_the_bundled_judge_is_that_of_the_demo():
    from flows.demo import BUNDLED_JUDGE

    assert str(remade.BUNDLED) == BUNDLED_JUDGE
