"""The documentation is whole: links lead somewhere, dependencies and decisions are listed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in headings}


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


def test_every_page_is_on_the_map() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / target).resolve()
        for target in re.findall(r"\]\(([^)#]+)\)", index.read_text())
    }
    missing = {page.resolve() for page in PAGES} - linked - {index.resolve()}
    assert not missing


def test_every_folder_is_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    floors = ("platform", "rewards", "registry", "agents", "evolution", "ui")
    for floor in floors:
        for init in (ROOT / floor).glob("*/__init__.py"):
            assert f"`{init.parent.relative_to(ROOT).as_posix()}/`" in text


def test_every_dependency_has_a_line_and_nothing_else_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in wanted}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    listed = re.findall(r"^\| ([a-z][a-z0-9-]+) \| .{5,} \|$", text, re.MULTILINE)
    listed = [name for name in listed if name != "package"]
    assert sorted(listed) == sorted(names)


def test_every_agent_stands_beside_a_published_figure_or_says_why_not() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["entry-points"]["agenticrs.agents"]
    text = (ROOT / "docs" / "results.md").read_text()
    _, _, section = text.partition("## Every agent beside what was published")
    rows = re.findall(r"^\| (`.*`) \| .{4,} \| .{4,} \|$", section.split("\n## ")[0], re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(wanted)


def test_every_module_of_the_lock_is_pinned() -> None:
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==", line, re.IGNORECASE), line
