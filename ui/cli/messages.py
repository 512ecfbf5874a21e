"""``agenticrs messages``: what people outside were told, and whether that works."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agenticrs.ui.cli.output import JsonOption, friendly, table

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Messages by webhook and e-mail: list, test.", no_args_is_help=True)


@app.command("list")
def list_messages(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the messages, newest first, with how each way took them."""
    with friendly():
        from agenticrs.platform.settings import load_settings
        from agenticrs.ui.wiring import build_services

        services = build_services(load_settings())
        rows = _rows(services.engine, services.settings.surface, limit)
        table("messages", rows, as_json=as_json, empty="nothing has happened that is told")


@app.command("test")
def send_one(as_json: JsonOption = False) -> None:
    """Send a message by every way that is set up, now, and show how that went."""
    with friendly():
        from agenticrs.platform.database import session_scope
        from agenticrs.platform.errors import SettingsError
        from agenticrs.platform.settings import load_settings
        from agenticrs.registry import outbox
        from agenticrs.ui.courier import Courier, channels_of
        from agenticrs.ui.wiring import build_services

        settings = load_settings()
        channels = channels_of(settings)
        if not channels:
            raise SettingsError(
                "no way to send messages is set up",
                hint="set AGENTICRS_WEBHOOK_URL or AGENTICRS_SMTP_URL",
            )
        engine = build_services(settings).engine
        with session_scope(engine) as session:
            outbox.post(
                session,
                key=f"test:{uuid.uuid4().hex}",
                surface=settings.surface,
                event="test",
                subject=f"A test from {settings.surface}",
                text="Messages of AgenticRS arrive here.",
            )
        Courier(engine, settings.surface, channels, settings.public_url or "").deliver()
        table("test", _rows(engine, settings.surface, 1), as_json=as_json)


def _rows(engine: Engine, surface: str, limit: int) -> list[dict[str, Any]]:
    from agenticrs.platform.database import session_scope
    from agenticrs.registry import outbox

    with session_scope(engine) as session:
        notices = outbox.latest(session, surface, limit)
        found = outbox.deliveries(session, notices)
    return [
        {
            "at": notice.at,
            "event": notice.event,
            "subject": notice.subject,
            "deliveries": "; ".join(
                f"{one.channel} {one.state}, attempt {one.attempts}"
                + (f": {one.error}" if one.error else "")
                for one in found[notice.id or 0]
            )
            or ("no way was set up" if notice.addressed else "not sent yet"),
        }
        for notice in notices
    ]
