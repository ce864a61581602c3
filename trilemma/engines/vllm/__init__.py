"""The vLLM engine; importing this package imports no engine."""

from trilemma.engines.vllm.engine import Vllm

__all__ = ["Vllm"]
