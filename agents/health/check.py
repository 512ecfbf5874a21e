"""The whole examination of a candidate: its fold, its training, and how it acts, on a small sample.

To be run as a job of its own before full training: a candidate is foreign code, and may crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from agenticrs.agents import catalogue
from agenticrs.agents.health import conduct, hidden, learning, order
from agenticrs.agents.health.folds import check_fold
from agenticrs.agents.health.patient import Patient
from agenticrs.agents.health.report import Check, HealthReport
from agenticrs.agents.health.sample import sample_of
from agenticrs.agents.health.subject import Subject
from agenticrs.agents.health.watch import random_state
from agenticrs.agents.trial import TrialRequest
from agenticrs.platform.data.dataset import Fold

_GROUPS = (learning, order, hidden, conduct)


def check(fold: Fold, request: TrialRequest, input_names: Sequence[str] = ()) -> HealthReport:
    """Examine the candidate of a trial on the fold that it would be trained on.

    ``input_names`` name the agents whose lists feed it. Raises AgentError when the agent is unknown
    or its config is refused; whatever the candidate raises is a row.
    """
    agent = catalogue.build(request.agent, request.config, seed=request.seed)
    subject = Subject.of(type(agent), agent.config, request.seed, input_names)
    found = check_fold(fold)
    return HealthReport(found.rows + check_agent(fold, subject).rows) if found.passed else found


def check_agent(fold: Fold, subject: Subject) -> HealthReport:
    """Examine training and acting. A candidate that cannot be trained is asked nothing more."""
    patient = Patient(subject, sample_of(fold))
    with random_state(subject.seed):
        begins = Check("it trains", lambda: _trains(patient), "see the error").run()
        if not begins.passed:
            return HealthReport((begins,))
        asked = chain.from_iterable(group.checks(patient) for group in _GROUPS)
        return HealthReport((begins, *(question.run() for question in asked)))


def _trains(patient: Patient) -> str:
    # The answer is wanted before anything else is trained: later trainings must not change it.
    _ = patient.first, patient.answer, patient.overfitted
    return ""
