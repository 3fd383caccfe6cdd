"""Random numbers by name: the draws of one name stay the same whatever else changes."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]


class Streams:
    """Random numbers by name: the draws of a name depend on (seed, replication) and on no other name."""

    def __init__(self, seed: int, replication: int) -> None:
        self._seed, self._replication = seed, replication

    def __call__(self, name: str) -> np.random.Generator:
        digest = hashlib.sha256(name.encode()).digest()
        words = (int.from_bytes(digest[at : at + 4], "little") for at in range(0, 16, 4))
        root = np.random.SeedSequence(self._seed, spawn_key=(self._replication, *words))
        return np.random.Generator(np.random.PCG64(root))


def ranked(stream: np.random.Generator, zipf: float, ranks: int, count: int) -> Whole:
    return weighted(stream, np.arange(1, ranks + 1, dtype=float) ** -zipf, count)


def weighted(stream: np.random.Generator, weights: npt.ArrayLike, count: int) -> Whole:
    """Positions drawn by weight; changing one weight changes as few of them as possible."""
    upto = np.cumsum(np.asarray(weights, dtype=float))
    return np.asarray(np.searchsorted(upto, stream.random(count) * upto[-1], side="right"))
