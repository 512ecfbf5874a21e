"""The log that candidates are examined on here: the probe's own, made once."""

from __future__ import annotations

import pytest

from agenticrs.agents.probe import tiny_fold
from agenticrs.platform.data.dataset import Fold


@pytest.fixture(scope="session")
def log() -> Fold:
    """120 users and 80 items of the generated platform, the last item of each user held out."""
    return tiny_fold()
