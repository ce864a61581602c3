"""What any server with OpenAI's routes has to pass, and how real ones are started."""

from __future__ import annotations

import contextlib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trilemma.catalog.endpoints import endpoint_artifact
from trilemma.engines.base import GenerationRequest
from trilemma.engines.endpoint import Endpoint
from trilemma.workloads.load import closed_loop

TEXT = "The night shift reported the water level of the old canal before breakfast. " * 12


@dataclass(frozen=True)
class Conformance:
    """How a server did: what it says about itself."""

    exact_lengths: bool
    timed_by_token: bool
    metered: bool
    notes: dict[str, object]


@contextlib.contextmanager
def running(command: Sequence[str], port: int, log: Path, patience_s: float = 300.0) -> Iterator[str]:
    """A server as a child, from when it lists its models; its base address."""
    url = f"http://127.0.0.1:{port}/v1"
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            deadline = time.monotonic() + patience_s
            while True:
                try:
                    with urllib.request.urlopen(f"{url}/models", timeout=5):
                        break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    assert process.poll() is None, log.read_text(errors="replace")[-3000:]
                    assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
                    time.sleep(0.3)
            yield url
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def conform(url: str, model: str, **settings: object) -> Conformance:
    """Ask for what every run asks for, on both routes and several at once; asserts what must hold of any server."""
    timings = []
    for api in ("chat", "completions"):
        with Endpoint().load(endpoint_artifact(url, model), {"api": api, **settings}) as loaded:  # type: ignore[dict-item]
            prompt = loaded.fit(TEXT, 96)
            request = GenerationRequest((), 12, text=prompt.text, ignore_eos=True)
            first, again = loaded.generate(request), loaded.generate(request)
            for answer in (first, again):
                assert answer.error == ""
                assert 1 <= len(answer.token_times_ns) <= 13
                assert answer.token_times_ns == sorted(answer.token_times_ns)
                assert answer.submitted_ns < answer.token_times_ns[0]
                assert answer.text.strip()
                timings.append(answer.token_timing)
            # Greedy decoding says the same twice.
            assert first.text == again.text
            if first.prompt_tokens:
                assert abs(first.prompt_tokens - 96) <= 4
            answers = dict(closed_loop(loaded.server(), [request] * 6, users=3))
            assert sorted(answers) == list(range(6))
            assert [a.error for a in answers.values() if a.error] == []
            about = loaded.describe()
    return Conformance(
        exact_lengths=str(about["prompt_lengths"]).startswith("counted"),
        timed_by_token=all(timing == "token" for timing in timings),
        metered=about["metered_process"] is not None,
        notes=dict(about["notes"]),  # type: ignore[arg-type]
    )
