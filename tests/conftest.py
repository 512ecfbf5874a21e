"""What every test may use: a clean environment, an empty home, the place of real data."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers

# The same examples every time, so that a run says the same about the same code. Others are looked
# for with HYPOTHESIS_PROFILE=search, as long as one likes: its failures are kept in .hypothesis.
# How long it takes to draw them says more about the machine than about the code.
_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "same")
_SLOW_MACHINE = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=_SLOW_MACHINE
)
hypothesis.settings.register_profile(
    "search", max_examples=1000, deadline=None, suppress_health_check=_SLOW_MACHINE
)
hypothesis.settings.load_profile(_PROFILE)
if _PROFILE == "same":
    # Hypothesis draws constants out of whatever local modules are imported by then: other examples
    # for each order of the tests, for each worker, and for each line that is written elsewhere.
    vars(providers).update(is_local_module_file=lambda path: False)

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--pictures``: the tests in a browser photograph the pages for the documentation."""
    parser.addoption("--pictures", action="store_true", help="write docs/pictures/console-*.png")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Whoever draws without a generator draws the same, whichever tests ran before this one."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the person who runs the tests must not reach them."""
    for name in list(os.environ):
        if name.startswith("AGENTICRS_") and name != "AGENTICRS_DATA":
            monkeypatch.delenv(name)
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def quick_passwords() -> Iterator[None]:
    """Hashes of passwords that cost next to nothing, for whoever makes accounts and logs in."""
    from argon2 import PasswordHasher

    from agenticrs.registry import accounts

    usual = accounts._hasher
    accounts._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    yield
    accounts._hasher = usual


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real datasets; skips where there is none."""
    folder = Path(os.environ.get("AGENTICRS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}: set AGENTICRS_DATA")
    return folder
