"""A hundred thousand hostile inputs into every parser, scorer, page parameter and text that is shown.

Each surface of ``tests/fuzz`` is tried in a process of its own with so much memory and so long for one input; a process
that crashes, hangs or takes more is a finding, as is whatever else its property does not allow: an exception that is no
TrilemmaError, an output that is not escaped, a file outside the scratch folder, a program, a connection.

    make bench NAME=fuzz ARGS="--inputs 1000000 --seed 7 --only 'GGUF headers'"
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common import ROOT, Figures, Limit, main, say

INPUTS = 100_000
LIMITS = {"inputs": Limit(at_least=INPUTS), "findings": Limit(at_most=0), "slowest_input_s": Limit(at_most=30.0)}
ONE_INPUT_S = 60.0
"""Of processor time, after which a process that is still at one input is ended: a busy machine is no finding."""
HANGS_S = 900.0
"""Of time on the clock: what waits for ever takes no processor time."""
MEMORY_BYTES = 2 * 2**30
"""Beside what a process has when it begins."""


class Outcome(NamedTuple):
    """What came of a surface."""

    name: str
    inputs: int
    seconds: float
    slowest_s: float
    finding: str


def job(name: str, count: int, seed: int, last: Path) -> Outcome:
    """Try one surface in this process; ``last`` holds the input that is tried at the moment."""
    from tests.fuzz.campaign import surfaces, tried

    _, surface = surfaces()[name]
    surface.prepare()
    soft = _address_space() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.getrlimit(resource.RLIMIT_AS)[1]))
    seen, slowest, since, begun = 0, 0.0, time.process_time(), time.perf_counter()
    # In C, so that it ends what never comes back to Python as well; the process then ends as by any such signal.
    faulthandler.register(signal.SIGPROF, chain=True)

    def before(value: Any) -> None:
        nonlocal seen, slowest, since
        now = time.process_time()
        slowest = max(slowest, now - since) if seen else 0.0
        seen, since = seen + 1, now
        with open(last, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 -- the quickest
            file.write(repr(value)[:5000])
        signal.setitimer(signal.ITIMER_PROF, ONE_INPUT_S)
        faulthandler.dump_traceback_later(HANGS_S, exit=True)

    finding = ""
    try:
        for value in surface.examples:
            before(value)
            surface.run(value)
        tried(surface, max(1, count - len(surface.examples)), seed, before)
    except BaseException as error:
        finding = shortened("".join(traceback.format_exception(error)))
    signal.setitimer(signal.ITIMER_PROF, 0)
    faulthandler.cancel_dump_traceback_later()
    return Outcome(name, seen, time.perf_counter() - begun, slowest, finding)


def shortened(text: str) -> str:
    """Its end, where the error is; of long lines, such as an input's, the beginning."""
    return "\n".join(line[:400] for line in text.splitlines())[-4000:]


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def apart(name: str, count: int, seed: int) -> Outcome:
    """:func:`job` in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="trilemma-fuzz-") as folder:
        last = Path(folder) / "last"
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fuzz", "--job", name, str(count), str(seed), str(last)],
            cwd=ROOT, env=os.environ | {"TMPDIR": folder, "TRILEMMA_HOME": f"{folder}/home"}, capture_output=True,
            text=True,
            errors="replace", check=False,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        if done.returncode == 0 and lines:
            return Outcome(*json.loads(lines[-1]))
        tried = last.read_text(encoding="utf-8", errors="replace") if last.is_file() else "nothing yet"
        why = f"The process ended with code {done.returncode} at the input {tried}\n{done.stderr[-3000:]}"
        return Outcome(name, 0, time.perf_counter() - begun, ONE_INPUT_S, why)


def shares(total: int, only: str) -> dict[str, int]:
    """How many inputs each surface gets."""
    from tests.fuzz.campaign import surfaces

    found = {name: surface for name, (_, surface) in surfaces().items() if only.lower() in name.lower()}
    whole = sum(surface.share for surface in found.values())
    # One in a hundred more: of some surfaces there are fewer different inputs than that.
    return {name: max(20, round(1.02 * total * surface.share / whole)) for name, surface in found.items()}


def measure(inputs: int, seed: int, processes: int, only: str) -> Figures:
    """Try everything, the longest first, and say what came of it."""
    counts = shares(inputs, only)
    begun = time.perf_counter()
    say(f"{sum(counts.values()):,} inputs into {len(counts)} surfaces, {processes} processes, seed {seed}")
    say(f"{'surface':42} {'inputs':>8} {'s':>7} {'slowest s':>10}")
    order = sorted(counts, key=lambda name: (not name.startswith(("Page", "Reports")), -counts[name]))
    found: list[Outcome] = []
    with ThreadPoolExecutor(processes) as pool:
        for one in pool.map(lambda name: apart(name, counts[name], seed + zlib.crc32(name.encode())), order):
            found.append(one)
            verdict = "  FINDING" if one.finding else ""
            say(f"{one.name:42} {one.inputs:8,} {one.seconds:7.1f} {one.slowest_s:10.3f}{verdict}")
    for one in found:
        if one.finding:
            say(f"\n{one.name}:\n{one.finding}")
    return {
        "inputs": sum(one.inputs for one in found),
        "findings": sum(bool(one.finding) for one in found),
        "surfaces": len(found),
        "slowest_input_s": round(max(one.slowest_s for one in found), 3),
        "seconds": round(time.perf_counter() - begun, 1),
        "seed": seed,
    }


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many, over all surfaces")
    parser.add_argument("--seed", type=int, default=1, help="decides which")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="how many at a time")
    parser.add_argument("--only", default="", help="surfaces whose name contains this")
    parser.add_argument("--job", nargs=4, metavar=("SURFACE", "COUNT", "SEED", "FILE"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    asked = options(sys.argv[1:])
    if asked.job:
        name, count, seed, last = asked.job
        print(json.dumps(job(name, int(count), int(seed), Path(last))), flush=True)
    else:
        main("fuzz", LIMITS, lambda: measure(asked.inputs, asked.seed, asked.processes, asked.only))
