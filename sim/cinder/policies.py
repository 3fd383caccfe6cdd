"""The image-volume cache: Cinder's own, and what-ifs in which `ensure_space` evicts another entry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from cinder.image import cache as image_cache

from sim.cinder.clock import current_process
from sim.cinder.database import Context, Database, Entry, Volume
from sim.inputs.hosts import backend_of
from sim.inputs.images import Image
from sim.inputs.scenario import Scenario
from sim.model.records import TOO_LARGE
from sim.model.rules import cache_refuses

Scope = Mapping[str, Any]
Victim = Callable[[list[Entry]], Entry]


class ObservedCache(image_cache.ImageVolumeCache):  # type: ignore[misc]
    """Cinder's cache, which records its current step in the process, so that evictions have a reason."""

    holds_locations = False  # it keeps entries

    def get_entry(self, *args: Any, **kwargs: Any) -> Any:
        process = current_process()
        process.phase = "stale"
        try:
            return super().get_entry(*args, **kwargs)
        finally:
            process.phase = ""

    def ensure_space(self, context: Context, volume: Volume) -> bool:
        process = current_process()
        process.phase = "evict"
        try:
            fits: bool = super().ensure_space(context, volume)
        finally:
            process.phase = ""
        if not fits:
            process.request.fill_error = TOO_LARGE
        return fits

    def keeps(self, image: Image) -> bool:
        """Whether the cache accepts a fill with this image."""
        return not cache_refuses(image.virtual_gib, self.max_cache_size_gb)

    def entry_made(self, entry: Entry) -> None:
        """Receives a new entry of one of this backend's hosts, or one that exists at the start."""

    def entry_gone(self, entry: Entry) -> None:
        """Receives an entry that is gone, for any reason."""

    def looked_up(self, entry: Entry) -> None:
        """Receives a look-up of an entry that is not stale; a clone makes two look-ups."""

    def _entry_to_str(self, cache_entry: Entry) -> Entry:
        """For the log only: it makes the text of the entry itself, if it tells of look-ups."""
        return cache_entry


class BackendCache(ObservedCache):
    """Cinder's cache, but its limits apply to all pools of a backend together (`scopes`: see `OfBackend`)."""

    def __init__(self, scopes: Sequence[Scope], db: Database, *args: Any) -> None:
        super().__init__(OfBackend(scopes, db), *args)


