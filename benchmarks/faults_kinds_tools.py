"""The faults themselves. Each waits for nothing, ends what it began, and says what it did.

Machines of a cluster that vanish and return are in ``faults_cluster_tools.py``.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg

from benchmarks.faults_clock_tools import VARIABLE
from benchmarks.faults_ground_tools import Ground, MissedError, end_all
from tests.postgres import server

Inject = Callable[[Ground], str]
_PAGE_BYTES = 4096


def worker_killed(ground: Ground) -> str:
    """``kill -9`` of a worker."""
    worker = ground.random.choice(ground.workers)
    said = end_all([worker.pid])
    worker.wait()
    return said


def run_killed(ground: Ground) -> str:
    """``kill -9`` of the run's own process."""
    return end_all(ground.run_pids())


def both_killed(ground: Ground) -> str:
    """``kill -9`` of worker and run at once, in either order."""
    runs = ground.run_pids()
    if not runs:
        raise MissedError
    pids = [*runs, *(worker.pid for worker in ground.workers)]
    ground.random.shuffle(pids)
    said = end_all(pids)
    for worker in ground.workers:
        worker.wait()
    return said


def engine_killed(ground: Ground) -> str:
    """``kill -9`` of the process that has the engine in it."""
    return end_all([process.pid for process in measured(ground)])


def measured(ground: Ground) -> list[psutil.Process]:
    """The processes with an engine in them, children of a run's own."""
    found = []
    for pid in ground.run_pids():
        with suppress(psutil.Error):
            children = psutil.Process(pid).children()
            found += [child for child in children if "trilemma.bench.measure" in child.cmdline()]
    return found


def stopped(ground: Ground) -> str:
    """A worker, a run or all of them stand still for a while; meanwhile another worker may look for work."""
    choice = ground.random.choice(["worker", "run", "all"])
    pids = [] if choice == "run" else [worker.pid for worker in ground.workers]
    if choice != "worker":
        pids += ground.run_pids() + [process.pid for process in measured(ground)]
    if not pids:
        raise MissedError
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    if choice != "run" and len(ground.workers) < 3 and ground.random.random() < 0.3:
        ground.start_worker()
    seconds = ground.random.uniform(0.1, 2.0)
    time.sleep(seconds)
    for pid in pids:
        _signal(pid, signal.SIGCONT)
    return f"{choice} stopped for {seconds:.1f} s"


def stopped_for_too_long(ground: Ground) -> str:
    """The engine's process stops for longer than a run waits."""
    processes = measured(ground)
    run = ground.at_hand()
    if not processes or run is None:
        raise MissedError
    for process in processes:
        _signal(process.pid, signal.SIGSTOP)
    seconds = run.spec.stall_timeout_s + 1.5
    time.sleep(seconds)
    for process in processes:
        _signal(process.pid, signal.SIGCONT)
    return f"the engine stopped for {seconds:.1f} s"


