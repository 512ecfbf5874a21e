"""What a composition means for people: can it say why, whom does it show, whom does it serve worse.

Groups are users with short, middle and long histories, cut as in the evidence of proposals.
"""

from __future__ import annotations

import torch

from agenticrs.agents.evaluation import SLATE
from agenticrs.evolution.report_card.card import Figure
from agenticrs.evolution.report_card.one_pass import Pass
from agenticrs.evolution.selection import BoolArray
from agenticrs.evolution.stages import INNER, OUTER
from agenticrs.rewards.beyond_accuracy import coverage, gini, jain
from agenticrs.rewards.sources import explained


def people(found: Pass) -> tuple[Figure, ...]:
    """Explanation coverage, evenness of exposure, and gaps between groups of users."""
    rows, shown, n_items = torch.from_numpy(found.rows), found.shown, found.data.n_items
    sources = [found.handed_on(node)[rows] for node in found.sources]
    over = f"over what {len(shown):,} users see in the first {SLATE} places, all {n_items:,} items"
    return (
        Figure(
            name="explanation coverage",
            value=explained(shown, sources),
            how="share of shown items that at least one retriever of the composition had in its "
            "list for that user, so that it can be named as the source; the rest fills gaps",
        ),
        Figure(
            name=f"coverage@{SLATE}", value=coverage(shown, n_items), how=f"items shown, {over}"
        ),
        Figure(name=f"Gini@{SLATE}", value=gini(shown, n_items), how=f"0 = equal exposure; {over}"),
        Figure(name=f"Jain@{SLATE}", value=jain(shown, n_items), how=f"1 = equal exposure; {over}"),
        *_groups(found),
    )


def _groups(found: Pass) -> list[Figure]:
    lengths = found.data.histories.take(found.heldout.users).lengths.numpy()
    cuts: dict[str, BoolArray] = {
        "up to 10 items": lengths <= 10,
        "11 to 50 items": (lengths > 10) & (lengths <= 50),
        "more than 50 items": lengths > 50,
    }
    figures = []
    for metric in (OUTER, INNER):
        means = []
        for name, mask in cuts.items():
            mean = found.mean(found.result.per_user[metric], mask)
            if mean is None:
                continue
            means.append(mean.mean)
            how = f"{int((mask & found.rows).sum()):,} users by the length of their history"
            figures.append(Figure.estimated(metric, mean, how, of=name))
        several = len(means) > 1
        figures.append(
            Figure(
                name=f"largest gap in {metric}",
                value=max(means) - min(means) if several else None,
                how="the best served group less the worst; groups also differ in how hard they are"
                if several
                else "not measured: all users are in one group",
            )
        )
    return figures
