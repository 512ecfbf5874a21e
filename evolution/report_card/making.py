"""Makes the report card of a composition: five dimensions, measured over the real runtime.

The validation part of the split is used; the test part stays sealed. Nothing is written to the
registry.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace

from agenticrs.evolution.cycle import Cycle, Watcher
from agenticrs.evolution.outer_reward.credit import credit_of
from agenticrs.evolution.report_card.alignment import alignment
from agenticrs.evolution.report_card.card import Dimension, Figure, ReportCard
from agenticrs.evolution.report_card.change import history, newer_data
from agenticrs.evolution.report_card.costs import costs
from agenticrs.evolution.report_card.faults import faults, survivals
from agenticrs.evolution.report_card.one_pass import Pass
from agenticrs.evolution.report_card.people import people
from agenticrs.evolution.report_card.quality import cost, quality
from agenticrs.evolution.request import EvolveRequest
from agenticrs.evolution.services import Services
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry import compositions, promotion, trials, versions
from agenticrs.registry.graph import Graph, validate
from agenticrs.registry.tables import CompositionRow, VersionRow, utc_now

Members = Mapping[str, VersionRow]


def report_on(
    services: Services,
    composition: int | None = None,
    *,
    shapley: bool = False,
    watch: Watcher = lambda event: None,
) -> ReportCard:
    """Measure a composition of the surface, without a number the one that serves.

    Credit is leave-one-out, which serving without each agent finds anyway; with ``shapley``
    coalitions are measured besides. Raises EvolutionError when nothing serves, a node fails, or a
    member learnt under another split, so that its lists would be judged on rows that it has seen;
    NotFound for a number that does not exist; InvalidComposition when a member is no longer
    admitted.
    """
    begin = time.perf_counter()
    row, members = _asked_for(services, composition)
    graph = Graph.model_validate(row.graph)
    with services.open_runner() as runner:
        # One runner for both snapshots: starting Ray takes seconds.
        working = replace(services, open_runner=lambda: nullcontext(runner))
        with _cycle(working, row.dataset, _snapshot(services, row, members), watch) as cycle:
            validate(graph, cycle.all_specs)
            cycle.say(f"composition {row.number} for {len(cycle.fold.users):,} held-out users")
            found = Pass.of(cycle, graph, lists=True)
            survived = survivals(cycle, graph)
            credit = credit_of(cycle, graph) if shapley else None
            newer = _on_newest(working, found, watch)
            with session_scope(services.engine) as session:
                seen = history(session, row.surface)
                spent = costs(session, members, row.surface, row.number)
            return ReportCard(
                surface=row.surface,
                composition=row.number,
                dataset=row.dataset,
                fingerprint=cycle.fingerprint,
                split=cycle.request.split,
                users=int(found.rows.sum()),
                made_at=utc_now(),
                dimensions=(
                    _dimension("quality", "Task quality", quality(found, members)),
                    _dimension(
                        "coordination",
                        "Coordination",
                        (*cost(found), *alignment(found, members, survived, credit)),
                    ),
                    _dimension(
                        "system",
                        "Faults and change",
                        (*faults(found, survived), *newer_data(found, newer), *seen),
                    ),
                    _dimension("human", "People", people(found)),
                    _dimension("economy", "Economy", spent),
                ),
                seconds=round(time.perf_counter() - begin, 2),
            )


def _asked_for(services: Services, number: int | None) -> tuple[CompositionRow, Members]:
    surface, split = services.settings.surface, services.settings.split
    with session_scope(services.engine) as session:
        row = (
            promotion.serving(session, surface)
            if number is None
            else compositions.get(session, surface, number)
        )
        if row is None:
            raise EvolutionError(
                f"nothing serves on {surface!r}", hint="name a composition, or `agenticrs evolve`"
            )
        members = {
            name: versions.get(session, surface, name, version)
            for name, version in Graph.model_validate(row.graph).agents().items()
        }
        for name, version in members.items():
            learnt = trials.get(session, version.trial_id).split if version.trial_id else split
            if learnt != split:
                raise EvolutionError(
                    f"{name} learnt under split {learnt!r}: under {split!r} it would be judged on "
                    "rows that it has seen",
                    hint=f"AGENTICRS_SPLIT={learnt}",
                )
    return row, members


def _snapshot(services: Services, row: CompositionRow, members: Members) -> str:
    """The composition's snapshot, or a member's with more rows: what it learnt is no news to it.

    Whoever moves an alias in MLflow puts a newer version into an older composition.
    """
    own = row.fingerprint
    known = {own, *(v.fingerprint for v in members.values() if v.dataset == row.dataset)}
    if len(known) == 1:
        return own
    rows = {one: len(services.datasets.load(row.dataset, one).interactions) for one in known}
    return max(known, key=lambda one: (rows[one], one == own))


def _on_newest(services: Services, found: Pass, watch: Watcher) -> Pass | None:
    """The same composition on the dataset's newest snapshot; None where that is the same."""
    name = found.cycle.dataset_name
    newest = services.datasets.fingerprints(name)[-1]
    if newest == found.cycle.fingerprint:
        return None
    with _cycle(services, name, newest, watch) as cycle:
        cycle.say("the same on the newest snapshot")
        return Pass.of(cycle, found.graph)


def _cycle(services: Services, dataset: str, fingerprint: str, watch: Watcher) -> Cycle:
    """What the measuring modules ask for, without a row: it evolves nothing."""
    settings = services.settings
    return Cycle(
        services=services,
        id=0,
        surface=settings.surface,
        dataset_name=dataset,
        fingerprint=fingerprint,
        request=EvolveRequest(
            kind="individual", trials=1, seconds=1, split=settings.split, seed=settings.seed
        ),
        watch=watch,
    )


def _dimension(key: str, title: str, figures: tuple[Figure, ...]) -> Dimension:
    return Dimension(key=key, title=title, figures=figures)
