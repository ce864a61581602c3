"""The order in which a study's runs are queued."""

from __future__ import annotations

import random


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
