"""Types that the rooms of planning share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Interval(NamedTuple):
    """A value with its 95 % interval; the ends are None where the doubt is not known."""

    value: float
    low: float | None = None
    high: float | None = None
