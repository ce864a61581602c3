"""A plan as a document for scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from trilemma.planning.arrays import Interval
from trilemma.planning.break_even import Volumes
from trilemma.planning.cost import Kind
from trilemma.planning.plan import Plan
from trilemma.planning.sensitivity import Swing
from trilemma.planning.words import break_even_sentences, caveats, summary


def document(plan: Plan, found: Volumes, swings: Mapping[Kind, Sequence[Swing]]) -> dict[str, Any]:
    """Everything that the page shows, for scripts: base units, intervals as value, low and high."""
    run = plan.checked.run
    names = ("wait", "ttft", "e2e", "tpot")
    return {
        "configuration": {"id": plan.measured.configuration_id, "label": plan.measured.label},
        "workload": plan.measured.workload,
        "assumptions": plan.assumptions.model_dump(mode="json"),
        "limits": plan.setup.latency.model_dump(exclude_none=True),
        "slots": plan.setup.curve.slots,
        "replicas": {
            "busiest_hour": plan.checked.replicas,
            "with_spares": plan.largest.machines,
            "by_hour": plan.largest.running.tolist(),
            "by_hour_first_month": plan.first.running.tolist(),
            "rates_per_s": plan.largest.rates.tolist(),
        },
        "simulation": {
            "requests": len(run.e2e),
            "rate_per_s": plan.checked.rate,
            "busy": run.busy,
            **{f"{name}_p95_s": run.percentile(name)._asdict() for name in names},
        },
        "per_month": {
            kind: {
                "cost": _dict(bill.cost),
                "parts": dict(bill.parts),
                "energy_kwh": _dict(bill.energy_kwh),
                "power_w": _dict(bill.power_w),
                "co2e_kg": _dict(bill.co2e_kg),
                "cost_by_month": list(plan.by_month[kind]),
            }
            for kind, bill in plan.bills.items()
        },
        "device": None
        if plan.device is None
        else {
            "requests_per_day": plan.device.requests_per_day,
            "battery_share_per_day": _dict(plan.device.battery_share),
            "memory_left_bytes": _dict(plan.device.memory_left),
            "cannot": list(plan.device_misses),
        },
        "break_even": [dataclasses.asdict(one) for one in found.crossings],
        "sensitivity": {
            kind: [{"name": one.name, "low": one.low._asdict(), "high": one.high._asdict()} for one in rows]
            for kind, rows in swings.items()
        },
        "summary": [*summary(plan), *break_even_sentences(found)],
        "caveats": caveats(plan),
    }


def _dict(value: Interval | None) -> dict[str, float | None] | None:
    return None if value is None else value._asdict()
