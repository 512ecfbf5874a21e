"""Keeps a cycle's report: as files in its folder, and as a run in MLflow when it has ended.

A report only describes. What goes wrong while it is kept is logged and changes nothing of the
cycle; `agenticrs cycles report` makes it again.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from agenticrs.evolution.cycle_report.blocks import Report
from agenticrs.evolution.cycle_report.contents import report_of
from agenticrs.evolution.cycle_report.text import document, markdown
from agenticrs.evolution.services import Services
from agenticrs.platform.errors import AgenticRSError
from agenticrs.platform.logs import get_logger
from agenticrs.platform.tracking.port import RunRecord

_WRONG = (AgenticRSError, SQLAlchemyError, OSError, LookupError, TypeError, ValueError)
"""What may go wrong with a report without its cycle."""
_log = get_logger(__name__)


def keep(services: Services, cycle_id: int) -> Path | None:
    """Write the report as the rows are now; None when that did not work, which is logged."""
    try:
        report = report_of(services.engine, cycle_id)
        folder = write(services.settings.home, report)
        if report.state in ("done", "failed"):
            _log_run(services, report)
    except _WRONG as error:
        _log.warning("no report of the cycle was kept", cycle=cycle_id, error=str(error))
        return None
    return folder


def write(home: Path, report: Report) -> Path:
    """The files in the cycle's folder; readers see the old one or the new one."""
    folder = home / "cycles" / str(report.cycle)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files_of(report).items():
        beside = folder / f"{name}.{os.getpid()}.new"
        beside.write_bytes(content)
        beside.replace(folder / name)
    return folder


def files_of(report: Report) -> dict[str, bytes]:
    """Name -> content."""
    pictures = {f"{picture.name}.svg": picture.svg.encode() for picture in report.pictures}
    return {
        "report.md": markdown(report).encode(),
        "report.html": document(report).encode(),
        **pictures,
    }


def _log_run(services: Services, report: Report) -> None:
    experiment, number = f"{report.surface}.cycles", str(report.cycle)
    if services.tracking.find_run(experiment, "cycle", number) is not None:
        return
    services.tracking.log_run(
        experiment,
        RunRecord(
            name=f"cycle-{number}",
            metrics=report.figures,
            tags={"cycle": number, "kind": report.kind, "state": report.state},
            artifacts={f"report/{name}": content for name, content in files_of(report).items()},
        ),
    )
