"""llama.cpp's C interface, imported on first use, and the two objects that own memory of it: a context and a batch.

The low-level interface is used, not ``llama_cpp.Llama``: the latter copies logits and token arrays in Python for every
token, reuses the cache of earlier prompts, and keeps its context's settings to itself.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from trilemma.engines.base import FloatArray
from trilemma.engines.llama_cpp import logs
from trilemma.errors import EngineError, EngineUnavailableError, LoadError, OutOfMemoryError

IntArray = npt.NDArray[np.int32]
_native: Any = None


def native() -> Any:
    """The module ``llama_cpp.llama_cpp``, its log redirected and its back end ready.

    Raises:
        EngineUnavailableError: llama-cpp-python is missing or its library does not load.
    """
    global _native  # noqa: PLW0603
    if _native is None:
        # The number of threads is set per context, but OpenMP would silently cut it to these.
        for name in ("OMP_THREAD_LIMIT", "OMP_DYNAMIC"):
            os.environ.pop(name, None)
        try:
            from llama_cpp import llama_cpp  # noqa: PLC0415 (the web process imports this package too)
        except (ImportError, OSError, RuntimeError) as error:
            raise EngineUnavailableError(
                f"llama-cpp-python cannot be imported ({error}).", "Install it: pip install 'trilemma[llama]'."
            ) from error
        module: Any = llama_cpp
        logs.install(module)
        module.llama_backend_init()
        _native = module
    return _native


class Batch:
    """Room for ``capacity`` tokens of up to ``n_seq_max`` sequences, as NumPy arrays that llama.cpp reads in place.

    Fill ``tokens``, ``positions``, ``seq_counts``, ``seq_ids[i, :seq_counts[i]]`` and ``outputs`` (1 where logits are
    wanted) for the first ``n`` tokens, then hand ``batch.first(n)`` to :meth:`Context.decode`.
    """

    def __init__(self, capacity: int, n_seq_max: int = 1) -> None:
        self.capacity = capacity
        self.tokens: IntArray = np.zeros(capacity, np.int32)
        self.positions: IntArray = np.zeros(capacity, np.int32)
        self.seq_counts: IntArray = np.ones(capacity, np.int32)
        self.seq_ids: IntArray = np.zeros((capacity, n_seq_max), np.int32)
        self.outputs: npt.NDArray[np.int8] = np.zeros(capacity, np.int8)
        self._rows = self.seq_ids.ctypes.data + np.arange(capacity, dtype=np.uintp) * self.seq_ids.strides[0]
        int_pointer = ctypes.POINTER(ctypes.c_int32)
        self._struct = native().llama_batch(
            n_tokens=0,
            token=self.tokens.ctypes.data_as(int_pointer),
            embd=None,
            pos=self.positions.ctypes.data_as(int_pointer),
            n_seq_id=self.seq_counts.ctypes.data_as(int_pointer),
            seq_id=self._rows.ctypes.data_as(ctypes.POINTER(int_pointer)),
            logits=self.outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def first(self, n: int) -> Any:
        """The C structure over the first ``n`` tokens; valid while this object lives."""
        if not 0 < n <= self.capacity:
            raise ValueError(f"{n} tokens do not fit a batch of {self.capacity}")
        self._struct.n_tokens = n
        return self._struct


class Context:
    """A ``llama_context`` that frees itself: a KV cache and compute buffers over a model's weights.

    Args:
        model: ``llama_model *``; must outlive the context.
        params: ``llama_context_params``.
        vocabulary_size: Width of the logits.

    Raises:
        OutOfMemoryError: its buffers could not be allocated.
        EngineError: llama.cpp refused the parameters.
    """

    def __init__(self, model: Any, params: Any, vocabulary_size: int) -> None:
        api = native()
        self._api = api
        self.vocabulary_size = vocabulary_size
        with logs.capture() as log:
            self.pointer: Any = api.llama_init_from_model(model, params)
        self.log = log
        if not self.pointer:
            reason = log.errors[-1] if log.errors else "llama.cpp gave no reason"
            if "alloc" in " ".join(log.errors).lower() or "reserve" in reason.lower():
                raise OutOfMemoryError(
                    f"llama.cpp could not allocate a context of {params.n_ctx} tokens: {reason}.",
                    "Use a smaller context, a smaller micro-batch or a smaller KV-cache type.",
                )
            raise EngineError(f"llama.cpp refused the context: {reason}.", "Change the engine settings it names.")
        self.memory: Any = api.llama_get_memory(self.pointer)

    def apply(self, adapter: Any) -> None:
        """Have a LoRA adapter (:func:`native_adapter`) change all that is computed here, at full strength.

        Raises:
            EngineError: llama.cpp refused it.
        """
        api = self._api
        adapters, scales = (api.llama_adapter_lora_p_ctypes * 1)(adapter), (ctypes.c_float * 1)(1.0)
        if api.llama_set_adapters_lora(self.pointer, adapters, 1, scales) != 0:
            raise EngineError("llama.cpp does not apply the adapter to this context.", "Measure without it.")

    @property
    def n_ctx(self) -> int:
        """Cells of the KV cache; llama.cpp rounds what was asked up."""
        return int(self._api.llama_n_ctx(self.pointer))

    @property
    def n_batch(self) -> int:
        """Most tokens that one :meth:`decode` takes."""
        return int(self._api.llama_n_batch(self.pointer))

    def clear(self) -> None:
        """Empty the KV cache."""
        self._api.llama_memory_clear(self.memory, False)

    def decode(self, batch: Any) -> None:
        """Evaluate a C batch (:meth:`Batch.first`).

        Raises:
            EngineError: llama.cpp reports a failure.
        """
        code = self._api.llama_decode(self.pointer, batch)
        if code != 0:
            raise decode_error(code)

    def logits(self, rows: int) -> FloatArray:
        """Logits of the last :meth:`decode`, in the order of its output flags: shape (rows, vocabulary_size).

        A view on llama.cpp's buffer, valid until the next call of :meth:`decode`.
        """
        pointer = self._api.llama_get_logits(self.pointer)
        return np.ctypeslib.as_array(pointer, shape=(rows, self.vocabulary_size))

    def release(self) -> Any:
        """The ``llama_context *``, which is from now on the caller's to free."""
        pointer, self.pointer = self.pointer, None
        return pointer

    def close(self) -> None:
        """Free it; a second call does nothing."""
        pointer = self.release()
        if pointer:
            self._api.llama_free(pointer)

    def __del__(self) -> None:
        if getattr(self, "pointer", None):
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def decode_error(code: int) -> EngineError:
    """What a non-zero result of ``llama_decode`` means."""
    meaning = {
        1: "no room in the KV cache",
        2: "aborted",
        -1: "an invalid batch",
        -2: "memory could not be allocated",
        -3: "the computation failed",
    }.get(code, "an unknown failure")
    return EngineError(
        f"llama.cpp could not evaluate the tokens: {meaning} (llama_decode returned {code}).",
        "Look at the run's log; a smaller context or micro-batch needs less memory.",
    )


def native_adapter(model: Any, path: Path) -> Any:
    """A LoRA adapter out of a GGUF file; it is freed with ``model``.

    Raises:
        LoadError: llama.cpp refused it; the message carries its own reason.
    """
    with logs.capture() as log:
        adapter = native().llama_adapter_lora_init(model, str(path).encode())
    if not adapter:
        raise LoadError(
            f"llama.cpp cannot apply {path.name}: {log.reason()}.",
            "Choose the model that it was made for; `trilemma models convert` makes a GGUF of a PEFT adapter.",
        )
    return adapter
