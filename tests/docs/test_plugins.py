"""docs/plugins.md: its example installs, is admitted, trains, and keeps every promise."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.contract import AgentContract
from agenticrs.agents.probe import AgentProbe, tiny_fold
from agenticrs.agents.trial import TrialRequest, run_trial
from agenticrs.registry.admission import admit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
MODULE = "my_package.next_item"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def example() -> types.ModuleType:
    """The documented module, importable by the name that the page gives it."""
    if MODULE not in sys.modules:
        package, module = types.ModuleType("my_package"), types.ModuleType(MODULE)
        exec(compile(blocks("python")[0], MODULE, "exec"), module.__dict__)
        sys.modules.update({"my_package": package, MODULE: module})
    return sys.modules[MODULE]


class TestTheAgentOfTheDocumentation(AgentContract):
    """Keeps every promise of an agent."""

    agent_type = example().NextItem


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> catalogue.Catalogue:
    """What is installed when a package with the documented entry point is."""
    example()
    (group,) = tomllib.loads(blocks("toml")[0])["project"]["entry-points"].items()
    assert group[0] == catalogue.GROUP
    found = catalogue.discover(
        EntryPoint(name, value, catalogue.GROUP) for name, value in group[1].items()
    )
    monkeypatch.setattr(catalogue, "installed", lambda: found)
    return found


def test_the_documented_entry_point_provides_the_agent(installed: catalogue.Catalogue) -> None:
    assert installed.broken == ()
    assert installed.agents == {"next_item": example().NextItem}


def test_the_example_is_admitted() -> None:
    implementation = example().NextItem
    report = admit(implementation.spec, AgentProbe(implementation))
    assert report.admitted, report


def test_a_trial_of_the_example_brings_back_files_that_can_be_loaded(
    installed: catalogue.Catalogue,
) -> None:
    result = run_trial(tiny_fold(), TrialRequest("next_item", {"popularity": 0.2}, seed=1))
    assert 0.0 < result.totals["ndcg@10"] <= 1.0
    assert result.artifacts is not None
    loaded = artifact.unpack(result.artifacts, "cpu")
    assert isinstance(loaded, installed.agents["next_item"])


def test_the_documented_test_runs_the_contract_on_the_example() -> None:
    example()
    names: dict[str, object] = {"__name__": "documented_test"}
    exec(compile(blocks("python")[1], "documented_test", "exec"), names)
    documented = names["TestNextItem"]
    assert isinstance(documented, type)
    assert issubclass(documented, AgentContract)
    assert documented.agent_type is example().NextItem
