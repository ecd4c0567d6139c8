"""Gates over scored rows, each against cases worked by hand."""

import hashlib
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from pipelines.dataset_settings import Gates
from pipelines.gates.agreement import entropy_bits, find_disagreement
from pipelines.gates.contradictions import find_contradiction, implied_scores
from pipelines.gates.degenerate import find_degenerate
from pipelines.gates.grounding import are_one_picture, changed_share, find_ungrounded
from pipelines.gates.row_gates import first_fault
from pipelines.picture_hash import COLOUR_BYTES, colour_signature

REPORT = (
    "At a glance:\n- colour: the car near the old stone bridge over the river: red -> blue\n"
    "On a closer look:\n- presence: a small bird on the fence: absent -> sitting there"
)
NO_CHANGE = "No differences were found."
DARK, BRIGHT = "00" * COLOUR_BYTES, "ff" * COLOUR_BYTES


def edit_row(**more):
    row = {
        "axis": "execution",
        "instruction": "Make the car blue.",
        "report": REPORT,
        "reasoning": "The car is blue now and its shape is kept.",
        "score": 5,
        "vote_spread": 0.0,
        "score_probs": [0.0, 0.0, 0.0, 0.1, 0.9],
        "source_image": {"seen_sha256": "a", "seen_path": "gone-a.png", "colour": DARK},
        "edited_image": {"seen_sha256": "b", "seen_path": "gone-b.png", "colour": BRIGHT},
    }
    return {**row, **more}


def items(*kinds, critical=()):
    return [{"kind": kind, "critical": i in critical} for i, kind in enumerate(kinds)]


def found(*verdicts):
    return [{"verdict": verdict} for verdict in verdicts]


def gen_row(verdicts, score, **more):
    checklist = items("subject", "subject", "attribute", "count", critical=(0, 1))
    row = {
        "prompt": "A dog and a cat.",
        "checklist": [{**item, "question": "Is it there?"} for item in checklist],
        "verdicts": found(*verdicts),
        "reasoning": "A dog stands beside a cat on grass.",
        "score": score,
        "vote_spread": 0.0,
        "score_probs": None,
    }
    return {**row, **more}


@pytest.mark.parametrize(
    ("verdicts", "score"),
    [
        (("yes", "yes", "yes", "yes"), 5),
        (("yes", "yes", "no", "partly"), 4),
        (("yes", "yes", "no", "no"), 4),
        (("yes", "no", "yes", "yes"), 3),
        (("partly", "partly", "partly", "yes"), 3),
        (("no", "yes", "yes", "yes"), 2),
        (("no", "no", "no", "no"), 1),
    ],
)
def test_verdicts_come_to_a_score_by_the_prompts_ladder(verdicts, score):
    checklist = items("subject", "subject", "attribute", "count", critical=(0, 1))
    assert implied_scores(checklist, found(*verdicts)) == (score, score)


def test_without_its_subjects_a_picture_may_have_the_rest_of_what_was_asked_for():
    checklist = items("subject", "style", "negative", critical=(0,))
    assert implied_scores(checklist, found("no", "yes", "yes")) == (1, 2)
    assert implied_scores(checklist, found("no", "no", "yes")) == (1, 1)


def test_an_unclear_verdict_leaves_a_range():
    checklist = items("subject", "attribute", "count", critical=(0,))
    assert implied_scores(checklist, found("unclear", "yes", "yes")) == (1, 5)


def test_a_checklist_without_subjects_goes_by_what_is_critical():
    checklist = items("style", "composition", critical=(0,))
    assert implied_scores(checklist, found("no", "no")) == (1, 1)


@pytest.mark.parametrize(
    ("verdicts", "score", "contradicts"),
    [
        (("yes", "yes", "yes", "yes"), 5, False),
        (("yes", "yes", "yes", "yes"), 4, False),
        (("yes", "yes", "yes", "yes"), 3, True),
        (("no", "no", "no", "no"), 1, False),
        (("no", "no", "no", "no"), 3, True),
        (("yes", "yes", "no", "yes"), 2, True),
    ],
)
def test_a_score_two_from_its_verdicts_contradicts_them(verdicts, score, contradicts):
    assert bool(find_contradiction(gen_row(verdicts, score))) == contradicts


