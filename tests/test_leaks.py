"""Leaks: rationales that cite what their readers cannot see, and those that only sound like it."""

import asyncio

import pytest
from chain_cases import make_stages

from pipelines.edit_flow import score_edit
from pipelines.gates.leaks import COPIED_WORDS, find_leak
from pipelines.gen_flow import score_picture

REPORT = (
    "At a glance:\n- colour: the car near the old stone bridge over the river: red -> blue\n"
    "On a closer look:\n- presence: a small bird on the fence: absent -> sitting there"
)


@pytest.mark.parametrize(
    "reasoning",
    [
        "According to the difference report, the car turned blue.",
        "The list of changes mentions a bird.",
        "The provided description says that the bird is new.",
        "Item 2 is not met, so a point is lost.",
        "c3 is missing from the picture.",
        "All checklist items are met.",
        "The reported differences show that only the car changed.",
        "The bird, as noted above, was not asked for.",
        "Based on the information provided, the car is blue.",
        "Both critical items are there.",
        "As listed in the changes, a bird appeared.",
        "car: red -> blue, as it should be.",
        "The second entry is a bird.",
    ],
)
def test_a_rationale_that_cites_what_is_hidden_is_a_leak(reasoning):
    assert find_leak(reasoning, hidden=REPORT, visible="Make the car blue.")


@pytest.mark.parametrize(
    "reasoning",
    [
        "The car is blue, as the instruction asks.",
        "The differences between the two pictures are small.",
        "She holds a shopping list in her hand.",
        "The prompt describes a knight; the picture shows one.",
        "Nothing else changed.",
        "Apart from the change of the car's colour, nothing else changed.",
        "Apart from the requested change, the picture is the same.",
        "Aside from the changes to the car, there are no obvious differences elsewhere.",
        "Compared to the input image, the sky is darker.",
        "A comparison of the two images shows a new hat.",
        "The changes include the colour of the wheels, which nobody asked for.",
        "The items above the counter are unchanged.",
        "It is consistent with the context of the street.",
        "All required items are present, and all of the mentioned details are right.",
        "The picture satisfies all the criteria in the prompt.",
        "The items one would expect in a kitchen are there; the arrow points one way.",
        "The log has moss on it.",
        "The record has a red label.",
        "The Audi Q7 is red.",
        "The Citroen C4 is silver.",
        "The player wears No. 7.",
        "An R2-D2 robot stands there.",
        "The D20 dice lies on the table.",
        "The last item on the shelf is a blue vase.",
        "All of the items on the table are present.",
        "The checks on the tablecloth are red.",
        "The second bullet in the revolver is brass.",
        "Two of the points of the star are bent.",
        "The final point of the star is missing.",
        "The bark is described as rough in the prompt.",
        "It has a checker pattern.",
        "The observation deck is crowded.",
        "The differences between the source and the edited picture are limited to the hat.",
        "As mentioned in the description of the scene, it rains.",
        "The report cover shows a bar chart.",
    ],
)
def test_a_rationale_about_the_pictures_is_no_leak(reasoning):
    assert find_leak(reasoning, hidden=REPORT, visible="Make the car blue.") is None


def test_what_the_prompt_itself_names_is_no_leak():
    said = "The checklist is in the pilot's hand."
    assert find_leak(said, hidden="", visible="A pilot with a checklist") is None
    assert find_leak(said, hidden="", visible="A pilot") == "The checklist"


def test_a_copy_of_the_hidden_text_is_a_leak_unless_the_prompt_says_it_too():
    copied = "I see the car near the old stone bridge over the river."
    leak = find_leak(copied, hidden=REPORT, visible="Make it blue.")
    assert leak == "the car near the old stone bridge over"
    assert find_leak(copied[6:], hidden=REPORT, visible="Make it blue.")
    assert len(leak.split()) == COPIED_WORDS
    visible = "Paint the car near the old stone bridge over the river"
    assert find_leak(copied, hidden=REPORT, visible=visible) is None


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_a_judge_is_held_to_hide_what_it_was_shown(kind):
    asked = []

    class Run:
        stages = make_stages(kind)

        async def answer(self, stage, question, **_):
            asked.append(question)
            return {}

    seen = {"sha256": "a", "seen_sha256": "a", "seen_path": "a.png", "seen_format": "PNG"}
    if kind == "edit":
        row = {"instruction": "Make it red.", "source_image": seen, "edited_image": seen}
        differences = {"report": REPORT, "answer_id": "d"}
        work = score_edit(row, differences, "execution", run=Run(), order=0)
    else:
        item = {"kind": "subject", "critical": True, "question": "Is there a dog?"}
        row = {"prompt": "A dog.", "image": seen}
        work = score_picture(row, {"items": [item], "answer_id": "c"}, run=Run(), order=0)
    asyncio.run(work)
    (question,) = asked
    assert question.hidden in question.text
    assert question.visible == row["instruction" if kind == "edit" else "prompt"]
    assert question.hidden in (REPORT, "c1 (subject, critical): Is there a dog?")
