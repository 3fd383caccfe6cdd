"""The cache of a backend as Cinder's three options set it, and the order of such limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sim.inputs.backend import Backend

MAX_COUNT, MAX_SIZE = "image_volume_cache_max_count", "image_volume_cache_max_size_gb"
ENABLED = "image_volume_cache_enabled"
OF_CACHE = (ENABLED, MAX_SIZE, MAX_COUNT)  # the options of a backend's cache


@dataclass(frozen=True)
class Limits:
    """Cinder's options for the cache of a backend; the limits count per pool. Smaller ones sort first.

    A cache that is off has no limits: (False, 0, 0).
    """

    enabled: bool
    max_size_gb: int
    max_count: int

    def __lt__(self, other: Limits) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[float, ...]:
        if not self.enabled:
            return (0.0,)
        return (1.0, _unlimited(self.max_size_gb), _unlimited(self.max_count))

    def covers(self, other: Limits) -> bool:
        """Whether it is at least as large in both limits; a cache that is off is smaller than any."""
        if not (self.enabled and other.enabled):
            return self.enabled or not other.enabled
        return _unlimited(self.max_size_gb) >= _unlimited(other.max_size_gb) and _unlimited(
            self.max_count
        ) >= _unlimited(other.max_count)

    @property
    def options(self) -> dict[str, Any]:
        """The values by the names of Cinder's options."""
        return {ENABLED: self.enabled, MAX_SIZE: self.max_size_gb, MAX_COUNT: self.max_count}

    def values(self, backend: str) -> dict[str, Any]:
        """The keys and values that it sets in a scenario."""
        return {f"backends.{backend}.{option}": value for option, value in self.options.items()}


OFF = Limits(False, 0, 0)


def _unlimited(limit: int) -> float:
    return limit or float("inf")  # Cinder's 0 means unlimited


def todays(backend: Backend) -> Limits:
    """The limits that a scenario has."""
    if not backend.image_volume_cache_enabled:
        return OFF
    return Limits(True, backend.image_volume_cache_max_size_gb, backend.image_volume_cache_max_count)
