"""A Dockerfile's steps one by one in bare roots: what `docker build` and `docker run` do, where neither is there.

Only what this repository's Dockerfiles use is known: FROM, ARG, ENV, WORKDIR, RUN (with cache mounts), COPY (with
``--from``), USER, and how a container is run. Anything else is an error. Needs root, Linux, and Debian's debootstrap.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import psutil

from benchmarks.common import ROOT, say

PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}|\$(\w+)")
_MOUNTED = re.compile(r"--mount=type=cache,target=(\S+)\s+")
_LATER = ("VOLUME", "EXPOSE", "STOPSIGNAL")


@dataclass
class Stage:
    """One part of a Dockerfile: what it is made from, and its steps as (instruction, the rest)."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Image:
    """A root with what was said about it."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    workdir: str = "/"
    user: str = "root"
    said: dict[str, str] = field(default_factory=dict)

    def argv(self, instruction: str) -> list[str]:
        """What ENTRYPOINT, CMD or the command of HEALTHCHECK names, in its exec form."""
        text = self.said.get(instruction, "[]")
        found: list[str] = json.loads(text[text.index("[") :])
        return found


def parsed(path: Path) -> list[Stage]:
    """The stages of a Dockerfile; arguments before the first FROM are put in."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for line in filter(None, (line.strip() for line in re.sub(r"\\\n\s*", " ", text).split("\n"))):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = substituted(rest, arguments).partition(" AS ")
            stages.append(Stage(base, name))
        elif stages:
            stages[-1].steps.append((instruction, rest.strip()))
        elif instruction == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            raise ValueError(f"{path.name}: {instruction} before FROM")
    return stages


def substituted(text: str, values: Mapping[str, str]) -> str:
    """``$NAME``, ``${NAME}``, ``${NAME:-else}`` and ``${NAME:?why}`` replaced."""
    return _VARIABLE.sub(lambda m: values.get(m[1] or m[3]) or m[2] or "", text)


def assignments(text: str) -> dict[str, str]:
    """``NAME=value NAME="some words"``."""
    return dict(part.partition("=")[::2] for part in shlex.split(text))


def ignored(path: PurePosixPath, patterns: list[str]) -> bool:
    """Whether a path is left out of the context: the last pattern that fits it, or a folder above it, decides."""
    out = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!").rstrip("/")
        places = [path, *path.parents][:-1]
        if wanted.startswith("**/"):
            fits = any(fnmatch.fnmatch(part, wanted[3:]) for part in path.parts)
        else:
            parts = wanted.count("/")
            fits = any(fnmatch.fnmatch(str(one), wanted) for one in places if str(one).count("/") == parts)
        if fits:
            out = not pattern.startswith("!")
    return out


