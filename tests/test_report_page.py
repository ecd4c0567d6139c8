"""The report's page in a real browser: what a person sees, with mouse, keyboard and phone."""

import json
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import expect
from report_cases import HARMFUL, change_manifest, finished_build

from pipelines.report.write import write_report

pytestmark = pytest.mark.browser
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 740}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of both kinds; every reply and rationale in them tries to do harm."""
    # Playwright keeps a loop running in the main thread, where asyncio can then run no other.
    with ThreadPoolExecutor(1) as thread:
        return {
            kind: thread.submit(make_page, tmp_path_factory.mktemp(kind) / "build", kind).result()
            for kind in ("gen", "edit")
        }


def make_page(folder, kind):
    build = finished_build(folder, kind, rows=40, votes=3, reply=HARMFUL)
    control = {"control": "identical", "axis": None, "n": 9, "rejected": 1, "expected": [1, 2]}
    change_manifest(build, controls=[control | {"as_expected": 8, "mean_score": 1.25}])
    known = pq.read_table(build / "dataset", columns=["answer_id"])["answer_id"].to_pylist()[0]
    axis = {"axis": None, "n": 7, "mae": 0.5, "mae_interval": [0.25, 0.75], "share_covered": 0.9}
    axis |= {"kappa": None, "kappa_interval": [None, None]}
    audit = {"audited_at": "2026-01-02", "rows": 12, "axes": [axis], "file": "a", "unsure": 1}
    audit |= {"scored": 7, "answers": [known, "of another dataset"]}
    (build / "audit.json").write_text(json.dumps(audit))
    return write_report(build).path


def opened(page, path, size=DESKTOP):
    page.set_viewport_size(size)
    page.goto(path.as_uri())
    return page


def listed(page):
    return page.locator("#list button")


def found(page):
    return int(page.locator("#found").inner_text().split(" ")[0].replace(",", ""))


def rows_in(page):
    return json.loads(page.locator("#data").text_content())["rows"]


def current(page):
    return page.locator("#list [aria-current]").get_attribute("data-at")


def chosen_id(page):
    return page.locator("#detail .id").inner_text()


def test_the_audit_says_what_was_scored_of_what_and_for_what_it_holds(page, pages):
    opened(page, pages["gen"])
    assert "7 of 12 rows\nscored by a person" in page.locator("#tiles").inner_text()
    said = page.locator("#checks-body").inner_text()
    assert "0.50 (0.25 to 0.75)\t\N{EN DASH}\n" in said
    assert "this holds for the 90.0% of the rows" in said
    assert "Of an earlier dataset: 1 of 2 audited answers are no longer in it." in said
    assert "7 of 12 rows scored" in said
    # Nine were scored and one was not: that one is no success.
    assert "8 (80.0%)" in said


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_filters_change_what_is_listed_and_say_how_many(page, pages, kind):
    opened(page, pages[kind])
    rows = rows_in(page)
    assert found(page) == len(rows)
    page.select_option("[name=show]", "rejected")
    assert found(page) == sum(not row["kept"] for row in rows)
    page.select_option("[name=reason]", "picture:missing")
    assert (
        found(page)
        == listed(page).count()
        == sum(row.get("reason") == "picture:missing" for row in rows)
    )
    page.click("#clear")
    assert found(page) == len(rows)
    page.select_option("[name=score]", "5")
    assert found(page) == sum(row["score"] == 5 for row in rows)
    assert set(page.locator("#list .chip").all_inner_texts()) == {"5"}
    page.click("#clear")
    page.select_option("[name=split]", "validation")
    assert 0 < found(page) == sum(row["split"] == "validation" for row in rows)
    if kind == "edit":
        page.click("#clear")
        page.select_option("[name=axis]", "Consistency")
        assert found(page) == sum(row["axis"] == "consistency" for row in rows)


def test_search_finds_words_of_any_text_and_says_when_there_are_none(page, pages):
    opened(page, pages["gen"])
    rows = rows_in(page)
    page.keyboard.press("/")
    page.keyboard.type(f"DOGS {rows[7]['row_id'].upper()}")
    assert (found(page), chosen_id(page)) == (1, rows[7]["row_id"])
    page.fill("[name=text]", "onerror=")
    written = [row for row in rows if HARMFUL in (row.get("reasoning"), row.get("raw_reply"))]
    assert found(page) == len(written) > 0
    page.fill("[name=text]", "jkl no such word")
    assert found(page) == 0
    assert "No row is like that" in page.locator("#detail").inner_text()


def test_keys_move_through_rows_and_pages_of_rows(page, pages):
    opened(page, pages["edit"])
    first = chosen_id(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert current(page) == "2"
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("k")
    assert (current(page), chosen_id(page)) == ("0", first)
    listed(page).nth(48).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert current(page) == "50"
    assert listed(page).first.get_attribute("data-at") == "50"
    assert page.evaluate("document.activeElement.dataset.at") == "50"
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.dataset.at") == "49"


def test_letters_typed_into_the_search_are_text_and_no_commands(page, pages):
    opened(page, pages["edit"])
    page.keyboard.press("/")
    page.keyboard.type("make change jkdsbfp?")
    assert page.input_value("[name=text]") == "make change jkdsbfp?"
    page.fill("[name=text]", "")
    assert current(page) == "0"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert current(page) == "1"


def test_all_that_the_mouse_reaches_the_keyboard_reaches_and_its_focus_shows(page, pages):
    opened(page, pages["edit"])
    inside = "#rows :is(button, select, input, summary, [tabindex='0'])"
    wanted = page.evaluate(
        """q => [...document.querySelectorAll(q)]
            .filter(e => e.checkVisibility() && !e.disabled && (e.type !== 'radio' || e.checked))
            .map((e, i) => e.dataset.probe = i).length""",
        inside,
    )
    page.locator("#filters select").first.focus()
    reached = set()
    for _ in range(wanted + 10):
        probe = page.evaluate("document.activeElement.dataset.probe")
        if probe is not None:
            reached.add(probe)
            assert page.evaluate(
                """() => { const e = document.activeElement;
                    const s = getComputedStyle(e.type === 'radio' ? e.nextSibling : e);
                    return s.outlineStyle !== 'none' && s.outlineWidth !== '0px'; }"""
            )
        page.keyboard.press("Tab")
    assert len(reached) == wanted


def test_the_help_line_lists_the_keys(page, pages):
    opened(page, pages["gen"])
    assert not page.locator("#help").is_visible()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    keys = page.locator("#help kbd").all_inner_texts()
    assert {"j", "k", "d", "s", "b", "f", "p", "/", "?"} <= set(keys)


def test_swipe_uncovers_the_edited_picture_by_key_and_by_pointer(page, pages):
    opened(page, pages["edit"])
    page.keyboard.press("s")
    clip = "document.querySelector('.frame .above').style.clipPath"
    assert page.evaluate(clip) == "inset(0px 0px 0px 50%)"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(clip) == "inset(0px 0px 0px 51%)"
    box = page.locator(".frame").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + 5)
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 5)
    assert page.evaluate(clip) in ("inset(0px 0px 0px 10%)", "inset(0px 0px 0px 9%)")


def test_blink_alternates_pauses_and_flips(page, pages):
    opened(page, pages["edit"])
    page.keyboard.press("b")
    tag = page.locator(".frame .tag")
    assert tag.inner_text() == "Source"
    expect(tag).to_have_text("Edited")
    assert page.locator(".frame .above").is_visible()
    expect(tag).to_have_text("Source")
    assert not page.locator(".frame .above").is_visible()
    page.keyboard.press("p")
    now = tag.inner_text()
    page.wait_for_timeout(1000)
    assert tag.inner_text() == now
    page.keyboard.press("f")
    assert tag.inner_text() != now
    # The next row is compared in the same way, and the last one's clock has stopped.
    page.keyboard.press("j")
    assert page.locator(".modes input:checked").get_attribute("value") == "blink"


def test_blink_stands_still_for_who_wants_no_motion(page, pages):
    page.emulate_media(reduced_motion="reduce")
    opened(page, pages["edit"])
    page.keyboard.press("b")
    page.wait_for_timeout(1000)
    assert page.locator(".frame .tag").inner_text() == "Source"
    page.click("text=Flip once")
    assert page.locator(".frame .tag").inner_text() == "Edited"


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_what_a_model_wrote_is_text_and_does_nothing(page, pages, kind):
    opened(page, pages[kind])
    assert page.locator("#detail .prose").first.text_content() == HARMFUL
    if kind == "gen":
        page.select_option("[name=reason]", "gate:contradiction")
        assert page.locator("#detail .prose").nth(1).text_content() == HARMFUL
    page.select_option("[name=reason]", "picture:missing")
    assert page.locator("#detail pre").text_content() == HARMFUL
    page.select_option("[name=reason]", "")
    page.select_option("[name=show]", "rejected")
    for _ in range(5):
        page.keyboard.press("j")
    assert page.title() == "build: build report"
    assert page.locator("script").count() == 2
    assert page.locator("img[src=x]").count() == 0


def test_the_page_would_not_run_a_script_even_if_one_got_in(chromium, pages):
    context = chromium.new_context(offline=True)
    page = opened(context.new_page(), pages["gen"])
    page.evaluate(
        """() => { const s = document.createElement('script');
            s.textContent = "document.title = 'owned'"; document.body.append(s);
            const i = document.createElement('img');
            i.setAttribute('onerror', "document.title = 'owned'"); i.src = 'x';
            document.body.append(i); }"""
    )
    page.wait_for_timeout(200)
    assert page.title() == "build: build report"
    context.close()


def test_a_row_shows_what_was_asked_what_was_answered_and_where_from(page, pages):
    opened(page, pages["gen"])
    row = rows_in(page)[0]
    detail = page.locator("#detail")
    assert detail.locator(".asked").text_content() == f"Prompt{row['text']}"
    assert detail.locator("header .chip").inner_text() == f"{row['score']} of 5"
    assert detail.locator(".stacking tbody tr").count() == len(row["verdicts"])
    for verdict in row["verdicts"]:
        assert detail.get_by_text(verdict["evidence"], exact=True).count() >= 1
    bars = detail.locator(".shares tbody tr")
    assert [float(text.split()[-1]) for text in bars.all_inner_texts()] == pytest.approx(
        row["probs"], abs=6e-4
    )
    widths = page.evaluate("[...document.querySelectorAll('.shares .bar')].map(e => e.style.width)")
    assert [float(w.rstrip("%")) / 100 for w in widths] == pytest.approx(row["probs"], abs=1e-3)
    assert detail.locator(".votes .chip").all_inner_texts() == [str(v) for v in row["vote_scores"]]
    detail.locator("summary").click()
    text = detail.locator("details").inner_text()
    for answer in row["answers"]:
        assert answer["answer_id"] in text
    assert "gen_score.v1" in text
    assert row["sha256"]["image"] in text


def test_a_row_that_a_gate_rejected_shows_why_and_what_the_judge_wrote(page, pages):
    opened(page, pages["gen"])
    page.select_option("[name=reason]", "gate:contradiction")
    row = next(row for row in rows_in(page) if row["row_id"] == chosen_id(page))
    detail = page.locator("#detail")
    titles = ["Why it was rejected", "Rationale", "Checklist", "How sure"]
    assert detail.locator("h4").all_text_contents() == titles
    assert "gate:contradiction" in detail.locator(".prose").first.inner_text()
    assert detail.locator(".verdict").all_inner_texts() == [v["verdict"] for v in row["verdicts"]]
    bars = detail.locator(".shares tbody tr").all_inner_texts()
    assert [float(text.split()[-1]) for text in bars] == pytest.approx(row["probs"], abs=6e-4)
    assert detail.locator(".votes .chip").all_inner_texts() == [str(v) for v in row["vote_scores"]]
    # What came is known as it was read, not letter by letter.
    assert detail.locator("pre").count() == 0
    detail.locator("summary").click()
    text = detail.locator("details").inner_text()
    assert [one["answer_id"] in text for one in row["answers"]] == [True, True]
    assert "gen_checklist.v1" in text


def test_the_other_axis_of_an_edit_is_one_step_away(page, pages):
    opened(page, pages["edit"])
    page.select_option("[name=axis]", "Execution")
    first = chosen_id(page)
    page.click("text=See consistency")
    assert chosen_id(page) == first
    assert page.locator("#detail header strong").inner_text() == "Consistency"


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_figures_stand_in_tables_with_headers(page, pages, kind):
    opened(page, pages[kind])
    funnel = page.locator(".funnel")
    assert funnel.locator("thead th").all_inner_texts() == ["Step", "Lost", "Left", "Share left"]
    assert "picture:missing" in funnel.inner_text()
    checks = page.locator("#checks").inner_text()
    assert "8 (80.0%)" in checks
    assert "0.50 (0.25 to 0.75)" in checks
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("thead th:not([scope])").count() == 0
    charts = page.locator("svg[role=img]")
    assert charts.count() == (3 if kind == "gen" else 6)
    assert all(chart.get_attribute("aria-label") for chart in charts.all())


def test_landmarks_labels_and_news_are_there_for_a_screen_reader(page, pages):
    opened(page, pages["edit"])
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    assert page.locator("#found").get_attribute("aria-live") == "polite"
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('select, input')]
            .filter(e => !e.labels.length && !e.getAttribute('aria-label')).length"""
    )
    assert unnamed == 0
    assert page.locator("img:not([alt])").count() == 0


@pytest.mark.parametrize("kind", ["gen", "edit"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways_in_either_scheme(page, pages, kind, scheme):
    page.emulate_media(color_scheme=scheme)
    opened(page, pages[kind], PHONE)
    page.locator("summary").click()
    page.keyboard.press("?")
    keys = ["j", *(["s", "b", "d"] if kind == "edit" else [])]
    for choice in ("in the dataset", "rejected"):
        page.select_option("[name=show]", choice)
        for key in keys:
            page.keyboard.press(key)
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_both_schemes(page, pages, scheme):
    page.emulate_media(color_scheme=scheme)
    opened(page, pages["gen"])
    contrasts = page.evaluate(
        """() => {
          const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v =>
            (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const ground = e => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(', 0)')) return c; } };
          const of = q => { const e = document.querySelector(q);
            const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); };
          return Object.fromEntries(['h1', '.lead', 'nav a', '.tiles dt', '.funnel code',
            '#list .small', '#list .chip', '.badge', '.asked', '.verdict', '#help-button',
            'summary', 'tr.nothing td'].map(q => [q, of(q)]));
        }"""
    )
    assert min(contrasts.values()) >= 4.5, contrasts
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(16, 19, 23)") == (scheme == "dark")
