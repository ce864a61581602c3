"""The measured process as its supervisor sees it, when it ends as nobody planned."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from trilemma.bench.child import Child
from trilemma.bench.events import EVENT, FailureEvent
from trilemma.bench.plan import Plan
from trilemma.schema import Artifact, Configuration, Frozen, RunSpec


class Said(Frozen):
    """What the module below says."""

    text: str


FORKS = """
import os, signal, sys, time
print('{"text": "last words"}', flush=True)
if os.fork() == 0:
    time.sleep(60)
print(os.getpid(), file=sys.stderr)
os.kill(os.getpid(), signal.SIGKILL)
"""
FAILS = """
import sys
from trilemma.bench import measure

def fails(*_):
    raise {raised}

measure.measure = fails
sys.exit(measure.main())
"""


def test_a_killed_process_has_ended_though_another_holds_its_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forks.py").write_text(FORKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = Child("forks", Said(text=""), TypeAdapter(Said))
    try:
        said, deadline = [], time.monotonic() + 20
        while not child.finished and time.monotonic() < deadline:
            said += child.events(0.1)
        assert child.finished
        assert child.exit_status == -signal.SIGKILL
        assert [one.text for one in said] == ["last words"]
    finally:
        child.close()


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        ("OSError(28, 'No space left on device')", "The disk is full"),
        ("KeyError('what')", "unexpected error ended the run (KeyError"),
    ],
)
def test_whatever_ends_the_measured_process_is_said(
    raised: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = Artifact(id="a" * 64, path="/nowhere", model="m", quantization="F16", size_bytes=1, source="folder")
    spec = RunSpec(configuration=Configuration(artifact_id=artifact.id, engine="none"))
    (tmp_path / "fails.py").write_text(FAILS.format(raised=raised))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with (tmp_path / "log").open("wb") as log:
        child = Child("fails", Plan(spec=spec, artifact=artifact), EVENT, log=log)
    try:
        told, deadline = [], time.monotonic() + 60
        while not child.finished and time.monotonic() < deadline:
            told += child.events(0.1)
        assert child.exit_status == 1
    finally:
        child.close()
    (failure,) = told
    assert isinstance(failure, FailureEvent)
    assert says in failure.reason
    assert "Traceback" in (tmp_path / "log").read_text()
