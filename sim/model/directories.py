"""The conversion directory of a cinder-volume node, where images lie that it downloads or converts."""

from __future__ import annotations

from collections.abc import Callable

from sim.model.rules import directory_bytes, file_fits


class Directory:
    """Holds files and measures them. `now` gives the simulated time in seconds; `gib` None: no limit.

    All sizes are bytes, as floats: `used` now, `peak` at most, `needed` the largest that a file has asked
    for, with all that lay there then. `refused` counts files without room.
    """

    def __init__(self, now: Callable[[], float], gib: float | None) -> None:
        self.capacity = directory_bytes(gib)
        self.used = self.peak = self.needed = 0.0
        self.refused = 0
        self._now, self._since, self._area = now, 0.0, 0.0

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

    def _change(self, size: float) -> None:
        now = self._now()
        self._area += (now - self._since) * self.used
        self._since = now
        self.used += size
        self.peak = max(self.peak, self.used)
