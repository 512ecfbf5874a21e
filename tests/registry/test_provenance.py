"""The code's version is that of this checkout, never of one that happens to lie around it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenticrs.registry import provenance


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the module inside an unrelated repository, as after an installation there."""
    git(tmp_path, "init", "-q")
    (tmp_path / "theirs.txt").write_text("x")
    git(tmp_path, "add", "theirs.txt")
    git(tmp_path, "commit", "-qm", "theirs")
    module = tmp_path / "site-packages" / "provenance.py"
    module.parent.mkdir()
    shutil.copy(str(provenance.__file__), module)
    monkeypatch.setattr(provenance, "__file__", str(module))
    provenance.code_version.cache_clear()
    yield tmp_path
    provenance.code_version.cache_clear()


def test_an_unrelated_repository_around_it_is_not_its_version(elsewhere: Path) -> None:
    assert provenance.code_version() == provenance.environment()["agenticrs"]


def test_a_repository_that_tracks_it_is(elsewhere: Path) -> None:
    git(elsewhere, "add", "-A")
    git(elsewhere, "commit", "-qm", "ours")
    commit = git(elsewhere, "rev-parse", "--short=12", "HEAD")
    assert provenance.code_version() == commit
    (elsewhere / "theirs.txt").write_text("changed")
    provenance.code_version.cache_clear()
    assert provenance.code_version() == f"{commit}+dirty"


def test_the_environment_names_what_decides_about_results() -> None:
    assert {"python", "system", "torch", "numpy"} <= provenance.environment().keys()
