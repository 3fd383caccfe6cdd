"""Hits, misses and evictions of Cinder's image-volume cache: as notified, and as they really happened.

Cinder looks an image up more than once in a create (`cinder.volume.flows.manager.create_volume`): first under
the image's lock, in `_prepare_image_cache_entry`, then in `_create_from_image_cache`, and after a download in
`VolumeManager._create_image_cache_volume_entry`. So a clone notifies two hits and a download three misses.
These numbers are exact for creates that succeed. Two more sources, if present, cover the other creates:

- The request context (present on the message bus, not in a log). Each of the first two look-ups makes a
  context of the internal tenant, and the third uses the second's. So a context with two look-ups is a
  download that succeeded. A clone that the array's limit refuses evicts the entry in the user's context.

- `volume.create.end` of the volumes shows which of them were made, where, and by a clone or a download.
  A hit has the host of its entry. The volume may be on another one: on another node of a cluster, or, if the
  driver clones across pools, on another pool.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any

import pandas as pd

from sim.importers.notes import Note
from sim.importers.notification_files import Taker, with_pool
from sim.importers.values import text

COUNTS = [
    *("host", "hits_naive", "misses_naive", "evictions"),
    *("hits", "misses", "hit_rate_naive", "hit_rate"),
]
_Key = tuple[str, str]  # host and image
HITS, MISSES = 2, 3  # notifications per clone, per download


@dataclass
class _Lookups:
    """Look-ups of an image on a host.

    `downloads`: contexts with two look-ups. `late_hits`: contexts whose second look-up was a hit.
    """

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    without_context: int = 0
    downloads: int = 0
    late_hits: int = 0
    clone_limits: int = 0

    def divided(self) -> tuple[float, float]:
        """Number of clones and of downloads, computed from the look-ups alone."""
        hits = max((self.hits - self.late_hits) / HITS - self.clone_limits, 0.0)
        return hits, self.misses / MISSES if self.without_context else self.downloads


class CacheTelemetry:
    """Takes the cache's notifications of a period one by one; counts duplicates once."""

    def __init__(self, since: datetime | None, until: datetime | None) -> None:
        self._since, self._until = since, until
        self._lookups: dict[_Key, _Lookups] = defaultdict(_Lookups)
        self._seen: set[int] = set()
        self._missed: dict[str, _Lookups] = {}  # of contexts with one look-up so far, a miss
        self._askers: set[str] = set()  # projects that make the look-ups: the internal tenant
        self.takers: dict[str, Taker] = {
            "image_volume_cache.hit": partial(self._looked_up, True),
            "image_volume_cache.miss": partial(self._looked_up, False),
            "image_volume_cache.evict": self._evicted,
        }

    def _of(self, message: dict[str, Any], time: datetime) -> _Lookups | None:
        """The look-ups to which a notification belongs; None for a duplicate or one outside the period."""
        payload = message["payload"]
        key = with_pool(text(payload["host"])), text(payload["image_id"])
        # A short hash in place of an id; among a billion ids, two collide with a chance below 1 in 30.
        delivery = hash(message["message_id"])
        if delivery in self._seen:
            return None
        self._seen.add(delivery)
        early = self._since is not None and time < self._since
        late = self._until is not None and time >= self._until
        return None if early or late else self._lookups[key]

    def _looked_up(self, hit: bool, message: dict[str, Any], time: datetime) -> None:
        counted = self._of(message, time)
        if counted is None:
            return
        counted.hits += hit
        counted.misses += not hit
        context = message.get("_context_request_id")
        if context is None:
            counted.without_context += 1
            return
        self._askers.add(message.get("_context_project_id", ""))
        first = self._missed.pop(context, None)
        if first is not None:
            first.downloads += 1  # a hit would have the host of its entry, and a miss has that of its volume
            counted.late_hits += hit
        elif not hit:
            self._missed[context] = counted

    def _evicted(self, message: dict[str, Any], time: datetime) -> None:
        counted = self._of(message, time)
        if counted is None:
            return
        counted.evictions += 1
        project = message.get("_context_project_id")
        counted.clone_limits += project is not None and project not in self._askers

    def counts(self, made: pd.DataFrame | None) -> pd.DataFrame:
        """A row per host, in the order of the hosts, with `COUNTS`.

        `made`: volumes of the period that were made from images (host, image, downloaded); None if not known.
        """
        numbers = {key: one.divided() for key, one in self._lookups.items()}
        if made is not None:
            volumes = made[["host", "image", "downloaded"]].itertuples(index=False, name=None)
            numbers |= _corrected(numbers, Counter(volumes))
        rows = []
        for key, corrected in numbers.items():
            one = self._lookups.get(key, _Lookups())
            rows.append((key[0], one.hits, one.misses, one.evictions, *corrected))
        names = ["host", "hits_naive", "misses_naive", "evictions", "hits", "misses"]
        types = {"host": "str", **dict.fromkeys(names[1:4], "int64"), **dict.fromkeys(names[4:], "float64")}
        table = pd.DataFrame(rows, columns=names).astype(types).groupby("host", as_index=False).sum()
        for rate, hits, misses in (
            ("hit_rate_naive", "hits_naive", "misses_naive"),
            ("hit_rate", "hits", "misses"),
        ):
            table[rate] = table[hits] / (table[hits] + table[misses])
        return table[COUNTS]

    def notes(self, counts: pd.DataFrame, made: pd.DataFrame | None) -> Iterator[Note]:
        """Notes with the ratios of `counts`, as notified and corrected, and what the correction rests on."""
        if not (counts["hits_naive"] + counts["misses_naive"]).sum():
            yield Note(
                "unknown",
                "the files show no look-up in the image-volume cache: it is off, or the files lack the "
                "notifications of cinder-volume ([oslo_messaging_notifications] driver)",
            )
            return
        yield Note("read", _ratios("the image-volume cache", counts))
        if len(counts) > 1:
            yield from (
                Note("read", _ratios(str(host), rows)) for host, rows in counts.groupby("host", sort=False)
            )
        lookups = self._lookups.values()
        limits = sum(one.clone_limits for one in lookups)
        if limits:
            yield Note("read", f"{limits:,} clones failed at the array's limit, each after a hit")
        if made is None:
            yield Note(
                "assumed",
                "each clone counts as two hits and each download as three misses, which is wrong for failed "
                "creates; add the notifications of volumes (volume.create.end) to correct this"
                + self._rest(),
            )

    def _rest(self) -> str:
        """A text about hits and misses that the division leaves over, '' if there are none."""
        counted = [one for one in self._lookups.values() if one.without_context]
        hits, misses = sum(one.hits for one in counted) % HITS, sum(one.misses for one in counted) % MISSES
        return f"; {hits} hits and {misses} misses are left over" if hits or misses else ""


