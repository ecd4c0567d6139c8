"""The dataset card: true to the manifest, valid for the Hub, and not to be broken by names."""

import io
import json
import re
from pathlib import Path

import pytest
import yaml
from datasets import Features
from huggingface_hub import DatasetCard, DatasetCardData
from markdown_it import MarkdownIt
from PIL import Image
from publish_cases import add_findings, change_manifest, finished_build

import pipelines.card as card_package
from pipelines.card.columns import describe_columns
from pipelines.card.facts import read_facts
from pipelines.card.histograms import draw_scores
from pipelines.card.licenses import HUB_NAMES, forbids_commerce, header_names, is_unknown
from pipelines.card.markdown import code, text
from pipelines.card.write import make_card, size_category
from pipelines.dataset_rows import dataset_schema
from pipelines.funnel import count_rejects

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
EVIL = (
    "a|b | c",
    "two\nlines\n\n| x |",
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    "[click](https://evil.example)",
    "`x`|`y`",
    "a\\",
    "a\\|b",
    "**bold** _it_ ~~no~~",
    "&lt;b&gt;",
    "\u202etxt.exe\x00\x1b[31m",
    "https://evil.example/x",
)


@pytest.fixture(scope="module", params=["gen", "edit"])
def build(request, tmp_path_factory):
    """A build of each kind with all findings; tests leave it as it is."""
    sources = (("free", "cc-by-4.0"), ("found", None))
    build = finished_build(
        tmp_path_factory.mktemp("card") / "build", request.param, sources=sources, files=2
    )
    add_findings(build)
    return build


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """Builds whose sources and models have names that would break a page."""

    def rename(manifest):
        for stage in manifest["stages"].values():
            stage["asked_model"], stage["revision"] = "".join(EVIL[:6]), EVIL[5]

    builds = []
    for names in (EVIL[:6], EVIL[6:]):
        folder = tmp_path_factory.mktemp("evil") / "build"
        builds.append(finished_build(folder, "edit", sources=tuple((name, None) for name in names)))
        add_findings(folder)
        change_manifest(folder, rename)
    return builds


def card_of(build, **more):
    return make_card(read_facts(build), **{"repo_id": "me/my-edits", "tag": "v1", **more})


def manifest_of(build):
    return json.loads((build / "manifest.json").read_text())


def tables(card):
    """The tables of a card: lists of rows, rows lists of what a reader sees, heads first."""
    found, row = [], None
    tokens = MARKDOWN.parse(card.text)
    for i, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            row = []
            found[-1].append(row)
        elif token.type in ("th_open", "td_open"):
            parts = tokens[i + 1].children
            row.append("".join(part.content for part in parts))
    return found


def table_with(card, *head):
    """The rows under the head of the one table whose head begins with these words."""
    (found,) = [table for table in tables(card) if table[0][: len(head)] == list(head)]
    return found[1:]


def numbers(cells):
    return [int(cell.replace(",", "")) for cell in cells]


# True to the manifest.


def test_the_funnel_is_that_of_the_manifest(build):
    card, manifest = card_of(build), manifest_of(build)
    funnel = manifest["funnel"]
    (came_in,) = table_with(card, "source rows")
    names = ("total", "ok", "rejected", "duplicate")
    assert numbers(came_in) == [funnel["rows"][name] for name in names]
    names = ("total", "ok", "rejected", "attempts", "prompt_tokens", "completion_tokens")
    stages = {n: part for n, part in funnel.items() if n not in ("rows", "rejects")}
    asked = {row[0]: numbers(row[1:]) for row in table_with(card, "answers")}
    assert asked == {name: [part[n] for n in names] for name, part in stages.items()}
    law = manifest["law"]
    assert f"= {law['dataset']} in the dataset + {law['rejected']} rejected" in card.text


