"""The documentation says what is there: examples run, commands exist, nothing is left out."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agenticrs.agents.contract import AgentContract

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def example() -> types.ModuleType:
    """The plug-in of docs/plugins.md as a module."""
    name = "example_plugin"
    if name not in sys.modules:
        module = types.ModuleType(name)
        sys.modules[name] = module
        code = compile(blocks(ROOT / "docs" / "plugins.md", "python")[0], name, "exec")
        exec(code, module.__dict__)  # the documentation's own code
    return sys.modules[name]


class TestThePluginOfTheDocumentation(AgentContract):
    """Keeps every promise of an agent."""

    agent_type = example().NextItem


def commands() -> list[list[str]]:
    """Every `agenticrs ...` line of the shell blocks, without environment and comments."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                while words and "=" in words[0]:
                    words.pop(0)
                if words and words[0] == "agenticrs":
                    found.append(words[1:])
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_documented_command_and_option_exists(words: list[str]) -> None:
    from agenticrs.ui.cli.main import app

    names = [word for word in words if re.fullmatch(r"[a-z]+", word)]
    depth = 2 if names[0] in ("data", "agents", "cycles", "proposals") else 1
    shown = CliRunner().invoke(app, [*names[:depth], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.output


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert used
    assert used <= targets


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_dependency_is_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for requirement in wanted:
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name in text, f"docs/dependencies.md does not say why {name} is here"


def test_every_module_of_the_lock_is_pinned() -> None:
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==", line, re.IGNORECASE), line
