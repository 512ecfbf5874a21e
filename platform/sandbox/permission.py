"""Whether generated code may be run at all: no, unless ``AGENTICRS_GENERATED_CODE`` says so.

Asked wherever a document enters that names such code. It stands in the environment, so that the
processes that this one starts (workers, above all) have the same answer.
"""

from __future__ import annotations

import os

VARIABLE = "AGENTICRS_GENERATED_CODE"
REFUSAL = "generated code is switched off: set AGENTICRS_GENERATED_CODE=true to allow it"
_YES = ("1", "true", "yes", "on", "t", "y")


def permitted() -> bool:
    """Whether it may. What is no clear yes is a no."""
    return os.environ.get(VARIABLE, "").strip().lower() in _YES


def permit(allowed: bool) -> None:
    """Decide it for this process and all that it starts from now on."""
    os.environ[VARIABLE] = "true" if allowed else "false"
