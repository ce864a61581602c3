"""Does our load generator measure what ``vllm bench serve`` and ``guidellm`` measure, and what does it cost itself?

A real vLLM server, and the three clients alternately, each with the same prompts, lengths and users in a closed loop,
and each asking for the likeliest token.
From each client's own records of each request: time to first token, time per output token, (last - first) / (tokens -
1), which guidellm calls inter-token latency, end-to-end latency, and all output tokens over the time from the first
request to the last token. Every client begins with as many requests as there are users, which warm it up (a process
that has just started opens its connections and compiles what it needs in them); they count for none. Medians and 95th
percentiles are over the other requests of all rounds; every request's times are kept in ``.bench/load/x*.json``.

A client that shares its cores with the server slows down what it measures: where each of two threads waits for the
other, a core that is taken a twentieth of the time makes the server a twentieth slower. So the clients have one core,
and the server the others. ``*_client_cores`` says how much CPU each client takes, the median of readings once a second;
``*_server_steps`` in how many steps the server answered all of its requests, warm-up included, and ``*_server_step_ms``
how long one took. The three also ask, as 16 users, a server that computes nothing and sends each of them a token every
50 ms: figures ``paced_*`` differ by how the clients measure alone.

Then ours alone against a server that answers at once: tokens per CPU-second of the client, and how much later than it
was sent a token is recorded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.common import BENCH, Figures, Limit, alternate, environment, free_port, main, say, wait_until_quiet
from benchmarks.engines import in_the_vllm_environment
from benchmarks.load_tools import USED, Timed, guidellm, ours, running, server_steps, share_cores, vllm_bench
from trilemma.catalog.catalog import Catalog
from trilemma.catalog.endpoints import endpoint_artifact
from trilemma.engines.base import GenerationRequest
from trilemma.engines.endpoint import Endpoint
from trilemma.settings import Settings
from trilemma.store import open_store
from trilemma.workloads.load import closed_loop
from trilemma.workloads.text import passage

GUIDELLM = "guidellm==0.8.1"
REQUESTS = {1: 16, 4: 40, 16: 96}
"""Requests a round that count, by users; as many as there are users come before."""
WORDS = 48
LENGTHS = range(16, 49)
"""Tokens of the answers, all alike often. Were they equal, the users of a batch would end and ask again in step; how
soon after one another a client then sends would decide which of them share a step of the server, and how fast it is."""
PACE_S = 0.05
QUANTITIES = ("ttft", "tpot", "e2e")
LIMITS = {
    **{
        f"{other}_{quantity}_{statistic}_x{users}": Limit(at_least=0.95, at_most=1.05)
        for users in REQUESTS
        for other in ("vllm", "guidellm")
        for quantity, statistic in [*((q, s) for q in QUANTITIES for s in ("median", "p95")), ("output", "tps")]
    },
    **{
        f"paced_{other}_{quantity}_{statistic}_x16": Limit(at_least=0.95, at_most=1.05)
        for other in ("vllm", "guidellm")
        for quantity in ("tpot", "e2e")
        for statistic in ("median", "p95")
    },
    "generator_tokens_per_core_s": Limit(at_least=2000),
}
"""Ratios of ours to the other's."""


def counted(requests: Sequence[Timed], users: int) -> list[Timed]:
    """Without those that warmed the client up."""
    asked, answered = sorted(lengths(users)), sorted(request.tokens for request in requests)
    if asked != answered:
        raise RuntimeError(f"{len(requests)} answers of other lengths than were asked for: {answered}, not {asked}")
    return sorted(requests, key=lambda request: request.sent)[users:]


def lengths(users: int) -> list[int]:
    """Tokens of each answer, warm-up included; the same for every client."""
    return [LENGTHS[i * 7 % len(LENGTHS)] for i in range(REQUESTS[users] + users)]


def output_tps(requests: Sequence[Timed]) -> float:
    """All output tokens over the time from the first request to the last token."""
    took = max(r.sent + r.e2e for r in requests) - min(r.sent for r in requests)
    return sum(r.tokens for r in requests) / took


def with_steps(ask: Callable[[], list[Timed]], address: str, steps: list[tuple[float, float]]) -> list[Timed]:
    """What a client found; how many steps the server took for it, and in how many seconds, is added to ``steps``."""
    before = server_steps(address)
    found = ask()
    took = max(r.sent + r.e2e for r in found) - min(r.sent for r in found)
    steps.append((server_steps(address) - before, took))
    return found


