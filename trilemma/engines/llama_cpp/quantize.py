"""Writes one quantization of a GGUF file: ``python -m trilemma.engines.llama_cpp.quantize SRC DST TYPE``.

A process of its own: llama.cpp may abort on bad input, cannot be interrupted otherwise, and must not be imported
by the dashboard. Its log, with a line ``[ 12/ 272] ...`` for each tensor, goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from pathlib import Path


def quantize(source: Path, target: Path, quantization: str) -> int:
    """Quantize ``source`` into ``target``; 0 for success.

    A step to F16 dequantizes. All cores that the process may use take part. The source may be quantized already, which
    loses more than quantizing the original would.
    """
    import llama_cpp  # noqa: PLC0415 - only this process pays for it.

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quantization}")
    params.allow_requantize = True
    params.nthread = _usable_cores()
    return int(llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), params))


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _stop_with_parent(target: Path) -> None:
    """Wait for the end of standard input, which comes when the parent is gone; then leave nothing behind."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(OSError):
        target.unlink(missing_ok=True)
    os._exit(3)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m trilemma.engines.llama_cpp.quantize", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("quantization", help="F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q3_K_M, Q2_K")
    parser.add_argument("--with-parent", action="store_true", help="end, and remove the target, when stdin ends")
    options = parser.parse_args(arguments)
    if options.with_parent:
        threading.Thread(target=_stop_with_parent, args=(options.target,), daemon=True).start()
    return 1 if quantize(options.source, options.target, options.quantization) else 0


if __name__ == "__main__":
    sys.exit(main())
