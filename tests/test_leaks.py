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
        "The second item is not met.",
        "The last point fails, as there is no bird.",
        "3/4 of the checks are passed.",
        "3 of 4 items are met; four of the five criteria hold.",
        "Item #2 is missing.",
        "The evidence says that the hat is gone.",
        "As noted above, the hat is gone.",
        "As noted in the report, the hat is gone.",
        "The bird is listed in the report.",
        "The answer was marked 'no' for the bird.",
        "The describer saw a bird.",
        "Judging by the supplied change report, only the car changed.",
        "The bird was marked as critical.",
        "Four questions are answered.",
        "On the fence: absent -> sitting there.",
        "According to the notes that I received, the hat is green.",
        "My checklist has one open item.",
        "The list names the hat.",
        "The report lists no other change.",
        "As the difference list shows, the hat is green.",
        "Every item on the checklist is satisfied.",
        "Three of the five questions are answered with no.",
        "Criterion 3 fails.",
        "The second criterion is not met.",
        "The summary of differences mentions the hat.",
        "Going by the list, only the hat changed.",
        "One critical point is missing.",
        "Two verdicts are negative.",
        "The provided differences show a green hat.",
        "The change report says so.",
        "Per the report, the hat is green.",
        "I rely on the given comparison.",
        "c2 and c4 are not met.",
        "The differences I was told of include the hat.",
        "The hat is among the listed differences.",
        "The list of observed differences has two entries.",
        "From the list it follows that the hat is green.",
        "The judgement on the hat was 'partly'.",
        "Item c3 was judged unclear.",
        "The first two checks passed, the third did not.",
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
        # Numbers, clocks and arrows.
        "3/4 of the hour have passed on the clock.",
        "The hands stand at 5/12 of the dial.",
        "About 1/2 of the items on the shelf are red.",
        "The sign of Route #66 is there.",
        "House #12 has a green door, and player #7 runs ahead.",
        "No. 7 is in front of no. 9.",
        "She passed 3 of the runners, and the bus passes 12 houses.",
        "The colour changed from red -> blue.",
        "The car's colour: red -> green.",
        "An arrow → points to the exit, and A -> B is drawn on the board.",
        # Changes, and what was noted.
        "The described change was applied to the left tree only.",
        "The mentioned removal was done.",
        "The stated change was made.",
        "As noted, the background is unchanged.",
        "There are no other changes noted.",
        "It is noted that the hat is green.",
        "A few issues found, such as blur.",
        "There are no unintended changes found, so it is a good edit.",
        "The differences are limited to the hat.",
        "None of the differences touches the car.",
        "In the sky the colour above changes to red.",
        "The evidence of blending around the brim is faint.",
        "All of the criteria are met.",
        "There are no unmet requirements.",
        # Things counted.
        "Two cats were asked for; the second item is a dog.",
        "The first item is a lamp, the last item a vase, and the next check is red.",
        "The only item on the plate is a cake.",
        "The last point of the star holds a pearl.",
        "Three figures, one unclear, stand in the fog.",
        "The sky gets a partly cloudy look.",
        "The input shows a red car, the output a blue one.",
        "I was given two pictures that differ in the hat.",
        # Texts that are things in a picture.
        "The report on the desk is open.",
        "The report lies on the table; the list in her hand is long.",
        "The checklist is in the pilot's hand.",
        "The checklist on the pilot's knee has four boxes.",
        "The names are listed below each photo, the prices are listed on the menu.",
        "The answers on the exam sheet are wrong.",
        "The wedding planner's dress is white.",
        "The checker pieces are red.",
        "The needle is on record players of wood.",
        "Letters are listed above the door.",
        # Quoted texts.
        'The sign reads "Weekly report: all checks passed".',
        "The banner says 'The verdict of the jury: no'.",
        'The door is marked "No entry", and the jar is marked No. 7.',
        "The page is titled \u201cList of changes\u201d.",
        "The list of ingredients on the box can be read.",
        "A summary of the match is shown on the screen.",
        "He checks the third point on the map.",
        "The notes on the piano are open.",
        "Two points of light are in the sky.",
        "The record shows a dog.",
        "The difference in colour is small.",
        "The description of the prompt is met.",
        "All items are on the table.",
        "The items on the list in her hand are legible.",
        "The questions on the blackboard are solved.",
        "The man answers the phone.",
        "The second of the two items is red.",
        "The change is as described in the instruction.",
        "The data on the monitor is green.",
        "The score on the board is 3/4.",
        "The calendar lists the days.",
        "Clock hands at 10:10; a 7/8 measure is written.",
        "The results are convincing.",
        "As described, the cat sits on a mat.",
        "The given instruction was followed.",
        "The check mark is green.",
    ],
)
def test_a_rationale_about_the_pictures_is_no_leak(reasoning):
    assert find_leak(reasoning, hidden=REPORT, visible="Make the car blue.") is None


def test_what_the_prompt_itself_names_is_no_leak():
    said = "The checklist is complete."
    assert find_leak(said, hidden="", visible="A pilot with a checklist") is None
    assert find_leak(said, hidden="", visible="A pilot") == "The checklist"


def test_what_the_report_names_as_a_thing_in_the_picture_is_no_leak():
    hidden = "At a glance:\n- text: the report that the man holds: blank -> signed"
    assert find_leak("The report is signed now.", hidden=hidden, visible="Sign it.") is None
    assert find_leak("The report is signed now.", hidden=REPORT, visible="Sign it.")
    assert find_leak("The checklist is complete.", hidden=hidden, visible="Sign it.")


def test_a_line_of_the_report_is_a_leak_where_the_report_has_it():
    said = "The bird: absent -> sitting there."
    assert find_leak(said, hidden=REPORT, visible="Add a bird.") == "absent -> sitting"
    assert find_leak(said, hidden="", visible="Add a bird.") is None


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