def second_worker(ground: Ground) -> str:
    """Somebody starts another worker, and ends it again, kills it, or leaves it."""
    another = ground.start_worker()
    time.sleep(ground.random.uniform(0.3, 2.5))
    if len(ground.workers) > 2 or ground.random.random() < 0.7:
        another.send_signal(ground.random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        another.wait()
        return "a second worker came and was ended"
    return f"{len(ground.workers)} workers now"


def database_locked(ground: Ground) -> str:
    """Another program writes for a while, and lets nobody else write."""
    return _locked(ground, ground.random.uniform(0.1, 2.5))


def database_locked_for_long(ground: Ground) -> str:
    """For longer than any writer waits."""
    return _locked(ground, 33.0)


def _locked(ground: Ground, seconds: float) -> str:
    with closing(sqlite3.connect(ground.settings.home / "trilemma.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        other.execute("ROLLBACK")
    return f"locked for {seconds:.1f} s"


def tables_locked(ground: Ground) -> str:
    """Another session of PostgreSQL has the table of runs for itself."""
    seconds = ground.random.uniform(0.1, 2.5)
    with psycopg.connect(ground.settings.database_url) as other:
        other.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        time.sleep(seconds)
    return f"locked for {seconds:.1f} s"


def connections_dropped(ground: Ground) -> str:
    """The server ends every connection, several times in a row."""
    times = ground.random.randint(1, 6)
    database = ground.settings.database_url.rpartition("/")[2]
    for _ in range(times):
        server().ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        time.sleep(0.05)
    return f"{times} times"


def server_crashed(ground: Ground) -> str:
    """PostgreSQL ends at once, as by a crash, and is started again."""
    return _restarted(ground, signal.SIGQUIT)


def server_restarted(ground: Ground) -> str:
    """PostgreSQL is stopped in order and started again."""
    return _restarted(ground, signal.SIGINT)


def _restarted(ground: Ground, how: signal.Signals) -> str:
    # Now and then for longer than a run waits for it, so that its results are kept in a file.
    seconds = ground.random.choice([0.1, 1.0, 2.0, 6.0])
    server().stop(how)
    time.sleep(seconds)
    server().start()
    return f"away for {seconds:.1f} s"


def clock_jumps(ground: Ground) -> str:
    """The wall clock is set, by seconds to days, forwards or back."""
    seconds = ground.random.choice([-1, 1]) * 10 ** ground.random.uniform(0.5, 5.0)
    path = Path(os.environ[VARIABLE])
    part = path.with_suffix(".part")
    part.write_text(repr(seconds))
    part.replace(path)
    return f"the clock is off by {seconds:+.0f} s"


def disk_full(ground: Ground) -> str:
    """All but a few pages of the small file system are taken for a while."""
    folder = ground.settings.home
    left = ground.random.choice([0, 0, 1, 2, 4, 8, 16, 32, 64]) * _PAGE_BYTES
    seconds = ground.random.uniform(0.1, 3.0)
    filler = folder / "filler"
    state = os.statvfs(folder)
    size = state.f_bavail * state.f_frsize - left
    if size <= 0:
        raise MissedError
    try:
        with filler.open("wb") as file:
            while size > 0 and not _taken(file.fileno(), size):  # somebody else may have taken some meanwhile
                size -= _PAGE_BYTES
        time.sleep(seconds)
    finally:
        filler.unlink(missing_ok=True)
    return f"{left // _PAGE_BYTES} pages left for {seconds:.1f} s"


def _taken(descriptor: int, size: int) -> bool:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


KINDS: Mapping[str, Inject] = {
    "worker killed": worker_killed,
    "run killed": run_killed,
    "worker and run killed": both_killed,
    "engine killed": engine_killed,
    "stopped and continued": stopped,
    "stopped for too long": stopped_for_too_long,
    "second worker": second_worker,
    "database locked": database_locked,
    "database locked for long": database_locked_for_long,
    "tables locked": tables_locked,
    "connections dropped": connections_dropped,
    "server crashed": server_crashed,
    "server restarted": server_restarted,
    "clock jump": clock_jumps,
    "disk full": disk_full,
}


def small_disk(folder: Path, size: str = "12m") -> None:
    """Put a file system of ``size`` at ``folder``; for a process in a mount namespace of its own.

    Raises:
        subprocess.CalledProcessError: it may not be mounted here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)], check=True)


def apart_from_mounts() -> Sequence[str]:
    """What to put before a command that mounts: a user namespace of its own lets anybody do that.

    Raises:
        OSError: neither that nor root's rights are to be had here.
    """
    for options in (["--user", "--map-root-user", "--mount"], ["--mount", "--propagation", "private"]):
        command = ["unshare", *options]
        with suppress(OSError):
            tried = [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
            if subprocess.run(tried, check=False, capture_output=True).returncode == 0:
                return command
    raise OSError("no file system can be mounted here, not even in a user namespace: no disk can be filled")