VERDICTS = st.lists(st.sampled_from(["yes", "partly", "no"]), min_size=4, max_size=4)


@given(VERDICTS, st.integers(0, 3))
def test_a_worse_verdict_never_raises_what_they_come_to(verdicts, i):
    checklist = items("subject", "subject", "attribute", "count", critical=(0, 1))
    worse = [*verdicts[:i], "no", *verdicts[i + 1 :]]
    before, after = (implied_scores(checklist, found(*v))[0] for v in (verdicts, worse))
    assert after <= before


@pytest.mark.parametrize(
    ("axis", "score", "report", "contradicts"),
    [
        ("execution", 5, NO_CHANGE, True),
        ("execution", 1, NO_CHANGE, False),
        ("consistency", 5, NO_CHANGE, False),
        ("consistency", 2, NO_CHANGE, True),
        ("execution", 5, REPORT, False),
    ],
)
def test_a_report_without_changes_bounds_both_axes(axis, score, report, contradicts):
    row = edit_row(axis=axis, score=score, report=report, reasoning="It looks like that.")
    assert bool(find_contradiction(row)) == contradicts


@pytest.mark.parametrize(
    ("axis", "score", "reasoning", "contradicts"),
    [
        ("execution", 5, "The instruction was not followed at all.", True),
        ("execution", 5, "The car was painted exactly as asked.", False),
        ("execution", 5, "The car is blue. The background was not changed.", False),
        ("execution", 5, "The dog was removed. The bench it sat on is still there.", False),
        ("execution", 5, "The dog is gone and the editor did not leave a trace of it.", False),
        ("execution", 1, "The car wasn't painted exactly as asked.", False),
        ("execution", 1, "No part of it was done exactly as asked.", False),
        ("consistency", 5, "The hat is completely different, and the rest is untouched.", False),
        ("consistency", 1, "Everything else is different: new background, new people.", False),
        ("consistency", 1, "The car is preserved, yet the scene around it was replaced.", False),
        ("execution", 1, "The car was painted exactly as asked.", True),
        ("execution", 1, "The car was not painted as asked.", False),
        ("execution", 3, "The instruction was not followed at all.", False),
        ("consistency", 5, "It is almost entirely another picture.", True),
        ("consistency", 1, "Nothing else changed.", True),
        ("consistency", 5, "Nothing else changed.", False),
    ],
)
def test_a_rationale_that_says_the_opposite_contradicts_a_one_or_a_five(
    axis, score, reasoning, contradicts
):
    row = edit_row(axis=axis, score=score, reasoning=reasoning)
    assert bool(find_contradiction(row)) == contradicts


@pytest.mark.parametrize(
    ("reasoning", "what"),
    [
        ("Good.", "too short"),
        ("The car is blue. The car is blue! The car is blue.", "repetition"),
        ("red car and " * 40, "repetition"),
        ('{"reasoning": "the car is blue"', "echo"),
        ("Insert the text: <instruction> goes here", "echo"),
        ("<reasoning here>", "echo"),
        ("[1-3 sentences explaining the score]", "echo"),
        ("{two short sentences about the edit}", "echo"),
        ("Your short rationale goes here", "echo"),
        ("The explanation comes here.", "echo"),
        ("The car is blue: <your explanation>.", "echo"),
        ("<|im_end|><|im_start|>assistant", "echo"),
        ("The car is blue.<|eot_id|>", "echo"),
        ("The car is blue.</s>", "echo"),
        ("[INST] The car is blue. [/INST]", "echo"),
        ("<end_of_turn> The car is blue.", "echo"),
        ("```json The car is blue. ```", "echo"),
        ("Write one or two sentences about the car.", "echo"),
        ("No explanation was given.", "echo"),
        ("I cannot see the images, as I am a text model.", "echo"),
        ("reasoning score reasoning score reasoning score reasoning score", "repetition"),
        ("The car the car the car is the car the car.", "repetition"),
        ("A blue car stands in a street. " + "so blue " * 30, "repetition"),
        ("车是蓝色的,其他一切都没有变化 但是鸟是新的", "another script"),
        ("12 34 56", "another script"),
        ("blah blah blah blah blah blah blah blah", "repetition"),
        ("<your reasoning here>", "echo"),
        ("[Explain the score in one or two sentences.]", "echo"),
        ("{{reasoning}} and {{score}}", "echo"),
        ("<|assistant|> The hat is green.", "echo"),
        ("Reply with JSON.", "echo"),
        ("the the the the the the", "repetition"),
        ("aaaa aaaa aaaa aaaa", "repetition"),
        ("Reasoning goes here.", "echo"),
        ("{reasoning}: the hat", "echo"),
        ("<reasoning>The hat is green.</reasoning>", "echo"),
        ("A short explanation of the score.", "echo"),
        ("One to three sentences.", "echo"),
        ("Hat hat hat.", "repetition"),
    ],
)
def test_a_rationale_that_is_no_text_is_degenerate(reasoning, what):
    assert what in (find_degenerate(reasoning, visible="Make the car blue.") or "")


