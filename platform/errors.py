"""The map of every error that AgenticRS raises on purpose.

AgenticRSError                      anything a caller may want to show to a person
├── SettingsError                   a setting is missing, malformed or insecure
├── DataError                       an input file or a dataset is not usable
│   ├── InvalidRows                 some rows break the schema (carries the report)
│   └── UnknownDataset              no stored dataset has that name
├── JobError                        the job runner itself cannot work (not: a job failed)
│   └── JobsAway                    it was lost: what was begun on it may be begun again
├── TrackingError                   the MLflow server refuses or cannot be reached
│   └── TrackingAway                it cannot be reached: what was asked may be tried again
├── LanguageModelError              there is no answer of a language model (tree in llm/port.py)
├── SandboxError                    a program in the sandbox has no result (sandbox/errors.py)
├── RegistryError                   the record of truth refuses a change
│   ├── InvalidSpec                 an agent's declaration contradicts itself
│   ├── InvalidComposition          a graph is refused, with the name of the node
│   ├── NotFound                    no row has that key
│   ├── Conflict                    somebody else changed or holds it
│   │   └── Stale                   what a change was compared with no longer serves
│   ├── LeaseLost                   somebody else may do now what this process was doing
│   └── NotAllowed                  the rules of governance forbid it
├── AgentError                      an agent cannot be built, trained or executed
└── EvolutionError                  a cycle cannot go on

Every error says what happened in its message and what to do next in ``hint``.
"""

from __future__ import annotations


class AgenticRSError(Exception):
    """Base of all intended errors; ``hint`` tells a person what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class SettingsError(AgenticRSError):
    """A setting is missing, malformed or insecure."""


class DataError(AgenticRSError):
    """An input file or a dataset is not usable."""


class UnknownDataset(DataError):
    """No stored dataset has that name."""


class JobError(AgenticRSError):
    """The job runner cannot work; a job that fails is an outcome, not an exception."""


class JobsAway(JobError):
    """The job runner was lost, with what was shared and what ran: both may be begun again."""


class TrackingError(AgenticRSError):
    """The MLflow server refuses or cannot be reached."""


class TrackingAway(TrackingError):
    """The MLflow server cannot be reached, or was lost before it had answered."""


class RunWithoutFiles(TrackingError):
    """The MLflow run has no files in the folder that was to become a version."""


class RegistryError(AgenticRSError):
    """The record of truth refuses a change."""


class InvalidSpec(RegistryError):
    """An agent's declaration contradicts itself."""


class InvalidComposition(RegistryError):
    """A composition graph is refused; the message names the node and the rule."""


class NotFound(RegistryError):
    """No row has that key."""


class Conflict(RegistryError):
    """Somebody else changed or holds the thing."""


class Stale(Conflict):
    """A change was compared with something that no longer serves: its evidence says nothing now."""


class LeaseLost(RegistryError):
    """Somebody else may do now what this process was doing: it must stop, and write nothing."""


class NotAllowed(RegistryError):
    """The rules of governance forbid the change."""


class AgentError(AgenticRSError):
    """An agent cannot be built, trained or executed."""


class EvolutionError(AgenticRSError):
    """A cycle cannot go on."""
