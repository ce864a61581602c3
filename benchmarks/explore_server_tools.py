"""The dashboard with a stop-watch in it: how long each answer takes at the server.

    python -m benchmarks.explore_server_tools LOG [PROFILE] -- run app.py --server.port 8501

An answer begins when the browser's message arrives and ends when the script that it starts is done and all of the page
has been handed to the connection. Each one is a line of JSON in LOG. With PROFILE, all scripts run under the profiler,
which makes them slower, and what it found is written there at the end.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import time
from pathlib import Path
from typing import Any

from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import ScriptRunner, ScriptRunnerEvent
from streamlit.web.cli import main as streamlit


def timed(log: Path) -> None:
    """Write down each answer of this server."""
    begin = AppSession.handle_backmsg
    finish = AppSession._handle_scriptrunner_event_on_event_loop

    def handle(self: Any, message: Any) -> None:
        if message.WhichOneof("type") == "rerun_script":
            self.asked = time.perf_counter()
        begin(self, message)

    def handled(self: Any, sender: Any, event: ScriptRunnerEvent, *rest: Any, **named: Any) -> None:
        finish(self, sender, event, *rest, **named)
        asked = getattr(self, "asked", None)
        if event == ScriptRunnerEvent.SCRIPT_STOPPED_WITH_SUCCESS and asked is not None:
            with log.open("a") as out:
                out.write(json.dumps({"s": time.perf_counter() - asked}) + "\n")
            self.asked = None

    AppSession.handle_backmsg = handle  # type: ignore[method-assign, assignment]
    AppSession._handle_scriptrunner_event_on_event_loop = handled  # type: ignore[method-assign]


def profiled(path: Path) -> None:
    """Run all scripts of this server under the profiler, and keep ``path`` up to date."""
    run = ScriptRunner._run_script
    stats = cProfile.Profile()

    def run_script(self: Any, rerun_data: Any) -> None:
        stats.runcall(run, self, rerun_data)
        pstats.Stats(stats).dump_stats(path)

    ScriptRunner._run_script = run_script  # type: ignore[method-assign]


if __name__ == "__main__":
    split = sys.argv.index("--")
    files = [Path(one) for one in sys.argv[1:split]]
    timed(files[0])
    for one in files[1:]:
        profiled(one)
    sys.argv = ["streamlit", *sys.argv[split + 1 :]]
    streamlit()
