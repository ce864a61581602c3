"""The verdicts of benchmarks: what holds, what fails, and what is too noisy to tell."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common, fidelity, llama_tools, overhead
from benchmarks.common import Limit, TooNoisyError


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    result: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result


def test_all_limits_must_hold(capsys: pytest.CaptureFixture[str]) -> None:
    limits = {"loss": Limit(at_most=0.01), "share": Limit(at_least=0.75)}
    assert common.report("x", {"loss": 0.01, "share": 0.75, "model": "m"}, limits) == 0
    assert last_line(capsys) == {
        "name": "x",
        "figures": {"loss": 0.01, "share": 0.75, "model": "m"},
        "limits": {"loss": {"at_most": 0.01}, "share": {"at_least": 0.75}},
        "holds": True,
    }
    assert common.report("x", {"loss": 0.0101, "share": 0.9}, limits) == 1
    assert last_line(capsys)["holds"] is False


@pytest.mark.parametrize("figures", [{}, {"loss": None}, {"loss": math.nan}, {"loss": "0"}])
def test_a_figure_that_is_missing_keeps_to_nothing(
    figures: dict[str, float | str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert common.report("x", figures, {"loss": Limit(at_most=0.01)}) == 1
    assert last_line(capsys)["holds"] is False


def test_without_limits_nothing_was_claimed() -> None:
    assert common.report("x", {"loss": 0.0}, {}) == 1


def test_noise_is_a_failure_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def measure() -> common.Figures:
        raise TooNoisyError("too noisy")

    with pytest.raises(SystemExit) as exit_:
        common.main("x", {"loss": Limit(at_most=1)}, measure)
    assert exit_.value.code == 1
    assert last_line(capsys)["reason"] == "too noisy"


def test_sides_take_turns_at_being_first() -> None:
    calls: list[str] = []
    common.alternate(3, {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")})
    assert "".join(calls) == "abbaab"
    one = {"a": lambda: 1, "b": lambda: 2}
    assert common.alternate(9, one, lambda found: len(found["b"]) == 2) == {"a": [1, 1], "b": [2, 2]}


def test_what_others_do_is_seen_and_what_we_do_is_not() -> None:
    spin = "import time\nend = time.time() + 1.5\nwhile time.time() < end: pass"
    with common.watched() as own:
        subprocess.run([sys.executable, "-c", spin], check=True)
    stranger = subprocess.Popen([sys.executable, "-c", spin])
    with common.watched() as foreign:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1)"], check=True)
    stranger.wait()
    # Other work on this machine adds to both alike.
    assert foreign.cores > 0.3
    assert own.cores < foreign.cores + 1.0


def test_a_disturbed_series_is_refused() -> None:
    common.require_quiet_throughout([0.0] * 9 + [0.9])
    with pytest.raises(TooNoisyError, match="3 of 10"):
        common.require_quiet_throughout([0.0] * 7 + [0.9] * 3)
    with pytest.raises(TooNoisyError, match="too noisy to measure"):
        common.wait_until_quiet(-1.0, patience_s=0.0, window_s=0.05)


def test_rounds_are_compared_with_their_uncertainty_and_drift_cancels() -> None:
    rng = np.random.default_rng(1)
    drift = np.linspace(1, 1.4, 12)
    theirs = 100 * drift * (1 + 0.01 * rng.standard_normal(12))
    ours = 105 * drift * (1 + 0.01 * rng.standard_normal(12))
    difference, spread = fidelity.paired(ours, theirs)
    assert difference == pytest.approx(0.05, abs=0.01)
    assert 0.002 < spread < 0.02
    assert fidelity.paired(ours, 100 * drift * (1 + 0.2 * rng.standard_normal(12)))[1] > fidelity.SPREAD


@pytest.mark.parametrize("cost", [0.0, 0.05])
def test_the_samplers_cost_is_found_whatever_drifts_and_steps(cost: float) -> None:
    """Tokens come ever more slowly, at half speed from the 300th on, and more slowly still while the sampler is on."""
    answered = []
    for number in range(4):
        slices = [((i % 4 in (0, 3)) != (number % 2 == 1), i * 250_000_000, (i + 1) * 250_000_000) for i in range(40)]
        now, times = 0.0, []
        for token in range(500):
            times.append(now * 1e9)
            on = slices[min(int(now / 0.25), 39)][0]
            speed = (120 - number - now) * (0.5 if token >= 300 else 1.0) * (1 - cost if on else 1.0)
            now += 1 / speed
        answered.append(overhead.Answered(np.array(times), slices, 0.01, 0.0))
    losses = [block.loss for block in overhead.blocks_in(answered)]
    assert len(losses) > 12
    assert overhead.interval(losses)[0] == pytest.approx(cost, abs=0.006)
    # What others disturbed does not count.
    spoilt = [found._replace(others_cores=1.0) for found in answered]
    assert overhead.blocks_in([*answered[:2], *spoilt]) == overhead.blocks_in(answered[:2])
    with pytest.raises(TooNoisyError, match="disturbed 4 of 4"):
        overhead._conclude(spoilt)


def test_other_libraries_are_noticed(tmp_path: Path) -> None:
    tools = llama_tools.Tools(tmp_path, tmp_path, tmp_path, tmp_path / "lib")
    tools.check_libraries([tmp_path / "lib" / "libllama.so"], "tool")
    for loaded in ([], [tmp_path / "libllama.so"], [tmp_path / "lib" / "libllama.so", tmp_path / "libggml.so"]):
        with pytest.raises(RuntimeError, match="runs on the libraries"):
            tools.check_libraries(loaded, "tool")
