"""The quantizer as a real child process on real weights, and everything that can stop it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trilemma.catalog import files, quantise
from trilemma.catalog.header import read_header
from trilemma.catalog.quantise import MODULE, quantise_file
from trilemma.errors import DiskFullError, EngineUnavailableError, QuantizeError

pytestmark = pytest.mark.llama
Q2_K_BYTES = 88_201_792


def children() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if MODULE in process.cmdline():
                found.append(process)
    return [p for p in found if psutil.Process().pid in [parent.pid for parent in p.parents()]]


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or list(folder.iterdir()) == []


def test_smollm2_becomes_q2_k(tmp_path: Path, smollm2_path: Path) -> None:
    target, seen = tmp_path / "out" / "small.gguf", list[tuple[int, int]]()
    quantise_file(
        smollm2_path, target, "Q2_K", expected_bytes=Q2_K_BYTES, progress=lambda done, total: seen.append((done, total))
    )
    header = read_header(target)
    assert header.quantization == "Q2_K"
    assert header.parameters == read_header(smollm2_path).parameters
    assert target.stat().st_size == pytest.approx(Q2_K_BYTES, rel=0.02)
    assert seen == [(n, 272) for n in range(1, 273)]
    assert [p.name for p in target.parent.iterdir()] == ["small.gguf"]


def test_f16_out_of_q4_1_dequantises(tmp_path: Path, smollm2_path: Path) -> None:
    quantise_file(smollm2_path, tmp_path / "f16.gguf", "F16", expected_bytes=270_885_952)
    header = read_header(tmp_path / "f16.gguf")
    assert header.quantization == "F16"
    assert {t.type for t in header.tensors} == {"F16", "F32"}


def test_a_cancel_kills_the_child_and_leaves_nothing(tmp_path: Path, smollm2_path: Path) -> None:
    done = 0

    def progress(step: int, total: int) -> None:
        nonlocal done
        done = step

    with pytest.raises(QuantizeError, match="cancelled"):
        quantise_file(
            smollm2_path,
            tmp_path / "o" / "x.gguf",
            "Q2_K",
            expected_bytes=1,
            progress=progress,
            cancel=lambda: done > 5,
        )
    assert children() == []
    assert nothing_left(tmp_path / "o")


def test_a_progress_that_raises_leaves_nothing(tmp_path: Path, smollm2_path: Path) -> None:
    def progress(step: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantise_file(smollm2_path, tmp_path / "o" / "x.gguf", "Q2_K", expected_bytes=1, progress=progress)
    assert children() == []
    assert nothing_left(tmp_path / "o")


def test_a_killed_child_leaves_nothing_and_its_log(tmp_path: Path, smollm2_path: Path) -> None:
    def progress(step: int, total: int) -> None:
        if step == 20:
            for child in children():
                child.kill()

    with pytest.raises(QuantizeError, match="signal 9") as caught:
        quantise_file(smollm2_path, tmp_path / "o" / "x.gguf", "Q2_K", expected_bytes=1, progress=progress)
    assert "log ends" in caught.value.message
    assert "memory" in caught.value.hint
    assert nothing_left(tmp_path / "o")


def test_a_truncated_source_leaves_nothing_and_its_log(tmp_path: Path, smollm2_path: Path) -> None:
    source = tmp_path / "cut.gguf"
    shutil.copyfile(smollm2_path, source)
    os.truncate(source, 40_000_000)
    with pytest.raises(QuantizeError) as caught:
        quantise_file(source, tmp_path / "o" / "x.gguf", "Q2_K", expected_bytes=1)
    assert "cut.gguf" in caught.value.message
    assert "not within the file bounds" in caught.value.message
    assert nothing_left(tmp_path / "o")


def test_an_unsupported_architecture_says_so(tmp_path: Path, tiny_gguf: bytes) -> None:
    source = tmp_path / "odd.gguf"
    source.write_bytes(tiny_gguf.replace(b"llama", b"odddd"))
    with pytest.raises(QuantizeError, match="unknown model architecture: 'odddd'") as caught:
        quantise_file(source, tmp_path / "o" / "x.gguf", "Q8_0", expected_bytes=1)
    assert "architecture" in caught.value.hint
    assert nothing_left(tmp_path / "o")


def test_the_child_ends_with_its_parent(tmp_path: Path, smollm2_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trilemma.catalog.quantise import quantise_file\n"
        f"quantise_file(Path({str(smollm2_path)!r}), Path({str(tmp_path / 'o' / 'x.gguf')!r}), 'Q2_K',\n"
        "    expected_bytes=1, progress=lambda *_: print('step', flush=True))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "step\n"
        (child,) = [p for p in psutil.Process(parent.pid).children(recursive=True) if MODULE in p.cmdline()]
        # Held still, so that it is not done before its parent is gone.
        child.suspend()
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    child.resume()
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert nothing_left(tmp_path / "o")


def test_what_dead_processes_left_is_swept(tmp_path: Path, smollm2_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale, alive = tmp_path / f".x.gguf.{dead.pid}.abc.tmp", tmp_path / f".y.gguf.{os.getpid()}.abc.tmp"
    stale.touch()
    alive.touch()
    quantise_file(smollm2_path, tmp_path / "x.gguf", "Q2_K", expected_bytes=Q2_K_BYTES)
    assert not stale.exists()
    assert alive.exists()


def test_a_full_disk_is_told_before_the_child_starts(
    tmp_path: Path, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=10_000_000))
    with pytest.raises(DiskFullError, match="88 MB do not fit"):
        quantise_file(smollm2_path, tmp_path / "o" / "x.gguf", "Q2_K", expected_bytes=Q2_K_BYTES)
    assert nothing_left(tmp_path / "o")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 32 MB, where the system lets us mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_half_way_leaves_nothing(
    small_disk: Path, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MARGIN_BYTES", 1_000_000)
    # The prediction is told too small, so that the disk fills while the child writes.
    with pytest.raises(DiskFullError):
        quantise_file(smollm2_path, small_disk / "x.gguf", "Q2_K", expected_bytes=1)
    assert list(small_disk.iterdir()) == []


def test_a_missing_engine_says_what_to_install(
    tmp_path: Path, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineUnavailableError) as caught:
        quantise_file(smollm2_path, tmp_path / "x.gguf", "Q2_K", expected_bytes=1)
    assert "pip install" in caught.value.hint


def test_the_dashboard_does_not_import_the_engine() -> None:
    code = (
        "import sys, trilemma.catalog.catalog, trilemma.catalog.hub, trilemma.catalog.packages\n"
        "print([name for name in ('llama_cpp', 'huggingface_hub', 'streamlit') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"
