"""What a preference build counts for its manifest: rollouts, rows by label, comparisons."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pipelines.preferences.mining import Mined
from pipelines.preferences.rollouts import usable_rollouts
from pipelines.preferences.rules import Pair, PairRules, is_correct

# How two orders answered, the first place meaning the rationale that was shown first.
_FIRST_TWICE = ("first", "first")
_SECOND_TWICE = ("second", "second")


@dataclass
class Tally:
    """Counts over all rows; add each once, then its pairs that balance kept.

    `rollouts`: by what they are, `correct`, `wrong` or a reason. `labels`: by axis and label, rows
    and how they ended. `compared`: pairs of rationales by what came of the two orders.
    """

    rollouts: Counter[str] = field(default_factory=Counter)
    labels: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)
    compared: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, mined: Mined, rules: PairRules) -> None:
        """Count a row's rollouts and comparisons."""
        label = mined.row["label_score"]
        answer = mined.answer
        if answer is not None and answer["status"] == "ok":
            for rollout in usable_rollouts(answer):
                right = is_correct(rollout.score, label, rules)
                self.rollouts["correct" if right else "wrong"] += 1
            self.rollouts.update(one["reason"] for one in answer["rollouts"] if one["reason"])
        for comparison in mined.comparisons:
            said = tuple(found.get("better") for found in comparison.answers)
            if isinstance(comparison.outcome, Pair):
                self.compared["agreed"] += 1
            elif said == _FIRST_TWICE:
                self.compared["orders_disagree:the_first_twice"] += 1
            elif said == _SECOND_TWICE:
                self.compared["orders_disagree:the_second_twice"] += 1
            else:
                self.compared[comparison.outcome.removeprefix("compare:")] += 1

    def end(self, mined: Mined, kept: list[Pair], reason: str | None) -> None:
        """Count how a row ended: with pairs, hard, or unpaired with a reason."""
        how = "paired" if kept else "hard" if mined.hard else "unpaired"
        key = (mined.row["axis"] or "gen", mined.row["label_score"])
        counts = self.labels.setdefault(key, Counter())
        counts.update({"rows": 1, how: 1, "pairs": len(kept)})
        self.kinds.update(pair.kind for pair in kept)
        if reason:
            self.reasons[reason] += 1

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        ends = ("rows", "pairs", "paired", "hard", "unpaired")
        return {
            "rollouts": dict(sorted(self.rollouts.items())),
            "compared": dict(sorted(self.compared.items())),
            "pairs": dict(sorted(self.kinds.items())),
            "unpaired": dict(sorted(self.reasons.items())),
            "labels": [
                {"axis": axis, "label": label, **{name: counts[name] for name in ends}}
                for (axis, label), counts in sorted(self.labels.items())
            ],
        }