@pytest.mark.parametrize(
    "reasoning",
    [
        "Nothing else changed.",
        "The circles should be grey; one is grey, one is grey, one is grey: three as asked.",
        "The sign reads 'Café 漢字', as asked; the letters are crisp.",
        "The sign reads U.S. Mail, the truck has a U.S. flag, and a U.S. soldier waves.",
        "One is red, one is red, one is blue, one is grey.",
        "The crosses should be small; one is small, one is small: two as asked. The crosses should "
        "be violet; one is violet, one is violet: two as asked.",
        "The sign reads 'ha ha ha ha ha ha ha ha ha ha', as asked.",
        "The sign reads \u201cno no no no no no no no no no no\u201d, as asked.",
        "The scoreboard is new: the score here is 3 to 2, and the score shown is right.",
        "The explanation for the shadow is that the lamp here hangs low.",
        "The arrow [left] and the label <sale> are there; 3 < 5 and 7 > 2 stand on the board.",
        "[The car] is blue now, and the sky [above it] is grey.",
        "It costs $5; no evidence of the dog is left.",
        "Two sentences stand on the sign, as asked.",
        "No score is shown on the board, which was to be empty.",
        "It rains.\n \nIt is dark.\n \nThe street is wet and empty.\n \nA dog barks.",
    ],
)
def test_a_short_plain_rationale_is_not(reasoning):
    assert find_degenerate(reasoning, visible="Write on the sign.") is None


def test_a_rationale_may_be_in_the_script_of_the_prompt():
    said = "Машина теперь синяя, остальное прежнее."
    assert find_degenerate(said, visible="Сделай машину синей") is None
    assert find_degenerate(said, visible="Make the car blue")
    chinese = "汽车已变成蓝色而其他部分保持不变"
    assert find_degenerate(chinese, visible="把汽车变成蓝色") is None


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("Das Auto ist jetzt blau, und alles andere blieb wie zuvor.", "de"),
        ("La voiture est devenue bleue comme demandé, le reste est inchangé.", "fr"),
        ("A imagem mostra um gato em vez de um cachorro.", "pt"),
    ],
)
def test_a_rationale_in_another_language_is_found_where_the_row_is_in_english(said, language):
    found = find_degenerate(said, visible="Make the car blue.")
    assert found == f"another language: {language}"
    assert find_degenerate(said, visible="Mach das Auto so blau wie den Himmel.") is None
    # Three words may look like Welsh.
    assert find_degenerate(said, visible="Add a cat.") == f"another language: {language}"
    # Not enough to tell by, and names in English sentences.
    assert find_degenerate("Das stimmt so.", visible="Make the car blue.") is None
    english = "The sign now reads 'Zum Goldenen Hirsch', and the Schloss behind it is unchanged."
    assert find_degenerate(english, visible="Write 'Zum Goldenen Hirsch' on the sign.") is None


def test_entropy_is_in_bits():
    assert entropy_bits([1.0, 0, 0, 0, 0]) == 0
    assert entropy_bits([0.5, 0.5, 0, 0, 0]) == 1
    assert math.isclose(entropy_bits([0.2] * 5), math.log2(5))


