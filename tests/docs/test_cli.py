"""Commands in the documentation parse, and every command is documented."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agenticrs.ui.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
    if page.name != "CHANGELOG.md"
]
BUILT_IN = {"--help"}


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that reach it."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, child in below.items():
        yield from walk(child, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(app)))
GROUPS = {path[:1] for path in COMMANDS if len(path) > 1}


def split(words: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """The words that name the command, and its arguments; KeyError when there is none."""
    for length in (1, 2):
        if tuple(words[:length]) in COMMANDS:
            return tuple(words[:length]), words[length:]
    raise KeyError("agenticrs " + " ".join(words))


def options(command: Any) -> set[str]:
    """The option names of a command; of -r and --reason the long one."""
    named = [p.opts for p in command.params if p.param_type_name == "option"]
    return {max(names, key=len) for names in named} - BUILT_IN


def shell_lines() -> list[tuple[str, str]]:
    """(page, command line) of every `agenticrs ...` and `make ...` in a shell block."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words and Path(words[0]).name in ("agenticrs", "make"):
                    found.append((page.name, shlex.join([Path(words[0]).name, *words[1:]])))
    return found


@pytest.mark.parametrize(("page", "line"), shell_lines())
def test_every_documented_line_would_be_accepted(page: str, line: str) -> None:
    program, *words = shlex.split(line)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets)
        return
    path, arguments = split(words)
    # Parses the arguments as a run would (required ones, types, names), and runs nothing.
    COMMANDS[path].make_context(" ".join(path), arguments)


def test_commands_and_targets_in_the_text_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    seen = 0
    for page in PAGES:
        for inline in re.findall(r"`([^`\n]+)`", page.read_text()):
            words = inline.split()
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words[:1] == ["make"]:
                assert words[1] in targets, f"{page.name}: {inline}"
            if words[:1] == ["agenticrs"] and re.match("[a-z]", "".join(words[1:2])):
                seen += 1
                path, arguments = (
                    split(words[1:])
                    if tuple(words[1:2]) not in GROUPS
                    else (split(words[1:]) if len(words) > 2 else ((), []))
                )
                given = {word for word in arguments if word.startswith("--")}
                known = options(COMMANDS[path]) | BUILT_IN if path else set()
                assert given <= known, f"{page.name}: {inline}"
    assert seen > 20


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_a_row_with_its_options(path: tuple[str, ...]) -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    (row,) = re.findall(rf"^\| `agenticrs {' '.join(path)}`.*$", text, re.MULTILINE)
    documented = set(re.findall(r"`(--?[a-z-]+)`", row))
    assert documented == options(COMMANDS[path]) - {"--json"}


def test_every_row_is_a_command() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    rows = re.findall(r"^\| `agenticrs ([a-z -]+)`", text, re.MULTILINE)
    assert sorted(rows) == sorted(" ".join(path) for path in COMMANDS)


def test_every_command_but_up_speaks_json() -> None:
    silent = {path for path, command in COMMANDS.items() if "--json" not in options(command)}
    assert silent == {("up",)}
