"""Replicas to plan with, as they could have been measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trilemma.planning.cost import Cloud, Edge, OnPremise
from trilemma.planning.demand import Demand
from trilemma.planning.limits import Latency
from trilemma.planning.measured import Doubt, Measured
from trilemma.planning.plan import Assumptions
from trilemma.planning.service import PowerCurve, ServiceCurve


def curve(
    levels: Sequence[int] = (1, 4, 8), prefill: Sequence[float] = (0.1, 0.2, 0.4),
    decode: Sequence[float] = (0.9, 1.4, 2.2), cv: float = 0.1, seed: int = 0,
) -> ServiceCurve:  # fmt: skip
    """A replica that answers up to eight at a time, each slower with more."""
    rng = np.random.default_rng(seed)
    rows = [np.exp(rng.normal(0, cv, (40, 2))) for _ in levels]
    return ServiceCurve(
        levels=np.array(levels, dtype=np.float64), prefill_s=np.array(prefill), decode_s=np.array(decode),
        slots=levels[-1], prompt_tokens=128.0, output_tokens=65.0,
        variations=tuple(one / one.mean(axis=0) for one in rows),
    )  # fmt: skip


def one_slot(service_s: float = 1.0, times: Sequence[float] = (1.0,)) -> ServiceCurve:
    """One request at a time; ``times`` are the requests' times over their mean."""
    parts = np.array([[time, time] for time in times])
    return ServiceCurve(
        levels=np.array([1.0]), prefill_s=np.array([0.25 * service_s]), decode_s=np.array([0.75 * service_s]), slots=1,
        output_tokens=11.0, variations=(parts,),
    )  # fmt: skip


def shared(service_s: float = 1.0, slots: int = 40, times: Sequence[float] = (1.0,)) -> ServiceCurve:
    """Processor sharing: with n at once each takes n times as long."""
    parts = np.array([[time, time] for time in times])
    return ServiceCurve(
        levels=np.array([1.0, slots]), prefill_s=np.array([0.25, 0.25 * slots]) * service_s,
        decode_s=np.array([0.75, 0.75 * slots]) * service_s, slots=slots, variations=(parts, parts),
    )  # fmt: skip


POWER = PowerCurve(idle_w=20.0, levels=np.array([1.0, 4.0, 8.0]), watts=np.array([60.0, 100.0, 120.0]))
LIMITS = Latency(ttft_p95_s=1.0, e2e_p95_s=4.0)


def found(doubt: Doubt | None = None, **rest: object) -> Measured:
    """A configuration with everything known."""
    values: dict[str, object] = {
        "configuration_id": "c", "label": "Tiny Q8_0", "workload": "short_chat", "curve": curve(), "power": POWER,
        "doubt": doubt or Doubt(0.02, 0.05, 0.03), "memory": None, "under_load": True,
    }  # fmt: skip
    return Measured(**(values | rest))  # type: ignore[arg-type]


def assumed(**changes: object) -> Assumptions:
    """A small fleet with a price for everything."""
    values: dict[str, object] = {
        "demand": Demand(requests_per_day=100_000, months=2), "latency": LIMITS,
        "cloud": Cloud(per_hour=0.5, pue=1.2), "on_premise": OnPremise(price=2000.0, per_kwh=0.2, pue=1.5),
        "edge": Edge(devices=1000, per_kwh=0.2), "g_per_kwh": 400.0,
    }  # fmt: skip
    return Assumptions.model_validate(values | changes)
