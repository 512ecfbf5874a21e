"""The arrangement of the repository: links, floors, and the stdlib's own ``platform``."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("platform", "agents", "evolution", "registry", "rewards", "ui")


@pytest.mark.parametrize("folder", FOLDERS)
def test_root_folders_are_linked_into_the_package_and_shadow_nothing(folder: str) -> None:
    assert (ROOT / "src" / "agenticrs" / folder).resolve() == ROOT / folder
    assert not (ROOT / folder / "__init__.py").exists()


def test_python_started_in_the_checkout_gets_its_own_platform_module() -> None:
    code = "import platform, sysconfig; print(platform.__file__); platform.system()"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert Path(out.stdout.strip()).name == "platform.py"
    assert ROOT not in Path(out.stdout.strip()).parents


def test_the_cli_answers_help_without_heavy_imports() -> None:
    code = (
        "import sys\n"
        "from agenticrs.ui.cli.main import app\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'fastapi', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def modules() -> list[str]:
    """Import name of every module in the root folders."""
    names = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT).with_suffix("")
            parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
            if "versions" in parts or relative.name == "env":
                continue  # Alembic runs these itself
            names.append(".".join(("agenticrs", *parts)))
    return names


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment_imports_every_module(tmp_path: Path) -> None:
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [
            *(uv, "build", "--quiet", "--wheel", "--no-config"),
            *("--python", sys.executable, "-o", tmp_path, ROOT),
        ],
        check=True,
        env=env,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("registry/migrations/env.py", "ui/console/templates/", "ui/static/"):
        assert any(name.startswith(f"agenticrs/{needed}") for name in names), needed
    venv = tmp_path / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, wheel], check=True
    )
    # The dependencies are those of the present environment; the project itself is the wheel's.
    site = next(p for p in sys.path if p.endswith("site-packages"))
    code = (
        f"import sys; sys.path.append({site!r})\n"
        "sys.path = [p for p in sys.path if not p.rstrip('/').endswith('/src')]\n"
        "import importlib, agenticrs\n"
        f"assert {str(venv)!r} in str(list(agenticrs.__path__)), list(agenticrs.__path__)\n"
        f"for name in {modules()!r}: importlib.import_module(name)\n"
    )
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)