def test_a_judge_that_disagrees_with_itself_is_told_by_votes_or_probabilities():
    even = {"vote_spread": 0.0, "score_probs": [0.5, 0.5, 0, 0, 0]}
    assert find_disagreement(**even, most_spread=2, most_entropy=0.9) == (
        "entropy 1.00 bits, allowed 0.9"
    )
    assert find_disagreement(**even, most_spread=2, most_entropy=1.0) is None
    votes = {"vote_spread": 1.5, "score_probs": None}
    assert (
        find_disagreement(**votes, most_spread=1, most_entropy=0) == "votes spread 1.50, allowed 1"
    )
    assert find_disagreement(**votes, most_spread=1.5, most_entropy=0) is None


def fractal():
    return Image.effect_mandelbrot((120, 90), (-2, -1, 1, 1), 60).convert("RGB")


def saved_badly(image):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=40)
    return Image.open(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image: image.copy(),
        saved_badly,
        lambda image: image.resize((60, 45)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
        lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 4, 0, 1, 3)),
    ],
)
def test_what_a_viewer_overlooks_changes_little(spoil):
    assert changed_share(fractal(), spoil(fractal())) < 0.1


def test_the_share_that_changed_is_the_area_of_the_change():
    half = fractal()
    half.paste(Image.effect_noise((120, 45), 120).convert("RGB"), (0, 0))
    assert 0.4 < changed_share(fractal(), half) < 0.6
    noise = Image.effect_noise((120, 90), 80).convert("RGB")
    assert changed_share(fractal(), noise) > 0.9
    grey, dark = (Image.new("L", (64, 64), level).convert("RGB") for level in (200, 90))
    assert changed_share(grey, dark) == 1


def picture(path):
    with Image.open(path) as image:
        colour = colour_signature(image)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"seen_sha256": sha256, "seen_path": str(path), "colour": colour}


def pair(folder, edited, report):
    fractal().save(folder / "a.png")
    edited.save(folder / "b.png")
    return rows_of(folder / "a.png", folder / "b.png", report)


def rows_of(source, edited, report=REPORT):
    return edit_row(report=report, source_image=picture(source), edited_image=picture(edited))


def test_no_change_is_not_reported_of_pictures_that_changed(tmp_path):
    noise = Image.effect_noise((120, 90), 80).convert("RGB")
    found = find_ungrounded(pair(tmp_path, noise, NO_CHANGE), most_unreported=0.3)
    assert found.startswith("the report found no change, and ")
    assert find_ungrounded(pair(tmp_path, noise, REPORT), most_unreported=0.3) is None
    assert find_ungrounded(pair(tmp_path, noise, NO_CHANGE), most_unreported=1.0) is None
    assert find_ungrounded(pair(tmp_path, fractal(), NO_CHANGE), most_unreported=0.3) is None


def test_no_change_is_there_to_be_reported_of_equal_pictures():
    equal = {"edited_image": edit_row()["source_image"]}
    assert find_ungrounded(edit_row(**equal), most_unreported=0.3)
    assert find_ungrounded(edit_row(report=NO_CHANGE, **equal), most_unreported=0.3) is None


SAVED_ANEW = [
    ("b.png", {"compress_level": 0}),
    ("b.jpg", {"quality": 95}),
    ("b.jpg", {"quality": 75}),
    ("b.webp", {"quality": 80}),
]


def scene():
    """Something like a photograph: textured, smooth, coloured."""
    texture = Image.effect_mandelbrot((320, 240), (-2, -1, 1, 1), 60)
    texture = texture.filter(ImageFilter.GaussianBlur(0.7))
    ramps = (Image.linear_gradient("L"), Image.radial_gradient("L"))
    return Image.merge("RGB", (texture, *(ramp.resize((320, 240)) for ramp in ramps)))


@pytest.mark.parametrize(("name", "saved"), SAVED_ANEW)
def test_no_change_is_there_to_be_reported_of_a_picture_that_was_saved_anew(tmp_path, name, saved):
    scene().save(tmp_path / "a.png")
    scene().save(tmp_path / name, **saved)
    row = rows_of(tmp_path / "a.png", tmp_path / name)
    assert row["source_image"]["seen_sha256"] != row["edited_image"]["seen_sha256"]
    assert find_ungrounded(row, most_unreported=0.3)
    assert find_ungrounded({**row, "report": NO_CHANGE}, most_unreported=0.3) is None


