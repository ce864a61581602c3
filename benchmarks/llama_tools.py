"""llama-bench, llama-perplexity and llama-batched-bench, on the very libraries that llama-cpp-python loads.

The tools are built from ``vendor/llama.cpp`` of the source distribution of the installed version, and linked against
the libraries in the installed package; nothing of llama.cpp itself is compiled again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import BENCH, ROOT, clean_environment, environment, say

_LIBRARIES = ("libllama.", "libggml")


@dataclass(frozen=True)
class Tools:
    """Where the tools are, and the folder of the libraries that they must run on."""

    bench: Path
    perplexity: Path
    batched_bench: Path
    libraries: Path

    def run(self, tool: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a tool to its end, in the environment that the engine runs in, and check what it loaded.

        Raises:
            RuntimeError: it failed, or ran on other libraries.
        """
        command = [str(tool), *arguments]
        process = subprocess.Popen(
            command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        loaded = _loaded_soon(process)
        out, err = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{err[-2000:]}")
        self.check_libraries(loaded, tool.name)
        return subprocess.CompletedProcess(command, 0, out, err)

    def check_libraries(self, loaded: Iterable[Path], who: str) -> None:
        """Refuse a comparison of different machine code.

        Raises:
            RuntimeError: ``loaded`` are not the libraries of the installed package.
        """
        folders = {path.parent for path in loaded}
        if folders != {self.libraries}:
            raise RuntimeError(f"{who} runs on the libraries in {folders or 'none'}, not on those in {self.libraries}.")

    def bench_json(self, model: Path, *arguments: str) -> list[dict[str, Any]]:
        """llama-bench's own results, one entry a test."""
        results: list[dict[str, Any]] = json.loads(
            self.run(self.bench, "-m", str(model), "-o", "json", *arguments).stdout
        )
        return results

    def batched_json(
        self, model: Path, threads: int, prompt: int, output: int, sequences: Sequence[int]
    ) -> list[dict[str, Any]]:
        """llama-batched-bench's own results, one entry for each of ``sequences``, how many are answered at once."""
        context = max(sequences) * (prompt + output)
        done = self.run(
            self.batched_bench,
            *("-m", str(model), "-c", str(context), "-b", "2048", "-ub", "512", "-t", str(threads), "-fa", "auto"),
            *("-npp", str(prompt), "-ntg", str(output), "-npl", ",".join(map(str, sequences))),
            *("--output-format", "jsonl"),
        )
        lines = (done.stdout + done.stderr).splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"n_kv_max"')]


def mapped_libraries(pid: int | str = "self") -> set[Path]:
    """llama.cpp's libraries that a process has mapped now (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    paths = {Path(line.split(maxsplit=5)[5]) for line in lines if len(line.split(maxsplit=5)) == 6}
    return {path.resolve() for path in paths if path.name.startswith(_LIBRARIES)}


def _loaded_soon(process: subprocess.Popen[str]) -> set[Path]:
    """What ``process`` has mapped once all four libraries are there, or when it ends."""
    loaded: set[Path] = set()
    while process.poll() is None and len(loaded) < 4:
        loaded |= mapped_libraries(process.pid)
        time.sleep(0.005)
    return loaded


def build() -> Tools:
    """The tools, built on first use (about five minutes on two cores) and kept under ``.bench/``.

    Raises:
        RuntimeError: llama-cpp-python is not installed.
        subprocess.CalledProcessError: its sources cannot be had or do not build; the output was printed.
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise RuntimeError("llama-cpp-python is not installed: pip install 'trilemma[llama]'.")
    libraries = (Path(spec.origin).parent / "lib").resolve()
    version = importlib.metadata.version("llama-cpp-python")
    folder = BENCH / "llama_tools" / version
    binaries = folder / "build" / "bin"
    names = ("llama-bench", "llama-perplexity", "llama-batched-bench")
    bench, perplexity, batched_bench = (binaries / name for name in names)
    tools = Tools(bench, perplexity, batched_bench, libraries)
    _require_one_content(libraries)
    if all((binaries / name).is_file() for name in names):
        return tools
    missing = [name for name in ("cmake", "ninja") if shutil.which(name) is None]
    python = environment("llama_tools", missing)
    source = _source(python, folder, version)
    say(f"Building {', '.join(names)}; this takes about five minutes on two cores ...")
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    configure = ["-G", "Ninja", "-S", str(ROOT / "benchmarks" / "tools"), "-B", str(folder / "build")]
    configure += ["-DCMAKE_BUILD_TYPE=Release", f"-DLLAMA_SOURCE={source}", f"-DLLAMA_LIBRARIES={libraries}"]
    compile_them = ["--build", str(folder / "build"), "--target", *names]
    cmake = shutil.which("cmake", path=path) or "cmake"
    for step in (configure, compile_them):
        subprocess.run([cmake, *step], check=True, env=os.environ | {"PATH": path}, stdout=subprocess.DEVNULL)
    return tools


def _require_one_content(libraries: Path) -> None:
    """Check that the copies of a library in a wheel (libllama.so, libllama.so.0 ...) are the same machine code.

    A wheel cannot hold links: the engine loads one copy, the tools another.
    """
    contents: dict[str, set[str]] = {}
    for path in libraries.iterdir():
        if path.name.startswith(_LIBRARIES):
            contents.setdefault(path.name.partition(".")[0], set()).add(hashlib.sha256(path.read_bytes()).hexdigest())
    different = [name for name, digests in contents.items() if len(digests) > 1]
    if different:
        raise RuntimeError(f"The copies of {', '.join(different)} in {libraries} differ.")


def _source(python: Path, folder: Path, version: str) -> Path:
    """``vendor/llama.cpp`` of the source distribution, downloaded with pip and unpacked."""
    source = folder / f"llama_cpp_python-{version}" / "vendor" / "llama.cpp"
    if (source / "tools").is_dir():
        return source
    say(f"Downloading the sources of llama-cpp-python {version} ...")
    command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python"]
    command += ["--dest", str(folder), f"llama-cpp-python=={version}"]
    subprocess.run(command, check=True)
    with tarfile.open(folder / f"llama_cpp_python-{version}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return source
