"""What each column of a published dataset means, for readers who have nothing but the card."""

from __future__ import annotations

from collections.abc import Iterable

# In the order of the columns; a name that ends in "*" or begins with it stands for several.
MEANINGS: tuple[tuple[str, str], ...] = (
    ("row_id", "id of the source row; the same content has the same id everywhere"),
    ("parent_id", "of a rewritten row: the row whose instruction was rewritten"),
    ("rewrite", "of a rewritten row: the way in which its instruction departs from the edit"),
    ("rewrites_id", "of a rewritten row: identity of the answer that is its instruction"),
    ("image", "the picture that was judged, its original bytes"),
    ("source_image", "the picture before the edit, its original bytes"),
    ("edited_image", "the picture after the edit, its original bytes"),
    ("prompt", "what the picture was to show"),
    ("instruction", "what the edit was to do"),
    (
        "axis",
        "what is scored: `execution` (was the instruction carried out) or "
        "`consistency` (was all else left alone)",
    ),
    (
        "verdicts",
        "for each item of the checklist, in order: evidence, and yes, partly, no or unclear",
    ),
    ("reasoning", "the judge's reasons, written before the score"),
    ("score", "the judge's score, 1 (worst) to 5 (best); of several votes the majority"),
    ("score_probs", "probabilities of the scores 1 to 5 at the score token, or null"),
    ("score_expected", "mean score under `score_probs`"),
    ("vote_scores", "every vote"),
    ("vote_spread", "standard deviation of the votes, in score points"),
    (
        "label_mass",
        "probability that the judge, free to say anything, goes on with a score where it gave one; "
        "null where that was not asked (a sample)",
    ),
    ("checklist", "what the picture must show, listed before any picture was seen"),
    ("obvious", "differences between the two pictures that one sees at once"),
    ("detailed", "differences that one sees on a second look"),
    ("report", "the differences as the judge read them"),
    ("*_seen_sha256", "sha256 of the picture as the model saw it (scaled, where it was too large)"),
    ("notes", "what was done to a picture for the model"),
    ("source", "where the row came from"),
    ("source_index", "its number there"),
    ("source_id", "its id there"),
    ("license", "licence of that source, null where it is not known"),
    ("metadata", "further columns of the source, as JSON"),
    ("answer_id", "identity of the answer: pictures, texts, prompts, schema, model, sampling"),
    ("model", "the model as its server names it"),
    ("asked_model", "the model that was asked for"),
    ("revision", "its revision, where one was stated"),
    ("prompt_id", "the prompt"),
    ("schema_id", "the schema that the reply had to satisfy"),
    ("prompt_sha256", "of the prompt's file"),
    ("system_sha256", "of the system text's file"),
    ("retry_sha256", "of the file of the text that asks again"),
    ("schema_sha256", "of the schema's file"),
    ("sampling", "temperature, top_p, votes, limits, as JSON"),
    ("attempts", "replies it took to get a usable one"),
    ("faults", "what was wrong with the earlier ones"),
    ("finish_reason", "why the reply ended"),
    ("prompt_tokens", "tokens read"),
    ("completion_tokens", "tokens written"),
    ("answered_at", "when, in seconds since 1970"),
    ("took_s", "how long it took, in seconds"),
    ("package_version", "version of Firm Foundry"),
    ("git_commit", "its commit"),
    ("*_sha256", "sha256 of the original bytes of a picture"),
    ("checklists_*", "the same provenance, of the checklist"),
    ("differences_*", "the same provenance, of the report of differences"),
)


def describe_columns(names: Iterable[str]) -> list[tuple[str, str]]:
    """Name (or pattern) and meaning for these columns, each pattern once, in their order.

    A column that nobody has described yet stands there without a meaning.
    """
    plain = {name: meaning for name, meaning in MEANINGS if "*" not in name}
    patterns = [(name, meaning) for name, meaning in MEANINGS if "*" in name]
    found: dict[str, str] = {}
    for column in names:
        if column in plain:
            found.setdefault(column, plain[column])
            continue
        for pattern, meaning in patterns:
            start, end = pattern.split("*")
            if column.startswith(start) and column.endswith(end):
                found.setdefault(pattern, meaning)
                break
        else:
            found.setdefault(column, "")
    return list(found.items())