def test_reasons_of_rejects_and_rates_of_gates_are_those_of_the_manifest(build):
    facts = read_facts(build)
    upstream = "upstream:checklists" if facts.kind == "gen" else "upstream:differences"
    stages = {"gate:leak": "gates", "gate:duplicate": "gates", "balance:quota": "dataset"}
    stages |= {upstream: "dataset", "picture:changed": "dataset"}
    rejects = dict(zip(stages, (3, 2, 4, 50, 7), strict=True))
    manifest = json.loads(json.dumps(facts.manifest))
    manifest["funnel"]["rejects"] = rejects
    scores = "gen_scores" if facts.kind == "gen" else "edit_scores"
    manifest["funnel"][scores] |= {"total": 200, "leaked": 9, "leaked_to_the_end": 3}
    lost = sum(rejects.values())
    manifest["law"] |= {"source": facts.rows + lost, "rejected": lost, "duplicates": 0}
    object.__setattr__(facts, "manifest", manifest)
    by_stage = {(stages[reason], reason): n for reason, n in rejects.items()}
    object.__setattr__(facts, "rejects", by_stage)
    card = make_card(facts, repo_id="me/my-edits", tag="v1")
    found = {row[1]: int(row[2]) for row in table_with(card, "rejected", "reason")}
    assert found == rejects
    gates = {row[0]: row[2:] for row in table_with(card, "gate")}
    scored = facts.rows + 3 + 2 + 4 + 7
    assert gates["leak"] == ["3", f"{300 / scored:.1f}%"]
    assert "9 of 200 scores asked for (4.5%) first came with a leak; rejected" in card.text
    assert gates["duplicate"][0] == "2"
    assert gates["contradiction"] == ["off", "-"]
    assert gates["contamination"] == ["off", "-"]
    assert f"Of {scored} scored rows" in card.text
    assert read_facts(build).rejects == count_rejects(build)
    assert ("grounding" in gates) == (facts.kind == "edit")


@pytest.mark.parametrize(
    ("spread", "entropy", "shown"),
    [(2.0, 2.33, "off"), (0.0, 2.33, "0"), (1.9, 2.33, "0"), (2.0, 0.0, "0"), (2.0, 2.3, "0")],
)
def test_the_agreement_gate_is_off_only_where_it_can_reject_nothing(build, spread, entropy, shown):
    facts = read_facts(build)
    manifest = json.loads(json.dumps(facts.manifest))
    manifest["recipe"]["gates"] |= {"most_vote_spread": spread, "most_entropy": entropy}
    object.__setattr__(facts, "manifest", manifest)
    card = make_card(facts, repo_id="me/my-edits", tag="v1")
    gates = {row[0]: row[2] for row in table_with(card, "gate")}
    assert gates["agreement"] == shown


def test_the_scores_balance_controls_and_audit_are_those_of_the_manifest(build):
    card, manifest = card_of(build), manifest_of(build)
    shown = [[*row[:3], *numbers(row[3:])] for row in table_with(card, "split", "axis", "rows")]
    expected = []
    for entry in manifest["scores"]:
        for label, key in (("before balance", "before"), ("in the dataset", "after")):
            if key == "after" or entry["before"] != entry["after"]:
                counts = entry[key]
                head = [entry["split"], entry["axis"] or "score", label]
                expected.append([*head, *counts, sum(counts)])
    assert shown == expected
    (balance,) = table_with(card, "split", "axis", "target share of 1 to 5")
    assert balance[2:] == ["20% / 20% / 20% / 20% / 20%", "61.7%", "314", "493", "1.3 points"]
    for row, entry in zip(table_with(card, "control"), manifest["controls"], strict=True):
        assert row[1] == (entry["axis"] or "score")
        assert numbers(row[3:5]) == [entry["n"], entry["rejected"]]
        assert row[7] == f"{entry['mean_score']:.2f}"
        if entry["expected"] is None:
            assert (row[2], row[5], row[6]) == ("-", "-", "-")
        else:
            assert row[2] == "1 to 2"
            rate = entry["as_expected"] / (entry["n"] + entry["rejected"])
            assert (int(row[5]), row[6]) == (entry["as_expected"], f"{100 * rate:.1f}%")
    audit = json.loads((build / "audit.json").read_text())
    for row, axis in zip(table_with(card, "axis", "rows"), audit["axes"], strict=True):
        assert row[:2] == [axis["axis"] or "score", str(axis["n"])]
        assert row[2] == f"{axis['mae']:.2f} (0.41 to 0.63)"
        assert row[3] == f"{axis['kappa']:.2f} (0.60 to 0.80)"
    assert f"A person was shown {audit['rows']} rows" in card.text
    told = f"scored {audit['scored']} of them; unanswered: 0; unsure: 7; gone since: 3."
    assert told in card.text
    assert ["audited by a person", "yes, see below"] in table_with(card, "at a glance")
    assert "Nobody has measured" not in card.text


