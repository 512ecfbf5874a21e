"""``agenticrs evolve``, ``cycles`` and ``proposals``."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agenticrs.ui.cli.output import JsonOption, emit, err, friendly, out, record, table, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agenticrs.registry.proposals import Verdict
    from agenticrs.registry.tables import ProposalRow, TrialRow

cycles = typer.Typer(help="Evolution cycles: list, show.", no_args_is_help=True)
proposals = typer.Typer(help="Proposals: list, show, decide, comment.", no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why (kept in the audit log)")]
Who = Annotated[str, typer.Option("--who", help="Who decides", default_factory=getpass.getuser)]


def evolve(
    kind: Annotated[
        str, typer.Option(help="individual, compositional, both or alternating")
    ] = "both",
    dataset: Annotated[str | None, typer.Option(help="Dataset (default: the setting)")] = None,
    agent: Annotated[list[str] | None, typer.Option(help="Only these agents")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Candidates for each agent")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Budget in trial seconds")] = None,
    gpu_seconds: Annotated[float | None, typer.Option(min=1, help="Budget on GPUs")] = None,
    who: Annotated[
        str, typer.Option(help="Who asks for it, and so cannot approve what comes of it")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Run evolution cycles now; one that was cut off goes on first."""
    with friendly():
        from agenticrs.evolution.alternation import NothingDue
        from agenticrs.evolution.request import KINDS
        from agenticrs.platform.errors import EvolutionError
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.cli.progress import watching
        from agenticrs.ui.summary import cycle_summary
        from agenticrs.ui.wiring import build_controller

        kinds = {str(name): found for name, found in KINDS.items()}
        if kind not in kinds:
            raise EvolutionError(f"unknown kind {kind!r}", hint=f"one of {', '.join(kinds)}")
        done: list[int] = []
        with watching(quiet=as_json) as watch:
            controller = build_controller(load_settings(dataset=dataset), watch)
            try:
                done = controller.evolve(
                    kinds[kind],
                    agents=tuple(agent or ()),
                    trials=trials,
                    seconds=seconds,
                    gpu_seconds=gpu_seconds,
                    who=who or getpass.getuser(),
                )
            except NothingDue as error:  # an answer, and no failure
                err.print(f"no cycle is due: {text(error.message)}\n[dim]{text(error.hint)}[/dim]")
        summaries = [cycle_summary(controller.services.engine, cycle_id) for cycle_id in done]
        if as_json:
            emit(summaries)
            return
        for summary in summaries:
            show_summary(summary)


def show_summary(summary: dict[str, Any]) -> None:
    """Print what a cycle did: a line, the table of agents, and what to do next."""
    out.print(
        f"[bold]cycle {summary['cycle']}[/bold] ({summary['kind']}): {summary['state']}"
        f"  [dim]{summary['outcome']}[/dim]"
    )
    if summary["why"]:
        out.print(f"[dim]{summary['kind']} because {text(summary['why'])}[/dim]")
    if summary["agents"]:
        table("agents", summary["agents"], as_json=False)
    if summary["composition"]:
        table("composition", summary["composition"], as_json=False)
    if summary["next"]:
        out.print(f"next: {summary['next']}")


@cycles.command("list")
def list_cycles(as_json: JsonOption = False) -> None:
    """List the cycles, newest first."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import cycles as store
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            rows = store.list_all(session, services.settings.surface)
        shown = [
            {
                "cycle": row.id,
                "kind": row.kind,
                "state": row.state,
                "dataset": row.dataset,
                "started": row.started_at,
                "finished": row.finished_at,
                "error": row.error,
            }
            for row in rows
        ]
        table("cycles", shown, as_json=as_json, empty="run `agenticrs evolve`")


@cycles.command("show")
def show_cycle(cycle: int, as_json: JsonOption = False) -> None:
    """Show a cycle's steps and trials."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import cycles as store
        from agenticrs.registry import trials
        from agenticrs.ui.summary import cycle_summary, plan_rows
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = store.get(session, cycle)
            steps = store.steps(session, cycle)
            tried = trials.of_cycle(session, cycle)
        if as_json:
            emit(
                {
                    **row.model_dump(mode="json"),
                    "steps": [step.model_dump(mode="json") for step in steps],
                    "trials": [trial.model_dump(mode="json") for trial in tried],
                }
            )
            return
        show_summary(cycle_summary(services.engine, cycle))
        planned = plan_rows(next((s.result for s in steps if s.name == "plan"), {}))
        if planned:
            table("plan", planned, as_json=False)
        table(
            "steps",
            [
                {"step": s.name, "state": s.state, "attempts": s.attempts, "error": s.error}
                for s in steps
            ],
            as_json=False,
        )
        table("trials", _trial_rows(tried), as_json=False)


