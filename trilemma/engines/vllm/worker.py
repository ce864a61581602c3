"""What runs in vLLM's own worker processes: vLLM mixes this class into its worker, and calls it by name."""

from __future__ import annotations

from typing import Any

import numpy as np


class WorkerExtension:
    """Reads what the worker holds, and keeps the logits that it computes while asked to.

    Attributes:
        model_runner: vLLM's, of the worker that this class is mixed into.
    """

    model_runner: Any

    def trilemma_memory(self) -> dict[str, int | None]:
        """Bytes of the weights (None on a CPU, which packs them so that it does not tell) and of the pool."""
        weights = getattr(self.model_runner, "model_memory_usage", None)
        caches = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for tensor in _tensors(self.model_runner.kv_caches)
        }
        return {"weights": None if weights is None else int(weights), "kv_cache": sum(caches.values())}

    def trilemma_keep_logits(self) -> None:
        """Keep every row of logits from here on, until :meth:`trilemma_drop_logits`."""
        model = self.model_runner.get_model()
        if "compute_logits" in vars(model):
            return
        compute = model.compute_logits
        rows: list[Any] = []

        def compute_logits(*arguments: Any, **named: Any) -> Any:
            logits = compute(*arguments, **named)
            if logits is not None:  # with several GPUs, one of them has all
                rows.append(logits.float().cpu().numpy())
            return logits

        model.compute_logits = compute_logits
        self._trilemma_rows = rows

    def trilemma_write_logits(self, path: str) -> int:
        """Write the rows kept so far as a NumPy array of shape (rows, vocabulary), float32; returns how many.

        For one prompt vLLM computes the row after its last token first, which it needs to go on, then those of the
        tokens before.
        """
        rows, self._trilemma_rows[:] = list(self._trilemma_rows), []
        if not rows:
            return 0
        table = np.concatenate([*rows[1:], rows[0]])
        np.save(path, table, allow_pickle=False)
        return len(table)

    def trilemma_drop_logits(self) -> None:
        """Stop keeping logits."""
        vars(self.model_runner.get_model()).pop("compute_logits", None)
        self._trilemma_rows = []


def _tensors(caches: Any) -> list[Any]:
    """The tensors of possibly nested lists."""
    if isinstance(caches, dict):
        caches = list(caches.values())
    if isinstance(caches, (list, tuple)):
        return [tensor for part in caches for tensor in _tensors(part)]
    return [caches]
