"""Stand-ins for the host of a try-out: programs that say what a test wants said."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trilemma.schema import Artifact, Configuration
from trilemma.tryout.messages import Ask, Contender, Question

_HEAD = """
import json, os, signal, subprocess, sys, time
ask = json.loads(sys.stdin.readline())
names = sys.argv[1:]
def say(number, **word):
    print(json.dumps({"configuration_id": names[number], "word": word}), flush=True)
def write(number, text, ended="", tokens=3):
    say(number, kind="written", text=text, tokens=tokens, submitted_ns=10**9, first_ns=2 * 10**9, last_ns=4 * 10**9,
        ended=ended)
"""


def contender(number: int = 0, path: str = "") -> Contender:
    weights = Artifact(
        id=f"{number:064x}", path=path or f"/models/{number}.gguf", model="tiny", quantization=f"Q{number}",
        size_bytes=10, source="folder",
    )  # fmt: skip
    return Contender(configuration=Configuration(artifact_id=weights.id, engine="llama.cpp"), artifact=weights)


def ask(count: int = 2, prompt: str = "Why?") -> Ask:
    return Ask(contenders=tuple(contender(n) for n in range(count)), question=Question(prompt=prompt, max_tokens=8))


def host(script: str, names: Sequence[str]) -> list[str]:
    """The command of a host that runs ``script``, which may ``say`` and ``write`` of a contender by its number."""
    return [sys.executable, "-c", _HEAD + script, *names]
