"""``agenticrs demo``, ``up`` and ``config``."""

from __future__ import annotations

from agenticrs.ui.cli.output import JsonOption, friendly, table


def demo(
    as_json: JsonOption = False,
) -> None:
    """Watch a recommender improve itself on a generated video platform."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.demo import run_demo

        run_demo(load_settings(dataset="generated"), as_json=as_json)


def up() -> None:
    """Start API, console, MLflow and the schedule together; Ctrl-C stops them all."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.services import up as start

        start(load_settings())


def config(as_json: JsonOption = False) -> None:
    """Show every setting and where its value came from; secrets are masked."""
    with friendly():
        from dataclasses import asdict

        from agenticrs.platform.settings import load_settings, provenance

        rows = [asdict(source) for source in provenance(load_settings())]
        table("settings", rows, as_json=as_json)
