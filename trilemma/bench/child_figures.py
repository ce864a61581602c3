"""What only the measured process can know: its requests as records, and figures that the engine itself tells."""

from __future__ import annotations

from collections.abc import Sequence

from trilemma.bench.events import TargetEvent
from trilemma.engines.base import Generation, LoadedModel, Prompt
from trilemma.engines.remote import RemoteModel
from trilemma.records import RequestRecord
from trilemma.schema import Measurement, Method, Provenance
from trilemma.workloads.latency import complete


def record_of(
    model: LoadedModel, prompt: Prompt, subject: str, index: int, generation: Generation, *, warmup: bool
) -> RequestRecord:
    """One request, as the store keeps it."""
    in_text = not prompt.tokens
    return RequestRecord(
        workload=subject,
        index=index,
        warmup=warmup,
        submitted_ns=generation.submitted_ns,
        token_times_ns=tuple(generation.token_times_ns),
        # A server's own count, where there is one, is better than our guess.
        prompt_tokens=(generation.prompt_tokens or prompt.length) if in_text else len(prompt.tokens),
        prefilled_tokens=generation.prefilled_tokens,
        output_tokens=len(generation.token_times_ns),
        engine_prefill_s=generation.engine_prefill_s,
        engine_decode_s=generation.engine_decode_s,
        prompt=prompt.text if in_text else model.detokenize(prompt.tokens),
        text=generation.text if in_text else model.detokenize(generation.tokens),
        error=generation.error,
        token_timing=generation.token_timing,
    )


def not_offered(figure: str, subject: str, reason: str) -> Measurement:
    """A figure that this engine cannot give, and why."""
    provenance = Provenance(method=Method.MEASURED, source="the engine", valid=False, reasons=(reason,))
    return Measurement(figure=figure, subject=subject, value=None, provenance=provenance)


def target_event(model: RemoteModel) -> TargetEvent:
    """Whom to meter for a model that runs in another process."""
    return TargetEvent(pid=model.process.pid, reason=model.process.reason)


def cost_measurements(model: LoadedModel, subject: str, records: Sequence[RequestRecord]) -> list[Measurement]:
    """What a million output tokens cost, the prompts that they took included; nothing where no price is known."""
    if not isinstance(model, RemoteModel):
        return []
    whole = complete(records)
    outputs = sum(r.output_tokens for r in whole)
    cost = model.cost_usd(sum(r.prompt_tokens for r in whole), outputs)
    if cost is None or not outputs:
        return []
    provenance = Provenance(method=Method.MODELLED, source="stated prices x the server's token counts", scope="request")
    value = cost / outputs * 1e6
    return [
        Measurement(figure="cost_per_million_tokens", subject=subject, value=value, n=len(whole), provenance=provenance)
    ]


def memory_measurements(model: LoadedModel) -> list[Measurement]:
    """What the engine accounts for: weights, KV cache, and what it reserved for that ahead."""
    split = model.memory()
    scope = "GPU" if split.pool == "gpu" else "process"
    provenance = Provenance(method=Method.MEASURED, source="engine's own accounting", scope=scope)
    figures = {"weights_memory_bytes": split.weights_bytes, "kv_cache_bytes": split.kv_cache_bytes}
    if split.reserved_bytes is not None:
        figures["kv_cache_reserved_bytes"] = split.reserved_bytes
    return [
        Measurement(figure=figure, value=None if value is None else float(value), n=1, provenance=provenance)
        for figure, value in figures.items()
    ]


def lag_measurement(subject: str, lags: Sequence[float]) -> Measurement:
    """How late the loop that asks was at worst: its own share of the waiting."""
    provenance = Provenance(method=Method.MEASURED, source="client's clock", scope="request")
    worst = max(lags, default=None)
    return Measurement(figure="generator_lag_s", subject=subject, value=worst, n=len(lags), provenance=provenance)
