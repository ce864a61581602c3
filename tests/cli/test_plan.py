"""``trilemma plan`` in a process of its own: the same numbers as the page, as text and as JSON."""

from __future__ import annotations

import json

from tests.cli.conftest import Run
from tests.factory import DEMO, fill_store
from trilemma.store import Store


def test_it_plans_and_says_that_it_is_modelled(command: Run, store: Store) -> None:
    fill_store(store, DEMO[:2], 1)
    result = command("plan", "SmolLM2-135M-Instruct Q8_0", "--requests", "20000", "--ttft", "2")
    assert result.returncode == 0, result.stderr
    assert "replica" in result.stdout
    assert "of 2.00 s allowed" in result.stdout
    assert "Modelled" in result.stdout
    assert "Simulating" in result.stderr
    for word in ("Cloud", "On-premise", "Edge", "hour"):
        assert word in result.stdout


def test_json_has_every_number_and_nothing_else(command: Run, store: Store) -> None:
    study = fill_store(store, DEMO[:1], 2)
    one = study.spec.configurations[0].id
    result = command(
        "plan", one[:8], "--study", study.id, "--workload", "short_chat", "--day", ",".join(["1"] * 24),
        "--growth", "5", "--months", "3", "--idle", "40", "--cloud", "example-gpu", "--grid", "france-2023",
        "--devices", "50", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["configuration"]["id"] == one
    assert found["assumptions"]["cloud"]["per_hour"] == 1
    whose = {one["kind"]: (one["standing"], one["title"]) for one in found["assumptions"]["stated"]}
    assert whose["cloud"] == ("example", "Example: a machine with one small GPU")
    assert whose["grid"] == ("example", "France, 2023")
    assert found["assumptions"]["g_per_kwh"] == 56
    assert found["assumptions"]["edge"]["devices"] == 50
    assert len(found["per_month"]["cloud"]["cost_by_month"]) == 3
    assert found["replicas"]["by_hour"] == [found["replicas"]["with_spares"]] * 24
    assert found["simulation"]["ttft_p95_s"]["value"] <= found["limits"]["ttft_p95_s"]
    again = command("plan", one[:8], "--json", "--idle", "40")
    assert json.loads(again.stdout)["assumptions"]["idle_w"] == 40


def test_what_cannot_be_planned_is_told(command: Run, store: Store) -> None:
    empty = command("plan")
    assert empty.returncode == 1
    assert "No speed has been measured yet" in empty.stderr
    fill_store(store, DEMO[:2], 1)
    which = command("plan")
    assert which.returncode == 1
    assert "Which configuration?" in which.stderr and "SmolLM2" in which.stderr
    for arguments, words in (
        (("nothing",), "0 configurations fit"),
        (("SmolLM2-135M-Instruct Q8_0", "--e2e", "0.001"), "No number of replicas"),
        (("SmolLM2-135M-Instruct Q8_0", "--day", "night"), "no day named"),
        (("SmolLM2-135M-Instruct Q8_0", "--day", "1,2"), "shares"),
        (("SmolLM2-135M-Instruct Q8_0", "--cloud", "nobody"), "no cloud machine named"),
        (("SmolLM2-135M-Instruct Q8_0", "--workload", "poems"), "no speed under"),
        (("SmolLM2-135M-Instruct Q8_0", "--ttft", "-1"), "greater than 0"),
    ):
        result = command("plan", *arguments)
        assert (result.returncode, words in result.stderr) == (1, True), result.stderr
