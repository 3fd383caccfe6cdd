"""The conversion directory of a cinder-volume node, where images lie that it downloads or converts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sim.model.rules import directory_bytes, file_fits
from sim.model.usage import NO_TIMES, Floats


class Unmeasured:
    """The directory of a node that the scenario does not name: it has room, and no table tells of it."""

    free = math.inf
    refused = 0  # for Cinder's own check, which refuses nothing here

    def ask(self, size: float) -> None: ...

    def put(self, size: float) -> bool:
        return True

    def remove(self, size: float) -> None: ...


class Directory:
    """Holds files and measures them. `now` gives the simulated time in seconds; `gib` None: no limit.

    All sizes are bytes, as floats: `used` now, `peak` at most, `needed` the largest that a file has asked
    for, with all that lay there then. `refused` counts files without room. `times`, ascending: seconds for
    which `over_time` tells what lay there.
    """

    def __init__(self, now: Callable[[], float], gib: float | None, times: Floats = NO_TIMES) -> None:
        self.capacity = directory_bytes(gib)
        self.used = self.peak = self.needed = 0.0
        self.refused = 0
        self._now, self._since, self._area = now, 0.0, 0.0
        self._times, self._noted, self._edge_peak = times, list[tuple[float, float]](), 0.0

    @property
    def free(self) -> float:
        """Free space in bytes; infinite without a limit."""
        return self.capacity - self.used

    def ask(self, size: float) -> None:
        """Note what a file of `size` bytes would need."""
        self.needed = max(self.needed, self.used + size)

    def put(self, size: float) -> bool:
        """Lay a file of `size` bytes in the directory. False: it does not fit."""
        self.ask(size)
        if not file_fits(self.used, size, self.capacity):
            self.refused += 1
            return False
        self._change(size)
        return True

    def remove(self, size: float) -> None:
        """Remove a file of `size` bytes."""
        self._change(-size)

    def mean(self, end: float) -> float:
        """Time-weighted mean of the bytes over [0, `end`] seconds; what lies there if no time has passed."""
        if end <= 0:
            return self.used
        return (self._area + (end - self._since) * self.used) / end

    def over_time(self) -> Floats:
        """At each of the times (times, 2): the bytes then, and the most since the time before."""
        self._note(math.inf)
        return np.reshape(np.array(self._noted, float), (-1, 2))

    def _note(self, until: float) -> None:
        while len(self._noted) < len(self._times) and self._times[len(self._noted)] < until:
            self._noted.append((self.used, self._edge_peak))
            self._edge_peak = self.used

    def _change(self, size: float) -> None:
        now = self._now()
        self._note(now)
        self._area += (now - self._since) * self.used
        self._since = now
        self.used += size
        self.peak = max(self.peak, self.used)
        self._edge_peak = max(self._edge_peak, self.used)
