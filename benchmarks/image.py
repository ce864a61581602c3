"""Does the image of the ``Dockerfile`` come about and work, checked without a container engine?

Each step is carried out as it stands in a bare Debian of its own below ``.bench/image`` (see ``image_tools``), with the
files that ``.dockerignore`` lets in and no others, up to the command that a container runs. Then a container is started
with processes and a network of its own, and asked by its health check. It has to run as a user that is not root and may
write nowhere but below ``/data``, ``/tmp`` and its home, hold neither compiler nor instructions that only some
processors have, find an engine and PostgreSQL's driver, and end when it is asked to.

``compose.yaml`` is checked against the Compose specification by the package ``compose-spec``, alone and with
``compose.gpu.yaml`` on top. ``Dockerfile.gpu`` cannot be carried out: its base is not to be had as Debian packages.

Needs root, Linux, debootstrap and some minutes; llama.cpp is compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import BENCH, ROOT, Limit, environment, main, say
from benchmarks.image_tools import Container, Image, build, running, substituted

YES = Limit(at_least=1, at_most=1)
LIMITS = {
    "healthy": YES,
    "page_is_served": YES,
    "runs_as_another_user": YES,
    "engine_and_driver_are_there": YES,
    "compilers_in_it": Limit(at_most=0),
    "wide_instructions": Limit(at_most=0),
    "files_written_elsewhere": Limit(at_most=0),
    "ends_when_asked": YES,
    "compose_files_that_hold": Limit(at_least=2, at_most=2),
}
START_S = 60.0
WRITABLE = ("data", "tmp", "home", "proc", "dev", "sys", "run")


def compose_holds(python: Path) -> int:
    """How many of the two compose files the specification's own types take, and refuse with a name that is none."""
    code = (
        "import sys, compose_spec; options = compose_spec.PyOptions(); options.apply_merge = True;"
        "options.from_yaml(sys.stdin.read())"
    )
    held = 0
    for name in ("compose.yaml", "compose.gpu.yaml"):
        text = substituted((ROOT / name).read_text(encoding="utf-8"), {"POSTGRES_PASSWORD": "some password"})
        wrong = re.sub(r"^(\s+)image:", r"\1imgae:", text, count=1, flags=re.MULTILINE)
        told = [
            subprocess.run([str(python), "-c", code], input=one, capture_output=True, text=True, check=False)
            for one in (text, wrong)
        ]
        held += [done.returncode == 0 for done in told] == [True, False]
        if told[0].returncode:
            say(f"  {name}: {told[0].stderr[-500:]}")
    return held


def wide_instructions(root: Path) -> int:
    """How many instructions of llama.cpp's libraries use registers that only AVX-512 has."""
    count = 0
    libraries = [*root.glob("opt/trilemma/lib/python*/site-packages/llama_cpp/lib/libggml*.so")]
    if not libraries:
        raise RuntimeError("llama.cpp's libraries are not in the image.")
    for library in libraries:
        code = subprocess.run(["objdump", "-d", str(library)], capture_output=True, text=True, check=True).stdout
        count += code.count("%zmm")
    return count


def written_elsewhere(image: Image, since: float) -> list[Path]:
    """Files of a root that are newer, outside of where a container may write."""
    found = []
    for folder, folders, files in os.walk(image.root):
        if Path(folder) == image.root:
            folders[:] = [name for name in folders if name not in WRITABLE]
        found += [path for name in files if (path := Path(folder, name)).lstat().st_mtime > since]
    return found


def healthy(container: Container) -> bool:
    """Whether the image's own health check passes in time."""
    check = container.image.argv("HEALTHCHECK")
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and container.process.poll() is None:
        if container.execute(check).returncode == 0:
            return True
        time.sleep(1)
    return False


def looked_at(container: Container) -> dict[str, float]:
    """What is asked of a container that runs."""
    fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8501/queue').read().decode()[:2000])"
    page = container.execute(["python", "-c", fetch])
    doctor = container.execute(["trilemma", "doctor", "--json"])
    findings: list[dict[str, Any]] = json.loads(doctor.stdout or "[]")
    engine = any("llama" in one["name"] and one["status"] == "ok" for one in findings)
    driver = container.execute(["python", "-c", "import psycopg, authlib"])
    for name, done in (("page", page), ("doctor", doctor), ("driver", driver)):
        if done.returncode:
            say(f"  {name}: {done.stderr[-500:]}")
    uids = Path(f"/proc/{container.pid}/status").read_text().partition("Uid:")[2].split()[:4]
    writes = container.execute(["sh", "-c", "touch /src/x || touch /opt/trilemma/x"])
    return {
        "page_is_served": float("streamlit" in page.stdout.lower()),
        "engine_and_driver_are_there": float(engine and driver.returncode == 0),
        "runs_as_another_user": float("0" not in uids and writes.returncode != 0),
    }


def measure(dockerfile: Path) -> Mapping[str, float | str]:
    """Build, run, look, stop."""
    folder = BENCH / "image"
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float | str] = {
        "compose_files_that_hold": compose_holds(environment("image-compose", ["compose-spec"]))
    }
    began = time.monotonic()
    image, ran = build(dockerfile, folder)
    figures |= {"commands_run": ran, "built_in_s": time.monotonic() - began}
    names = ("cc", "gcc", "g++", "c++", "clang", "make", "cmake")
    compilers = [name for name in names for at in ("usr/bin", "usr/local/bin") if (image.root / at / name).exists()]
    figures["compilers_in_it"] = len(compilers)
    figures["wide_instructions"] = wide_instructions(image.root)
    size = subprocess.run(["du", "-sm", str(image.root)], capture_output=True, text=True, check=True).stdout
    figures["root_mib"] = float(size.split()[0])
    since = time.time()
    time.sleep(1)
    with running(image, folder / "container.log") as container:
        began = time.monotonic()
        figures["healthy"] = float(healthy(container))
        figures["healthy_after_s"] = time.monotonic() - began
        figures |= looked_at(container)
        code = container.stop(20)
        figures["ends_when_asked"] = float(code is not None)
    say((folder / "container.log").read_text(errors="replace")[-1500:])
    elsewhere = written_elsewhere(image, since)
    say(f"  written elsewhere: {[str(path) for path in elsewhere[:10]]}")
    figures["files_written_elsewhere"] = len(elsewhere)
    return figures


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m benchmarks.image", description=__doc__).parse_args()
    main("image", LIMITS, lambda: measure(ROOT / "Dockerfile"))
