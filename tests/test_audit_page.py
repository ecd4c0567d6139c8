"""The audit's page in a real browser: scored by keyboard alone, blind, kept over a reload."""

import json
import subprocess

import pytest
from dataset_cases import make_row, write_build
from real_servers import PYTHON, ROOT

from flows.audit import main
from pipelines.rendering import AXES

pytestmark = pytest.mark.browser
SCRIPT = '<script>window.hacked = true</script><img src=x onerror="window.hacked = true">'


@pytest.fixture(scope="module")
def edit(tmp_path_factory):
    """Six edits on two axes: 12 rows, the first edit with a script tag for an instruction."""
    more = {0: {"instruction": SCRIPT}}
    rows = [
        make_row("edit", i, axis=axis, score=1 + (i + j) % 5, **more.get(i, {}))
        for i in range(6)
        for j, axis in enumerate(AXES)
    ]
    build = write_build(tmp_path_factory.mktemp("edit") / "build", "edit", rows)
    assert main(build) == 0
    return build


@pytest.fixture(scope="module")
def gen(tmp_path_factory):
    rows = [make_row("gen", i, score=1 + i % 5) for i in range(5)]
    build = write_build(tmp_path_factory.mktemp("gen") / "build", "gen", rows)
    assert main(build) == 0
    return build


def open_page(page, build):
    page.goto((build / "audit" / "index.html").as_uri())


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def where(page):
    return page.inner_text("#where"), page.inner_text("#count")


def saved(page, tmp_path):
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def model_scores(build):
    import pyarrow.parquet as pq

    (path,) = (build / "dataset").iterdir()
    table = pq.read_table(path, columns=["row_id", "axis", "score"]).to_pylist()
    return {(row["row_id"], row["axis"]): row["score"] for row in table}


def test_all_rows_are_scored_by_keyboard_and_read_back_by_the_real_command(page, edit, tmp_path):
    open_page(page, edit)
    press(page, "Enter")
    assert where(page)[0] == "Execution 1 of 6 · row 1 of 12"
    press(page, "1", "2", "3", "4", "5", "u")
    assert page.is_visible("#part")
    assert "Was everything else left as it was?" in page.inner_text("#another")
    press(page, "3")
    assert where(page)[1] == "6 of 12 done, 1 unsure"
    press(page, "Enter", "5", "4", "3", "2", "1", "1")
    assert page.inner_text("#done") == "All rows are done. Thank you."
    path = saved(page, tmp_path)
    assert page.inner_text("#command").endswith(f"--scores {path.name}")
    given = {(s["row_id"], s["axis"]): s["score"] for s in json.loads(path.read_text())["scores"]}
    assert list(given.values()) == [1, 2, 3, 4, 5, "unsure", 5, 4, 3, 2, 1, 1]

    command = [PYTHON, "-m", "flows.audit", str(edit), "--scores", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((edit / "audit.json").read_text())
    model = model_scores(edit)
    assert (report["scored"], report["unsure"], report["unanswered"]) == (11, 1, 0)
    for axis in report["axes"]:
        errors = [
            abs(score - model[key])
            for key, score in given.items()
            if key[1] == axis["axis"] and score != "unsure"
        ]
        assert axis["n"] == len(errors)
        assert f"{axis['mae']:.2f} [" in done.stdout
        assert min(errors) <= axis["mae"] <= max(errors)


def test_arrows_go_back_and_a_score_can_be_changed(page, gen, tmp_path):
    open_page(page, gen)
    press(page, "Enter", "1", "1", "ArrowLeft")
    assert page.inner_text("#ladder button[aria-pressed=true] kbd") == "1"
    press(page, "4")
    assert where(page) == ("row 3 of 5", "2 of 5 done")
    press(page, "ArrowRight", "ArrowRight", "n")
    assert where(page)[0] == "row 3 of 5"
    press(page, "s")
    assert "3 of 5 rows have no answer" in page.inner_text("#summary")
    scores = json.loads(saved(page, tmp_path).read_text())["scores"]
    assert [score["score"] for score in scores] == [1, 4]


def test_a_reload_in_the_middle_loses_nothing(page, gen):
    open_page(page, gen)
    press(page, "Enter", "2", "u", "3")
    page.reload()
    assert where(page) == ("row 4 of 5", "3 of 5 done, 1 unsure")
    press(page, "5", "5")
    assert where(page)[1] == "5 of 5 done, 1 unsure"
    page.reload()
    assert page.is_visible("#save")


def test_what_is_kept_is_of_this_audit_alone(page, gen, tmp_path):
    open_page(page, gen)
    press(page, "Enter", "2", "2")
    other = write_build(tmp_path / "b", "gen", [make_row("gen", i) for i in range(3)])
    assert main(other, seed=5) == 0
    open_page(page, other)
    assert where(page)[1] == "0 of 3 done"
    open_page(page, gen)
    assert where(page)[1] == "2 of 5 done"


def test_nothing_in_the_page_tells_a_score(page, edit):
    open_page(page, edit)
    data = page.evaluate("JSON.parse(document.getElementById('data').textContent)")
    assert {key for row in data["rows"] for key in row} == {"row_id", "axis", "text", "pictures"}
    source = (edit / "audit" / "index.html").read_text()
    for said in ("reasoning", "Report", "score_probs", "vote", "score_expected", "strata", "drawn"):
        assert said not in source


def test_a_script_tag_in_an_instruction_is_text(page, edit):
    open_page(page, edit)
    press(page, "Enter")
    seen = []
    for _ in range(6):
        seen.append(page.inner_text("#text"))
        press(page, "ArrowRight")
    assert SCRIPT in seen
    assert page.evaluate("window.hacked") is None
    assert page.locator("#text *").count() == 0


def test_source_and_edited_picture_blink_in_one_place(page, edit):
    open_page(page, edit)
    press(page, "Enter")
    captions = page.locator("#pictures figcaption:visible")
    assert captions.all_inner_texts() == ["Source", "Edited"]
    press(page, "Space")
    assert captions.all_inner_texts() == ["Source"]
    press(page, "Space")
    assert captions.all_inner_texts() == ["Edited"]
    press(page, "b")
    for name in ("Source", "Edited", "Source"):
        page.locator("figure.on figcaption", has_text=name).wait_for(timeout=5000)
    press(page, "Escape")
    assert captions.all_inner_texts() == ["Source", "Edited"]
    assert page.evaluate(
        "[...document.querySelectorAll('#pictures img')].every((i) => i.naturalWidth == 48)"
    )


def test_a_key_held_down_scores_one_row(page, gen):
    open_page(page, gen)
    press(page, "Enter")
    page.keyboard.down("3")
    page.keyboard.down("3")
    page.keyboard.down("3")
    page.keyboard.up("3")
    assert where(page)[1] == "1 of 5 done"


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_it_fits_a_phone_and_works_by_touch(chromium, kind, request):
    build = request.getfixturevalue(kind)
    context = chromium.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    open_page(page, build)
    page.tap("#begin")
    page.tap("#ladder button:has-text('2')")
    assert where(page)[1].startswith("1 of")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_dark(chromium, gen, scheme):
    context = chromium.new_context(color_scheme=scheme)
    page = context.new_page()
    open_page(page, gen)
    names = ("color", "backgroundColor")
    colours = [page.evaluate(f"getComputedStyle(document.body).{name}") for name in names]
    ink, ground = (sum(int(part) for part in rgb[4:-1].split(",")) / 3 for rgb in colours)
    dark, bright = (ink, ground) if scheme == "light" else (ground, ink)
    assert dark < 60 < 200 < bright
    context.close()
