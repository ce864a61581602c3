"""The three clients of ``benchmarks.load``, each by its own records of each request, and the CPU that each takes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import BENCH, ROOT, say
from trilemma.catalog.endpoints import endpoint_artifact
from trilemma.engines.base import Generation, GenerationRequest
from trilemma.engines.endpoint import Endpoint
from trilemma.workloads.load import closed_loop


@dataclass(frozen=True)
class Timed:
    """What a client recorded of one request: seconds on its own clock."""

    sent: float
    ttft: float
    tpot: float
    e2e: float
    tokens: int


@contextlib.contextmanager
def running(command: Sequence[str], port: int, log: Path, cores: Collection[int]) -> Iterator[str]:
    """A server as a child on ``cores``, from when it lists its models; its address without a path."""
    address = f"http://127.0.0.1:{port}"
    bound = os.environ | {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(cores)))}
    with log.open("wb") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, env=bound) as process:
        os.sched_setaffinity(process.pid, cores)
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


def server_steps(address: str) -> float:
    """How many steps vLLM's engine has taken: in each it computes the next token of all requests that it has then."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as page:
        found = re.search(r"^vllm:iteration_tokens_total_count\{[^}]*\} (\S+)$", page.read().decode(), re.MULTILINE)
    if found is None:
        raise RuntimeError("The server does not count its steps.")
    return float(found.group(1))


def share_cores() -> set[int]:
    """Keep one core for the clients: this process and its children. The others are for the servers.

    Raises:
        RuntimeError: there is one only.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("One core is too few for a server and its clients.")
    os.sched_setaffinity(0, cores[-1:])
    return set(cores[:-1])


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


_ATTEMPTS = 4
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


def ours(address: str, asked: Sequence[tuple[str, int]], users: int) -> list[Timed]:
    """Through the endpoint engine and the closed loop that a run uses."""
    with Endpoint().load(endpoint_artifact(f"{address}/v1", "served"), {"api": "completions"}) as model:
        requests = [GenerationRequest((), tokens, text=prompt, ignore_eos=True) for prompt, tokens in asked]
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


def vllm_bench(address: str, file: Path, requests: int, users: int, tokenizer: Path) -> list[Timed]:
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
            "--skip-chat-template", "--disable-shuffle", "--custom-output-len", "-1", "--ignore-eos",
            "--num-prompts", str(requests), "--max-concurrency", str(users), "--temperature", "0",
            "--save-result", "--save-detailed", "--result-dir", str(result.parent), "--result-filename", result.name,
        ],
        USED["vllm"],
    )  # fmt: skip
    told = json.loads(result.read_text())
    if told["failed"]:
        raise RuntimeError(f"vllm bench serve: {told['failed']} requests failed")
    rows = zip(told["start_times"], told["ttfts"], told["itls"], told["output_lens"], strict=True)
    return [Timed(sent, ttft, sum(itl) / (n - 1), ttft + sum(itl), n) for sent, ttft, itl, n in rows]


def guidellm(address: str, file: Path, requests: int, users: int, tokenizer: Path, python: Path) -> list[Timed]:
    """``guidellm run`` with the concurrent profile; again if its report lacks a request.

    Version 0.8.1 now and then ends before it has counted the last one: it is then neither successful nor failed.
    """
    for _ in range(_ATTEMPTS):
        told = _guidellm_report(address, file, requests, users, tokenizer, python)
        if failed := len(told["errored"]) + len(told["incomplete"]):
            raise RuntimeError(f"guidellm: {failed} requests failed")
        if len(told["successful"]) == requests:
            break
        say(f"guidellm reports {len(told['successful'])} of {requests} requests; once more.")
    return [
        Timed(
            sent=r["request_start_time"],
            ttft=r["time_to_first_token_ms"] / 1e3,
            tpot=r["inter_token_latency_ms"] / 1e3,
            e2e=r["request_latency"],
            tokens=r["output_tokens"],
        )
        for r in told["successful"]
    ]


def _guidellm_report(
    address: str, file: Path, requests: int, users: int, tokenizer: Path, python: Path
) -> dict[str, list[dict[str, Any]]]:
    """Its requests by how they ended."""
    result = BENCH / "load" / "guidellm.json"
    result.unlink(missing_ok=True)
    run(
        [
            str(python.parent / "guidellm"), "run",
            # Without a temperature the server draws from all tokens, which takes it longer than to take the likeliest.
            "--backend", f"kind=openai_http,target={address},model=served,request_format=/v1/completions,"
            "extras.body.temperature=0",
            "--profile", f"kind=concurrent,streams={users}",
            "--constraint", f"kind=max_requests,count={requests}",
            "--data", f"kind=json_file,path={file}", "--tokenizer", f"kind=hf_auto,model={tokenizer}",
            "--output", f"kind=json,path={result}", "--disable-console",
        ],
        USED["guidellm"],
    )  # fmt: skip
    found: dict[str, list[dict[str, Any]] | None] = json.loads(result.read_text())["benchmarks"][0]["requests"]
    return {how: found[how] or [] for how in ("successful", "errored", "incomplete")}
