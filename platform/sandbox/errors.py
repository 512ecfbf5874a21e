"""The map of what may go wrong with a program that runs in the sandbox.

SandboxError                        a program has no result
├── SandboxUnavailable              this machine cannot confine it: nothing was run
├── RefusedSource                   reading it found something that is not allowed: nothing was run
├── RefusedImport                   it wanted a module that it may not have
├── ProgramFailed                   it raised (carries the traceback)
├── ProgramKilled                   it ended by a signal, or without an answer
├── TimedOut                        it was killed when its time was over
├── OutOfMemory                     it wanted more memory than its limit
├── TooMuchOutput                   it was killed for what it printed, stored or answered
└── MalformedResult                 its answer is not what an answer may be
"""

from __future__ import annotations

from agenticrs.platform.errors import AgenticRSError


class SandboxError(AgenticRSError):
    """A program has no result."""


class SandboxUnavailable(SandboxError):
    """This machine cannot confine a program; nothing was run."""


class RefusedSource(SandboxError):
    """Reading the source found something that is not allowed; nothing was run."""


class RefusedImport(SandboxError):
    """The program wanted a module that it may not have."""


class ProgramFailed(SandboxError):
    """The program raised; ``trace`` is its traceback."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class ProgramKilled(SandboxError):
    """The program ended by a signal, or without an answer."""


class TimedOut(SandboxError):
    """The program was killed when its time was over."""


class OutOfMemory(SandboxError):
    """The program wanted more memory than its limit."""


class TooMuchOutput(SandboxError):
    """The program was killed for what it printed, stored or answered."""


class MalformedResult(SandboxError):
    """The program's answer is not what an answer may be."""
