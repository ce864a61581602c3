"""Trilemma: what a language model costs, how fast it is and how well it answers, measured in one run."""

__version__ = "0.1.0"
