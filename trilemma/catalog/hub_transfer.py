"""One file over HTTP into a part that a later attempt goes on with; the hub's own client starts over each time."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import cast

from trilemma.catalog.base import Progress
from trilemma.errors import HubError

CHUNK_BYTES = 2**20
TIMEOUT_S = 15.0
MAX_STALLS = 3
"""Attempts in a row that bring nothing, until it is given up."""
WAIT_S = 1.0


def transfer(url: str, headers: dict[str, str], part: Path, size: int, progress: Progress | None = None) -> None:
    """Bring ``part`` to ``size`` bytes with what ``url`` gives, going on from what it holds.

    Raises:
        HubError: more came than announced.
        Exception: what the hub's client raises when the connection fails for good or the hub refuses; ``part`` stays.
    """
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415 - slow to import.

    # httpx or httpx2, by the library's version: its root class is the base of the hub's own error.
    connection_error = cast("type[Exception]", HfHubHTTPError.__mro__[1])
    stalls = 0
    while True:
        have = _length(part)
        if have == size:
            return
        try:
            _stream(url, headers, part, size, progress)
            if _length(part) == size:
                return
        except HfHubHTTPError:
            raise
        except connection_error:
            if stalls + 1 >= MAX_STALLS and _length(part) <= have:
                raise
        stalls = stalls + 1 if _length(part) <= have else 0
        if stalls >= MAX_STALLS:
            raise HubError(f"The connection broke {MAX_STALLS} times without a byte.", "Try again later.")
        time.sleep(WAIT_S)


def _stream(url: str, headers: dict[str, str], part: Path, size: int, progress: Progress | None) -> None:
    from huggingface_hub import get_session  # noqa: PLC0415
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # noqa: PLC0415

    have = _length(part)
    if have > size:
        have = 0
    # An encoding would make the bytes that arrive others than those that the range counts.
    headers = {**headers, "accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have else {})
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S) as response:
        hf_raise_for_status(response)
        # A server that ignores the range sends the whole file.
        if response.status_code != 206 or not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
            have = 0
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_bytes(CHUNK_BYTES):
                have += len(chunk)
                if have > size:
                    raise HubError(f"More came than the {size:,} bytes that were announced.", "Try again later.")
                file.write(chunk)
                if progress is not None:
                    progress(have, size)


def _length(part: Path) -> int:
    with contextlib.suppress(OSError):
        return part.stat().st_size
    return 0
