"""Finding a task of lm-evaluation-harness by name, and drawing the documents of it that are asked."""

from __future__ import annotations

import difflib
import importlib.metadata
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trilemma.errors import StudyError, SuiteDataError, TrilemmaError
from trilemma.settings import get_settings
from trilemma.suites import data

PACKAGE = "lm_eval"
DISTRIBUTION = "lm-eval"
INSTALL = "pip install 'trilemma[lm-eval]'"
_PYTHON_SEED, _OTHER_SEED = 0, 1234
"""What the harness itself seeds with, so that worked examples are drawn as it draws them."""


class Document(NamedTuple):
    """One document of a task, by its position in the task's own order."""

    task: str
    number: int

    @property
    def id(self) -> str:
        """The name of the item."""
        return f"{self.task}/{self.number}"


@dataclass(frozen=True)
class Drawn:
    """The harness's task objects by name (a group has several), and the documents that are asked, in seeded order."""

    tasks: Mapping[str, Any]
    documents: list[Document]

    @property
    def samples(self) -> dict[str, list[int]]:
        """The documents of each task, ascending: the harness goes through them in its own order whatever is said."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for document in sorted(self.documents):
            found[document.task].append(document.number)
        return dict(found)


def own_tasks_folder() -> Path:
    """Where the user's own tasks are. They are programs: a task's YAML may name Python functions."""
    return get_settings().home / "lm_eval_tasks"


def draw(name: str, shots: int | None, limit: int | None, seed: int) -> Drawn:
    """The task, group or tag ``name``, with its data, and ``limit`` of its documents.

    Args:
        name: As lm-evaluation-harness lists it, or of a task in :func:`own_tasks_folder`; never a path.
        shots: Worked examples before each question; None leaves the task's own number, and so does a task that says 0.
        limit: How many documents, of all tasks of a group together; None for all.
        seed: Decides which.

    Raises:
        StudyError: there is no such task, or it cannot be asked here.
        SuiteDataError: lm-evaluation-harness is missing, or a task's data cannot be had.
    """
    manager = _manager(name)
    # Before it is loaded, since loading such a task already fetches what would run its answers.
    if (manager.task_index[name].cfg or {}).get("unsafe_code"):
        raise _unsafe(name)
    random.seed(_PYTHON_SEED)
    np.random.seed(_OTHER_SEED)
    try:
        tasks: dict[str, Any] = manager.load([name])["tasks"]
        for title, task in tasks.items():
            _check(title, task)
            _set_shots(task, shots)
        pool = [Document(title, number) for title, task in tasks.items() for number in range(len(task.eval_docs))]
    except (TrilemmaError, MemoryError):
        raise
    except Exception as error:  # whatever a task's own program, the data sets' library or the hub raise
        reason = str(error).partition("\n")[0][:300]
        raise SuiteDataError(
            f"The task {name!r} could not be loaded ({type(error).__name__}: {reason}).",
            "Check the connection and HF_TOKEN; the task may need packages of its own.",
        ) from error
    documents = data.pick(((document.id, document) for document in pool), limit, seed)
    asked = {document.task for document in documents}
    return Drawn({title: task for title, task in tasks.items() if title in asked}, documents)


def version() -> str:
    """The harness's version, without importing it."""
    return importlib.metadata.version(DISTRIBUTION)


def _manager(name: str) -> Any:
    """The harness's index of tasks that has ``name``; one of the user's own goes before one that is shipped.

    All of the shipped ones are read only where they are needed: they are over ten thousand files.
    """
    try:
        from lm_eval.tasks import TaskManager  # noqa: PLC0415 (heavy, and not installed with Trilemma)
    except ImportError as error:
        raise SuiteDataError(f"lm-evaluation-harness cannot be imported ({error}).", f"{INSTALL}.") from error
    folder = own_tasks_folder()
    own = str(folder) if folder.is_dir() else None
    if own:
        manager = TaskManager(include_path=own, include_defaults=False)
        if name in manager.all_subtasks:
            return manager
    manager = TaskManager(include_path=own)
    if name not in manager.task_index:
        near = difflib.get_close_matches(name, manager.all_tasks, 3)
        raise StudyError(
            f"lm-evaluation-harness has no task {name!r}.",
            f"Near: {', '.join(near)}." if near else f"`lm-eval ls tasks` lists them; your own belong in {folder}.",
        )
    return manager


def _check(title: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise _unsafe(title)
    if getattr(task, "MULTIMODAL", False):
        raise StudyError(f"The task {title!r} asks about pictures or sounds.", "Choose one that is text alone.")


def _unsafe(title: str) -> StudyError:
    return StudyError(
        f"The task {title!r} runs what the model writes as a program.", "Choose another: there is no sandbox for it."
    )


def _set_shots(task: Any, shots: int | None) -> None:
    """As the harness does: a task whose own number is 0 has no use for examples and keeps it."""
    own = task.get_config("num_fewshot")
    if own is None or (shots is not None and own != 0):
        task.set_config(key="num_fewshot", value=shots or 0)
    task.set_fewshot_seed(seed=_OTHER_SEED)