def _corrected(
    divided: dict[_Key, tuple[float, float]], made: Counter[Any]
) -> dict[_Key, tuple[float, float]]:
    """Numbers of clones and of downloads, corrected by the volumes that were really made.

    `made`: volumes by host, image and whether they were downloaded. A volume whose clone failed may have been
    downloaded instead, without a miss. Hits that no volume on the host of the entry explains are of volumes
    on other hosts; Cinder finds entries even on other arrays, where the clone fails.
    """
    corrected = {key: [0.0, 0.0] for key in divided}
    volumes: dict[Any, float] = dict(made)  # those that no look-up explains so far
    left = defaultdict[str, float](float)  # hits by image

    def explain(key: _Key, downloaded: bool, number: float) -> float:
        """The rest of a number of look-ups."""
        taken = min(number, volumes.get((*key, downloaded), 0.0))
        if taken:
            volumes[*key, downloaded] -= taken
            corrected.setdefault(key, [0.0, 0.0])[downloaded] += taken
        return number - taken

    for key, (hits, misses) in divided.items():
        explain(key, True, misses)
        left[key[1]] += explain(key, True, explain(key, False, hits))
    for host, image_id, downloaded in sorted(volumes, key=itemgetter(2)):
        left[image_id] = explain((host, image_id), downloaded, left[image_id])
    return {key: (clones, downloads) for key, (clones, downloads) in corrected.items()}


def _ratios(of: str, counts: pd.DataFrame) -> str:
    hits, misses, naive_hits, naive_misses = (
        counts[name].sum() for name in ("hits", "misses", "hits_naive", "misses_naive")
    )
    true, naive = (_percent(hits, misses), _percent(naive_hits, naive_misses))
    return (
        f"{of}: hit rate {true} ({hits:,.10g} hits, {misses:,.10g} misses), not the {naive} that "
        f"{naive_hits:,} hits and {naive_misses:,} misses notified look like"
    )


def _percent(hits: float, misses: float) -> str:
    return f"{hits / (hits + misses):.1%}" if hits + misses else "unknown"
