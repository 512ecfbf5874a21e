"""Admission of installed agents: the executable checks run as jobs, the outcome is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from agenticrs.agents import catalogue
from agenticrs.agents.probe import AgentProbe
from agenticrs.evolution.services import Services
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotFound
from agenticrs.platform.jobs.job import Failed, Job, Resources
from agenticrs.registry import agents
from agenticrs.registry.admission import AdmissionReport, Check, admit


def admit_installed(services: Services, names: Sequence[str] = ()) -> dict[str, AdmissionReport]:
    """Run the checks for these agents (empty = all that are installed) and record the outcome.

    Raises NotFound for a name that no entry point provides.
    """
    installed = catalogue.installed()
    unknown = sorted(set(names) - set(installed.agents))
    if unknown:
        raise NotFound(
            f"not installed: {', '.join(unknown)}",
            hint="installed: " + ", ".join(sorted(installed.agents)),
        )
    wanted = list(names) or sorted(installed.agents)
    jobs = [
        Job(name, report_of, (name,), Resources(time_limit=services.settings.trial_seconds))
        for name in wanted
    ]
    reports: dict[str, AdmissionReport] = {}
    with services.open_runner() as runner:
        for outcome in runner.run(jobs):
            if isinstance(outcome, Failed):
                check = Check(name="runs", passed=False, detail=outcome.message)
                report = AdmissionReport(checks=[check], admitted=False)
            else:
                report = outcome.value
            reports[outcome.key] = report
            with session_scope(services.engine) as session:
                agents.record(
                    session,
                    installed.agents[outcome.key].spec,
                    report,
                    installed.sources[outcome.key],
                )
    return {name: reports[name] for name in wanted}


def admit_first(services: Services) -> dict[str, AdmissionReport]:
    """Admit everything that is installed when the registry knows no agent yet.

    Later an agent is admitted by a person's command: what takes part is their decision.
    """
    with session_scope(services.engine) as session:
        known = bool(agents.list_all(session))
    return {} if known else admit_installed(services)


def report_of(name: str) -> AdmissionReport:
    """The job: every check of one installed agent."""
    implementation = catalogue.load_agents()[name]
    return admit(implementation.spec, AgentProbe(implementation))
