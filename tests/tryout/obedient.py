"""Runs as the answering process, and does as the prompt says.

``leave`` and ``crash`` start a process that would outlive it, and answer with that one's number; ``crash`` then is
killed, everything else waits to be released.
"""

import json
import os
import signal
import subprocess
import sys

prompt = json.loads(sys.stdin.readline())["question"]["prompt"]
answer = prompt
if prompt in ("leave", "crash"):
    # In a session of its own, so that ending a process group does not end it.
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    answer = str(left.pid)
ended = "" if prompt == "crash" else "end"
written = {"text": answer, "tokens": 1, "submitted_ns": 1, "first_ns": 2, "last_ns": 3, "ended": ended}
print(json.dumps({"kind": "ready", "pid": os.getpid(), "load_s": 0.0}), flush=True)
print(json.dumps({"kind": "written", **written}), flush=True)
if prompt == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
sys.stderr.write("released")