def test_every_prompt_and_schema_stands_there_with_its_digest_and_its_file(build):
    facts = read_facts(build)
    card = card_of(build)
    shown = {row[1]: row[0] for row in table_with(card, "file", "sha256")}
    for stage in facts.manifest["stages"].values():
        for name, digest in stage.items():
            if name.endswith("_sha256") and digest:
                assert facts.asked_with_digests[shown[digest]] == digest
    for row, (name, stage) in zip(
        table_with(card, "stage", "model"), facts.manifest["stages"].items(), strict=True
    ):
        asked = [name, stage["asked_model"], "not stated", stage["prompt_id"], stage["schema_id"]]
        assert row[:5] == asked
        assert f"at most {stage['sampling']['max_tokens']} tokens" in row[5]


def test_only_the_judge_is_named_as_the_one_that_scored(build):
    facts = read_facts(build)
    manifest = json.loads(json.dumps(facts.manifest))
    first = next(iter(manifest["stages"].values()))
    first["asked_model"] = "the-planner"
    object.__setattr__(facts, "manifest", manifest)
    card = make_card(facts, repo_id="me/my-edits", tag="v1")
    assert ["scored by", "stub"] in table_with(card, "at a glance")


def test_a_prompt_that_has_changed_since_is_named_but_not_offered(build, tmp_path):
    facts = read_facts(build)
    manifest = json.loads(json.dumps(facts.manifest))
    stage = next(iter(manifest["stages"].values()))
    path = f"prompts/{stage['prompt_id']}.md"
    assert path in facts.asked_with
    stage["prompt_sha256"] = "0" * 64
    object.__setattr__(facts, "manifest", manifest)
    card = make_card(facts, repo_id="me/my-edits", tag="v1")
    shown = {row[1]: row[0] for row in table_with(card, "file", "sha256")}
    assert shown["0" * 64] == stage["prompt_id"]


def test_without_an_audit_or_controls_the_card_says_so(tmp_path):
    card = card_of(finished_build(tmp_path / "build"))
    assert "**Not audited.**" in card.text
    assert "No control rows ran" in card.text
    assert "were not balanced" in card.text


def test_an_audit_without_a_score_is_none(build):
    facts = read_facts(build)
    nothing = {"n": 0, "mae": None, "kappa": None}
    nothing |= {"mae_interval": [None, None], "kappa_interval": [None, None]}
    axes = [{**axis, **nothing} for axis in facts.audit["axes"]]
    object.__setattr__(facts, "audit", {**facts.audit, "axes": axes})
    card = make_card(facts, repo_id="me/my-edits", tag="v1")
    assert "**Not audited.**" in card.text
    assert ["audited by a person", "no"] in table_with(card, "at a glance")


def card_of_audit(build, axes, **more):
    facts = read_facts(build)
    axes = [{**axis, **change} for axis, change in zip(facts.audit["axes"], axes, strict=True)]
    object.__setattr__(facts, "audit", {**facts.audit, "axes": axes, **more})
    return make_card(facts, repo_id="me/my-edits", tag="v1")


@pytest.mark.parametrize("interval", [None, [None, None], [3.0, 3.0]])
def test_an_audit_that_was_given_up_is_one_in_part(build, interval):
    one = {"n": 1, "mae": 3.0, "mae_interval": interval, "kappa": None, "kappa_interval": None}
    axes = [one for _ in read_facts(build).audit["axes"]]
    card = card_of_audit(build, axes, rows=40, unanswered=40 - len(axes))
    part = f"in part: {len(axes)} of 40 rows, see below"
    assert ["audited by a person", part] in table_with(card, "at a glance")
    assert f"; unanswered: {40 - len(axes)};" in card.text
    assert "- Nobody has measured how far" in card.text


