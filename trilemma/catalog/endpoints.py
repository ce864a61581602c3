"""Endpoints in the catalog: an address and the name of a model there, instead of weights."""

from __future__ import annotations

import hashlib
import os
import re
import time
from urllib.parse import urlsplit, urlunsplit

import httpx2 as httpx

from trilemma.catalog.addresses import is_metadata, refusal, refuse_metadata, refuse_peer
from trilemma.catalog.names import clean
from trilemma.errors import CatalogError
from trilemma.schema import Artifact

AS_SERVED = "as served"
_MAX_CHARS = 2000
_MAX_BYTES = 1 << 20
_TIMEOUT_S = 10.0
"""For each part of a list of models, and for all of them."""
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,62})?(\.[a-z0-9_]([a-z0-9_-]{0,62})?)*\.?|[0-9a-f:.]+(%[a-z0-9_.-]+)?")
_PORTS = {"http": 80, "https": 443}


def checked_address(text: str) -> str:
    """The address of a server in one spelling, with the path that OpenAI's routes are under (``/v1`` as a rule).

    Raises:
        CatalogError: it is no http or https address, carries a secret, or is a cloud's metadata service.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise CatalogError(
            "The address of the endpoint is malformed.", "For example http://127.0.0.1:8000/v1"
        ) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or len(text) > _MAX_CHARS:
        raise CatalogError(
            "An endpoint's address begins with http:// or https://.", "For example http://127.0.0.1:8000/v1"
        )
    if not _HOST.fullmatch(parts.hostname) or len(parts.hostname) > 253 or not parts.path.isprintable():
        raise CatalogError(
            "The address of the endpoint is malformed.", "Names beyond ASCII are written in Punycode (xn--...)."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise CatalogError(
            "An endpoint's address may carry no user, key or query.",
            "Put the key into an environment variable, and its name into the setting api_key_env.",
        )
    if is_metadata(parts.hostname):
        raise refusal()
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))


def key_of(variable: str | None) -> str:
    """The key in the environment variable ``variable``; empty without one.

    Raises:
        CatalogError: it is not set, or holds what no header can carry. The message has the variable's name only.
    """
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise CatalogError(
            f"The environment variable {clean(variable, 60)} is not set.",
            "Set it where Trilemma and its worker run, or do without api_key_env.",
        )
    if not (key.isascii() and key.isprintable()):
        raise CatalogError(
            f"The environment variable {clean(variable, 60)} holds characters that no key has.", "Set it again."
        )
    return key


def endpoint_artifact(address: str, model: str, quantization: str = "") -> Artifact:
    """The artifact of a model that a server runs. What its weights are in, only who runs it can say.

    Raises:
        CatalogError: the address or the name is unusable.
    """
    place = checked_address(address)
    name = model.strip()
    if not name or len(name) > 200 or not name.isprintable():
        raise CatalogError("The model's name at the endpoint is unusable.", "GET /v1/models lists the names.")
    return Artifact(
        id=hashlib.sha256(f"{place}\n{name}".encode()).hexdigest(),
        path=place,
        format="endpoint",
        model=name,
        quantization=clean(quantization, 40) or AS_SERVED,
        size_bytes=0,
        source="endpoint",
    )


def only_model(address: str, api_key_env: str | None = None) -> str:
    """The name of the one model that the server has.

    Raises:
        CatalogError: as :func:`served_models` and :func:`key_of`, or it has none or several.
    """
    served = served_models(address, key_of(api_key_env))
    if len(served) != 1:
        names = ", ".join(clean(name, 60) for name in served[:8]) or "none"
        raise CatalogError(f"The endpoint has {len(served)} models: {names}.", "Name the one that is meant.")
    return served[0]


def served_models(address: str, key: str = "") -> list[str]:
    """The names of the models that the server at ``address`` lists.

    Raises:
        CatalogError: it cannot be reached, or gives no list.
    """
    place = checked_address(address)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    hooks = {"response": [refuse_peer]}
    refuse_metadata(place)
    try:
        with (
            httpx.Client(
                timeout=_TIMEOUT_S, headers=headers, follow_redirects=False, trust_env=False, event_hooks=hooks
            ) as client,
            client.stream("GET", f"{place}/models") as response,
        ):
            content, deadline = b"", time.monotonic() + _TIMEOUT_S
            for part in response.iter_bytes():
                content += part
                if len(content) > _MAX_BYTES or time.monotonic() > deadline:
                    raise CatalogError(f"{place} gives an endless answer.", "It does not speak OpenAI's routes.")
            status = response.status_code
        if status != 200:
            raise CatalogError(
                f"{place}/models answered with status {status}.",
                "Check the address (it ends with /v1 as a rule) and the key.",
            )
        listed = httpx.Response(200, content=content).json()
        names = [str(entry["id"]) for entry in listed["data"]]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CatalogError(
            f"{place} cannot be reached ({type(error).__name__}).", "Check the address and that the server runs."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CatalogError(f"{place}/models gives no list of models.", "Name the model yourself.") from error
    return [name for name in names if name.isprintable() and 0 < len(name) <= 200]
