"""Workloads and suites as ``trilemma study`` takes them, so that what a preset asks for can be measured at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trilemma.schema import SuiteSpec, WorkloadSpec
from trilemma.workloads import PROMPT_SETS


def study_options(
    workloads: Sequence[WorkloadSpec], suites: Sequence[SuiteSpec], devices: Sequence[str] = ()
) -> tuple[str, ...]:
    """Options and their values, in turn: ``--workload``, ``short_chat:requests=40``, ``--suite``, ..."""
    found = [("--workload", workload_text(one)) for one in workloads]
    found += [("--suite", suite_text(one)) for one in suites]
    found += [("--device", name) for name in devices]
    return tuple(part for pair in found for part in pair)


def workload_text(spec: WorkloadSpec) -> str:
    """``short_chat:requests=40,ttft_limit_s=1``: what differs from the use case's own."""
    usual: dict[str, Any] = PROMPT_SETS[spec.name].defaults().model_dump() if spec.name in PROMPT_SETS else {}
    fields = {name: value for name, value in spec.model_dump().items() if value != usual.get(name) and name != "name"}
    if "sweep" in fields:
        fields["sweep"] = ";".join(f"{value:g}" for value in fields["sweep"])
    limits = fields.pop("limits", None) or {}
    fields |= {f"{name.removesuffix('_s')}_limit_s": value for name, value in limits.items() if value is not None}
    return _named(spec.name, fields)


def suite_text(spec: SuiteSpec) -> str:
    """``gsm8k:limit=100,concurrency=4``."""
    usual = SuiteSpec(name=spec.name).model_dump()
    fields = {name: value for name, value in spec.model_dump().items() if value != usual[name] and name != "name"}
    stopping = fields.pop("stopping", None) or {}
    fields |= {f"stop_{name}": value for name, value in stopping.items() if value is not None}
    fields |= fields.pop("options", {})
    return _named(spec.name, fields)


def _named(name: str, fields: dict[str, Any]) -> str:
    return name + (":" + ",".join(f"{key}={_spelled(value)}" for key, value in fields.items()) if fields else "")


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
