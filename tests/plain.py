"""Caches of one pool, written plainly from the definitions of the eviction policies, to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SIZES = (1, 2, 3, 5, 4)  # GiB, of images i0, i1, …
Row = dict[str, Any]


@dataclass
class Cached:
    """An entry; `used` is the number of the look-up that found it last, or of its making."""

    image: str
    size: int
    used: int
    version: int = 0
    clones: int = 0
    visited: bool = False
    look_ups: int = 0
    priority: float = 0.0


class Plain:
    """A cache of one pool: entries from old to new, and what becomes of each create. Evicts as LRU does."""

    def __init__(self, rows: list[Row], max_size: int, max_count: int, max_clones: float) -> None:
        self.rows, self.now = rows, 0
        self.max_size, self.max_count, self.max_clones = max_size, max_count, max_clones
        self.entries: list[Cached] = []
        self.versions: dict[str, int] = {}
        self.log: list[tuple[str, str]] = []
        self.hits: list[bool] = []
        self.uses = 0

    def play(self) -> None:
        for number, row in enumerate(self.rows):
            self.now = number
            if row["event"] == "update_image":
                self.versions[row["image_id"]] = self.versions.get(row["image_id"], 0) + 1
            elif here(row):
                self.hits.append(not row["encrypted"] and self.get(row["image_id"], row["host"] == ""))

    def get(self, image: str, rescheduled: bool) -> bool:
        """Whether a create is cloned from the cache. At the clone limit it fails, or is rescheduled."""
        for found in [each for each in self.entries if each.image == image]:
            if found.version == self.versions.get(image, 0):
                self.look_up(found)
                self.look_up(found)
                if found.clones < self.max_clones:
                    found.clones += 1
                    return True
                self.log.append(("clone_limit", image))
                self.remove(found)
                if not rescheduled:
                    return False
            else:
                self.log.append(("stale", image))
                self.remove(found)
        self.fill(image)
        return False

    def fill(self, image: str) -> None:
        size = SIZES[int(image[1:])]
        if 0 < self.max_size < size:
            self.log.append(("skip", image))
            return
        while self.is_full(size):
            victim = self.victim()
            self.log.append(("evict", victim.image))
            self.evicted(victim)
        self.log.append(("create", image))
        self.insert(image)

    def is_full(self, size: int) -> bool:
        gib = sum(each.size for each in self.entries) + size
        return 0 < self.max_size < gib or 0 < self.max_count <= len(self.entries)

    def insert(self, image: str) -> None:
        self.uses += 1
        entry = Cached(image, SIZES[int(image[1:])], self.uses, self.versions.get(image, 0))
        self.entries.append(entry)

    def look_up(self, entry: Cached) -> None:
        self.uses += 1
        entry.used = self.uses

    def remove(self, entry: Cached) -> None:
        self.entries = [each for each in self.entries if each is not entry]

    def evicted(self, entry: Cached) -> None:
        self.remove(entry)

    def victim(self) -> Cached:
        return min(self.entries, key=lambda entry: entry.used)


class PlainSieve(Plain):
    hand: Cached | None = None

    def newer(self, entry: Cached) -> Cached | None:
        later = False
        for each in self.entries:
            if later:
                return each
            later = each is entry
        return None

    def look_up(self, entry: Cached) -> None:
        super().look_up(entry)
        entry.visited = True

    def victim(self) -> Cached:
        entry = self.hand or self.entries[0]
        while entry.visited:
            entry.visited = False
            entry = self.newer(entry) or self.entries[0]
        return entry

    def evicted(self, entry: Cached) -> None:
        self.hand = self.newer(entry)
        super().evicted(entry)

    def remove(self, entry: Cached) -> None:
        if self.hand is entry:
            self.hand = self.newer(entry)
        super().remove(entry)


class PlainGdsf(Plain):
    level = 0.0

    def insert(self, image: str) -> None:
        super().insert(image)
        self.entries[-1].priority = self.level + 1.0 * 1e6 / self.entries[-1].size

    def look_up(self, entry: Cached) -> None:
        super().look_up(entry)
        entry.look_ups += 1
        entry.priority = self.level + (1 + entry.look_ups / 2) * 1e6 / entry.size

    def victim(self) -> Cached:
        return min(self.entries, key=lambda entry: (entry.priority, entry.used))

    def evicted(self, entry: Cached) -> None:
        self.level = entry.priority
        super().evicted(entry)


class PlainBelady(Plain):
    def victim(self) -> Cached:
        return max(self.entries, key=lambda entry: (self.next_use(entry.image), -entry.used))

    def next_use(self, image: str) -> float:
        for position in range(self.now + 1, len(self.rows)):
            row = self.rows[position]
            if row["event"] == "create" and row["image_id"] == image and here(row) and not row["encrypted"]:
                return position
        return math.inf


PLAIN: dict[str, Callable[..., Plain]] = {
    "lru": Plain,
    "sieve": PlainSieve,
    "gdsf": PlainGdsf,
    "belady": PlainBelady,
}


def here(row: Row) -> bool:
    """Whether a create is for backend `a`, which has one pool and serves flash and disk."""
    return row["event"] == "create" and (row["host"] == "a#p0" or row["volume_type"] in ("flash", "disk"))