@cycles.command("report")
def report_cycle(
    cycle: int,
    html: Annotated[bool, typer.Option("--html", help="HTML instead of Markdown")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what a cycle tried, what won, why and what it cost; and keep it in its folder."""
    with friendly():
        from agenticrs.evolution.cycle_report.contents import report_of
        from agenticrs.evolution.cycle_report.files import write
        from agenticrs.evolution.cycle_report.text import document, markdown
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        made = report_of(services.engine, cycle)
        folder = write(services.settings.home, made)
        if as_json:
            figures = {"cycle": cycle, "state": made.state, **made.figures}
            emit({**figures, "folder": str(folder), "markdown": markdown(made)})
            return
        typer.echo(document(made) if html else markdown(made))


@proposals.command("list")
def list_proposals(
    state: Annotated[str | None, typer.Option(help="waiting, approved, rejected, ...")] = None,
    as_json: JsonOption = False,
) -> None:
    """List proposals, newest first."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import proposals as store
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            found = store.list_all(session, services.settings.surface, state)
            rows = [_row(row, store.why_stale(session, row)) for row in found]
        table("proposals", rows, as_json=as_json)


@proposals.command("show")
def show_proposal(proposal: int, as_json: JsonOption = False) -> None:
    """Show a proposal with its evidence."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import proposals as store
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        with session_scope(services.engine) as session:
            row = store.get(session, proposal)
            needed = store.needed(session, row)
            given = store.approvals(session, row)
            said = store.decisions(session, proposal)
            stale = store.why_stale(session, row)
        if as_json:
            emit({**row.model_dump(mode="json"), "stale": stale})
            return
        record(f"proposal {proposal}", _row(row, stale), as_json=False)
        risk = {"level": row.risk["level"], "asked for by": row.proposed_by}
        reasons = "; ".join(reason["text"] for reason in row.risk["reasons"])
        approvals = f"{len(given)} of {needed.approvals} (policy {needed.version}: {needed.why})"
        record("risk", {**risk, "reasons": reasons, "approvals": approvals}, as_json=False)
        heard = [{"who": d.who, "verdict": d.verdict, "reason": d.reason, "at": d.at} for d in said]
        table("said", heard, as_json=False)
        evidence = row.evidence
        table(
            "rewards",
            [_compared(c) for c in (evidence["reward"], evidence["inner"])],
            as_json=False,
        )
        table("guardrails", evidence["guardrails"], as_json=False)
        _show_simulation(evidence.get("simulation"), evidence.get("unsimulated", ""))
        record("members", evidence["members"], as_json=False)


def _show_simulation(found: dict[str, Any] | None, why_not: str) -> None:
    """What simulated users say of a change, their trust score, and whether they may decide."""
    if found is None:
        if why_not:
            out.print(f"[dim]no simulated users were asked: {why_not}[/dim]")
        return
    rows = [found["reward"], *found["objectives"]]
    table(
        f"{found['users']} simulated users, {found['days']} days",
        [{"weight": found["weights"].get(c["metric"]), **_compared(c)} for c in rows],
        as_json=False,
    )
    trust = found["trust"]
    record(
        "trust",
        {
            "score": trust["score"],
            "threshold": trust["threshold"],
            **trust["parts"],
            "order_of_recommenders": trust.get("ordering"),
        },
        as_json=False,
    )
    out.print(found["says"])


def _compared(found: dict[str, Any]) -> dict[str, Any]:
    difference = found["difference"]
    return {
        "metric": found["metric"],
        "before": found["before"]["mean"],
        "after": found["after"]["mean"],
        "difference": difference["mean"],
        "interval": f"{difference['low']:+.4f} .. {difference['high']:+.4f}",
        "p_value": difference["p_value"],
    }


@proposals.command()
def approve(proposal: int, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Approve a proposal: when that is enough, it serves when the command returns."""
    _decide(proposal, "approve", reason, who, as_json)


@proposals.command("request-changes")
def request_changes(proposal: int, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """End a proposal, and say what another one should do differently."""
    _decide(proposal, "request changes", reason, who, as_json)


@proposals.command()
def comment(proposal: int, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Say something about a proposal, for whoever decides."""
    _decide(proposal, "comment", reason, who, as_json)


@proposals.command()
def reject(proposal: int, reason: Reason, who: Who, as_json: JsonOption = False) -> None:
    """Reject a proposal; the reason is kept."""
    _decide(proposal, "reject", reason, who, as_json)


def _decide(proposal: int, verdict: Verdict, reason: str, who: str, as_json: bool) -> None:
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import proposals as store
        from agenticrs.ui.wiring import build_controller

        controller = build_controller(load_settings())
        controller.decide(proposal, verdict=verdict, who=who, reason=reason)
        with session_scope(controller.services.engine) as session:
            row = store.get(session, proposal)
            stale = store.why_stale(session, row)
        record(f"proposal {proposal}", _row(row, stale), as_json=as_json)


def _trial_rows(tried: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """A row for each trial; who paid for a result, and GPU-seconds, where there are any."""
    on_gpu = any(trial.gpu_seconds for trial in tried)
    taken = any("cached_from" in trial.note for trial in tried)
    return [
        {
            "agent": trial.agent,
            "number": trial.number,
            "method": trial.method,
            "state": trial.state,
            "reward": trial.reward,
            "seconds": trial.seconds,
            **({"gpu_seconds": trial.gpu_seconds} if on_gpu else {}),
            **({"result_of_trial": trial.note.get("cached_from", trial.id)} if taken else {}),
            "error": trial.error,
        }
        for trial in tried
    ]


def _row(row: ProposalRow, stale: str) -> dict[str, Any]:
    """A proposal; ``stale`` says why it cannot be approved, empty: nothing speaks against it."""
    return {
        "proposal": row.id,
        "title": row.title,
        "state": row.state,
        "stale": stale,
        "cycle": row.cycle_id,
        "before": row.before,
        "after": row.after,
        "created": row.created_at,
    }
