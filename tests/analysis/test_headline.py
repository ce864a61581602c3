"""Which figures stand for a run, and which pairs of them make a picture."""

from __future__ import annotations

from trilemma.analysis.headline import headline_keys, pictures
from trilemma.schema import Axis

KEYS = [
    "peak_memory_bytes", "energy_per_token_j@short_chat", "accuracy@hellaswag", "accuracy_norm@hellaswag",
    "accuracy@gsm8k", "energy_per_correct_answer_j@gsm8k x4", "success_rate@agents", "energy_per_solved_task_j@agents",
    "energy_per_token_j@gsm8k x4",
]  # fmt: skip


def test_a_picture_pairs_a_price_with_the_score_that_it_buys() -> None:
    found = pictures(KEYS, ["short_chat"])
    assert found["Tokens"] == ("energy_per_token_j@short_chat", "accuracy_norm@hellaswag")
    assert found["Solved tasks: agents"] == ("energy_per_solved_task_j@agents", "success_rate@agents")
    assert found["Right answers: gsm8k, 4 users"] == ("energy_per_correct_answer_j@gsm8k x4", "accuracy@gsm8k")


def test_without_written_answers_there_is_no_choice() -> None:
    assert pictures(KEYS[:4], ["short_chat"]) == {}


def test_one_accuracy_stands_for_a_suite() -> None:
    chosen = headline_keys(KEYS, per_axis=9)
    assert chosen[Axis.PERFORMANCE] == ["success_rate@agents", "accuracy_norm@hellaswag", "accuracy@gsm8k"]
    assert chosen[Axis.EFFICIENCY][:3] == [
        "peak_memory_bytes", "energy_per_solved_task_j@agents", "energy_per_correct_answer_j@gsm8k x4",
    ]  # fmt: skip
