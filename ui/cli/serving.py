"""``agenticrs versions``, ``rollback`` and ``recommend``."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from agenticrs.ui.cli.output import JsonOption, emit, friendly, out, record, table


def versions(
    agent: Annotated[str | None, typer.Argument(help="Agent (default: compositions)")] = None,
    as_json: JsonOption = False,
) -> None:
    """List versions: of compositions, or of one agent; * marks what serves."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import compositions, promotion
        from agenticrs.registry import versions as store
        from agenticrs.registry.graph import Graph
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        surface = services.settings.surface
        with session_scope(services.engine) as session:
            serving = promotion.serving(session, surface)
            graph = Graph.model_validate(serving.graph) if serving else None
            if agent is None:
                rows: list[dict[str, Any]] = [
                    {
                        "composition": row.number,
                        "serves": "*" if serving and row.number == serving.number else "",
                        "members": ", ".join(
                            f"{name}:{number}"
                            for name, number in Graph.model_validate(row.graph).agents().items()
                        ),
                        "created": row.created_at,
                    }
                    for row in compositions.all_of(session, surface)
                ]
            else:
                pinned = graph.agents().get(agent) if graph else None
                rows = [
                    {
                        "agent": row.agent,
                        "version": row.number,
                        "serves": "*" if row.number == pinned else "",
                        "config": row.config,
                        "seed": row.seed,
                        "data": row.fingerprint,
                        "created": row.created_at,
                    }
                    for row in store.of_agent(session, surface, agent)
                ]
        table("versions", rows, as_json=as_json, empty="run `agenticrs evolve`")


def rollback(
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why (kept in the audit log)")],
    who: Annotated[str, typer.Option("--who", help="Who decides", default_factory=getpass.getuser)],
    to: Annotated[int | None, typer.Option(help="Composition (default: the one before)")] = None,
    as_json: JsonOption = False,
) -> None:
    """Let an earlier composition serve again."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import promotion
        from agenticrs.ui.wiring import build_controller

        controller = build_controller(load_settings())
        controller.rollback(to=to, who=who, reason=reason)
        with session_scope(controller.services.engine) as session:
            now = promotion.serving(session, controller.surface)
        record("rolled back", {"composition": now.number if now else None}, as_json=as_json)


def recommend(
    user: Annotated[str, typer.Argument(help="User id of the dataset (unknown ids are cold)")],
    k: Annotated[int, typer.Option("-k", min=1, max=100)] = 10,
    trace: Annotated[bool, typer.Option("--trace", help="Show what each agent did")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the serving composition, in this process."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.serving import ServingModel
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        model = ServingModel(
            services.engine, services.tracking, services.datasets, services.settings
        )
        model.refresh()
        answer = model.recommend(user, k)
        items = [{"rank": i, **item.as_dict()} for i, item in enumerate(answer.items, 1)]
        steps = [step.as_dict() for step in answer.trace]
        if as_json:
            emit({"composition": answer.composition, "items": items, "trace": steps})
            return
        table(f"user {user}, composition {answer.composition}", items, as_json=False)
        if trace:
            table("trace", steps, as_json=False)
        out.print("")
