"""A run program for tests: behaves as trilemma.bench does towards the store, but measures nothing.

It proves that it is alone by a lock of its own, writes in many small transactions, keeps a child process, ends when its
worker does, and notes outside the store that it finished, so that a test can tell what must not be lost.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from trilemma.bench.recorder import Recorder
from trilemma.bench.run_log import exit_status
from trilemma.errors import TrilemmaError
from trilemma.records import AnswerRecord, HostInfo, PhaseWindow, RequestRecord, Sample
from trilemma.schema import Measurement, Method, Phase, Provenance, RunState
from trilemma.settings import get_settings
from trilemma.store import open_store
from trilemma.store.kept import Batch, path_of, patiently

STEPS = 12
HOST = HostInfo(id="test", system="Linux", machine="x86_64", cpu="", cores=1, memory_bytes=1)


def note(path: Path, line: str) -> None:
    """Append a line that survives a kill right after."""
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.02)
    os._exit(7)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_id")
    parser.add_argument("--parent-pid", type=int)
    parser.add_argument("--step-s", type=float, default=0.01)
    parser.add_argument("--orphan", action="store_true", help="do not notice that the worker is gone")
    parser.add_argument("--disturbed", action="store_true")
    parser.add_argument("--exit", type=int, default=None, help="end with this code half-way and record nothing")
    arguments = parser.parse_args()
    # On a node of a cluster a run's home is its own and goes with it: what is noted must stay.
    home, run_id = Path(os.environ.get("STAND_IN_NOTES") or os.environ["TRILEMMA_HOME"]), arguments.run_id
    if arguments.parent_pid and not arguments.orphan:
        threading.Thread(target=die_with, args=(arguments.parent_pid,), daemon=True).start()

    alone = (home / "alone.lock").open("w")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(home / "overlaps", run_id)
        sys.exit(3)
    note(home / "started", run_id)
    threads, token = os.environ.get("OMP_NUM_THREADS", ""), os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    note(home / "surroundings", f"nice={os.nice(0)},threads={threads},token={token}")
    print("working on", run_id, flush=True)
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])

    settings = get_settings()
    with patiently(open_store, settings.database_patience_s) as store:
        kept = path_of(settings.logs_dir, run_id)
        recorder = Recorder(store, store.run(run_id), kept, settings.database_patience_s)
        host = HOST.model_copy(update={"name": settings.machine})
        recorder.patiently(lambda: store.start_run(run_id, host))
        for step in range(STEPS):
            batch = Batch(
                phases=(PhaseWindow(phase=Phase.SPEED, start_ns=1, end_ns=step),),
                samples=(Sample(time_ns=step, phase=Phase.SPEED, values={"rss_bytes": float(step)}),),
                requests=(RequestRecord(workload="w", index=step, submitted_ns=step, token_times_ns=(step + 1,)),),
                answers=(AnswerRecord(suite="s", item_id=str(step), index=step, prompt="", answer="", scores={}),),
            )
            recorder.write(batch, (step / STEPS, "working", Phase.SPEED, None))
            recorder.wait()
            if arguments.exit is not None and step == STEPS // 2:
                child.kill()
                os._exit(arguments.exit)
            note(home / "steps", str(step))
            time.sleep(arguments.step_s)
        child.kill()
        child.wait()
        provenance = Provenance(method=Method.MEASURED, source="test")
        figures = [Measurement(figure="ttft_s", value=1.0, n=STEPS, provenance=provenance)]
        recorder.finish(RunState.DONE, figures, disturbances=("disturbed",) * arguments.disturbed)
        note(home / "finished", run_id)


if __name__ == "__main__":
    try:
        main()
    except (TrilemmaError, OSError) as error:
        sys.exit(exit_status(error))
