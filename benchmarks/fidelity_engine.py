"""The engine's side of ``benchmarks.fidelity``, in a process of its own: ``TASK JSON`` in, one line of JSON out."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from benchmarks.llama_tools import mapped_libraries
from trilemma import registry
from trilemma.engines.base import Generation, GenerationRequest, LoadedModel, ServingModel
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.schema import Artifact, SuiteSpec
from trilemma.suites.base import Suite, SuiteContext
from trilemma.workloads.load import closed_loop


def load(path: str, settings: dict[str, Any]) -> LoadedModel:
    """A file that no catalog knows."""
    file = Path(path)
    artifact = Artifact(
        id="0" * 64, path=path, model=file.stem, quantization="", size_bytes=file.stat().st_size, source="benchmark"
    )
    return LlamaCpp().load(artifact, settings)


def speed(model: str, settings: dict[str, Any], prompt: int, output: int, repeats: int) -> dict[str, float]:
    """Median prefill and decode speed by the engine's counters, tokens/s, and the loop's milliseconds a token."""
    prefill, decode, loop = [], [], []
    with load(model, settings) as loaded:
        text = "The quick brown fox jumps over the lazy dog while seven wizards mix potions. " * (prompt // 8)
        tokens = loaded.tokenize(text)[:prompt]
        # In llama-bench's order: a warm-up, prompts one after the other, then decoding. What ran just before counts:
        # prompts between stretches of decoding come out slower than prompts in a row.
        for repeat in range(repeats + 1):
            done = loaded.generate(GenerationRequest(tokens, 1, ignore_eos=True))
            assert done.prefilled_tokens == prompt
            assert done.engine_prefill_s is not None
            if repeat:
                prefill.append(prompt / done.engine_prefill_s)
        # The first token comes out of the prefill: one more than is decoded.
        request = GenerationRequest(tokens, output + 1, ignore_eos=True)
        for _ in range(repeats):
            done = loaded.generate(request)
            assert done.engine_decoded_tokens == output
            assert done.engine_decode_s is not None
            waited_s = (done.token_times_ns[-1] - done.token_times_ns[0]) / 1e9
            decode.append(output / done.engine_decode_s)
            loop.append((waited_s - done.engine_decode_s) / output * 1000)
    return {name: statistics.median(v) for name, v in (("prefill", prefill), ("decode", decode), ("loop_ms", loop))}


def load_test(model: str, settings: dict[str, Any], prompt: int, output: int) -> dict[str, float]:
    """Prompt and output tokens a second when as many users as there are slots ask once, all at the same time."""
    with load(model, settings) as loaded:
        assert isinstance(loaded, ServingModel)
        text = "The quick brown fox jumps over the lazy dog while seven wizards mix potions. " * (prompt // 8)
        tokens = loaded.tokenize(text)[:prompt]
        users = settings["slots"]
        requests = [GenerationRequest(tokens, output, ignore_eos=True)] * users
        found: list[Generation] = []
        for _ in range(2):  # the first is a warm-up
            found = [answer for _, answer in closed_loop(loaded.server(), requests, users)]
        began = min(answer.submitted_ns for answer in found)
        ended = max(answer.token_times_ns[-1] for answer in found)
        # The first token comes out of the prompt, so one less than there are is decoded.
        return {"tps": users * (prompt + output - 1) / (ended - began) * 1e9}


def quality(model: str, reference: str, text: str, chunk: int, chunks: int) -> dict[str, float]:
    """Perplexity, mean divergence and agreement by the suites; the text that they take is written to ``text``."""
    from trilemma.suites import text as texts

    options: dict[str, JsonValue] = {"context": chunk}
    figures: dict[str, float] = {}
    settings = {"context": max(chunk, 512)}
    with load(model, settings) as loaded:
        for name in ("perplexity", "divergence"):
            spec = SuiteSpec(name=name, limit=chunks, options=options)
            content, source = texts.load(texts.options(spec))
            Path(text).write_text(content, encoding="utf-8", newline="")
            print(f"{name}: {source}", file=sys.stderr)
            context = SuiteContext(
                spec=spec,
                open_reference=lambda: load(reference, settings),
                reference_label="reference",
                advance=lambda _fraction: None,
            )
            suite: Suite = registry.load("trilemma.suites", name)()
            for found in suite.measurements(list(suite.answers(loaded, context)), spec):
                if found.value is not None and found.statistic in ("", "mean"):
                    figures[found.figure] = found.value
    return figures


def main() -> int:
    """Run the task named on the command line."""
    task, arguments = sys.argv[1], json.loads(sys.argv[2])
    tasks: dict[str, Callable[..., dict[str, float]]] = {"speed": speed, "load": load_test, "quality": quality}
    result = tasks[task](**arguments)
    print(json.dumps({"result": result, "libraries": sorted(map(str, mapped_libraries()))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
