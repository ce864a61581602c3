"""Long work started from a page: it runs in a thread, and pages only look at how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

from trilemma.errors import TrilemmaError


class TaskState(StrEnum):
    """Where a task is in its life."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskCancelled(BaseException):
    """Raised out of a progress report to leave the work; not an ``Exception``, so that no handler swallows it."""


@dataclass
class Task:
    """One piece of work of ``by``'s; ``done`` and ``total`` count ``unit``, ``total`` is 0 while it is unknown."""

    id: int
    title: str
    unit: str = "B"
    by: str = ""
    done: int = 0
    total: int = 0
    state: TaskState = TaskState.RUNNING
    outcome: str = ""
    error: TrilemmaError | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1; 0 while unknown."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    def progress(self, done: int, total: int) -> None:
        """Take note of how far the work is.

        Raises:
            TaskCancelled: the user does not want it any more.
        """
        self.done, self.total = done, total
        if self.stop.is_set():
            raise TaskCancelled


class TaskBoard:
    """The tasks of this server; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[int, Task] = {}
        self._ids = count(1)

    def start(self, title: str, work: Callable[[Task], str], unit: str = "B", by: str = "") -> Task:
        """Run ``work`` in a thread of its own; it returns a sentence that says what came of it."""
        with self._lock:
            task = Task(next(self._ids), title, unit, by)
            self._tasks[task.id] = task
        threading.Thread(target=self._run, args=(task, work), name=f"task-{task.id}", daemon=True).start()
        return task

    @staticmethod
    def _run(task: Task, work: Callable[[Task], str]) -> None:
        try:
            task.outcome = work(task)
            task.state = TaskState.DONE
        except TaskCancelled:
            task.state = TaskState.CANCELLED
        except TrilemmaError as error:
            task.error = error
            task.state = TaskState.CANCELLED if task.stop.is_set() else TaskState.FAILED
        except Exception as error:  # the thread's last line of defence: without it the page would wait for ever
            task.error = TrilemmaError(f"Something unforeseen went wrong: {error!r}.", "Please report it.")
            task.state = TaskState.FAILED

    def tasks(self) -> list[Task]:
        """All tasks that were not dismissed, newest first."""
        with self._lock:
            return sorted(self._tasks.values(), key=lambda task: -task.id)

    def running(self) -> bool:
        """Whether any task is still at work."""
        return any(task.state is TaskState.RUNNING for task in self.tasks())

    def cancel(self, task_id: int) -> None:
        """Ask a task to stop; it does at its next report."""
        with self._lock:
            if task := self._tasks.get(task_id):
                task.stop.set()

    def dismiss(self, task_id: int) -> None:
        """Forget a task that has ended."""
        with self._lock:
            task = self._tasks.get(task_id)
            if task and task.state is not TaskState.RUNNING:
                del self._tasks[task_id]
