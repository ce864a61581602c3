"""The definition of every figure: name, axis, unit, direction, and how it is computed.

The version of a definition is stored with every measurement, so that figures of different meaning are never compared.
``docs/figures.md`` is generated from this table (``python -m trilemma.figures``); a test holds the two together.
"""

from __future__ import annotations

from typing import Literal

from trilemma.errors import TrilemmaError
from trilemma.schema import Axis, Frozen

Better = Literal["lower", "higher"]


class FigureDefinition(Frozen):
    """What one figure means."""

    name: str
    title: str
    axis: Axis
    unit: str
    better: Better
    definition: str
    version: int = 1


def _figures() -> list[FigureDefinition]:
    efficiency, speed, performance = Axis.EFFICIENCY, Axis.SPEED, Axis.PERFORMANCE

    def row(axis: Axis, name: str, title: str, unit: str, better: Better, definition: str) -> FigureDefinition:
        return FigureDefinition(name=name, title=title, axis=axis, unit=unit, better=better, definition=definition)

    return [
        row(
            efficiency,
            "peak_memory_bytes",
            "Peak memory",
            "B",
            "lower",
            "Peak, from loading to the end of the speed phase, of the proportional set size (PSS) summed over the "
            "engine's process tree; unique or resident set size where the system has no PSS, and then said so. It is "
            "the memory of serving: the performance phase, which needs full logits, is left out.",
        ),
        row(
            efficiency,
            "weights_memory_bytes",
            "Memory for weights",
            "B",
            "lower",
            "What the engine accounts for as model buffers, memory-mapped or not, repacked copies included.",
        ),
        row(
            efficiency,
            "kv_cache_bytes",
            "Memory for the KV cache",
            "B",
            "lower",
            "What the engine allocates for keys and values at the configured context length and cache type.",
        ),
        row(
            efficiency,
            "other_memory_bytes",
            "Other memory",
            "B",
            "lower",
            "Peak memory less weights and KV cache: compute buffers, the runtime, the interpreter.",
        ),
        row(
            efficiency,
            "peak_gpu_memory_bytes",
            "Peak GPU memory",
            "B",
            "lower",
            "Peak, from loading to the end of the speed phase, of what the engine's process tree holds on its GPUs, "
            "as the driver accounts for it; peak memory is the host's. Of a KV cache reserved ahead, what was ever in "
            "use. Where the driver does not tell processes apart: memory in use less that before the run, and said so.",
        ),
        row(
            efficiency,
            "reserved_gpu_memory_bytes",
            "Peak GPU memory with the reserve",
            "B",
            "lower",
            "The same with all of the KV cache that the engine reserved ahead.",
        ),
        row(
            efficiency,
            "gpu_memory_bytes",
            "Peak memory of one GPU",
            "B",
            "lower",
            "What the engine's process tree holds on the GPU that is named, at its peak, the reserve included.",
        ),
        row(
            efficiency,
            "gpu_utilization",
            "GPU in use",
            "",
            "higher",
            "Mean, over the steady window and the engine's GPUs, of the share of time in which any kernel ran.",
        ),
        row(
            efficiency,
            "gpu_throttled",
            "GPU throttled",
            "",
            "lower",
            "Share of the steady window in which the clock of the worst GPU was held down; the reasons are stated.",
        ),
        row(efficiency, "weights_bytes", "Size on disk", "B", "lower", "Size of the artifact's file."),
        row(
            efficiency,
            "bits_per_weight",
            "Bits per weight",
            "bit",
            "lower",
            "Bits of all tensors over the number of weights, from the file's header.",
        ),
        row(
            efficiency,
            "energy_j",
            "Energy",
            "J",
            "lower",
            "Energy of the workload's steady window, net of the machine's idle power read right before the run where "
            "the source counts the whole machine. The modelled source counts the process tree alone, in which there "
            "is no idle power: CPU-seconds x watts per busy core + bytes held x watts per GB (1e9 bytes).",
        ),
        row(efficiency, "energy_gross_j", "Energy, gross", "J", "lower", "As energy, with idle power left in."),
        row(
            efficiency,
            "energy_per_token_j",
            "Energy per token",
            "J/tok",
            "lower",
            "Net energy of the steady window over the output tokens inside it.",
        ),
        row(
            efficiency,
            "energy_per_request_j",
            "Energy per request",
            "J/req",
            "lower",
            "Net energy of the steady window over the requests that finished inside it.",
        ),
        row(efficiency, "power_w", "Mean power", "W", "lower", "Net energy of the steady window over its length."),
        row(
            efficiency,
            "idle_power_w",
            "Idle power",
            "W",
            "lower",
            "Mean power in the idle phase (subject idle: engine not loaded; subject loaded_idle: loaded, no request).",
        ),
        row(
            efficiency,
            "cpu_cores",
            "CPU in use",
            "cores",
            "lower",
            "CPU-seconds of the process tree in the steady window over its length.",
        ),
        row(
            speed,
            "ttft_s",
            "Time to first token",
            "s",
            "lower",
            "Submission to first output token, on the client's side, queueing and prefill included; prompt cache off.",
        ),
        row(
            speed,
            "tpot_s",
            "Time per output token",
            "s",
            "lower",
            "(time of last token - time of first token) / (output tokens - 1), per request.",
        ),
        row(speed, "itl_s", "Inter-token latency", "s", "lower", "The gaps between successive tokens of all requests."),
        row(speed, "e2e_s", "End-to-end latency", "s", "lower", "Submission to last token."),
        row(
            speed,
            "prefill_tps",
            "Prefill speed",
            "tok/s",
            "higher",
            "Prompt tokens over the time to first token, at concurrency 1.",
        ),
        row(speed, "decode_tps", "Decode speed", "tok/s", "higher", "1 / time per output token, at concurrency 1."),
        row(
            speed,
            "engine_prefill_tps",
            "Prefill speed, engine's own",
            "tok/s",
            "higher",
            "Prompt tokens over the engine's own prefill time (its performance counters).",
        ),
        row(
            speed,
            "engine_decode_tps",
            "Decode speed, engine's own",
            "tok/s",
            "higher",
            "Decoded tokens over the engine's own decode time; sampling and the Python loop are left out.",
        ),
        row(
            speed,
            "loop_overhead_s",
            "Sampling and loop per token",
            "s",
            "lower",
            "Time per output token less the engine's own decode time per token: what sampling and the loop add.",
        ),
        row(
            speed,
            "output_tps",
            "Output throughput",
            "tok/s",
            "higher",
            "Output tokens inside the steady window over its length, all requests together.",
        ),
        row(
            speed,
            "request_rate",
            "Request throughput",
            "req/s",
            "higher",
            "Requests finished inside the steady window over its length.",
        ),
        row(speed, "load_s", "Time to load", "s", "lower", "From asking for the artifact to ready for a request."),
        row(
            performance,
            "accuracy",
            "Accuracy",
            "",
            "higher",
            "Share of items whose expected choice has the highest summed log-probability.",
        ),
        row(
            performance,
            "accuracy_norm",
            "Accuracy, length-normalised",
            "",
            "higher",
            "As accuracy, with each log-probability divided by the choice's length in characters.",
        ),
        row(
            performance,
            "perplexity",
            "Perplexity",
            "",
            "lower",
            "exp of the mean negative log-likelihood of the second half of each chunk's tokens, each chunk evaluated "
            "from an empty cache, as llama-perplexity does.",
        ),
        row(
            performance,
            "kl_divergence",
            "KL divergence from the reference",
            "nat",
            "lower",
            "Mean (or 99th percentile) over positions of the Kullback-Leibler divergence of this artifact's next-token "
            "distribution from that of the reference, the same model at its highest precision.",
        ),
        row(
            performance,
            "top1_agreement",
            "Top-1 agreement with the reference",
            "",
            "higher",
            "Share of positions at which both give the same most probable token.",
        ),
    ]


FIGURES: dict[str, FigureDefinition] = {figure.name: figure for figure in _figures()}


def figure(name: str) -> FigureDefinition:
    """The definition of ``name``.

    Raises:
        TrilemmaError: there is no such figure.
    """
    try:
        return FIGURES[name]
    except KeyError:
        raise TrilemmaError(f"There is no figure named {name!r}.", f"Known: {', '.join(FIGURES)}.") from None


def as_markdown() -> str:
    """The table of definitions as a Markdown page."""
    lines = [
        "# What every figure means",
        "",
        "Generated from `trilemma/figures.py` by `python -m trilemma.figures > docs/figures.md`.",
        "",
    ]
    for axis in Axis:
        lines += [
            f"## {axis.value.capitalize()}",
            "",
            "| figure | unit | better | definition | version |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| **{f.title}** `{f.name}` | {f.unit or '-'} | {f.better} | {f.definition} | {f.version} |"
            for f in FIGURES.values()
            if f.axis is axis
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(as_markdown())
