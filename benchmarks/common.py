"""What the benchmarks share: environments of their own, alternation, a quiet machine, and the report."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import psutil

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
"""Where benchmarks build and keep what they compare with; not under version control."""

OTHERS_CORES = 0.1
"""Cores that everybody else may keep busy while something is timed."""

T = TypeVar("T")
Figures = Mapping[str, float | int | str | bool | None]


@dataclass(frozen=True)
class Limit:
    """What a figure must keep to; a figure that is missing or no number keeps to nothing."""

    at_most: float | None = None
    at_least: float | None = None

    def holds(self, value: object) -> bool:
        """Whether ``value`` is a number within the limit, ends included."""
        if not isinstance(value, int | float) or math.isnan(value):
            return False
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def as_json(self) -> dict[str, float]:
        """The ends that are set."""
        ends = {"at_most": self.at_most, "at_least": self.at_least}
        return {name: value for name, value in ends.items() if value is not None}


class TooNoisyError(Exception):
    """The machine is too busy with other things to tell; nothing was concluded."""


def say(text: str) -> None:
    """Tell what is done, at once."""
    print(text, flush=True)


def report(name: str, figures: Figures, limits: Mapping[str, Limit], *, reason: str = "") -> int:
    """Print each limit's verdict and, as the last line, the JSON object; returns the exit code.

    Args:
        name: The benchmark's.
        figures: What was measured.
        limits: By the name of the figure.
        reason: Why nothing can be concluded, if so; then nothing holds.
    """
    verdicts = {key: limit.holds(figures.get(key)) for key, limit in limits.items()}
    holds = all(verdicts.values()) and bool(verdicts) and not reason
    say("")
    for key, verdict in verdicts.items():
        ends = ", ".join(f"{end.replace('_', ' ')} {value:g}" for end, value in limits[key].as_json().items())
        say(f"{'holds' if verdict else 'FAILS':>6}  {key} = {figures.get(key)} ({ends})")
    if reason:
        say(f" FAILS  {reason}")
    result: dict[str, object] = {
        "name": name,
        "figures": dict(figures),
        "limits": {key: limit.as_json() for key, limit in limits.items()},
        "holds": holds,
    }
    say(json.dumps(result | ({"reason": reason} if reason else {})))
    return 0 if holds else 1


def main(name: str, limits: Mapping[str, Limit], measure: Callable[[], Figures]) -> NoReturn:
    """Run ``measure``, report and exit; a machine that is too noisy is a failure that says so."""
    try:
        code = report(name, measure(), limits)
    except TooNoisyError as error:
        code = report(name, {}, limits, reason=str(error))
    sys.exit(code)


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(name: str, requirements: Sequence[str], *, torch: bool = False) -> Path:
    """The Python of a virtual environment under ``.bench/`` with ``requirements`` installed, made on first use.

    Args:
        name: The environment's.
        requirements: As pip takes them.
        torch: Whether PyTorch for CPUs is there first: what PyPI has of it is gigabytes of CUDA.

    Raises:
        subprocess.CalledProcessError: pip could not install them; its output was printed.
    """
    folder = BENCH / name / "venv"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = folder / "installed"
    wanted = hashlib.sha256("\n".join([sys.version, *requirements, *["torch"] * torch]).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    say(f"Making an environment for {name}: {', '.join(requirements) or 'nothing'} ...")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    if torch:
        wheel = re.findall(r"^torch==\S+", (ROOT / "packaging" / "vllm.txt").read_text(encoding="utf-8"), re.MULTILINE)
        # From wherever pip looks, else from PyTorch's own index.
        if subprocess.run([*pip, *wheel], check=False, capture_output=True).returncode:
            subprocess.run([*pip, "--index-url", "https://download.pytorch.org/whl/cpu", *wheel], check=True)
    if requirements:
        subprocess.run([*pip, *requirements], check=True)
    stamp.write_text(wanted)
    return python


def clean_environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a tool: no limits on OpenMP's threads, as in the engine, and no other libraries' folder."""
    dropped = ("OMP_THREAD_LIMIT", "OMP_DYNAMIC", "LD_LIBRARY_PATH", "LD_PRELOAD")
    return {name: value for name, value in base.items() if name not in dropped}


