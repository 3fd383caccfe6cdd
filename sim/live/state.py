"""What a watch knows: counters since its begin, and the caches as they are now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

# Seconds of creates: clones take some, downloads minutes, and Nova gives up after 180.
BUCKETS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 3600.0)
DOWNLOAD, CLONE = "download", "clone"
SOURCES = ("driver", "store", "cache", CLONE, DOWNLOAD)


class Place(NamedTuple):
    """A pool: the parts of Cinder's host, or of its cluster's name, `host@backend#pool`."""

    host: str
    backend: str
    pool: str


class Kind(NamedTuple):
    """Creates that are counted together. `source`: one of `SOURCES`; `clone`: nothing tells which clone."""

    place: Place
    volume_type: str
    source: str


@dataclass
class Seconds:
    """A histogram of create seconds: the number in each bucket (the last is above all), and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        bucket = next((number for number, most in enumerate(BUCKETS_S) if seconds <= most), len(BUCKETS_S))
        self.counts[bucket] += 1
        self.sum_s += seconds


@dataclass
class Cache:
    """The cache of one pool now. `used_at`: the last use of the entry that is evicted next (UTC)."""

    entries: int = 0
    gib: int = 0
    duplicates: int = 0
    orphans: int = 0
    orphan_gib: int = 0
    used_at: datetime | None = None


@dataclass
class State:
    """All that is known. A reading makes a new one, so nobody ever sees half of it.

    `key`: the newest key of image metadata that was read. `counted`: keys of creates that are counted, as far
    back as is read again. `waiting`: volumes whose create had not ended, with the time of their metadata.
    `filled`, `evicted`: image-volumes that are counted, each with the time of its delete once that is known.
    `deletes`: the time of the newest delete at the last scan for deletes, which was at `scanned`. `tells`:
    whether the database tells downloads from clones.
    `quotas`, `default_quotas`: limits of the internal tenant, and those of the default class.
    """

    key: int = 0
    counted: set[int] = field(default_factory=set)
    waiting: dict[str, datetime] = field(default_factory=dict)
    filled: dict[str, datetime | None] = field(default_factory=dict)
    evicted: dict[str, datetime | None] = field(default_factory=dict)
    deletes: datetime | None = None
    scanned: datetime | None = None
    tells: bool = False
    creates: Counter[Kind] = field(default_factory=Counter)
    seconds: dict[Kind, Seconds] = field(default_factory=dict)
    fills: Counter[Place] = field(default_factory=Counter)
    evictions: Counter[Place] = field(default_factory=Counter)
    caches: dict[Place, Cache] = field(default_factory=dict)
    volumes: dict[Place, int] = field(default_factory=dict)
    quota_used: dict[str, int] = field(default_factory=dict)
    quotas: dict[str, int] = field(default_factory=dict)
    default_quotas: dict[str, int] = field(default_factory=dict)
    tenant: str | None = None