class OfBackend:
    """Cinder's database, but a pool's entries are those of all `scopes`, the last used first.

    A scope is the filter for the rows of a pool (`sim.cinder.addresses.scope`).
    """

    def __init__(self, scopes: Sequence[Scope], db: Database) -> None:
        self._scopes = scopes
        self._db = db

    def image_volume_cache_get_all(self, context: Context, **_: str) -> list[Entry]:
        found = (self._db.image_volume_cache_get_all(context, **scope) for scope in self._scopes)
        return sorted(chain(*found), key=lambda entry: entry["last_used"], reverse=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


class PolicyCache(ObservedCache, ABC):
    """A cache that chooses its victims by another policy than Cinder's; the rest is Cinder's."""

    def __init__(self, db: Database, *args: Any) -> None:
        super().__init__(_Choosing(db, self.victim), *args)

    def get_entry(self, *args: Any, **kwargs: Any) -> Any:
        entry = super().get_entry(*args, **kwargs)
        if entry:
            self.db.on_entry("use", entry)  # it may be another backend's
        return entry

    @abstractmethod
    def victim(self, entries: list[Entry]) -> Entry:
        """The entry of a host to evict now; the last used comes first in `entries`."""


class _Choosing:
    """Cinder's database, but `ensure_space` pops the policy's victims from the entries that it gets."""

    def __init__(self, db: Database, victim: Victim) -> None:
        self._db = db
        self._victim = victim

    def image_volume_cache_get_all(self, context: Context, **scope: str) -> list[Entry]:
        return _Entries(self._db.image_volume_cache_get_all(context, **scope), self._victim)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


class _Entries(list[Entry]):
    def __init__(self, entries: list[Entry], victim: Victim) -> None:
        super().__init__(entries)
        self._victim = victim

    def pop(self, *_: Any) -> Entry:
        entry = self._victim(self)
        self.remove(entry)
        return entry


class SieveCache(PolicyCache):
    """SIEVE (Zhang et al., NSDI 2024): a hand moves from old to new and spares looked-up entries once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # By host: whether each entry was looked up since the hand passed, the oldest first.
        self._visited: defaultdict[str, dict[str, bool]] = defaultdict(dict)
        self._hand: dict[str, str | None] = {}

    def entry_made(self, entry: Entry) -> None:
        self._visited[entry["pool"]][entry["id"]] = False

    def looked_up(self, entry: Entry) -> None:
        self._visited[entry["pool"]][entry["id"]] = True

    def victim(self, entries: list[Entry]) -> Entry:
        host = entries[0]["pool"]
        visited, hand = self._visited[host], self._hand.get(host)
        oldest_first = list(visited)
        at = oldest_first.index(hand) if hand else 0
        while visited[oldest_first[at]]:
            visited[oldest_first[at]] = False
            at = (at + 1) % len(oldest_first)
        self._hand[host] = oldest_first[at]  # the hand stays here until this entry is gone
        return next(entry for entry in entries if entry["id"] == oldest_first[at])

    def entry_gone(self, entry: Entry) -> None:
        host = entry["pool"]
        if self._hand.get(host) == entry["id"]:
            self._hand[host] = dict(pairwise(self._visited[host])).get(entry["id"])
        del self._visited[host][entry["id"]]


class GdsfCache(PolicyCache):
    """Greedy-Dual-Size with Frequency (Cherkasova 1998): keeps small entries that are used often."""

    SCALE = 1e6  # libCacheSim's value, so that priorities round the same

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._level: defaultdict[str, float] = defaultdict(float)  # by host: the last victim's priority
        self._look_ups: dict[str, int] = {}
        self._priority: dict[str, float] = {}

    def entry_made(self, entry: Entry) -> None:
        self._rank(entry, 0)

    def looked_up(self, entry: Entry) -> None:
        self._rank(entry, self._look_ups[entry["id"]] + 1)

    def _rank(self, entry: Entry, look_ups: int) -> None:
        self._look_ups[entry["id"]] = look_ups
        frequency = 1 + look_ups / 2
        self._priority[entry["id"]] = self._level[entry["pool"]] + frequency * self.SCALE / entry["size"]

    def victim(self, entries: list[Entry]) -> Entry:
        entry = min(reversed(entries), key=lambda entry: self._priority[entry["id"]])
        self._level[entry["pool"]] = self._priority[entry["id"]]
        return entry

    def entry_gone(self, entry: Entry) -> None:
        del self._look_ups[entry["id"]], self._priority[entry["id"]]


class BeladyCache(PolicyCache):
    """Belady's MIN (1966): evicts the entry whose next use is last. It knows the trace: only a reference.

    With entries of unequal size it is not a bound. `next_use` gives the position in the trace of the next use
    of an image on a host.
    """

    def __init__(self, next_use: Callable[[str, str], int], *args: Any) -> None:
        super().__init__(*args)
        self._next_use = next_use

    def victim(self, entries: list[Entry]) -> Entry:
        return max(reversed(entries), key=lambda entry: self._next_use(entry["pool"], entry["image_id"]))


class Uses:
    """The creates of a trace that look into the cache, by image and destination."""

    def __init__(self, events: pd.DataFrame, scenario: Scenario) -> None:
        zone = events["availability_zone"].astype("str")
        zone = zone.mask(zone == "", scenario.cinder.default_availability_zone)
        known = zone.isin(scenario.zones())  # the API refuses the others
        creates = (events["event"] == "create") & (events["image_id"] != "") & ~events["encrypted"] & known
        pinned = events["host"] != ""
        self._pinned = _positions(events, creates & pinned, ["host"])
        placed = events.assign(availability_zone=zone)
        self._unpinned = _positions(placed, creates & ~pinned, ["volume_type", "availability_zone"])
        self._backends = scenario.backends
        self._never = len(events)

    def after(self, happened: int, host: str, image_id: str) -> int:
        """Position of the next use after `happened` events; the trace's length if there is none."""
        backend = self._backends[backend_of(host)]
        zone = backend.availability_zone
        found = [self._pinned.get((host, image_id))]
        found += [self._unpinned.get((tier, zone, image_id)) for tier in backend.volume_types]
        following = (uses[uses.searchsorted(happened) :] for uses in found if uses is not None)
        return min((int(uses[0]) for uses in following if len(uses)), default=self._never)


def _positions(
    events: pd.DataFrame, chosen: pd.Series[bool], where: list[str]
) -> dict[tuple[str, ...], npt.NDArray[np.intp]]:
    """Positions of the chosen events, in order, by (*`where`, image)."""
    positions = np.flatnonzero(chosen)
    groups: Any = events[chosen].groupby([*where, "image_id"], observed=True, sort=False).indices
    return {key: positions[rows] for key, rows in groups.items()}


CACHES: dict[str, type[ObservedCache]] = {
    "lru": ObservedCache,
    "sieve": SieveCache,
    "gdsf": GdsfCache,
    "belady": BeladyCache,
}
