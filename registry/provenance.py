"""Where a result comes from: the code's version and the environment it ran in."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("agenticrs", "torch", "numpy", "ray", "optuna", "mlflow", "safetensors")


@cache
def code_version() -> str:
    """Short commit of the checkout, with "+dirty" when it was changed; else the release."""
    source = Path(__file__).resolve()
    here = source.parent
    try:
        # Installed below somebody else's checkout, that one's commit would say nothing of us.
        _git(here, "ls-files", "--error-unmatch", source.name)
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        dirty = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return _release("agenticrs")
    return f"{commit}+dirty" if dirty else commit


@cache
def environment() -> dict[str, str]:
    """Python, operating system, processor, and the packages that decide about results."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: _release(name) for name in _PACKAGES},
    }


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 (fixed arguments)
        ["git", "-C", str(folder), *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def _release(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
