"""Logs: structured events to stderr, for people or as JSON lines, never with a secret in them.

``configure`` is called once, by the command that starts the process; before that, structlog's
own defaults apply. Messages of libraries that use ``logging`` take the same way.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from pydantic import SecretStr

from agenticrs.platform.masking import MASK, is_secret_name, masked
from agenticrs.platform.settings import Settings

_NOISY = ("alembic", "apscheduler", "httpx", "mlflow", "optuna", "ray", "urllib3", "uvicorn.access")
_HANDLER = "agenticrs"


def configure(settings: Settings) -> None:
    """Send events of ``log_level`` and above to stderr; safe to repeat."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.processors.dict_tracebacks, mask_secrets, structlog.processors.JSONRenderer()]
        if settings.log_json
        else [
            structlog.processors.format_exc_info,
            mask_secrets,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(_HANDLER)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if handler.get_name() == _HANDLER]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(
            max(logging.WARNING, logging.getLevelName(settings.log_level))
        )


def get_logger(name: str) -> Any:
    """A structlog logger: ``get_logger(__name__).info("trial done", agent="bpr", seconds=3.1)``."""
    return structlog.stdlib.get_logger(name)


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Structlog processor: hide values of secret names, and secrets inside any text."""
    for name, value in event.items():
        event[name] = _clean(name, value)
    return event


def _clean(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr) or (isinstance(value, str | bytes) and is_secret_name(name)):
        return MASK
    if isinstance(value, Mapping):
        return {key: _clean(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(name, inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    return masked(str(value))