def test_an_axis_that_nobody_scored_is_a_known_limit(build):
    facts = read_facts(build)
    if facts.kind == "gen":
        return
    nothing = {"n": 0, "mae": None, "kappa": None, "mae_interval": None, "kappa_interval": None}
    card = card_of_audit(build, [{}, nothing])
    name = facts.audit["axes"][1]["axis"]
    assert f"Nobody has measured how far the scores of {name} are from a person's." in card.text
    assert any(row[1].startswith("in part: 96 of") for row in table_with(card, "at a glance"))


def test_what_share_of_the_dataset_an_audit_covers_is_told_where_it_is_known(build):
    axes = [{"share_covered": 0.875} for _ in read_facts(build).audit["axes"]]
    rows = table_with(card_of_audit(build, axes), "axis", "rows", "mean absolute error")
    assert {row[4] for row in rows} == {"87.5%"}
    assert "covered" not in card_of(build).text


def test_an_audit_of_an_earlier_dataset_is_told_as_one(build):
    facts = read_facts(build)
    object.__setattr__(facts, "audit", {**facts.audit, "audited_at": "2026-11-01T00:00:00Z"})
    card = make_card(facts, repo_id="me/my-edits", tag="v1")
    assert "written again after the audit" in card.text
    assert "written again after the audit" not in card_of(build).text


# Valid for the Hub.


def test_the_header_is_what_huggingface_hub_and_datasets_read(build):
    facts, card = read_facts(build), card_of(build)
    again = DatasetCard(str(card))
    assert str(again) == str(card)
    assert again.data.to_dict() == card.data.to_dict()
    # Without `ignore_metadata_errors`: a header that is not well formed raises.
    header = DatasetCardData(**yaml.safe_load(str(card).split("---\n")[1])).to_dict()
    assert header["license"] == ["cc-by-4.0", "unknown"]
    assert header["size_categories"] == ["n<1K"]
    assert "firm-foundry" in header["tags"]
    info = header["dataset_info"]
    assert Features._from_yaml_list(info["features"]) == facts.features
    assert {s["name"]: s["num_examples"] for s in info["splits"]} == facts.manifest["splits"]
    assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"]) > 0
    sizes = [path.stat().st_size for path in (build / "dataset").iterdir()]
    assert info["download_size"] == sum(sizes)
    data_files = header["configs"][0]["data_files"]
    assert [entry["split"] for entry in data_files] == ["train", "validation"]


def test_the_same_build_has_the_same_card(build):
    assert str(card_of(build)) == str(card_of(build))
    scores = manifest_of(build)["scores"]
    assert draw_scores(scores) == draw_scores(scores)


def test_the_histogram_is_a_picture_of_its_own_colours(build):
    image = Image.open(io.BytesIO(draw_scores(manifest_of(build)["scores"]))).convert("RGB")
    assert image.height > 300
    colours = {colour for _, colour in image.getcolors(1 << 20)}
    assert {(47, 109, 179), (185, 195, 207)} <= colours


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (370_000, "100K<n<1M"),
     (10_000_000, "10M<n<100M"), (100_000_000, "100M<n<1B")],
)  # fmt: skip
def test_a_size_has_the_hubs_name(rows, name):
    assert size_category(rows) == name


def test_every_column_of_a_dataset_has_a_meaning():
    for kind in ("gen", "edit"):
        for name, meaning in describe_columns(dataset_schema(kind).names):
            assert meaning, name
    assert describe_columns(["tomorrow"]) == [("tomorrow", "")]


def test_a_card_is_written_without_the_code_that_publishes():
    for path in Path(card_package.__file__).parent.glob("*.py"):
        assert "pipelines.publish" not in path.read_text(), path.name


# Licences.


@pytest.mark.parametrize(
    ("name", "forbids"),
    [("cc-by-nc-4.0", True), ("cc-by-nc-sa-2.0", True), ("my-nc-licence", True),
     ("research-only", True), ("intel-research", True), ("h-research", True),
     ("fair-noncommercial-research-license", True), ("apple-amlr", True),
     ("deepfloyd-if-license", True), ("academic-only", True), ("personal-use-only", True),
     ("no-commercial-use", True), ("noncommercial", True), ("researchonly", True),
     ("cc-by-ncsa", True), ("cc-by-ncnd-4.0", True), ("ccbync", True), ("eval-only", True),
     ("cc-by-4.0", False), ("ncsa", False), ("mit", False),
     ("openrail", False), ("unknown", False), (None, False)],
)  # fmt: skip
def test_licences_that_forbid_commerce_are_known_by_their_names(name, forbids):
    assert forbids_commerce(name) == forbids


