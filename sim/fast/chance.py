"""The random numbers of sim/model/lottery.py."""

from __future__ import annotations

import numpy as np

from sim.fast.jit import compiled, wrapped
from sim.model import lottery

GAMMA, FACTOR_1, FACTOR_2 = (
    int(np.uint64(each).astype(np.int64)) for each in (lottery.GAMMA, *lottery.FACTORS)
)


@compiled
def drawn(state: int) -> tuple[int, float]:
    """The next state and number; the masks make shifts of int64 those of unsigned numbers."""
    state = x = wrapped(state + GAMMA)
    x = wrapped((x ^ ((x >> 30) & (2**34 - 1))) * FACTOR_1)
    x = wrapped((x ^ ((x >> 27) & (2**37 - 1))) * FACTOR_2)
    x = x ^ ((x >> 31) & (2**33 - 1))
    return state, float((x >> 11) & (2**53 - 1)) / 2.0**53
