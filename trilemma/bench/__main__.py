"""``python -m trilemma.bench RUN``: measure one run of the store."""

from __future__ import annotations

import argparse
import signal
import sys

from trilemma.bench.run_log import exit_status, log_path_of, parent_watch
from trilemma.bench.supervisor import Supervisor
from trilemma.errors import TrilemmaError
from trilemma.settings import get_settings
from trilemma.store import open_store
from trilemma.store.kept import patiently

_BUSY_TIMEOUT_S = 1.0
"""A write that waits for longer keeps events waiting, and with them the measured process; it is tried again later."""


def main() -> int:
    """Exit status 0 when the run reached a verdict (done, failed or cancelled), else as :func:`exit_status` has it."""
    parser = argparse.ArgumentParser(prog="python -m trilemma.bench", description=__doc__)
    parser.add_argument("run", help="id of a run in the store")
    parser.add_argument("--parent-pid", type=int, help="end without a verdict when this parent process is gone")
    arguments = parser.parse_args()
    try:
        settings = get_settings()
        settings.ensure_home()
        url, patience_s = settings.database_url, settings.database_patience_s
        with patiently(lambda: open_store(url, _BUSY_TIMEOUT_S), patience_s) as store:
            supervisor = Supervisor(
                store,
                arguments.run,
                log_path_of(settings.logs_dir, arguments.run),
                parent_watch(arguments.parent_pid),
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: supervisor.cancel())
            supervisor.measure()
    except (TrilemmaError, OSError) as error:
        return exit_status(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
