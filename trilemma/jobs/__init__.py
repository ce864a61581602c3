"""The queue, the worker and the executors."""

from __future__ import annotations

from trilemma.jobs.base import Executor
from trilemma.jobs.logs import log_path, log_tail
from trilemma.jobs.queue import interleave
from trilemma.jobs.worker import Worker

__all__ = ["Executor", "Worker", "interleave", "log_path", "log_tail"]
