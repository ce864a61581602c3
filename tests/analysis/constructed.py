"""Points whose figures and errors are written down, for tests of what is said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from trilemma.analysis.points import META, Points
from trilemma.schema import Axis, Method

MEMORY, SPEED, QUALITY = "peak_memory_bytes", "decode_tps@short_chat", "accuracy@hellaswag"
ENERGY, WAIT = "energy_per_token_j@short_chat", "ttft_s.p95@short_chat"
AXES = {Axis.EFFICIENCY: MEMORY, Axis.SPEED: SPEED, Axis.PERFORMANCE: QUALITY}


def points(
    rows: Mapping[str, Sequence[float]],
    keys: Sequence[str] = (MEMORY, SPEED, QUALITY),
    *,
    relative: float = 0.01,
    modelled: Sequence[str] = (),
    runs: int = 3,
    unknown: Sequence[str] = (),
) -> Points:
    """One configuration of the model ``M`` a row, by its quantization, from most to fewest bits.

    Args:
        rows: quantization to the values of ``keys``; NaN where it lacks one.
        keys: measurement keys.
        relative: standard error as a share of the value.
        modelled: keys that are modelled.
        runs: behind each figure.
        unknown: keys of whose error nothing is known.
    """
    index = pd.Index([f"id-{name}" for name in rows], name="configuration_id")
    value = pd.DataFrame([list(row) for row in rows.values()], index=index, columns=list(keys), dtype=float)
    error = value * relative
    error[list(unknown)] = np.nan
    bits = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q4_K_M": 4.9, "Q2_K": 3.3}
    meta = pd.DataFrame(
        {
            "model": "M", "quantization": list(rows), "engine": "llama.cpp", "settings": "{}", "profile": None,
            "engine_version": "", "adapter": None, "machine": None, "artifact_id": [f"a-{name}" for name in rows],
            "run_id": [f"r-{name}" for name in rows],
            "runs": runs, "bits": [bits[name] for name in rows], "requantized": False,
        },
        index=index,
    )[list(META)]  # fmt: skip

    def same(what: object) -> pd.DataFrame:
        return pd.DataFrame(what, index=index, columns=list(keys))

    method = same(Method.MEASURED.value).astype(object)
    method[list(modelled)] = Method.MODELLED.value
    return Points(
        meta=meta, value=value, low=value - 1.96 * error, high=value + 1.96 * error, error=error, df=same(np.inf),
        n=same(30), runs=same(runs), method=method, source=same("test"), disturbed=same(False), left_out=same(0),
        invalid={},
    )  # fmt: skip
