"""The endpoint engine: any server that speaks OpenAI's routes."""

from trilemma.engines.endpoint.engine import Endpoint

__all__ = ["Endpoint"]
