"""A model loaded with vLLM: its engine in the background, asked through its asynchronous interface."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from trilemma.engines.base import (
    ChoiceRequest,
    ChoiceScore,
    Emission,
    FloatArray,
    Generation,
    GenerationRequest,
    MemorySplit,
    Message,
    TokenCallback,
)
from trilemma.engines.streams import LoopThread, StreamServer
from trilemma.engines.vllm.logs import StderrTail, load_error, shortened
from trilemma.engines.vllm.sampling import sampling_of
from trilemma.engines.vllm.settings import VllmSettings
from trilemma.engines.vllm.usage import KvUsage
from trilemma.errors import ContextError, EngineError, EngineUnavailableError
from trilemma.schema import Artifact

_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM makes room for."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
_TO_STDERR = {"VLLM_LOGGING_STREAM": "ext://sys.stderr"}


class LoadedVllm:
    """Weights in vLLM's worker processes, which end with :meth:`close` or with this process.

    Args:
        artifact: A folder of safetensors.
        settings: Already checked.
        kv_cache_bytes: The KV-cache pool; None to let vLLM take most of the memory that there is.
        adapter: A LoRA adapter, applied to every request.

    Raises:
        EngineUnavailableError: vLLM cannot be imported.
        LoadError: vLLM refused the weights or a setting; the message carries its own reason.
        OutOfMemoryError: there is not enough memory.
    """

    def __init__(
        self, artifact: Artifact, settings: VllmSettings, kv_cache_bytes: int | None, adapter: Artifact | None = None
    ) -> None:
        self.artifact = artifact
        self.settings = settings
        self.adapter = adapter
        self._lora: Any = None
        self._usage = KvUsage()
        self._engine: Any = None
        os.environ.update(_OFFLINE | _TO_STDERR)
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = settings.cpu_lists()
        self._stderr = StderrTail()
        self._thread = LoopThread("vllm")
        try:
            self._thread.run(self._start(kv_cache_bytes))
            self._memory: list[dict[str, int | None]] = self._thread.run(self._rpc("trilemma_memory"))
        except Exception as error:  # vLLM raises whatever its parts raise
            reason = (
                self._stderr.reason() or f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            )
            self.close()
            raise load_error(artifact, reason) from error

    async def _start(self, kv_cache_bytes: int | None) -> None:
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 (seconds, and gigabytes)
            from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415
        except ImportError as error:
            raise EngineUnavailableError(f"vLLM cannot be imported: {error}.", "Install it again.") from error
        chosen = self.settings
        speculation = {"method": "ngram", "num_speculative_tokens": chosen.speculative_tokens, "prompt_lookup_max": 4}
        arguments = AsyncEngineArgs(
            model=self.artifact.path,
            dtype=chosen.dtype,
            quantization=None if chosen.quantization == "none" else chosen.quantization,
            max_model_len=chosen.context,
            enable_lora=self.adapter is not None,
            max_lora_rank=next((rank for rank in _LORA_RANKS if self.adapter and rank >= self.adapter.adapter_rank), 8),
            max_num_seqs=chosen.slots,
            max_num_batched_tokens=chosen.batch,
            kv_cache_dtype=chosen.kv_cache_type,
            kv_cache_memory_bytes=kv_cache_bytes,
            tensor_parallel_size=chosen.tensor_parallel,
            pipeline_parallel_size=chosen.pipeline_parallel,
            enable_prefix_caching=chosen.prefix_caching,
            # A JSON schema allows white space without end, and small models take it.
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            enforce_eager=chosen.eager,
            speculative_config=speculation if chosen.speculative_tokens else None,
            seed=0,
            trust_remote_code=False,
            generation_config="vllm",
            worker_extension_cls="trilemma.engines.vllm.worker.WorkerExtension",
        )
        self._engine = AsyncLLM.from_engine_args(arguments, stat_loggers=[self._usage.logger()])
        self._tokenizer: Any = self._engine.get_tokenizer()
        if self.adapter is not None:
            from vllm.lora.request import LoRARequest  # noqa: PLC0415

            self._lora = LoRARequest("adapter", 1, self.adapter.path)
            await self._engine.add_lora(self._lora)

    async def _rpc(self, method: str) -> Any:
        return await self._engine.collective_rpc(method)

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer may take together."""
        return int(self._engine.model_config.max_model_len)

    @property
    def vocabulary_size(self) -> int:
        """Width of the logits."""
        return int(self._engine.model_config.get_vocab_size())

    def describe(self) -> dict[str, JsonValue]:
        """Version, data types, pool and parallelism: what is needed to repeat the run."""
        config = self._engine.vllm_config
        return {
            "engine": "vllm",
            "version": importlib.metadata.version("vllm-cpu" if _is_cpu(config) else "vllm"),
            "torch": importlib.metadata.version("torch"),
            "device": str(config.device_config.device_type),
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "quantization": str(config.model_config.quantization or "none"),
            "context": self.context_length,
            "slots": int(config.scheduler_config.max_num_seqs),
            "batch": int(config.scheduler_config.max_num_batched_tokens),
            "kv_cache_type": str(config.cache_config.cache_dtype),
            "kv_cache_blocks": int(config.cache_config.num_gpu_blocks or 0),
            "kv_cache_block_tokens": int(config.cache_config.block_size),
            "prefix_caching": bool(config.cache_config.enable_prefix_caching),
            "eager": bool(config.model_config.enforce_eager),
            "threads": os.environ["VLLM_CPU_OMP_THREADS_BIND"] if _is_cpu(config) else None,
            "adapter": self.adapter.label if self.adapter else None,
            "tensor_parallel": self.settings.tensor_parallel,
            "pipeline_parallel": self.settings.pipeline_parallel,
        }

    def memory(self) -> MemorySplit:
        """Weights as the workers hold them, the pool that they reserved, and the most of it that was ever in use."""
        weights = [worker["weights"] for worker in self._memory]
        known = [size for size in weights if size is not None]
        reserved = sum(worker["kv_cache"] or 0 for worker in self._memory)
        return MemorySplit(
            weights_bytes=sum(known) if len(known) == len(weights) else None,
            kv_cache_bytes=round(reserved * self._usage.peak),
            reserved_bytes=reserved,
            pool="host" if _is_cpu(self._engine.vllm_config) else "gpu",
            detail={"workers": len(self._memory), "preemptions": self._usage.preemptions},
        )

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Tokens of ``text``; ``add_special`` adds the model's start token where the model wants one."""
        encoded = self._tokenizer(text, add_special_tokens=add_special, split_special_tokens=not parse_special)
        return [int(token) for token in encoded["input_ids"]]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of ``tokens``, control tokens left out; undecodable bytes are replaced."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a conversation in the model's chat template, ready for the assistant's answer.

        Raises:
            EngineError: the template cannot be rendered.
        """
        if not self._tokenizer.chat_template:
            return self.tokenize("\n".join(message["content"] for message in messages))
        said = [dict(message) for message in messages]
        try:
            text = self._tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template is a program of somebody else's
            raise EngineError(f"The chat template cannot be rendered: {error}.", "Choose another artifact.") from error
        start = self._tokenizer.bos_token
        return self.tokenize(text, add_special=not (start and text.startswith(start)), parse_special=True)

    def generate(self, request: GenerationRequest, on_token: TokenCallback | None = None) -> Generation:
        """Generate, with nothing of an earlier request in the cache.

        Raises:
            ContextError: prompt and output do not fit the context.
            EngineError: the engine failed, or took part of the prompt from a cache.
        """
        server = self.server()
        server.submit(request)
        while True:
            for emission in server.step():
                if on_token and emission.token is not None:
                    on_token(emission.token, emission.time_ns)
                if emission.outcome is not None:
                    return emission.outcome

    def server(self) -> StreamServer:
        """Answers as many requests at once as there are slots; vLLM itself lets the others wait."""
        return StreamServer(self._thread, self.settings.slots, self._stream, self._refuse)

    def _refuse(self, request: GenerationRequest) -> None:
        if not request.prompt or request.max_tokens < 1:
            raise EngineError("A request needs at least one prompt token and one output token.")
        needed = len(request.prompt) + request.max_tokens
        if needed > self.context_length:
            raise ContextError(
                f"A prompt of {len(request.prompt)} tokens and {request.max_tokens} of output do not fit the context "
                f"of {self.context_length} tokens.",
                f"Set a context of at least {needed} tokens, or shorten the workload.",
            )

    async def _stream(self, ticket: int, request: GenerationRequest) -> AsyncIterator[Emission]:
        done = Generation(time.perf_counter_ns(), [], [], len(request.prompt))
        sampling = sampling_of(request)
        cached = 0
        try:
            from vllm.inputs import tokens_input  # noqa: PLC0415

            async for output in self._engine.generate(
                tokens_input(list(request.prompt)),
                sampling,
                f"{id(self)}-{ticket}-{done.submitted_ns}",
                lora_request=self._lora,
            ):
                now = time.perf_counter_ns()
                cached = max(cached, output.num_cached_tokens or 0)
                for token in output.outputs[0].token_ids:
                    done.tokens.append(int(token))
                    done.token_times_ns.append(now)
                    yield Emission(ticket, int(token), now, False)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise self._failure(error) from error
        if cached and not self.settings.prefix_caching:
            raise EngineError(
                f"vLLM took {cached} of {len(request.prompt)} prompt tokens from a cache that is switched off.",
                "Measure with another version of vLLM.",
            )
        outcome = Generation(done.submitted_ns, done.tokens, done.token_times_ns, len(request.prompt) - cached)
        yield Emission(ticket, None, time.perf_counter_ns(), True, outcome=outcome)

    def _failure(self, error: Exception) -> EngineError:
        reason = self._stderr.reason()
        if not reason and type(error).__name__ == "EngineDeadError":
            reason = "one of its processes ended without saying why; if nobody killed it, memory ran out"
        return EngineError(
            f"vLLM failed: {reason or shortened(str(error)) or type(error).__name__}.",
            "See the end of the log; a setting or memory may be to blame.",
        )

    def score_choices(self, requests: Sequence[ChoiceRequest]) -> Iterator[ChoiceScore]:
        """Scores in the order of ``requests``, from the log-probabilities of their prompts.

        Each choice is evaluated with its whole context: vLLM's prefix cache gives no log-probabilities.
        """
        from trilemma.engines.vllm.scoring import Prompts, score_choices  # noqa: PLC0415 (needed by few processes)

        return score_choices(self._thread, Prompts(self._engine, self._lora), self.settings.slots, requests)

    def logits(self, chunks: Sequence[Sequence[int]], *, first: int = 0) -> Iterator[FloatArray]:
        """For each chunk, from an empty cache, the logits after tokens ``first`` ... ``len(chunk) - 1``.

        Shape (len(chunk) - first, vocabulary_size), natural scale, float32.

        Raises:
            ContextError: a chunk is longer than the context less one token.
            EngineError: vLLM computed other rows than asked for.
        """
        from trilemma.engines.vllm.scoring import Prompts, chunk_logits  # noqa: PLC0415 (needed by few processes)

        return chunk_logits(self._thread, Prompts(self._engine, self._lora), chunks, first)

    def close(self) -> None:
        """End vLLM's processes; a second call does nothing."""
        engine, self._engine = self._engine, None
        if engine is not None:
            if engine.output_handler is not None:
                # It would take the end of the processes for a failure, and say so in the log.
                self._thread.loop.call_soon_threadsafe(engine.output_handler.cancel)
            engine.shutdown()
        self._thread.close()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_cpu(config: Any) -> bool:
    return str(config.device_config.device_type) == "cpu"
