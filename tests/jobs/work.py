"""A worker in a process of its own, for tests that kill it: ``work.py [--drain] [-- COMMAND ...]``.

Settings come from the environment. ``{run}`` and ``{pid}`` in COMMAND become the run's id and the worker's pid;
without a COMMAND the worker starts real benchmarks.
"""

from __future__ import annotations

import argparse
import os

from trilemma.jobs.crew import work
from trilemma.jobs.worker import bench_command
from trilemma.settings import get_settings
from trilemma.store import open_store


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--drain", action="store_true")
    parser.add_argument("--max-interruptions", type=int, default=3)
    parser.add_argument("--poll-s", type=float, default=0.02)
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args()
    template = arguments.command

    def command(run_id: str) -> list[str]:
        return [part.format(run=run_id, pid=os.getpid()) for part in template]

    with open_store() as store:
        work(
            store,
            get_settings(),
            drain=arguments.drain,
            command=command if template else bench_command,
            poll_s=arguments.poll_s,
            max_interruptions=arguments.max_interruptions,
        )


if __name__ == "__main__":
    main()
