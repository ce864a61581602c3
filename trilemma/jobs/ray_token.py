"""The secret that lets machines into a Ray cluster: who knows it can run programs on all of them.

The head makes it at its first start; to the other machines it is brought by hand. Ray reads it from the file that its
own variables name; where somebody has set those, they hold.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

from trilemma.errors import RunError
from trilemma.settings import Settings

_MODE, _TOKEN, _FILE = VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def make(settings: Settings) -> None:
    """Make one for a new cluster, unless it is there.

    Raises:
        OSError: the file cannot be written.
    """
    if any(map(os.environ.get, VARIABLES)):
        return
    with suppress(FileExistsError):
        file = os.open(settings.ray_token_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as opened:
            opened.write(secrets.token_hex(32))


def environment(settings: Settings) -> dict[str, str]:
    """What lets this machine's processes into the cluster.

    Raises:
        RunError: the cluster's token is not on this machine.
    """
    if os.environ.get(_MODE):
        return {}
    if os.environ.get(_TOKEN) or os.environ.get(_FILE):
        return {_MODE: "token"}
    path = settings.ray_token_path.absolute()
    if not path.is_file():
        raise RunError(
            f"The cluster's token is not at {path}.",
            "Copy the head's there, or name another file in TRILEMMA_RAY_TOKEN_FILE. "
            "RAY_AUTH_MODE=disabled joins a cluster that has none.",
        )
    return {_MODE: "token", _FILE: str(path)}
