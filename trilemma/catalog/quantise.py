"""Runs the engine's quantizer as a child process: progress, cancel, room on the disk, and nothing half-written."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from trilemma.catalog.base import Progress
from trilemma.catalog.files import disk_errors, disk_full, ensure_space, publish, sweep, temporary_name
from trilemma.catalog.header import read_header
from trilemma.catalog.names import clean
from trilemma.errors import DiskFullError, EngineUnavailableError, InvalidArtifactError, QuantizeError

MODULE = "trilemma.engines.llama_cpp.quantize"
_STEP = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")
_TAIL_LINES = 15
_POLL_S = 0.1


def quantise_file(
    source: Path,
    target: Path,
    quantization: str,
    *,
    expected_bytes: int,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> None:
    """Write ``source`` in ``quantization`` to ``target``, which appears only when it is complete and checked.

    ``progress`` is called with (tensors done, tensors in all); ``cancel`` is asked ten times a second.

    Raises:
        EngineUnavailableError: llama-cpp-python is not installed.
        DiskFullError: the file does not fit.
        QuantizeError: the quantizer failed or was cancelled; nothing is left of the file.
    """
    if importlib.util.find_spec("llama_cpp") is None:
        raise EngineUnavailableError(
            "llama-cpp-python, which quantizes, is not installed.", 'Install it: pip install "trilemma[llama]"'
        )
    ensure_space(target.parent, expected_bytes)
    temporary = temporary_name(target)
    try:
        with disk_errors(target.parent, expected_bytes):
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target.parent)
            code, tail = _run(source, temporary, quantization, progress, cancel)
            if code is None:
                raise QuantizeError(f"Making {quantization} was cancelled.", "Nothing was kept of it.")
            if code != 0:
                raise _failure(source, target, quantization, code, tail, expected_bytes)
            _check(temporary, quantization)
            publish(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _run(
    source: Path, temporary: Path, quantization: str, progress: Progress | None, cancel: Callable[[], bool] | None
) -> tuple[int | None, list[str]]:
    """The child's exit code (None if it was cancelled) and the last lines of its log."""
    command = [sys.executable, "-m", MODULE, str(source), str(temporary), quantization, "--with-parent"]
    # The child watches the pipe to its standard input, so it ends with this process even if that is killed.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    assert process.stderr is not None and process.stdin is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_forward, args=(process.stderr, lines), daemon=True)
    reader.start()
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    cancelled = False
    try:
        while True:
            if cancel is not None and cancel():
                cancelled = True
                break
            try:
                line = lines.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if line is None:
                break
            if text := clean(line, 300):
                tail.append(text)
            step = _STEP.match(line)
            if step and progress is not None:
                progress(int(step[1]), int(step[2]))
        if not cancelled:
            process.wait()
    finally:
        if process.poll() is None:
            _kill(process)
        reader.join(timeout=5)
        process.stdin.close()
        process.stderr.close()
    return (None if cancelled else process.returncode), list(tail)


def _forward(stream: object, lines: queue.SimpleQueue[str | None]) -> None:
    with contextlib.suppress(ValueError, OSError):  # The pipe may be closed meanwhile.
        for line in stream:  # type: ignore[attr-defined]
            lines.put(line)
    lines.put(None)


def _kill(process: subprocess.Popen[str]) -> None:
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _check(temporary: Path, quantization: str) -> None:
    try:
        header = read_header(temporary)
    except InvalidArtifactError as error:
        raise QuantizeError(
            f"The quantizer's output for {quantization} is not a complete file: {error.message}",
            "Try again; if it happens again, check the disk.",
        ) from error
    if header.quantization != quantization:
        raise QuantizeError(
            f"The quantizer wrote {header.quantization} where {quantization} was asked for.",
            "Update llama-cpp-python, then try again.",
        )


def _failure(
    source: Path, target: Path, quantization: str, code: int, tail: list[str], expected_bytes: int
) -> QuantizeError | DiskFullError:
    try:
        ensure_space(target.parent, 0)
    except DiskFullError:
        return disk_full(target.parent, expected_bytes)
    log = " | ".join(tail[-6:])
    how = f"was killed by signal {-code}" if code < 0 else f"failed with code {code}"
    hint = "Check that the file is complete and of an architecture that llama.cpp supports."
    if code == -signal.SIGKILL:
        hint = "Another program or a lack of memory ended it: close other programs and try again."
    return QuantizeError(f"Making {quantization} of {clean(source.name)} {how}. Its log ends: {log or 'empty'}", hint)
