"""Every error that Trilemma raises on purpose; each message says what happened and what to do next.

TrilemmaError
├── SettingsError            the configuration file or an environment variable is wrong
├── CatalogError             weights cannot be found, read or made
│   ├── InvalidArtifactError     not a usable weights file (truncated, renamed, empty, unsupported)
│   ├── QuantizeError            a ladder step failed
│   └── HubError                 the model hub did not give what was asked
├── EngineError              an engine cannot do what was asked
│   ├── EngineUnavailableError   its package or hardware is missing
│   ├── LoadError                it refused the artifact
│   ├── ContextError             a prompt or context does not fit
│   ├── NotOfferedError          it does not give what a suite needs
│   └── OutOfMemoryError         it needs more memory than there is
├── MeterError               a meter cannot be read
├── SuiteDataError           questions are missing or malformed
├── SandboxError             programs that a model wrote cannot be run here
├── ProfileError             a device profile is unknown or wrong
├── PresetError              a use-case preset is unknown or wrong
├── StudyError               a study cannot be run as asked
├── ReportError              a report cannot be made of a study, or not be printed
├── InteropError             another tool's file cannot be read, or nothing in it can be taken
├── PlanError                a fleet cannot be planned as asked
├── AccessError              the person may not do it, or has no share left for it
│   ├── SignInError              they must log in, or log in again
│   └── LimitError               it goes past what one person may take
├── RunError                 a run failed
│   ├── DoesNotFitError          it takes more memory than the emulated device has
│   ├── RunTimeoutError          it stopped making progress
│   └── RunCancelledError        the user stopped it
└── StoreError               the database or data folder cannot be used
    ├── DatabaseTooNewError      written by a newer Trilemma
    ├── DatabaseUnavailableError it is locked, restarted or not reached: asking again may help
    ├── NotFoundError            no such study, run or artifact
    └── DiskFullError            no space left
"""

from __future__ import annotations

import errno


class TrilemmaError(Exception):
    """Base of every error raised on purpose.

    Args:
        message: What happened, in one sentence.
        hint: What the user can do next, in one sentence; empty when the message says it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class SettingsError(TrilemmaError):
    """The configuration file or an environment variable is wrong."""


class CatalogError(TrilemmaError):
    """Weights cannot be found, read or made."""


class InvalidArtifactError(CatalogError):
    """A file is not usable weights: truncated, renamed, empty or of an unsupported kind."""


class QuantizeError(CatalogError):
    """A step of a quantization ladder failed; nothing half-written is left."""


class HubError(CatalogError):
    """The model hub is unreachable, refused, or has no such repository or file."""


class EngineError(TrilemmaError):
    """An engine cannot do what was asked."""


class EngineUnavailableError(EngineError):
    """The engine's package or hardware is missing on this machine."""


class LoadError(EngineError):
    """The engine refused the artifact."""


class ContextError(EngineError):
    """A prompt or context is larger than the model's or the configured one."""


class NotOfferedError(EngineError):
    """The engine cannot give what was asked for by its nature; other figures of the run are none the worse."""


class OutOfMemoryError(EngineError):
    """The configuration needs more memory than there is.

    Args:
        message: As :class:`TrilemmaError`.
        hint: As :class:`TrilemmaError`.
        needed_bytes: What it needs at least, where that is known.
        available_bytes: What there was.
    """

    def __init__(
        self, message: str, hint: str = "", *, needed_bytes: int | None = None, available_bytes: int | None = None
    ) -> None:
        super().__init__(message, hint)
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes


class MeterError(TrilemmaError):
    """A meter cannot be read."""


class SuiteDataError(TrilemmaError):
    """A suite's questions are missing or malformed."""


class SandboxError(TrilemmaError):
    """Programs that a model wrote cannot be run here."""


class ProfileError(TrilemmaError):
    """A device profile is unknown, or its file is wrong."""


class PresetError(TrilemmaError):
    """A use-case preset is unknown, or its file is wrong."""


class StudyError(TrilemmaError):
    """A study cannot be run as asked."""


class ReportError(TrilemmaError):
    """A report cannot be made of a study, or not be printed as PDF."""


class InteropError(TrilemmaError):
    """Another tool's file cannot be read, or nothing in it can be taken."""


class PlanError(TrilemmaError):
    """A fleet cannot be planned as asked, or a table of prices is wrong."""


class RunError(TrilemmaError):
    """A run failed."""


class DoesNotFitError(RunError):
    """The configuration takes more memory than the emulated device has; a result, not a failure.

    Args:
        message: As :class:`TrilemmaError`.
        needed_bytes: What it needs, or what it had reached when it was ended.
        basis: Which of both, in a sentence.
    """

    def __init__(self, message: str, needed_bytes: int, basis: str) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.basis = basis


class RunTimeoutError(RunError):
    """A run stopped making progress."""


class RunCancelledError(RunError):
    """The user stopped the run."""


class AccessError(TrilemmaError):
    """Whoever asks for it may not do it."""


class SignInError(AccessError):
    """Whoever asks must log in, or their log-in is over."""


class LimitError(AccessError):
    """It would take more than one person may have of the queue, the disk or the device's time."""


class StoreError(TrilemmaError):
    """The database or the data folder cannot be used."""


class DatabaseTooNewError(StoreError):
    """The database was written by a newer version of Trilemma."""


class DatabaseUnavailableError(StoreError):
    """The database is locked, restarted or not reached just now; asking again may help.

    Where a connection broke while a transaction was being committed, it may have been written after all.
    """


class NotFoundError(StoreError):
    """The store has no such study, run or artifact."""


class DiskFullError(StoreError):
    """There is no space left where results or weights are written."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the system says with ``error`` that the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
