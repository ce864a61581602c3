"""What a request asks of decoding, in vLLM's words."""

from __future__ import annotations

from typing import Any

from trilemma.engines.base import GenerationRequest


def sampling_of(request: GenerationRequest) -> Any:
    """``SamplingParams``: new tokens alone in every output, and text made of them only to find what ends an answer."""
    from vllm import SamplingParams  # noqa: PLC0415
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams  # noqa: PLC0415

    schema = request.schema
    return SamplingParams(
        output_kind=RequestOutputKind.DELTA,
        temperature=request.temperature,
        seed=request.seed,
        max_tokens=request.max_tokens,
        ignore_eos=request.ignore_eos,
        detokenize=bool(request.stop),
        stop=list(request.stop) or None,
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
    )
