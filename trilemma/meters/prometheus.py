"""Power of a machine elsewhere, through a Prometheus query that the user gives."""

from __future__ import annotations

import math
import threading
import time
from typing import ClassVar

import httpx2 as httpx

from trilemma.engines.base import Availability
from trilemma.errors import MeterError
from trilemma.meters.base import EnergyDomain, Target
from trilemma.schema import Method

CHANNEL = "energy_j.prometheus"
_EVERY_S = 1.0
_MAX_BYTES = 1 << 20


class PrometheusMeter:
    """Asks once a second, in a thread of its own, and counts joules as the integral of power (trapezoid).

    Not registered: it belongs to the run whose settings name the query.

    Args:
        url: Of the Prometheus server.
        query: An instant query whose one value is the power, W.
    """

    name: ClassVar[str] = "prometheus"

    def __init__(self, url: str, query: str) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._query = query
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
        """Begin asking; goes on where it was when the target changes."""
        if self._thread is None:
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
            return {CHANNEL: self._joules, "power_w.prometheus": self._last[1]}

    def close(self) -> None:
        """Stop asking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def _run(self) -> None:
        with httpx.Client(timeout=5.0, follow_redirects=False, trust_env=False) as client:
            while not self._stop.is_set():
                self._ask(client)
                self._stop.wait(_EVERY_S)

    def _ask(self, client: httpx.Client) -> None:
        try:
            response = client.get(self._url, params={"query": self._query})
            if response.status_code != 200 or len(response.content) > _MAX_BYTES:
                raise ValueError(f"status {response.status_code}")
            result = response.json()["data"]["result"]
            # A vector has one series, whose value is [time, text]; a scalar is that pair itself.
            pair = result[0]["value"] if isinstance(result[0], dict) else result
            if isinstance(result[0], dict) and len(result) != 1:
                raise ValueError(f"{len(result)} series instead of one")
            watts = float(pair[1])
            if not math.isfinite(watts) or watts < 0:
                raise ValueError("no power")
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            with self._lock:
                self._problem = (
                    f"Prometheus did not answer with one power ({type(error).__name__}: {str(error)[:100]})."
                )
            return
        now = time.monotonic()
        with self._lock:
            if self._last is not None:
                before, power = self._last
                self._joules += (watts + power) / 2 * (now - before)
            self._last, self._problem = (now, watts), ""
