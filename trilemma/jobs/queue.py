"""The order in which a study's runs are queued, and whether the queue has come to its end."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from trilemma.needs import Needs
from trilemma.schema import RunState
from trilemma.store import Store

log = logging.getLogger(__name__)


def interleave(n_configurations: int, repeats: int, seed: int) -> list[tuple[int, int]]:
    """(configuration, repeat) pairs: each repeat goes through all configurations in an order of its own.

    So a machine that slows down in the course of a study slows all configurations alike. No configuration is measured
    twice in a row where there is more than one.
    """
    generator = random.Random(seed)  # noqa: S311  an order, not a secret
    pairs: list[tuple[int, int]] = []
    for repeat in range(repeats):
        order = list(range(n_configurations))
        generator.shuffle(order)
        while n_configurations > 1 and pairs and pairs[-1][0] == order[0]:
            generator.shuffle(order)
        pairs += [(configuration, repeat) for configuration in order]
    return pairs


def idle(
    store: Store, device: str, takes: Callable[[Needs], bool] | None = None, what: str = "what only a cluster has"
) -> bool:
    """Whether nothing of this device's is left to wait for; looked for in the order in which a run comes by.

    Args:
        store: Where the queue is.
        device: Whose runs.
        takes: Whether there is a machine for what a run needs; None where all is waited for. What else is left is not.
        what: What such runs need.
    """
    needed = store.waiting_needs(device)  # none, where the queue is paused
    elsewhere = [] if takes is None else [one for one in needed if not takes(one)]
    if len(elsewhere) < len(needed) or any(r.spec.device == device for r in store.runs(states=(RunState.RUNNING,))):
        return False
    if elsewhere:
        log.warning("Runs are left that need %s: %s", what, "; ".join(one.label or "any machine" for one in elsewhere))
    return store.queue_paused() or not store.reruns_due(device)
