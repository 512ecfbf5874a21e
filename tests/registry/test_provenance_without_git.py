"""Where git cannot answer, the release is the code's version; files that are not ours change none.

Beside ``test_provenance.py``, which asks repositories that can answer.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from agenticrs.registry import provenance


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    provenance.code_version.cache_clear()
    provenance.environment.cache_clear()
    yield
    provenance.code_version.cache_clear()
    provenance.environment.cache_clear()


def test_without_git_it_is_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.code_version() == version("agenticrs")


@pytest.mark.parametrize(
    "error",
    [
        subprocess.TimeoutExpired("git", 10),
        subprocess.CalledProcessError(128, "git"),
        PermissionError("git"),
    ],
)
def test_when_git_hangs_or_refuses_it_is_the_release(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fails)
    assert provenance.code_version() == version("agenticrs")


def test_git_is_asked_once_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = provenance.code_version()

    def fails(*_: Any, **__: Any) -> None:
        pytest.fail("git was asked again")

    monkeypatch.setattr(subprocess, "run", fails)
    assert provenance.code_version() == first


def test_a_file_that_git_does_not_track_leaves_the_version_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "provenance.py"
    module.write_text("")
    for arguments in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "ours"),
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert not provenance.code_version().endswith("+dirty")
    assert provenance.code_version() != version("agenticrs")
    (tmp_path / "provenance.py").unlink()
    provenance.code_version.cache_clear()
    assert provenance.code_version().endswith("+dirty"), "what is gone is a change, too"


def test_a_package_that_is_not_there_is_named_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_PACKAGES", ("agenticrs", "no-such-package-at-all"))
    found = provenance.environment()
    assert found["no-such-package-at-all"] == "not installed"
    assert found["agenticrs"] == version("agenticrs")
    assert {"python", "system"} <= found.keys()
