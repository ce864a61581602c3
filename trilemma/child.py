"""A program that ends with the process that started it, also where that was killed and could not say so.

``python -m trilemma.child PID MODULE ARGUMENTS`` runs ``python -m MODULE ARGUMENTS``, which gets SIGTERM as soon as its
parent is not the process ``PID`` any more, and is killed if that does not help: perhaps it writes to a terminal that is
gone as well.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

STOP_AFTER_S = 10.0
"""How long a child may take to end by itself before it is killed. A worker ends its run's processes first."""
_LOOK_S = 1.0


def command(module: str, *arguments: str) -> list[str]:
    """The command line of such a program that ends with the calling process."""
    return [sys.executable, "-m", "trilemma.child", str(os.getpid()), module, *arguments]


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    # Sent to the process, it would come to this thread, and wake nobody who waits in the main one.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(STOP_AFTER_S)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_watch, args=(int(sys.argv[1]),), daemon=True).start()
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
