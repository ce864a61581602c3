"""Power and energy out of a real HTTP server that speaks Prometheus' query route."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.engines.endpoint.misbehaving import MisbehavingServer
from trilemma.catalog.catalog import Catalog
from trilemma.engines.endpoint import Endpoint
from trilemma.engines.remote import PowerQuery
from trilemma.errors import EngineError, MeterError
from trilemma.meters import prometheus as prometheus_meter
from trilemma.meters.base import Target
from trilemma.meters.prometheus import CHANNEL, PrometheusMeter
from trilemma.schema import Configuration, EnergyCoefficients, Method, RunState, StudySpec, WorkloadSpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import submit

TARGET = Target(None, EnergyCoefficients())


class Prometheus:
    """Answers every query with ``document``, or with what ``value`` gives as a vector of one series."""

    def __init__(self) -> None:
        self.value: Callable[[], float] = lambda: 0.0
        self.document: object = None
        self.queries: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.queries += parse_qs(urlsplit(self.path).query).get("query", [])
                series = {"metric": {}, "value": [time.time(), str(outer.value())]}
                document = outer.document or {"status": "success", "data": {"resultType": "vector", "result": [series]}}
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Prometheus:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    with Prometheus() as opened:
        yield opened


def gained(meter: PrometheusMeter, seconds: float) -> tuple[float, float]:
    """What the counter gains in about ``seconds``, J, and in how long, s."""
    began, first = time.monotonic(), meter.read(0.0)[CHANNEL]
    time.sleep(seconds)
    return meter.read(0.0)[CHANNEL] - first, time.monotonic() - began


def test_a_constant_power_counts_its_joules_up_to_the_moment_of_reading(prometheus: Prometheus) -> None:
    prometheus.value = lambda: 50.0
    meter = PrometheusMeter(PowerQuery(prometheus.url, 'sum(node_power_watt{host="far"})'))
    meter.start(TARGET)
    try:
        for seconds in (0.05, 1.0):
            joules, length_s = gained(meter, seconds)
            # Not by steps of the polling: a short window has its joules too.
            assert joules == pytest.approx(50.0 * length_s, rel=0.2)
        assert meter.read(0.0)["power_w.prometheus"] == 50.0
    finally:
        meter.close()
    assert set(prometheus.queries) == {'sum(node_power_watt{host="far"})'}
    assert meter.domains()[0].method is Method.MEASURED


def test_a_counter_of_joules_is_taken_by_its_gain(prometheus: Prometheus) -> None:
    began = time.monotonic()
    prometheus.value = lambda: 5000.0 + 20.0 * (time.monotonic() - began)
    meter = PrometheusMeter(PowerQuery(prometheus.url, "x", "J"))
    meter.start(TARGET)
    try:
        assert meter.read(0.0)[CHANNEL] == pytest.approx(0.0, abs=5.0)
        joules, _ = gained(meter, 3.0)
        assert 30.0 < joules < 90.0
        assert set(meter.read(0.0)) == {CHANNEL}
    finally:
        meter.close()


@pytest.mark.parametrize(
    "document",
    [
        {"data": {"result": []}},
        {"data": {"result": [{"value": [0, "1"]}, {"value": [0, "2"]}]}},
        {"data": {"result": [{"value": [0, "NaN"]}]}},
        {"data": {"result": [{"value": [0, "-3"]}]}},
        {"data": {"result": [{"value": [0, 10**400]}]}},
        {"status": "error", "error": "parse error"},
        ["\x1b[31mred"],
    ],
)
def test_what_is_not_one_value_is_no_reading(prometheus: Prometheus, document: object) -> None:
    prometheus.document = document
    meter = PrometheusMeter(PowerQuery(prometheus.url, "x"))
    meter.start(TARGET)
    try:
        with pytest.raises(MeterError, match="did not answer the query with one value") as caught:
            meter.read(0.1)
        assert "\x1b" not in str(caught.value)
    finally:
        meter.close()


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_meter, "_TIMEOUT_S", 0.5)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stop.wait(0.1):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        meter = PrometheusMeter(PowerQuery(f"http://127.0.0.1:{server.getsockname()[1]}", "x"))
        began = time.monotonic()
        meter.start(TARGET)
        assert time.monotonic() - began < 5
        with pytest.raises(MeterError, match="does not end"):
            meter.read(0.1)
        stop.set()
        meter.close()
        thread.join(10)


def test_the_settings_name_one_query_and_where_to_ask() -> None:
    engine = Endpoint()
    assert engine.power_query({}) is None
    told = {"prometheus_url": "http://127.0.0.1:9090/"}
    assert engine.power_query({**told, "energy_query": "j"}) == PowerQuery("http://127.0.0.1:9090", "j", "J")
    with pytest.raises(EngineError, match="address of Prometheus"):
        engine.power_query({"power_query": "w"})
    with pytest.raises(EngineError, match="two queries"):
        engine.power_query({**told, "power_query": "w", "energy_query": "j"})


def test_a_remote_servers_energy_is_net_of_its_own_idle_power_and_nothing_of_this_machine(
    store: Store, settings: Settings, prometheus: Prometheus
) -> None:
    with MisbehavingServer("counted") as server:
        asked = lambda: any(p.endswith("completions") for p, _, _ in server.requests)  # noqa: E731
        prometheus.value = lambda: 100.0 if asked() else 40.0
        artifact = Catalog(store, settings).add_endpoint(server.url)
        chosen = {"prometheus_url": prometheus.url, "power_query": "w", "port": 1}
        chat = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=150, requests=20)
        submit(
            store,
            StudySpec(
                name="far", repeats=1, idle_s=3.0, workloads=(chat,),
                configurations=(Configuration(artifact_id=artifact.id, engine="endpoint", settings=chosen),),  # type: ignore[arg-type]
            ),
        )  # fmt: skip
        run = store.claim_next("test")
        assert run is not None
        subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], env=os.environ, check=False)
    done = store.run(run.id)
    assert done.state is RunState.DONE, done.reason + done.log_tail
    found = {m.key: m for m in store.measurements(run.id)}
    assert found["idle_power_w@idle"].value == pytest.approx(40.0, rel=0.05)
    power = found["power_w@short_chat"]
    assert power.value == pytest.approx(60.0, rel=0.05)
    assert (power.provenance.source, power.provenance.method) == ("prometheus", Method.MEASURED)
    assert (found["energy_per_token_j@short_chat"].value or 0) > 0
    assert found["peak_memory_bytes"].value is None
    assert "cpu_cores@short_chat" not in found
