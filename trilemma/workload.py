"""What a workload is: the requests that load a configuration, and when they come. Part of :mod:`trilemma.schema`."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from trilemma.base import Frozen

MOST = 1 << 31
"""No count or length of a workload is larger: what is computed of it stays a number."""


class LatencyLimits(Frozen):
    """What a request has to keep to count for goodput."""

    model_config = ConfigDict(allow_inf_nan=False)

    ttft_s: float | None = Field(default=None, gt=0)
    tpot_s: float | None = Field(default=None, gt=0)


class WorkloadSpec(Frozen):
    """The requests that load a configuration, and when they come.

    In a closed loop (``rate`` None) ``concurrency`` users each wait for an answer, and think, before they ask again. In
    an open loop requests come at ``rate`` whether or not earlier ones are answered, or when a trace says.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    name: str = Field(description="A registered use case: short_chat, long_document or long_answer.")
    prompt_tokens: int = Field(ge=1, le=MOST, description="Target length of each prompt, tokens.")
    output_tokens: int = Field(ge=2, le=MOST, description="Tokens generated for each request; end-of-text is ignored.")
    requests: int = Field(ge=1, le=MOST)
    warmup_requests: int = Field(default=1, ge=0, le=MOST)
    concurrency: int = Field(
        default=1, ge=1, le=MOST, description="Users who ask at the same time; each waits for its answer."
    )
    think_time_s: float = Field(default=0.0, ge=0, description="Mean of the exponential pause before the next request.")
    rate: float | None = Field(default=None, gt=0, description="Open loop: requests a second, as a Poisson process.")
    trace: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="A recorded trace, by the SHA-256 of its JSON lines."
    )
    sweep: tuple[float, ...] = Field(
        default=(),
        max_length=32,
        description="Numbers of users, or rates where ``rate`` is set, measured one after the other until saturation.",
    )
    length_spread: float = Field(
        default=0.0, ge=0, le=2, description="Coefficient of variation of prompt and output lengths (log-normal)."
    )
    fit_context: bool = Field(default=False, description="Cut prompts that the context has no room for to fit it.")
    limits: LatencyLimits | None = Field(default=None, description="What a request must keep to count for goodput.")
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rate is not None and (self.concurrency > 1 or self.think_time_s):
            raise ValueError("in an open loop (rate) nobody waits: concurrency and think_time_s have no meaning")
        if any(not 0 < value <= MOST for value in self.sweep) or list(self.sweep) != sorted(set(self.sweep)):
            raise ValueError("a sweep's values must be positive and ascending")
        if self.rate is None and any(value != int(value) for value in self.sweep):
            raise ValueError("a sweep over users takes whole numbers; set rate to sweep over rates")
        return self

    @property
    def subject(self) -> str:
        """What its figures are about: the use case, how many ask at once or how often, and after which pause."""
        parts = [self.name]
        if self.trace is not None:
            parts.append(f"trace {self.trace[:6]}")
        if self.rate is not None:
            parts.append(f"{self.rate:g}/s")
        elif self.concurrency > 1:
            parts.append(f"x{self.concurrency}")
        if self.think_time_s:
            parts.append(f"think {self.think_time_s:g} s")
        return " ".join(parts)

    def levels(self) -> tuple[WorkloadSpec, ...]:
        """The workloads of a sweep, least load first; itself without one.

        With many users a level has at least three requests a user, so that its steady window is more than its edges.
        """
        if not self.sweep:
            return (self,)
        if self.rate is not None:
            return tuple(self.model_copy(update={"rate": value, "sweep": ()}) for value in self.sweep)
        return tuple(
            self.model_copy(
                update={"concurrency": int(value), "requests": max(self.requests, 3 * int(value)), "sweep": ()}
            )
            for value in self.sweep
        )