def compare(
    users: int, rounds: int, address: str, tokenizer: Path, python: Path, paced: bool = False
) -> dict[str, float]:
    """All three clients alternately at one number of users; ratios of ours to the others'."""
    name, quantities, prefix = (
        (f"paced-x{users}", ("tpot", "e2e"), "paced_") if paced else (f"x{users}", QUANTITIES, "")
    )
    file = BENCH / "load" / f"prompts-{name}.jsonl"
    # A text to go on with, no question: after that the model's first token ends the answer, has no text, and guidellm
    # takes the next one for the first.
    asked = [(f"pause {PACE_S}" if paced else passage(i, WORDS), tokens) for i, tokens in enumerate(lengths(users))]
    lines = [{"prompt": text, "output_tokens": tokens, "output_tokens_count": tokens} for text, tokens in asked]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sides: dict[str, Callable[[], list[Timed]]] = {
        "ours": partial(ours, address, asked, users),
        "vllm": partial(vllm_bench, address, file, len(asked), users, tokenizer),
        "guidellm": partial(guidellm, address, file, len(asked), users, tokenizer, python),
    }
    for used in USED.values():
        used.readings.clear()
    steps: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    if not paced:
        sides = {side: partial(with_steps, ask, address, steps[side]) for side, ask in sides.items()}
    found = {
        side: [counted(requests, users) for requests in by_round] for side, by_round in alternate(rounds, sides).items()
    }
    raw = {side: [[asdict(r) for r in requests] for requests in by_round] for side, by_round in found.items()}
    (BENCH / "load" / f"{name}.json").write_text(json.dumps(raw))
    figures: dict[str, float] = {}
    for quantity in quantities:
        pooled = {side: [getattr(r, quantity) for by_round in found[side] for r in by_round] for side in sides}
        for statistic, percent in (("median", 50), ("p95", 95)):
            at = {side: float(np.percentile(values, percent)) for side, values in pooled.items()}
            say(f"{name} {quantity} {statistic}: " + ", ".join(f"{side} {v * 1e3:.1f} ms" for side, v in at.items()))
            figures |= {
                f"{prefix}{side}_{quantity}_{statistic}_x{users}": at["ours"] / at[side]
                for side in ("vllm", "guidellm")
            }
    cores = {f"{prefix}{side}_client_cores_x{users}": used.cores for side, used in USED.items()}
    if paced:
        return figures | cores
    for side, by_round in steps.items():
        total, took = (sum(column) for column in zip(*by_round, strict=True))
        say(f"x{users}: {total:.0f} steps of the server for {side}, {took / total * 1e3:.1f} ms each")
        cores |= {f"{side}_server_steps_x{users}": total, f"{side}_server_step_ms_x{users}": took / total * 1e3}
    tps = {side: statistics.median(map(output_tps, by_round)) for side, by_round in found.items()}
    say(f"x{users} output: " + ", ".join(f"{side} {v:.1f} tok/s" for side, v in tps.items()))
    figures |= {f"{side}_output_tps_x{users}": tps["ours"] / tps[side] for side in ("vllm", "guidellm")}
    return figures | cores


def generator_cost(cores: set[int], tokens: int = 2000, users: int = 8) -> dict[str, float]:
    """Ours against a server that answers at once."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.instant_server", str(port)]
    with running(command, port, BENCH / "load" / "instant.log", cores) as at:
        artifact = endpoint_artifact(f"{at}/v1", "served")
        with Endpoint().load(artifact, {"api": "completions"}) as model:
            requests = [GenerationRequest((), tokens, text="0", ignore_eos=True)] * (3 * users)
            list(closed_loop(model.server(), requests[:users], users))
            began, cpu = time.perf_counter(), time.process_time()
            answers = [answer for _, answer in closed_loop(model.server(), requests, users)]
            busy, took = time.process_time() - cpu, time.perf_counter() - began
            # 500 tokens a second each: quick for a model, and slow enough that none waits for the one before.
            paced = [GenerationRequest((), 300, text="0.002", ignore_eos=True)] * users
            spaced = [answer for _, answer in closed_loop(model.server(), paced, users)]
    total = sum(len(a.token_times_ns) for a in answers)
    delays = np.concatenate([np.array(a.token_times_ns) - np.array([int(t) for t in a.text.split()]) for a in spaced])
    say(f"{total} tokens in {took:.2f} s, {busy:.2f} CPU-seconds of the client")
    return {
        "generator_tokens_per_core_s": total / busy,
        "generator_tokens_per_s": total / took,
        "generator_added_latency_median_ms": float(np.median(delays)) / 1e6,
        "generator_added_latency_p99_ms": float(np.percentile(delays, 99)) / 1e6,
    }


def measure(rounds: int, levels: Sequence[int]) -> Figures:
    """Both parts."""
    folder = BENCH / "load"
    folder.mkdir(parents=True, exist_ok=True)
    python = environment("load", [GUIDELLM])
    wait_until_quiet()
    cores = share_cores()
    figures = generator_cost(cores)
    settings = Settings(home=folder / "home", database="")
    settings.ensure_home()
    with open_store(settings.database_url) as store:
        catalog = Catalog(store, settings)
        small = catalog.add("packages", next(o.reference for o in catalog.offers("SmolLM2", "packages")))
        weights = Path(catalog.convert(small, "f16").path)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.instant_server", str(port)]
    with running(command, port, folder / "paced.log", cores) as address:
        figures |= compare(16, rounds, address, weights, python, paced=True)
    port = free_port()
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights),
        "--served-model-name", "served", "--dtype", "float32", "--max-model-len", "512", "--max-num-seqs", "16",
        "--kv-cache-memory-bytes", "500000000", "--no-enable-prefix-caching", "--enforce-eager",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with running(command, port, folder / "server.log", cores) as address:
        say(f"vLLM serves at {address}; warming up.")
        ours(address, [("Warm up, please.", 32)] * 8, 4)
        for users in levels:
            wait_until_quiet()
            figures |= compare(users, rounds, address, weights, python)
    return figures


if __name__ == "__main__":
    in_the_vllm_environment("load")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="even, so that drift falls on all alike")
    parser.add_argument("--users", type=int, nargs="+", choices=REQUESTS, default=list(REQUESTS))
    chosen = parser.parse_args()
    main("load", LIMITS, lambda: measure(chosen.rounds, chosen.users))