def with_spot(side, levels):
    image = scene()
    colour = tuple(n - levels if n > 127 else n + levels for n in image.getpixel((203, 77)))
    image.paste(colour, (203, 77, 203 + side, 77 + side))
    return image


def with_line():
    image = scene()
    ImageDraw.Draw(image).line((30, 45, 130, 52), fill=image.getpixel((200, 200)))
    return image


def recoloured():
    """A part of it as light as it was, in another colour."""
    light, *chroma = scene().convert("YCbCr").split()
    for channel in chroma:
        channel.paste(200, (160, 140, 172, 152))
    return Image.merge("YCbCr", (light, *chroma)).convert("RGB")


@pytest.mark.parametrize(("name", "saved"), SAVED_ANEW)
@pytest.mark.parametrize(
    "edited",
    [
        with_spot(3, 127),
        with_spot(4, 64),
        with_spot(6, 32),
        with_line(),
        recoloured(),
        scene().filter(ImageFilter.GaussianBlur(1)),
        scene().filter(ImageFilter.UnsharpMask(2, 60)),
        ImageEnhance.Brightness(scene()).enhance(1.05),
        scene().resize((310, 232)),
    ],
    ids=["small", "fainter", "faint", "line", "colour", "blurred", "sharpened", "light", "size"],
)
def test_a_small_change_may_be_reported(tmp_path, edited, name, saved):
    scene().save(tmp_path / "a.png")
    edited.save(tmp_path / name, **saved)
    with Image.open(tmp_path / name) as opened:
        assert not are_one_picture(scene(), opened)
    row = rows_of(tmp_path / "a.png", tmp_path / name)
    assert find_ungrounded(row, most_unreported=0.3) is None


def test_the_faintest_change_may_be_reported_where_the_rest_is_equal():
    assert not are_one_picture(scene(), with_spot(2, 64))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5)])
def test_the_smallest_pictures_can_be_compared(size):
    grey, red = (Image.new("RGB", size, colour) for colour in ("grey", "red"))
    assert are_one_picture(grey, grey.copy())
    assert not are_one_picture(grey, red)


def test_pictures_that_look_different_are_not_read_for_a_report_of_changes():
    assert find_ungrounded(edit_row(), most_unreported=0.3) is None
    alike = edit_row()
    alike["edited_image"]["colour"] = DARK
    with pytest.raises(FileNotFoundError, match=r"gone-a\.png"):
        find_ungrounded(alike, most_unreported=0.3)


def test_a_picture_that_is_gone_is_no_fault_of_the_report():
    row = edit_row(report=NO_CHANGE, score=2)
    reason, detail = first_fault(row, Gates())
    assert reason == "picture:vanished"
    assert "gone-a.png" in detail
    assert first_fault(row, Gates(grounding=False)) is None


def test_a_row_meets_the_gates_in_order_and_any_can_be_left_out():
    said = "Per the checklist the instruction was not followed. " * 3
    leaking = edit_row(reasoning=said)
    assert first_fault(leaking, Gates()) == ("gate:leak", "Per the checklist")
    degenerate = first_fault(leaking, Gates(leak=False))
    assert degenerate[0] == "gate:degenerate"
    contradiction = first_fault(leaking, Gates(leak=False, degenerate=False))
    assert contradiction == (
        "gate:contradiction",
        "score 5, where the reasoning says 'the instruction was not followed'",
    )
    off = Gates(leak=False, degenerate=False, contradiction=False)
    assert first_fault(leaking, off) is None
    assert first_fault(edit_row(), Gates()) is None
    assert first_fault(edit_row(), Gates(most_entropy=0.1))[0] == "gate:agreement"
    assert first_fault(gen_row(("yes",) * 4, 1), Gates())[0] == "gate:contradiction"


@given(st.text(max_size=300), st.text(max_size=100))
def test_no_text_upsets_a_gate(reasoning, visible):
    first_fault(edit_row(reasoning=reasoning, instruction=visible), Gates())
    first_fault(edit_row(axis="consistency", reasoning=reasoning), Gates())
