"""A worker's log, for people and for machines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from trilemma import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_of_json_says_what_text_says_and_of_which_run(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        raise ValueError('broken "quote"\nand line')
    except ValueError:
        logging.getLogger("trilemma.jobs.worker").exception("Run %s\n is lost", "r1", extra={"run": "r1"})
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told["message"] == "Run r1\n is lost"
    assert (told["level"], told["logger"], told["run"]) == ("ERROR", "trilemma.jobs.worker", "r1")
    assert 'ValueError: broken "quote"' in told["exc_info"]
    assert datetime.fromisoformat(told["time"]).utcoffset() is not None


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logging.getLogger("trilemma.jobs.worker").info("Run %s begins", "r1", extra={"run": "r1"})
    assert capsys.readouterr().err.rstrip().endswith(" Run r1 begins")
