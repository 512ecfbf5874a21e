"""The demo: the whole loop on generated data, with nothing to configure."""

from __future__ import annotations

from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.settings import Settings
from agenticrs.ui.cli.evolution import show_summary
from agenticrs.ui.cli.output import emit, out
from agenticrs.ui.cli.progress import watching
from agenticrs.ui.summary import cycle_summary
from agenticrs.ui.wiring import build_controller

TRIALS = 16
"""Candidates of an agent, and five times as many compositions: all of them take seconds."""
SEARCHED = ("popularity", "itemknn", "ease", "mmr")
"""Agents that evolve here. The others take part with their defaults: a search of what is trained
epoch by epoch would take more time than everything else together."""
USERS, ITEMS = 3000, 600
"""Small enough for a few minutes on two cores, large enough for significant differences."""


def run_demo(settings: Settings, *, as_json: bool) -> None:
    """Generate data, evolve the agents and the composition, and say what to look at next.

    Run again, it goes on from where it stands: new cycles on the same data.
    """
    with watching(quiet=as_json) as watch:
        controller = build_controller(settings, watch)
        platform = generate(GeneratorConfig(n_users=USERS, n_items=ITEMS, seed=settings.seed))
        dataset = settings.dataset or "generated"
        controller.services.datasets.save(dataset, platform.raw)
        done = controller.evolve(trials=TRIALS, agents=SEARCHED, dataset=dataset)
    summaries = [cycle_summary(controller.services.engine, cycle_id) for cycle_id in done]
    if as_json:
        emit(summaries)
        return
    for summary in summaries:
        show_summary(summary)
    waiting = [summary["proposal"] for summary in summaries if summary["next"]]
    out.print("\n[bold]Open next[/bold]")
    for proposal in waiting:
        out.print(f"  agenticrs proposals show {proposal}")
        out.print(f'  agenticrs proposals approve {proposal} --reason "more value"')
    out.print("  agenticrs recommend u17         what a user would see")
    out.print("  agenticrs up                    API, console and MLflow's pages")
