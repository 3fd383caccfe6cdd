"""The random numbers of Cinder's scheduler and of its locks: they depend on the case, not on the engine.

`StochasticHostWeightHandler` and `ChanceWeigher` draw from those of `SCHEDULER`, `lock_order` from those of
`LOCKS`.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.inputs.scenario import Case
from sim.workload.streams import Streams

SCHEDULER, LOCKS = "StochasticHostWeightHandler", "lock_order"
GAMMA = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
MASK = 2**64 - 1


def first_state(case: Case, of: str) -> int:
    """The first state for (seed, replication) of what draws: below 2^63."""
    stream = Streams(case.scenario.seed, case.replication)(of)
    return int(stream.integers(2**63))


def numbers(case: Case, of: str) -> Callable[[], float]:
    """A replacement for `random.random`: SplitMix64 (Steele, Lea and Flood 2014), its upper 53 bits."""
    state = first_state(case, of)

    def draw() -> float:
        nonlocal state
        state = x = (state + GAMMA) & MASK
        x = ((x ^ (x >> 30)) * FACTORS[0]) & MASK
        x = ((x ^ (x >> 27)) * FACTORS[1]) & MASK
        return float((x ^ (x >> 31)) >> 11) / 2.0**53

    return draw
