"""Power or energy of a machine elsewhere, through a Prometheus query that the user gives."""

from __future__ import annotations

import json
import math
import threading
import time
from typing import Any, ClassVar

import httpx2 as httpx

from trilemma.catalog.addresses import refuse_metadata, refuse_peer
from trilemma.catalog.names import clean
from trilemma.engines.base import Availability
from trilemma.engines.remote import PowerQuery
from trilemma.errors import CatalogError, MeterError
from trilemma.meters.base import EnergyDomain, Target
from trilemma.schema import Method

CHANNEL = "energy_j.prometheus"
_EVERY_S = 0.3
"""Five readings fit into the two seconds of the shortest phase whose power is a figure."""
_TIMEOUT_S = 5.0
_MAX_BYTES = 1 << 20


class PrometheusMeter:
    """Asks three times a second, in a thread of its own, and counts joules: the integral of a power, taken as unchanged
    until the next answer, or what a counter has gained. How often the value itself is renewed is Prometheus' affair
    (its scrape interval).

    Not registered: it belongs to the run whose settings name the query.

    Args:
        wanted: The server, and an instant query whose one value is a power or a counter.
    """

    name: ClassVar[str] = "prometheus"

    def __init__(self, wanted: PowerQuery) -> None:
        self._url = f"{wanted.url.rstrip('/')}/api/v1/query"
        self._query = wanted.query
        self._counts = wanted.unit == "J"
        self._lock = threading.Lock()
        self._joules = 0.0
        self._last: tuple[float, float] | None = None
        self._problem = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def availability(cls) -> Availability:
        """Wherever a Prometheus server can be reached."""
        return Availability(True, "a Prometheus query that the user gives")

    def domains(self) -> list[EnergyDomain]:
        """The one counter."""
        return [EnergyDomain(CHANNEL, "prometheus", "what the query covers", Method.MEASURED)]

    def start(self, target: Target) -> None:
        """Begin asking, the first time before this returns; goes on where it was when the target changes."""
        if self._thread is None:
            try:
                refuse_metadata(self._url)
            except CatalogError as error:
                self._problem = str(error)
                return
            with self._client() as client:
                self._ask(client)
            self._thread = threading.Thread(target=self._run, name="prometheus", daemon=True)
            self._thread.start()

    def read(self, elapsed_s: float) -> dict[str, float]:
        """The counter and the power read last; nothing before the first answer.

        Raises:
            MeterError: the last question was not answered with one number.
        """
        with self._lock:
            if self._problem:
                raise MeterError(self._problem)
            if self._last is None:
                return {}
            if self._counts:
                return {CHANNEL: self._joules}
            # Up to now: a counter that lags by part of a second would shift energy from one phase to the next.
            since, watts = self._last
            return {CHANNEL: self._joules + watts * (time.monotonic() - since), "power_w.prometheus": watts}

    def close(self) -> None:
        """Stop asking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    @staticmethod
    def _client() -> httpx.Client:
        hooks = {"response": [refuse_peer]}
        return httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False, event_hooks=hooks)

    def _run(self) -> None:
        with self._client() as client:
            while not self._stop.wait(_EVERY_S):
                self._ask(client)

    def _ask(self, client: httpx.Client) -> None:
        try:
            result = self._answer(client)["data"]["result"]
            # A vector has one series, whose value is [time, text]; a scalar is that pair itself.
            pair = result[0]["value"] if isinstance(result[0], dict) else result
            if isinstance(result[0], dict) and len(result) != 1:
                raise ValueError(f"{len(result)} series instead of one")
            value = float(pair[1])
            if not math.isfinite(value) or value < 0:
                raise ValueError("a value below zero or none at all")
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            ValueError,
            OverflowError,
            KeyError,
            IndexError,
            TypeError,
            RecursionError,
            CatalogError,
        ) as error:
            told = clean(f"{type(error).__name__}: {error}", 120)
            with self._lock:
                self._problem = f"Prometheus did not answer the query with one value ({told})."
            return
        now = time.monotonic()
        with self._lock:
            if self._last is not None:
                before, last = self._last
                # A counter that goes back makes its window invalid (meters/windows.py).
                self._joules += value - last if self._counts else last * (now - before)
            self._last, self._problem = (now, value), ""

    def _answer(self, client: httpx.Client) -> Any:
        """The document that Prometheus answers with, of at most a megabyte and in no more than a few seconds."""
        content, deadline = b"", time.monotonic() + _TIMEOUT_S
        with client.stream("GET", self._url, params={"query": self._query}) as response:
            for part in response.iter_bytes():
                content += part
                if len(content) > _MAX_BYTES:
                    raise ValueError("an endless answer")
                if time.monotonic() > deadline:  # the client's own limit is on each part, not on all of them
                    raise ValueError("an answer that does not end")
        if response.status_code != 200:
            raise ValueError(f"status {response.status_code}")
        return json.loads(content)