def test_of_the_hubs_own_names_only_these_forbid_commerce():
    found = {name for name in HUB_NAMES if forbids_commerce(name) and not name.startswith("cc-by-")}
    research = {"h-research", "intel-research", "fair-noncommercial-research-license"}
    assert found == research | {"apple-amlr", "deepfloyd-if-license"}


@pytest.mark.parametrize(
    ("name", "unknown"),
    [(None, True), ("unknown", True), ("other", True), ("house-rules-1.0", True), ("mti", True),
     ("mit", False), ("cc-by-nc-4.0", False), ("academic-only", False)],
)  # fmt: skip
def test_a_licence_that_the_hub_does_not_know_is_unknown(name, unknown):
    assert is_unknown(name) == unknown


def test_a_licence_that_the_hub_does_not_know_is_other_in_the_header(tmp_path):
    assert header_names({"mit", None, "house-rules-1.0"}) == ["mit", "other", "unknown"]
    assert {"cc-by-4.0", "cc-by-nc-4.0", "unknown", "other"} <= HUB_NAMES
    build = finished_build(tmp_path / "build", sources=(("ours", "house-rules-1.0"),))
    card = card_of(build)
    assert (card.data.license, card.data.license_name) == ("other", "house-rules-1.0")
    assert table_with(card, "source", "licence") == [["ours", "house-rules-1.0", "unknown", "6"]]


# Not to be broken.


def test_names_of_sources_and_models_are_text_and_break_no_table(evil):
    seen = set()
    for build in evil:
        card = card_of(build)
        for table in tables(card):
            assert {len(row) for row in table} == {len(table[0])}
        sources = table_with(card, "source", "licence")
        assert sum(int(row[3]) for row in sources) == 12
        seen |= {row[0] for row in sources}
        tokens = MARKDOWN.parse(card.text)
        inline = [child for token in tokens for child in token.children or ()]
        assert not [t for t in (*tokens, *inline) if t.type.startswith("html")]
        links = [t.attrs["href"] for t in inline if t.type == "link_open"]
        assert all(re.match(r"#|asked_with/|https://arxiv\.org/", link) for link in links)
        models = {row[1] for row in table_with(card, "stage", "model")}
        assert models == {" ".join("".join(EVIL[:6]).split())}
    expected = {" ".join(name.split()) for name in EVIL}
    cleaned = "txt.exe[31m"
    assert seen == {name for name in expected if not name.startswith("\u202e")} | {cleaned}


@pytest.mark.parametrize("value", EVIL)
def test_a_value_in_a_cell_reads_as_itself(value):
    for write in (text, code):
        html = MARKDOWN.render(f"| a | b |\n| --- | --- |\n| {write(value)} | end |\n")
        cells = re.findall(r"<td>(.*?)</td>", html, re.DOTALL)
        assert len(cells) == 2
        assert cells[1] == "end"
        assert not re.search(r"<(?!/?code>)", cells[0])


@pytest.mark.browser
def test_the_card_opens_in_a_browser_with_its_picture_and_runs_nothing(evil, page, tmp_path):
    build = evil[0]
    card = card_of(build)
    (tmp_path / "scores.png").write_bytes(draw_scores(manifest_of(build)["scores"]))
    html = '<meta charset="utf-8">' + MARKDOWN.render(card.text)
    (tmp_path / "card.html").write_text(html)
    page.goto(f"file://{tmp_path}/card.html")
    assert page.evaluate("window.hit") is None
    assert page.evaluate("document.querySelectorAll('script').length") == 0
    assert page.evaluate("document.querySelector('img').naturalWidth") > 800
    heads = page.locator("h2").all_inner_texts()
    assert heads[:3] == ["Load it", "How it was made", "What became of the rows"]
