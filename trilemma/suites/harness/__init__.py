"""Tasks of lm-evaluation-harness, which nothing here imports before a task is loaded."""

from trilemma.suites.harness.suite import HarnessOptions, LmEval

__all__ = ["HarnessOptions", "LmEval"]