def context() -> list[Path]:
    """The files that a build sees, by ``.dockerignore``."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True,
        text=True,
    ).stdout.splitlines()  # fmt: skip
    # Files outside of version control are in a build's context as well; of those only what could be let in matters.
    return [ROOT / name for name in known if (ROOT / name).is_file() and not ignored(PurePosixPath(name), patterns)]


def bare(target: Path) -> None:
    """A minimal Debian with its own Python 3.11, which stands for ``python:3.11-slim-bookworm``."""
    if (target / "made").is_file():
        return
    if shutil.which("debootstrap") is None:
        raise RuntimeError("debootstrap is not installed: apt-get install debootstrap")
    shutil.rmtree(target, ignore_errors=True)
    say("Making a bare Debian ...")
    packages = "--include=python3,python3-venv,ca-certificates"
    with (target.parent / "debootstrap.log").open("wb") as log:
        command = [
            "debootstrap",
            "--variant=minbase",
            packages,
            "bookworm",
            str(target),
            "http://deb.debian.org/debian",
        ]
        subprocess.run(command, check=True, stdout=log, stderr=log)
    for name in ("python", "python3"):
        (target / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    # A container engine gives its containers names to look up; this machine's certificates, where it has its own.
    for path in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", path).is_file():
            shutil.copyfile(Path("/", path), target / path)
    (target / "made").touch()


def build(dockerfile: Path, folder: Path) -> tuple[Image, int]:
    """Every step of every stage; the last stage's image, and how many commands were run.

    Raises:
        RuntimeError: a step failed or is not known.
    """
    bare(folder / "debian")
    made: dict[str, Image] = {}
    ran = 0
    for number, stage in enumerate(parsed(dockerfile)):
        root = folder / f"stage-{number}"
        subprocess.run(["rm", "-rf", str(root)], check=True)
        subprocess.run(["cp", "-a", "--reflink=auto", str(folder / "debian"), str(root)], check=True)
        image = made[stage.name or "last"] = Image(root)
        arguments: dict[str, str] = {}
        for instruction, rest in stage.steps:
            say(f"  {instruction} {rest[:100]}")
            ran += _step(image, instruction, rest, arguments, made, folder / "cache")
    return image, ran


def _step(
    image: Image, instruction: str, rest: str, arguments: dict[str, str], made: Mapping[str, Image], cache: Path
) -> bool:
    """One step; whether it ran a command."""
    values = image.env | arguments
    if instruction == "RUN":
        _run(image, rest, values, cache)
    elif instruction == "ENV":
        image.env |= assignments(substituted(rest, values))
    elif instruction == "ARG":
        arguments |= assignments(rest)
    elif instruction == "WORKDIR":
        image.workdir = rest
        (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif instruction == "USER":
        image.user = rest
    elif instruction == "COPY":
        _copy(image, rest.split(), made)
    elif instruction in ("ENTRYPOINT", "CMD", "HEALTHCHECK", *_LATER):
        image.said[instruction] = rest
    else:
        raise RuntimeError(f"{instruction} is not known here.")
    return instruction == "RUN"


def _copy(image: Image, words: list[str], made: Mapping[str, Image]) -> None:
    source = made[words.pop(0).partition("=")[2]].root if words[0].startswith("--from=") else None
    *paths, to = words
    target = image.root / (to if to.startswith("/") else f"{image.workdir}/{to}").lstrip("/")
    for path in paths:
        if source is not None:
            subprocess.run(["cp", "-a", f"{source}{path}", str(target)], check=True)
            continue
        files = [one for one in context() if one == ROOT / path or (ROOT / path) in one.parents]
        if not files:
            raise RuntimeError(f"COPY {path}: the context has no such file; see .dockerignore")
        for file in files:
            # A folder's content is copied, a file into a folder that ends in a slash.
            inside = file.relative_to(ROOT / path) if file != ROOT / path else Path(file.name)
            place = target / inside if to.endswith("/") or file != ROOT / path else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)


def _run(image: Image, rest: str, values: Mapping[str, str], cache: Path) -> None:
    mounts = []
    while match := _MOUNTED.match(rest):
        kept = cache / match[1].strip("/").replace("/", "-")
        kept.mkdir(parents=True, exist_ok=True)
        mounts.append((kept, match[1]))
        rest = rest[match.end() :]
    # What this machine needs to reach its registries, as a builder's own settings.
    passed = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and "FIND_LINKS" not in name}
    command = entered(image, ["/bin/sh", "-c", rest], {**passed, **values}, mounts)
    with (cache.parent / "build.log").open("ab") as log:
        done = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        end = (cache.parent / "build.log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"RUN {rest[:80]} ended with {done.returncode}:\n{end}")


def entered(
    image: Image, argv: list[str], env: Mapping[str, str], mounts: list[tuple[Path, str]], *, alone: bool = False
) -> list[str]:
    """The command that runs ``argv`` in a root, as its user and in its folder.

    Args:
        image: The root.
        argv: What to run.
        env: All of its environment.
        mounts: Folders of this machine, and where they are to be.
        alone: Whether it sees no processes, and no network, but its own.
    """
    root = str(image.root)
    lines = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    for kept, at in mounts:
        lines += [f"mkdir -p {root}{at}", f"mount --bind {kept} {root}{at}"]
    lines += ["ip link set lo up"] if alone else []
    user = [] if image.user == "root" else [f"--userspec={image.user}:{image.user}"]
    home = {} if image.user == "root" else {"HOME": f"/home/{image.user}"}
    variables = [f"{name}={value}" for name, value in {**home, **env}.items()]
    chroot = ["chroot", *user, root, "/usr/bin/env", "-i", "-C", image.workdir, *variables, *argv]
    own = ["--pid", "--fork", "--kill-child", "--net"] if alone else []
    return ["unshare", "--mount", *own, "/bin/sh", "-ec", "; ".join([*lines, f"exec {shlex.join(chroot)}"])]


@dataclass
class Container:
    """A running one: the process that entered it, and its first process, as this machine counts them."""

    image: Image
    process: subprocess.Popen[bytes]
    pid: int

    def execute(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        """As ``docker exec`` does."""
        user = [f"--userspec={self.image.user}:{self.image.user}"]
        variables = [f"{name}={value}" for name, value in self.image.env.items()]
        inside = ["chroot", *user, str(self.image.root), "/usr/bin/env", "-i", "-C", self.image.workdir, *variables]
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", *inside, *argv], capture_output=True,
            text=True, check=False, timeout=120,
        )  # fmt: skip

    def stop(self, seconds: float) -> int | None:
        """Ask it to end, as ``docker stop`` does; its exit code, None where it had to be killed."""
        os.kill(self.pid, getattr(signal, self.image.said.get("STOPSIGNAL", "SIGTERM")))
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


@contextmanager
def running(image: Image, log: Path, *argv: str) -> Iterator[Container]:
    """A container with the image's command, or another one after its entry point; its network is its own."""
    command = [*image.argv("ENTRYPOINT"), *(argv or image.argv("CMD"))]
    with log.open("wb") as file:
        process = subprocess.Popen(
            entered(image, command, image.env, [], alone=True), stdout=file, stderr=file, stdin=subprocess.DEVNULL
        )
        try:
            while process.poll() is None and not (children := psutil.Process(process.pid).children()):
                time.sleep(0.05)
            if process.returncode is not None:
                raise RuntimeError(f"The container ended: {log.read_text(errors='replace')[-2000:]}")
            yield Container(image, process, children[0].pid)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