def other_side(python: Path, module: str, given: object, **environment: str) -> Any:
    """What another environment makes of ``given``: both are JSON, on the module's standard input and output.

    Args:
        python: The other environment's.
        module: Of this folder; it prints its answer as the last line.
        given: What it is to work on.
        environment: More variables for it.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    done = subprocess.run(
        [str(python), "-m", f"benchmarks.{module}"],
        input=json.dumps(given),
        cwd=ROOT,
        env=clean_environment() | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The other side ({module}) failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def alternate(
    rounds: int, sides: Mapping[str, Callable[[], T]], enough: Callable[[dict[str, list[T]]], bool] = lambda _: False
) -> dict[str, list[T]]:
    """Call every side once a round, in turned order every other round, so that drift falls on all alike.

    Args:
        rounds: How many at most.
        sides: By name.
        enough: Asked after each round whether the results so far do; it must not look at which way they point.
    """
    results: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in order:
            results[name].append(sides[name]())
        if enough(results):
            break
    return results


def _own_cpu_s() -> float:
    """CPU-seconds of this process and of those children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _busy_cpu_s() -> float:
    """CPU-seconds of the whole machine in which a CPU was not idle; stolen time counts as somebody else's."""
    times = psutil.cpu_times()
    return float(sum(times)) - float(times.idle) - float(getattr(times, "iowait", 0.0)) - _guest(times)


def _guest(times: object) -> float:
    # Linux counts guests' time in user and nice too.
    return float(getattr(times, "guest", 0.0)) + float(getattr(times, "guest_nice", 0.0))


@dataclass
class Noise:
    """Cores that others kept busy during a piece of work."""

    cores: float = 0.0


@contextmanager
def watched() -> Iterator[Noise]:
    """Measure what others did to the machine meanwhile; children must have ended before it closes."""
    noise = Noise()
    start, busy, own = time.monotonic(), _busy_cpu_s(), _own_cpu_s()
    yield noise
    elapsed = time.monotonic() - start
    noise.cores = max(0.0, (_busy_cpu_s() - busy - (_own_cpu_s() - own)) / elapsed)


def wait_until_quiet(limit: float = OTHERS_CORES, *, patience_s: float = 60.0, window_s: float = 3.0) -> float:
    """Wait for a stretch in which others keep at most ``limit`` cores busy; returns how many they did.

    Raises:
        TooNoisyError: there was none within ``patience_s``.
    """
    deadline = time.monotonic() + patience_s
    while True:
        with watched() as noise:
            time.sleep(window_s)
        if noise.cores <= limit:
            say(f"The machine is quiet: others keep {noise.cores:.2f} cores busy.")
            return noise.cores
        if time.monotonic() > deadline:
            raise TooNoisyError(
                f"The machine is too noisy to measure: others keep {noise.cores:.2f} cores busy, "
                f"and at most {limit} are tolerated. Stop what else is running and try again."
            )
        say(f"Waiting for a quiet machine: others keep {noise.cores:.2f} cores busy ...")


def require_quiet_throughout(cores: Sequence[float], limit: float = OTHERS_CORES, *, share: float = 0.2) -> None:
    """Refuse measurements of which more than ``share`` were taken while others used more than ``limit`` cores.

    Raises:
        TooNoisyError: so it was.
    """
    disturbed = sum(value > limit for value in cores)
    if disturbed > share * len(cores):
        raise TooNoisyError(
            f"The machine became too noisy: during {disturbed} of {len(cores)} measurements others kept more than "
            f"{limit} cores busy (at worst {max(cores):.2f}). Stop what else is running and try again."
        )
