"""Realistic studies, written through the real store: what pages, charts and benchmarks are tried on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from trilemma.analysis.points import Points, configuration_points
from trilemma.bench.budget import ESTIMATED, does_not_fit, verdict_measurements, with_emulation
from trilemma.records import AnswerRecord, HostInfo, PhaseWindow, RequestRecord, Sample, StudyRecord
from trilemma.schema import (
    Artifact,
    Configuration,
    DeviceProfile,
    Measurement,
    Method,
    Phase,
    Provenance,
    RunSpec,
    RunState,
    StudySpec,
    SuiteSpec,
    WorkloadSpec,
)
from trilemma.store import Store

BITS = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.57, "Q5_K_M": 5.7, "Q4_K_M": 4.93, "Q3_K_M": 4.1, "Q2_K": 3.3}
DIVERGENCE = {
    "F16": 0.0,
    "Q8_0": 0.0011,
    "Q6_K": 0.0042,
    "Q5_K_M": 0.012,
    "Q4_K_M": 0.031,
    "Q3_K_M": 0.11,
    "Q2_K": 0.62,
}
SMOL, GEMMA = "SmolLM2-135M-Instruct", "gemma-3-270m-it"
DEMO = [(SMOL, q) for q in ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M", "Q2_K")]
DEMO += [(GEMMA, q) for q in ("Q4_K_M", "Q3_K_M", "Q2_K")]
PARAMETERS = {SMOL: 134_515_008, GEMMA: 268_098_176}
WORKLOAD = WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=24)
SUITES = (SuiteSpec(name="divergence"), SuiteSpec(name="hellaswag", limit=100), SuiteSpec(name="piqa", limit=100))
HOST = HostInfo(
    id="a1b2c3d4e5f60718", system="Linux 6.12", machine="x86_64", cpu="AMD EPYC 7B13", cores=2,
    memory_bytes=8 * 2**30, virtualized=True, python="3.13.5", trilemma="0.1.0",
    packages={"llama-cpp-python": "0.3.36", "numpy": "2.4.6"},
)  # fmt: skip


def artifact(model: str, quantization: str) -> Artifact:
    """A catalog entry without a file behind it."""
    parameters = PARAMETERS.get(model, 500_000_000)
    bits = BITS.get(quantization, 4.5)
    return Artifact(
        id=hashlib.sha256(f"{model} {quantization}".encode()).hexdigest(),
        path=f"/models/{model}-{quantization}.gguf",
        model=model,
        quantization=quantization,
        architecture="llama",
        parameters=parameters,
        context_length=8192,
        size_bytes=int(parameters * bits / 8),
        bits_per_weight=bits,
        source="quantise",
        requantized=quantization not in ("F16", "Q8_0"),
        added_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(model)),
    )


def modelled(window_s: float) -> Provenance:
    """Energy as the modelled source states it."""
    return Provenance(
        method=Method.MODELLED, source="modelled", scope="process tree", idle_subtracted=False, window_s=window_s
    )


MEASURED = Provenance(method=Method.MEASURED, source="client's clock", scope="request")
MEMORY = Provenance(method=Method.MEASURED, source="proportional set size of the process tree", scope="process tree")


def _spread(figure: str, value: float, rng: random.Random, width: float = 0.01, **rest: Any) -> Measurement:
    drawn = value * rng.gauss(1, width)
    half = abs(drawn) * width
    return Measurement.model_validate(
        {"figure": figure, "value": drawn, "low": drawn - half, "high": drawn + half, "n": 24, "provenance": MEASURED}
        | rest
    )


def figures(
    item: Artifact, rng: random.Random, *, quality: bool = True, threads: int = 2, slow: float = 1.0
) -> list[Measurement]:
    """About thirty figures of one run: smaller is faster and leaner, fewer bits answer worse."""
    size = item.size_bytes
    decode = 1.6e10 / size * (threads / 2) ** 0.7 / slow
    energy = 20.0 / decode + size * 4e-10
    chat: dict[str, Any] = {"subject": WORKLOAD.name}
    found = [
        _spread("peak_memory_bytes", size * 1.08 + 1.1e8, rng, 0.002, provenance=MEMORY, low=None, high=None, n=120),
        Measurement(figure="weights_memory_bytes", value=float(size), n=1, provenance=MEMORY),
        Measurement(figure="kv_cache_bytes", value=4.7e7, n=1, provenance=MEMORY),
        Measurement(figure="weights_bytes", value=float(size), n=1, provenance=MEMORY),
        Measurement(figure="bits_per_weight", value=item.bits_per_weight, n=1, provenance=MEMORY),
        _spread("energy_j", energy * 64 * 24, rng, 0.02, provenance=modelled(30.0), **chat),
        _spread("energy_per_token_j", energy, rng, 0.02, provenance=modelled(30.0), **chat),
        _spread("energy_per_request_j", energy * 64, rng, 0.02, provenance=modelled(30.0), **chat),
        _spread("power_w", 19.6, rng, 0.01, provenance=modelled(30.0), **chat),
        _spread("cpu_cores", 1.96, rng, 0.004, **chat),
        _spread("decode_tps", decode, rng, **chat),
        _spread("prefill_tps", decode * 4, rng, **chat),
        _spread("output_tps", decode * 0.8, rng, **chat),
        _spread("request_rate", decode / 70, rng, **chat),
        _spread("load_s", size / 4e8, rng, 0.05, n=1, low=None, high=None),
    ]
    for name, value in (("ttft_s", 32 / decode), ("tpot_s", 1 / decode), ("itl_s", 1 / decode), ("e2e_s", 96 / decode)):
        for statistic, factor in (("mean", 1.01), ("median", 1.0), ("p90", 1.06), ("p95", 1.1)):
            found.append(_spread(name, value * factor, rng, statistic=statistic, **chat))
        reason = MEASURED.model_copy(update={"valid": False, "reasons": ("p99 needs 100 requests, there are 24",)})
        found.append(Measurement(figure=name, value=None, n=24, statistic="p99", provenance=reason, **chat))
    if quality:
        loss = DIVERGENCE.get(item.quantization, 0.05)
        scored = MEASURED.model_copy(update={"source": "hellaswag", "scope": "items"})
        for suite, top in (("hellaswag", 0.43), ("piqa", 0.67)):
            for figure in ("accuracy", "accuracy_norm"):
                share = round((top - 0.16 * loss + 0.02 * (item.model == GEMMA)) * 100) / 100
                half = 1.96 * (share * (1 - share) / 100) ** 0.5
                found.append(
                    Measurement(
                        figure=figure,
                        subject=suite,
                        value=share,
                        low=share - half,
                        high=share + half,
                        n=100,
                        provenance=scored,
                    )
                )
        low, high = 18.0 * (1 + loss) - 1, 18.0 * (1 + loss) + 1
        kl: dict[str, float] = {"value": loss, "low": loss * 0.9, "high": loss * 1.1}
        found += [
            Measurement(figure="kl_divergence", statistic="mean", n=4000, provenance=scored, **kl),
            Measurement(figure="top1_agreement", value=1 - loss**0.6 / 2, n=4000, provenance=scored),
            Measurement(figure="perplexity", value=18.0 * (1 + loss), low=low, high=high, n=4000, provenance=scored),
        ]
    return found


def records(
    item: Artifact, rng: random.Random, *, quality: bool, start_ns: int = 5_000_000_000
) -> dict[str, list[Any]]:
    """The phases, 10 Hz samples, requests and answers of one run."""
    decode = 1.6e10 / item.size_bytes
    step = int(1e9 / decode)
    spans = [
        (Phase.IDLE, "", 3.0),
        (Phase.LOAD, "", 0.8),
        (Phase.LOADED_IDLE, "", 3.0),
        (Phase.WARMUP, "short_chat", 1.5),
    ]
    spans += [(Phase.SPEED, "short_chat", 24 * 96 / decode)]
    spans += [(Phase.PERFORMANCE, suite.name, 9.0) for suite in SUITES] if quality else []
    spans += [(Phase.UNLOAD, "", 0.3)]
    phases: list[PhaseWindow] = []
    now = start_ns
    for phase, subject, seconds in spans:
        phases.append(PhaseWindow(phase=phase, subject=subject, start_ns=now, end_ns=now + int(seconds * 1e9)))
        now += int(seconds * 1e9)
    samples: list[Sample] = []
    cpu = joules = 0.0
    for time_ns in range(start_ns, now, 100_000_000):
        phase = next(w.phase for w in phases if w.end_ns is not None and time_ns < w.end_ns)
        busy = phase in (Phase.WARMUP, Phase.SPEED, Phase.PERFORMANCE)
        held = 5e7 if phase is Phase.IDLE else item.size_bytes * (1.3 if phase is Phase.PERFORMANCE else 1.08) + 1.1e8
        cpu += (1.96 if busy else 0.04) * 0.1 * rng.gauss(1, 0.03)
        joules += (19.6 if busy else 0.6) * 0.1 * rng.gauss(1, 0.03)
        values = {"rss_bytes": held * 1.02, "cpu_s": cpu, "others_cpu_cores": abs(rng.gauss(0.05, 0.03))}
        values |= {"energy_j.modelled": joules, "load1": 1.9, "available_bytes": 5e9}
        if len(samples) % 10 == 0:
            values |= {"pss_bytes": held, "uss_bytes": held * 0.98}
        samples.append(Sample(time_ns=time_ns, phase=phase, values=values))
    requests, at = [], phases[4].start_ns
    for index in range(24):
        first = at + int(32 * step * rng.gauss(1, 0.04))
        times = [first]
        for _ in range(63):
            times.append(times[-1] + int(step * max(0.5, rng.gauss(1, 0.08))))
        requests.append(
            RequestRecord(
                workload="short_chat", index=index, submitted_ns=at, token_times_ns=tuple(times), prompt_tokens=128,
                prefilled_tokens=128, output_tokens=64, prompt="Tell me of the sea.", text="The sea is wide and " * 8,
            )
        )  # fmt: skip
        at = times[-1] + 1_000_000
    answers = []
    for suite in ("hellaswag", "piqa") if quality else ():
        for index in range(100):
            right = float(rng.random() < 0.43)
            answers.append(
                AnswerRecord(
                    suite=suite, item_id=f"{suite}-{index}", index=index,
                    prompt=f"A man is standing in front of item {index}. He",
                    answer="lifts it." if right else "<b>flies</b> away.",
                    expected="lifts it.", scores={"accuracy": right, "accuracy_norm": right},
                    detail={"logprobs": [-12.3, -10.1, -15.0, -11.2]},
                )
            )  # fmt: skip
    return {"phases": phases, "samples": samples, "requests": requests, "answers": answers}


def fill_store(
    store: Store,
    items: Iterable[tuple[str, str]] = DEMO,
    repeats: int = 2,
    *,
    name: str = "Demo",
    settings: Iterable[dict[str, int]] = ({"threads": 2},),
    devices: Iterable[DeviceProfile | None] = (None,),
    detail: bool = True,
    seed: int = 1,
) -> StudyRecord:
    """A finished study: every artifact measured ``repeats`` times, questions asked in the first repeat."""
    rng = random.Random(seed)
    weights = {a.id: a for a in (artifact(*item) for item in items)}
    for one in weights.values():
        store.add_artifact(one)
    configurations = [
        Configuration(artifact_id=i, engine="llama.cpp", settings=s, profile=d)
        for s in settings for d in devices for i in weights
    ]  # fmt: skip
    spec = StudySpec(
        name=name, configurations=tuple(configurations), workloads=(WORKLOAD,), suites=SUITES, repeats=min(100, repeats)
    )
    runs = [
        RunSpec(configuration=c, workloads=(WORKLOAD,), suites=SUITES if repeat == 0 else (), repeat=repeat)
        for repeat in range(repeats)
        for c in configurations
    ]
    study = store.add_study(spec, runs)
    while run := store.claim_next("factory"):
        quality = run.spec.repeat == 0
        item = weights[run.spec.configuration.artifact_id]
        store.start_run(run.id, HOST)
        device = run.spec.configuration.profile
        if device and device.memory_bytes and item.size_bytes > device.memory_bytes:
            verdict = does_not_fit(device, device.memory_bytes, item.size_bytes, ESTIMATED)
            store.set_measurements(run.id, verdict_measurements(device, verdict))
            store.finish_run(run.id, RunState.DOES_NOT_FIT, reason=str(verdict))
            continue
        if detail:
            store.set_engine_info(run.id, {"name": "llama.cpp", "build": "b7000", "threads": 2})
            kept = records(item, rng, quality=quality)
            store.write_batch(
                run.id,
                phases=kept["phases"],
                samples=kept["samples"],
                requests=kept["requests"],
                answers=kept["answers"],
            )
        threads = int(str(run.spec.configuration.settings.get("threads", 2)))
        measured = figures(item, rng, quality=quality, threads=threads, slow=1.6 if device else 1.0)
        store.set_measurements(run.id, with_emulation(measured, device))
        store.finish_run(
            run.id, RunState.DONE, log_tail="llama_model_loader: loaded meta data\nready\n" if detail else ""
        )
    return store.study(study.id)


def fill_many(store: Store, runs: int = 10_000) -> StudyRecord:
    """``runs`` finished runs, two a configuration: 25 models, seven quantizations, as many settings as it takes."""
    items = [(f"model-{number:02d}-instruct", quantization) for number in range(25) for quantization in BITS]
    settings = [{"threads": 1 + number} for number in range(-(-runs // (2 * len(items))))]
    rng = random.Random(2)
    weights = {a.id: a for a in (artifact(*item) for item in items)}
    for number, one in enumerate(weights.values()):
        store.add_artifact(one.model_copy(update={"size_bytes": int(one.size_bytes * (0.4 + 0.05 * (number // 7)))}))
    configurations = [Configuration(artifact_id=i, engine="llama.cpp", settings=s) for s in settings for i in weights]
    specs = [
        RunSpec(configuration=c, workloads=(WORKLOAD,), suites=SUITES if repeat == 0 else (), repeat=repeat)
        for c in configurations
        for repeat in range(2)
    ][:runs]
    spec = StudySpec(name="Many", configurations=tuple(configurations), workloads=(WORKLOAD,), suites=SUITES)
    study = store.add_study(spec, specs)
    catalog = {a.id: a for a in store.artifacts()}
    while run := store.claim_next("factory"):
        store.start_run(run.id, HOST)
        threads = int(str(run.spec.configuration.settings["threads"]))
        item = catalog[run.spec.configuration.artifact_id]
        store.set_measurements(
            run.id, figures(item, rng, quality=run.spec.repeat == 0, threads=threads, slow=rng.uniform(0.8, 1.3))
        )
        store.finish_run(run.id, RunState.DONE)
    return study


def points_of(store: Store, *keys: str) -> Points:
    """All configurations of the store with the figures ``keys``."""
    artifacts = {a.id: a for a in store.artifacts()}
    return configuration_points(store.figure_frame(keys), store.run_frame(), artifacts, keys)
