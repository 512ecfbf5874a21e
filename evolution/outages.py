"""Services that are away for a while, told apart from what is wrong, and waited for.

MLflow, the database or Ray may be started again in the middle of a cycle. Nothing is wrong with
the cycle then: its steps can be repeated, so it goes on from its last row as soon as they answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from agenticrs.platform.database import is_away
from agenticrs.platform.errors import JobsAway, TrackingAway
from agenticrs.platform.logs import get_logger

T = TypeVar("T")
WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds before each further attempt: two minutes in all."""
_log = get_logger(__name__)


def is_outage(error: BaseException) -> bool:
    """Whether the same may succeed later: MLflow, Ray or the database does not answer now."""
    return isinstance(error, (TrackingAway, JobsAway)) or is_away(error)


def through(
    do: Callable[[], T],
    tell: Callable[[Exception, float], None] = lambda error, wait: None,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """What ``do`` returns, tried again after an outage; ``tell`` hears of each, and of the wait.

    Raises what ``do`` raises: at once when it is no outage, else when the last attempt fails.
    """
    for wait in WAITS:
        try:
            return do()
        except Exception as error:
            if not is_outage(error):
                raise
            _log.warning("a service is away", error=str(error), again_after=wait)
            tell(error, wait)
            pause(wait)
    return do()
