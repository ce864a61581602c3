"""The one place through which a page or a command changes something, or reads what not everybody may."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType

from trilemma.access.identity import User
from trilemma.access.limits import DAY, Reservations, check_used, disk_bytes, queue_check
from trilemma.access.redacted import RedactedStore
from trilemma.access.roles import NEEDS, NOBODY_ELSE, Action, Role
from trilemma.access.rules import Rules
from trilemma.errors import AccessError, LimitError, SignInError, StoreError
from trilemma.records import AuditRecord, Outcome, Usage
from trilemma.schema import StudySpec, utc_now
from trilemma.scrub import Scrubber
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.store.audit import Kind, Trail
from trilemma.study import pace

_KINDS: dict[Action, Kind] = {
    Action.CANCEL_RUN: "run",
    Action.RETRY_RUN: "run",
    Action.DELETE_STUDY: "study",
    Action.DELETE_WEIGHTS: "artifact",
    Action.UNDO_VOTE: "vote",
}
"""What the subject of an action that asks whose it is names; of others the caller says whose it is."""
_QUEUES = (Action.SUBMIT, Action.RETRY_RUN)
_FILLS = (Action.ADD_WEIGHTS, Action.QUANTISE, Action.CONVERT, Action.ADD_FILE)
_RESERVED = Reservations()


def names_address(spec: StudySpec) -> bool:
    """Whether a study says by itself whom the server asks, by settings or options that are called ``..._url``."""
    chosen = [*(one.settings for one in spec.configurations), *(one.options for one in spec.suites)]
    return any(name.endswith("_url") and bool(value) for one in chosen for name, value in one.items())


class Guard:
    """What one person may do, checked when they do it.

    ``store`` can only be read, without paths and logs for those who may not see them. Whatever is changed is changed
    in the store that :meth:`doing` gives; whether a page shows a button is a matter of convenience.

    Args:
        store: The store, which nobody else should hold.
        user: Who it is.
        rules: Their limits.
        settings: Where files are.
    """

    def __init__(self, store: Store, user: User, rules: Rules, settings: Settings) -> None:
        self._store, self.user, self._settings = store, user, settings
        self.limits = rules.limits_of(user.id, user.role)
        self.store: Store = store.reading()
        if not user.may(Action.SEE_SERVER):
            self.store = store.reading_as(RedactedStore)

    def require(self, action: Action, subject: str = "", owner: str | None = NOBODY_ELSE) -> None:
        """Refuse what the role does not allow, and keep that in the log.

        Raises:
            SignInError: the log-in is over.
            AccessError: the role does not allow it.
        """
        if self.user.until is not None and datetime.now(UTC) >= self.user.until:
            raise self._refused(action, subject, SignInError("Your log-in is over.", "Log in again."))
        if not self.user.may(action):
            least = NEEDS[action]
            article = "an" if least in (Role.ANALYST, Role.ADMIN) else "a"
            raise self._refused(
                action, subject,
                AccessError(f"Your role, {self.user.role}, may not {action}.", f"It takes {article} {least}'s."),
            )  # fmt: skip
        if not self.user.may(action, owner):
            raise self._refused(
                action, subject, AccessError("It is somebody else's.", "Ask them, or an administrator.")
            )

    def doing(
        self, action: Action, subject: str = "", *, owner: str | None = NOBODY_ELSE, size_bytes: int | None = None,
        spec: StudySpec | None = None, detail: str = "",
    ) -> Deed:  # fmt: skip
        """Check that the person may do it; what is then done inside ``with`` goes into the log together with it.

        Args:
            action: What is done.
            subject: The id or name of what it is done to.
            owner: Whose that is, where the store does not know.
            size_bytes: How much it will add to the disk; None where that is not known: then there must be room for
                something.
            spec: The study that is submitted: what it has the server ask may take more than to submit it.
            detail: What the log shall say besides, of what is gone afterwards.

        Raises:
            SignInError: the log-in is over.
            AccessError: they may not.
            NotFoundError: there is no such thing.
        """
        if (kind := _KINDS.get(action)) is not None:
            # The role first: whether there is such a thing is not told to those who may not touch it.
            self.require(action, subject)
            owner = self._store.created_by(kind, subject)
        self.require(action, subject, owner)
        if spec is not None and names_address(spec):
            self.require(Action.NAME_ADDRESS, subject)
        return Deed(self, self._store, self._settings, action, subject, size_bytes, detail)

    def audit(self, limit: int, outcome: Outcome | None = None) -> list[AuditRecord]:
        """The log, the newest first.

        Raises:
            AccessError: they may not read it.
        """
        self.require(Action.READ_AUDIT)
        return self._store.audit(limit, outcome=outcome)

    def _refused(self, action: Action, subject: str, error: AccessError) -> AccessError:
        self._store.add_audit(self.entry(action, subject, Outcome.REFUSED, str(error)))
        return error

    def entry(
        self, action: Action, subject: str, outcome: Outcome, detail: str = "", size_bytes: int = 0
    ) -> AuditRecord:
        """A row of the log, without keys that an error may have quoted."""
        clean = Scrubber().text
        return AuditRecord(
            who=self.user.id, role=self.user.role.value, action=action.value, subject=clean(subject), outcome=outcome,
            detail=clean(detail), size_bytes=size_bytes,
        )  # fmt: skip


class Deed:
    """One action that was allowed; a context manager, which may be entered in another thread, once."""

    def __init__(
        self, guard: Guard, store: Store, settings: Settings, action: Action, subject: str, size_bytes: int | None,
        detail: str,
    ) -> None:  # fmt: skip
        self._guard, self._store, self._settings = guard, store, settings
        self._action, self._subject, self._size = action, subject, 1 if size_bytes is None else size_bytes
        self._reserved = 0
        kept = self._size if action is Action.ADD_FILE else 0
        self._trail = Trail(guard.entry(action, subject, Outcome.DONE, detail, kept))

    def __enter__(self) -> Store:
        """The store to change.

        Raises:
            LimitError: it would be more than the person may have.
        """
        limits, since = self._guard.limits, utc_now() - DAY
        try:
            if self._action is Action.TRY_OUT and limits.device_hours_a_day is not None:
                check_used(limits, self._usage(since))
            if self.limited:
                self._reserve(self._size)
        except LimitError as error:
            self._add(Outcome.REFUSED, error)
            raise
        self._trail = Trail(self._trail.entry, self._queue_check(), since)
        return self._store.acting(self._trail)

    @property
    def limited(self) -> bool:
        """Whether what it puts onto the disk counts."""
        return self._action in _FILLS and self._guard.limits.disk_gb is not None

    def room_for(self, size_bytes: int) -> None:
        """Put aside what it turns out to take in all, where that is more than was known.

        Raises:
            LimitError: that would be more than the person may have.
        """
        if self._reserved and size_bytes > self._reserved:
            self._reserve(size_bytes - self._reserved)

    def _reserve(self, more: int) -> None:
        taken = disk_bytes(self._usage(utc_now() - DAY), self._settings.artifacts_dir)
        _RESERVED.take(self._guard.user.id, more, taken, self._guard.limits)
        self._reserved += more

    def _usage(self, since: datetime) -> Usage:
        return self._store.usage(self._guard.user.id, since)

    def _queue_check(self) -> Callable[[Usage], None] | None:
        limits = self._guard.limits
        if self._action not in _QUEUES or (limits.queued_runs, limits.device_hours_a_day) == (None, None):
            return None
        factor = None
        if limits.device_hours_a_day is not None:
            factor = pace(self._store, self._store.artifacts(forgotten=True))
        return queue_check(limits, factor or 1.0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reserved:
            _RESERVED.give_back(self._guard.user.id, self._reserved)
            self._reserved = 0
        if error is None:
            if not self._trail.written:
                self._store.add_audit(self._trail.entry)
        elif isinstance(error, LimitError):
            self._add(Outcome.REFUSED, error)
        elif isinstance(error, Exception) or not self._trail.written:
            self._add(Outcome.FAILED, error)

    def _add(self, outcome: Outcome, error: BaseException) -> None:
        detail = str(error) or type(error).__name__
        # What went wrong matters more than that it could not be noted.
        with suppress(StoreError):
            self._store.add_audit(self._guard.entry(self._action, self._subject, outcome, detail))
