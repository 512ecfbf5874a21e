"""A scripted endpoint for every test that wants one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.evolution.proposer.situation import Situation
from tests.llm_server import endpoint


@pytest.fixture
def on_server() -> Iterator[Situation]:
    with endpoint() as running:
        yield Situation(running)
