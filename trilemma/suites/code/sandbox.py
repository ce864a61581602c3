"""Runs a program that a model wrote, and its tests, shut in: on Linux, without root, with nothing to install.

A process of its own with an empty environment and an empty folder, limits on time, memory, files and processes, and, as
far as the kernel permits, namespaces of its own (network, processes, mounts, users) and Landlock. Which of these are in
force is found out each time; see :func:`describe`.

That the tests went through is told by a random word, which the harness is sent over a pipe behind the tests and sends
back when the last of them is over. So neither ``sys.exit(0)`` nor a program that prints or raises what it likes counts
as passed. What remains possible: program and tests are one process, so a program that was written against this very
harness can search its own process for the pipe, read the word ahead and send it; and one may return objects that claim
to equal everything. Neither is anything that a model does by mistake.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from trilemma.errors import SandboxError

_GUARD = Path(__file__).with_name("guard.py")
_LONGEST = 1 << 20
"""Bytes of source: what is longer is not tried."""
_VERDICT = 1 << 14
_CHUNK = 1 << 16
_GRACE_S = 2.0
_ESSENTIAL = {
    "network": "the network can be reached",
    "datagrams": "datagrams can be sent",
    "files": "files of this user can be read and changed",
    "processes": "processes that a program leaves behind may get away",
    "signals": "other processes of this user can be killed",
    "forks": "nothing limits how many processes a program starts",
}


@dataclass(frozen=True)
class Limits:
    """What one program may use. Memory and CPU time are limits of each process of it, of which there may be few."""

    cpu_s: int = 4
    wall_s: float = 12.0
    memory_bytes: int = 512 << 20
    file_bytes: int = 16 << 20
    disk_bytes: int = 64 << 20
    open_files: int = 64
    processes: int = 8
    output_bytes: int = 64 << 10


@dataclass(frozen=True)
class Outcome:
    """How it ended: ``reason`` says why it did not pass; ``output`` is the beginning of what it printed."""

    passed: bool
    reason: str
    output: str
    seconds: float
    protections: Mapping[str, str] = field(default_factory=dict)


DEFAULT = Limits()


def run(program: str, tests: str, limits: Limits = DEFAULT) -> Outcome:
    """Run ``program``, then ``tests`` in the same module; passed if neither raised nor overran a limit.

    Raises:
        SandboxError: this system is not Linux, or no process could be started.
    """
    if sys.platform != "linux":
        raise SandboxError("Programs of a model are run on Linux only.", "Use Linux, or a Linux container.")
    parts = [text.encode("utf-8", "replace") for text in (program, tests)]
    if sum(map(len, parts)) > _LONGEST:
        return Outcome(False, f"longer than {_LONGEST} bytes", "", 0.0)
    word = secrets.token_hex(16).encode()
    sent = b"".join(len(part).to_bytes(8, "big") + part for part in (*parts, word))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trilemma-", ignore_cleanup_errors=True) as folder:
        told, verdict = os.pipe()
        try:
            given = json.dumps({"limits": asdict(limits), "folder": folder, "verdict": verdict})
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(_GUARD), given],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={},
                pass_fds=(verdict,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(told)
            raise SandboxError(
                f"No process could be started to run a program in ({error.strerror}).", "Free memory or processes."
            ) from error
        finally:
            os.close(verdict)
        try:
            with process:
                heard, output, late = _attend(process, told, sent, limits)
        finally:
            os.close(told)
    seconds = time.monotonic() - begin
    return _outcome(heard, output, late, word, process.returncode, seconds)


def _attend(process: subprocess.Popen[bytes], told: int, sent: bytes, limits: Limits) -> tuple[bytes, bytes, bool]:
    """Send the sources and collect the answer until the process ends; returns verdict, output, and whether it was late.

    Of verdict and output the beginnings are kept; the rest is read, so that nobody waits, and dropped.
    """
    assert process.stdin is not None and process.stdout is not None
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    kept = {told: bytearray(), stdout: bytearray()}
    most = {told: _VERDICT, stdout: limits.output_bytes}
    deadline = time.monotonic() + limits.wall_s
    late = False
    left = memoryview(sent)
    with selectors.DefaultSelector() as selector:
        for channel in (told, stdout, stdin):
            os.set_blocking(channel, False)
            selector.register(channel, selectors.EVENT_WRITE if channel == stdin else selectors.EVENT_READ)
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    late = True
                    break
                for key, _ in selector.select(0.02):
                    if key.fd == stdin:
                        left = _send(stdin, left)
                        finished = not left
                    else:
                        finished = _receive(key.fd, kept[key.fd], most[key.fd])
                    if finished:
                        selector.unregister(key.fd)
        finally:
            _end(process)
        # What it said last may still be in the pipes; they hold no more than this.
        for channel in (told, stdout):
            for _ in range(32):
                if channel in selector.get_map() and _receive(channel, kept[channel], most[channel]):
                    break
    with contextlib.suppress(OSError):
        process.stdin.close()
    return bytes(kept[told]), bytes(kept[stdout]), late


def _send(channel: int, left: memoryview) -> memoryview:
    try:
        return left[os.write(channel, left[:_CHUNK]) :]
    except BlockingIOError:
        return left
    except OSError:
        # It reads no more: it has ended.
        return left[:0]


def _receive(channel: int, kept: bytearray, most: int) -> bool:
    """Take what there is; returns whether that was the end."""
    try:
        data = os.read(channel, _CHUNK)
    except BlockingIOError:
        return False
    kept += data[: max(0, most - len(kept))]
    return not data


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have the guard kill what it started; where it cannot, the kernel does when the guard is killed."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    process.kill()
    process.wait()
    # Without a process namespace a program may have left its parents behind, but rarely its group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _outcome(heard: bytes, output: bytes, late: bool, word: bytes, code: int, seconds: float) -> Outcome:
    first, _, said = heard.partition(b"\n")
    try:
        protections: dict[str, str] = json.loads(first)
    except ValueError:
        told = output.decode("utf-8", "replace")[-500:]
        raise SandboxError(
            f"The sandbox could not be set up (exit code {code}): {told}", "See docs/sandbox.md for what it needs."
        ) from None
    passed = said == word and not late
    if passed:
        reason = ""
    elif late or code in (128 + signal.SIGXCPU, 128 + signal.SIGKILL):
        reason = "timed out" if late or code == 128 + signal.SIGXCPU else "killed"
    elif said.startswith(b"raised "):
        reason = said[7:].decode("utf-8", "replace")
    else:
        reason = f"ended before its tests did (exit code {code})"
    return Outcome(passed, reason, output.decode("utf-8", "replace"), seconds, protections)


@functools.cache
def describe() -> Mapping[str, str]:
    """What protects from what on this machine, found out with a program that does nothing; empty where nothing does.

    Raises:
        SandboxError: as :func:`run`.
    """
    return run("", "").protections


def missing(protections: Mapping[str, str]) -> list[str]:
    """What a program could do because an essential protection is not in force."""
    return [what for name, what in _ESSENTIAL.items() if not protections.get(name)]
