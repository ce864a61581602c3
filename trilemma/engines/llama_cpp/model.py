"""A model loaded with llama.cpp: generation with a timestamp per token, scoring and logits."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from trilemma.engines.base import (
    ChoiceRequest,
    ChoiceScore,
    FloatArray,
    Generation,
    GenerationRequest,
    MemorySplit,
    Message,
    TokenCallback,
)
from trilemma.engines.llama_cpp import chat, logs
from trilemma.engines.llama_cpp.decoding import Decoding
from trilemma.engines.llama_cpp.generation import Generator
from trilemma.engines.llama_cpp.native import Batch, Context, native, native_adapter
from trilemma.engines.llama_cpp.settings import LlamaCppSettings
from trilemma.engines.llama_cpp.slots import SlotServer
from trilemma.errors import ContextError, EngineError, LoadError, OutOfMemoryError

_CACHE_TYPES = {"f16": "GGML_TYPE_F16", "q8_0": "GGML_TYPE_Q8_0", "q4_0": "GGML_TYPE_Q4_0"}
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}


class _ScoringHost:
    """What the scorer of choices sees of a loaded model: it frees the contexts that it asks for itself."""

    def __init__(self, loaded: LoadedLlama) -> None:
        self.model: Any = loaded.model
        self.context_length = loaded.context_length
        self.vocabulary_size = loaded.vocabulary_size
        self._loaded = loaded

    def new_context(self, *, n_ctx: int, n_batch: int, n_ubatch: int, n_seq_max: int) -> Any:
        """A ``llama_context *`` that the caller frees; with sliding windows, too, it keeps what is far back."""
        return self._loaded.new_context(n_ctx, n_batch, n_ubatch, n_seq_max, swa_full=True).release()


class LoadedLlama:
    """Weights, vocabulary and the serving context.

    Attributes:
        model: ``llama_model *``, for the scorers of this package.
        vocab: ``llama_vocab *``.
        settings: What it was loaded with.

    Args:
        path: The GGUF file.
        settings: Already checked.
        adapter: A LoRA adapter in GGUF, for all contexts.

    Raises:
        LoadError: llama.cpp refused the file; the message carries its own reason.
        OutOfMemoryError: the context could not be allocated.
    """

    def __init__(self, path: Path, settings: LlamaCppSettings, adapter: Path | None = None) -> None:
        api = native()
        self._api = api
        self.path = path
        self.settings = settings
        self._contexts: weakref.WeakSet[Context] = weakref.WeakSet()
        self.vocab: Any = None
        params = api.llama_model_default_params()
        params.n_gpu_layers = 0
        params.load_mode = api.LLAMA_LOAD_MODE_MMAP if settings.mmap else api.LLAMA_LOAD_MODE_NONE
        with logs.capture() as log:
            self.model: Any = api.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise _load_error(path, log.reason())
        self._load_log = log
        self._adapter: Any = None
        self._adapter_name = adapter.name if adapter else None
        try:
            if adapter is not None:
                self._adapter = native_adapter(self.model, adapter)
            self.vocab = api.llama_model_get_vocab(self.model)
            self._vocabulary_size = int(api.llama_vocab_n_tokens(self.vocab))
            longest = int(api.llama_model_n_ctx_train(self.model))
            self._context_length = settings.context or longest
            if self._context_length > longest:
                raise ContextError(
                    f"The context of {self._context_length} tokens is longer than the model's {longest}.",
                    f"Set a context of at most {longest} tokens.",
                )
            # Generating needs one row of logits a slot; llama.cpp would make room for a whole batch of them.
            self._serving = self.new_context(
                self._context_length * settings.slots,
                n_seq_max=settings.slots,
                n_outputs_max=settings.slots,
                kv_unified=False,  # each slot with cells of its own: attention looks at no other's
            )
            self._decoding = Decoding(self.vocab, self._vocabulary_size, self.detokenize)
            self._generator = Generator(self._serving, self._decoding, self._context_length)
        except BaseException:
            self.close()
            raise

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer may take together."""
        return self._context_length

    @property
    def vocabulary_size(self) -> int:
        """Width of the logits."""
        return self._vocabulary_size

    def new_context(
        self,
        n_ctx: int,
        n_batch: int | None = None,
        n_ubatch: int | None = None,
        n_seq_max: int = 1,
        *,
        n_outputs_max: int = 0,
        **overrides: Any,
    ) -> Context:
        """A further context over the same weights, with the same threads, cache type and attention.

        It owns its cache and buffers, so that what scoring needs is allocated when scoring begins and never counts as
        memory of serving. It is freed by ``close``, by garbage collection, or with the model.

        Args:
            n_ctx: Tokens, all sequences together.
            n_batch: Tokens per decode call, default that of the settings (llama.cpp cuts it to ``n_ctx``).
            n_ubatch: Tokens computed at once, default that of the settings.
            n_seq_max: Sequences that may be alive at once.
            n_outputs_max: Rows of logits that one decode call may ask for; 0 for ``n_batch``.
            overrides: Further fields of ``llama_context_params``, such as ``kv_unified=False``.

        Raises:
            OutOfMemoryError: its buffers could not be allocated.
            EngineError: llama.cpp refused the parameters.
        """
        api, settings = self._api, self.settings
        params = api.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = min(n_batch or settings.batch, n_ctx)
        params.n_ubatch = min(n_ubatch or settings.micro_batch, params.n_batch)
        params.n_seq_max = n_seq_max
        # One cache for all sequences, so that those of one beginning share its cells.
        params.kv_unified = n_seq_max > 1
        params.n_outputs_max = n_outputs_max
        params.n_threads = settings.decode_threads
        params.n_threads_batch = settings.batch_threads
        params.flash_attn_type = _FLASH_ATTENTION[settings.flash_attention]
        params.type_k = params.type_v = getattr(api, _CACHE_TYPES[settings.kv_cache_type])
        params.offload_kqv = params.op_offload = params.swa_full = False
        params.no_perf = False
        for name, value in overrides.items():
            if not hasattr(params, name):
                raise ValueError(f"llama_context_params has no field {name!r}")
            setattr(params, name, value)
        context = Context(self.model, params, self._vocabulary_size)
        self._contexts.add(context)
        if self._adapter is not None:
            context.apply(self._adapter)
        return context

    def describe(self) -> dict[str, JsonValue]:
        """Version, build, threads and buffers: what is needed to repeat the run."""
        api, serving, chosen = self._api, self._serving, self.settings.flash_attention
        description = ctypes.create_string_buffer(256)
        api.llama_model_desc(self.model, description, len(description))
        flash: JsonValue = serving.log.flash_attention() if chosen == "auto" else chosen == "on"
        return {
            "engine": "llama.cpp",
            "version": importlib.metadata.version("llama-cpp-python"),
            "llama_cpp": api.llama_version().decode("utf-8", "replace"),
            "system_info": api.llama_print_system_info().decode("utf-8", "replace").strip(),
            "model": description.value.decode("utf-8", "replace"),
            "threads": int(api.llama_n_threads(serving.pointer)),
            "prefill_threads": int(api.llama_n_threads_batch(serving.pointer)),
            "context": self._context_length,
            "slots": self.settings.slots,
            "context_allocated": serving.n_ctx,
            "batch": serving.n_batch,
            "micro_batch": int(api.llama_n_ubatch(serving.pointer)),
            "kv_cache_type_k": self.settings.kv_cache_type,
            "kv_cache_type_v": self.settings.kv_cache_type,
            "flash_attention": flash,
            "mmap": self.settings.mmap,
            "adapter": self._adapter_name,
            "buffers": self.memory().detail,
        }

    def memory(self) -> MemorySplit:
        """What the weights and the serving context take, as llama.cpp's log accounts for it."""
        return logs.memory_split([line for log in (self._load_log, self._serving.log) for _, line in log.lines])

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Tokens of ``text``; ``add_special`` adds the model's start token where the model wants one."""
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        for _ in range(2):
            tokens = (ctypes.c_int32 * size)()
            n = self._api.llama_tokenize(self.vocab, data, len(data), tokens, size, add_special, parse_special)
            if n >= 0:
                return list(tokens[:n])
            size = -n
        raise EngineError(f"llama.cpp cannot tokenise a text of {len(data)} bytes.", "Use a shorter text.")

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of ``tokens``, control tokens left out; undecodable bytes are replaced."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        size = 16 * len(tokens) + 16
        for _ in range(2):
            buffer = ctypes.create_string_buffer(size)
            n = self._api.llama_detokenize(self.vocab, array, len(tokens), buffer, size, False, False)
            if n >= 0:
                return buffer.raw[:n].decode("utf-8", "replace")
            size = -n
        raise EngineError(f"llama.cpp cannot detokenise {len(tokens)} tokens.", "Use fewer tokens.")

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a conversation in the model's chat template, ready for the assistant's answer.

        Raises:
            EngineError: the template cannot be rendered.
        """
        bos, eos = self._special_texts
        text = chat.render(self._template, messages, bos=bos, eos=eos)
        # Templates that write the start token themselves must not get a second one.
        return self.tokenize(text, add_special=not (bos and text.startswith(bos)), parse_special=True)

    @functools.cached_property
    def _template(self) -> str | None:
        template = self._api.llama_model_chat_template(self.model, None)
        return template.decode("utf-8", "replace") if template else None

    @functools.cached_property
    def _special_texts(self) -> tuple[str, str]:
        api = self._api
        tokens = (api.llama_vocab_bos(self.vocab), api.llama_vocab_eos(self.vocab))
        texts = (api.llama_vocab_get_text(self.vocab, token) if token >= 0 else b"" for token in tokens)
        bos, eos = (text or b"" for text in texts)
        return bos.decode("utf-8", "replace"), eos.decode("utf-8", "replace")

    def generate(self, request: GenerationRequest, on_token: TokenCallback | None = None) -> Generation:
        """Generate from an empty cache; see :meth:`Generator.run`."""
        return self._generator.run(request, on_token)

    def server(self) -> SlotServer:
        """As many slots as the settings have, over the serving context."""
        return SlotServer(self._serving, self.settings.slots, self._context_length, self._decoding)

    def score_choices(self, requests: Sequence[ChoiceRequest]) -> Iterator[ChoiceScore]:
        """Scores in the order of ``requests``, in a context of its own; a shared context is evaluated once."""
        from trilemma.engines.llama_cpp.scoring import ChoiceScorer  # noqa: PLC0415 (needed by few processes)

        return ChoiceScorer(_ScoringHost(self)).score(requests)

    def logits(self, chunks: Sequence[Sequence[int]], *, first: int = 0) -> Iterator[FloatArray]:
        """For each chunk, from an empty cache, the logits after tokens ``first`` ... ``len(chunk) - 1``.

        Shape (len(chunk) - first, vocabulary_size), natural scale, float32; a view that the next step overwrites.

        Raises:
            ContextError: a chunk is longer than the context.
            EngineError: a chunk has no token after ``first``, or llama.cpp failed.
        """
        if not chunks:
            return
        longest, shortest = max(map(len, chunks)), min(map(len, chunks))
        if longest > self._context_length:
            raise ContextError(
                f"A chunk of {longest} tokens does not fit the context of {self._context_length}.",
                "Use shorter chunks or a longer context.",
            )
        if not 0 <= first < shortest:
            raise EngineError(f"A chunk of {shortest} tokens has no logits from position {first} on.")
        with self.new_context(longest, n_batch=longest, n_outputs_max=longest - first) as context:
            batch = Batch(longest)
            batch.positions[:] = range(longest)
            batch.outputs[first:] = 1
            for chunk in chunks:
                batch.tokens[: len(chunk)] = chunk
                context.clear()
                context.decode(batch.first(len(chunk)))
                yield context.logits(len(chunk) - first)

    def close(self) -> None:
        """Free contexts and weights; a second call does nothing."""
        for context in list(self._contexts):
            context.close()
        model, self.model = self.model, None
        if model:
            self._api.llama_model_free(model)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load_error(path: Path, reason: str) -> EngineError:
    """llama.cpp's reason, and what can be done about that kind of it."""
    message = f"llama.cpp cannot load {path.name}: {reason}."
    if "alloc" in reason:
        return OutOfMemoryError(message, "Choose a smaller quantization, or free memory.")
    if "architecture" in reason:
        return LoadError(message, "Update llama-cpp-python if the architecture is new, or choose another model.")
    return LoadError(message, "The file is damaged, incomplete or no GGUF file: get it again.")
