"""What the benchmark of many sessions calls a session is one: the server answers it as it answers a browser."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path

import pytest

from benchmarks.browsers_run_tools import Measured, shifts
from benchmarks.browsers_session_tools import Session, SessionError, options_of
from benchmarks.browsers_tools import Log, next_deed, socket_person
from benchmarks.explore import server
from tests.factory import fill_store
from trilemma.meters.dashboards import present
from trilemma.schema import Measurement, Method, Provenance
from trilemma.store import open_store


def test_sessions_use_explore_over_their_own_web_sockets(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'trilemma.db'}") as store:
        fill_store(store)

    async def use(address: str) -> list[str]:
        async with Session(address) as one, Session(address) as other:
            assert await one.show() > 0
            await other.show()
            assert len(present(tmp_path / "dashboards")) == 1
            horizontal = options_of(one.widgets["explore:x"])
            chosen = next(name for name in horizontal if [name] != one.selected("explore:x"))
            before = one.widgets["explore_2d"].spec
            await one.choose("explore:x", chosen)
            assert one.selected("explore:x") == [chosen]
            assert one.widgets["explore_2d"].spec != before
            assert other.selected("explore:x") != [chosen]
            # A second one does not forget the first.
            await one.choose("explore:quantization", ["Q8_0"])
            assert (one.selected("explore:x"), one.selected("explore:quantization")) == ([chosen], ["Q8_0"])
            await one.choose("explore:view", ["Parallel"])
            assert "explore_parallel" in one.widgets
            assert "explore_2d" not in one.widgets
            with pytest.raises(SessionError, match="no widget"):
                await one.choose("explore:x", chosen)
            await one.choose("explore:view", ["2D"])
            # Whatever comes to somebody's mind is answered.
            rng, kinds = random.Random(1), set()
            for _ in range(25):
                if deed := next_deed(other, rng):
                    kinds.add(deed[0])
                    await other.choose(*deed[1:])
            assert len(kinds) > 5
            return [*one.problems, *other.problems]

    with server(tmp_path) as address:
        assert asyncio.run(use(address)) == []


def test_what_goes_wrong_for_somebody_is_an_error() -> None:
    log = Log()
    asyncio.run(socket_person("http://127.0.0.1:9", 3, 0.0, [], log, threading.Event()))
    (said,) = log.errors
    assert said.startswith("session 3: ")
    assert log.connected == set()


def figure(value: float, half: float) -> dict[str, Measurement]:
    known = Provenance(method=Method.MEASURED, source="test")
    one = Measurement(figure="decode_tps", value=value, low=value - half, high=value + half, n=9, provenance=known)
    return {one.key: one}


@pytest.mark.parametrize(
    ("value", "half", "moved"),
    [(100.0, 0.1, False), (98.5, 0.1, False), (97.0, 0.1, True), (103.0, 0.1, True), (97.0, 4.0, False)],
)
def test_a_figure_has_moved_beyond_two_percent_and_its_interval(value: float, half: float, moved: bool) -> None:
    def run(value: float, half: float) -> Measured:
        return Measured(None, figure(value, half), 0.0)  # type: ignore[arg-type]

    (found,) = shifts([run(99.8, 0.5), run(100.2, 0.5)], run(value, half))
    assert found.moved is moved
    assert found.share == pytest.approx(value / 100 - 1)
