"""How much of vLLM's KV-cache pool is really in use: read from the scheduler's own statistics at every step."""

from __future__ import annotations

from typing import Any


class KvUsage:
    """The highest share of the pool's blocks in use so far, and how often a request was thrown out for want of them."""

    def __init__(self) -> None:
        self.peak = 0.0
        self.preemptions = 0

    def logger(self) -> type:
        """A class of vLLM's kind of statistics logger that reports here."""
        from vllm.v1.metrics.loggers import StatLoggerBase  # noqa: PLC0415

        usage = self

        class Logger(StatLoggerBase):  # type: ignore[misc, unused-ignore]
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None: ...

            def record(
                self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
            ) -> None:
                if scheduler_stats is not None:
                    usage.peak = max(usage.peak, float(scheduler_stats.kv_cache_usage))
                if iteration_stats is not None:
                    usage.preemptions += int(iteration_stats.num_preempted_reqs)

            def log_engine_initialized(self) -> None: ...

        return Logger
