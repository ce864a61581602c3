from __future__ import annotations

from tests.bench.test_speed import steady_requests
from trilemma.bench.caveats import with_caveats
from trilemma.bench.speed import speed_measurements
from trilemma.schema import Measurement


def reasons(found: list[Measurement], key: str) -> str:
    return " ".join(next(m for m in found if m.key == key).provenance.reasons)


def told(update: dict[str, object], asked: int | None = 11) -> list[Measurement]:
    requests = [r.model_copy(update=update) for r in steady_requests(4)]
    return with_caveats(speed_measurements("chat", requests), "chat", requests, asked)


def test_tokens_that_nobody_counted_are_said_to_be_estimated_where_they_count() -> None:
    found = told({"token_timing": "estimate"})
    for key in ("tpot_s.median@chat", "output_tps@chat", "decode_tps@chat"):
        assert "estimated: of 4 of 4 answers" in reasons(found, key)
    assert "estimated" not in reasons(found, "ttft_s.median@chat")
    assert next(m for m in found if m.figure == "itl_s").value is None


def test_a_prompt_out_of_a_cache_and_an_answer_that_is_short_are_said() -> None:
    found = told({"prefilled_tokens": 20}, asked=16)
    assert "4 of 4 prompts from its cache" in reasons(found, "ttft_s.median@chat")
    assert "ended before the 16 tokens" in reasons(found, "e2e_s.median@chat")
    assert "cache" not in reasons(found, "tpot_s.median@chat")


def test_a_workload_as_asked_has_nothing_to_say_and_others_stay_as_they_are() -> None:
    requests = steady_requests(4)
    found = speed_measurements("chat", requests)
    assert with_caveats(found, "chat", requests, 11) == found
    assert with_caveats(found, "another", requests, 500) == found
    assert told({}, asked=None) == found
