"""How the processes that serve write what they do: for people, or a line of JSON each for machines."""

from __future__ import annotations

import logging
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

Format = Literal["text", "json"]


def configure(style: Format) -> None:
    """Write this process's log to its standard error: times are local as text, and UTC as JSON.

    A line of JSON has ``time``, ``level``, ``logger``, ``message``, and what else was said of it, such as ``run``.
    """
    handler = logging.StreamHandler()
    if style == "json":
        handler.setFormatter(
            JsonFormatter(
                ["levelname", "name", "message", "exc_info"],
                rename_fields={"levelname": "level", "name": "logger"},
                timestamp="time",
            )
        )
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
