"""Findings on several nodes and several arrays: what is cached twice, or found but cannot be cloned."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.analysis.names import among, by_pair, mapped
from sim.analysis.wording import ENTRIES, Finding, at_host, by, count, creates, lost_s, name_of, some
from sim.inputs.hosts import backend_of
from sim.inputs.units import GIB
from sim.model.records import Records
from sim.model.rules import cache_refuses

if TYPE_CHECKING:
    from sim.inputs.scenario import Case


def node_findings(records: Records, case: Case) -> list[Finding]:
    """What locks of single nodes, and look-ups across arrays, cost."""
    return [*_filled_twice(records, case), *_on_other_arrays(records, case)]


def duplicates(records: Records, case: Case) -> pd.DataFrame:
    """The entries that were made while their pool had one of the same image.

    Columns: host, image_id, size_gib and time (seconds).
    """
    there = Counter(zip(*_lists(_initial(case), "host", "image_id"), strict=True))
    entries = _entries(records)
    again = np.zeros(len(entries), dtype=bool)
    for number, (*key, event) in enumerate(zip(*_lists(entries, "host", "image_id", "event"), strict=True)):
        place = tuple(key)
        again[number] = event == "create" and there[place]
        there[place] += ENTRIES[event]
    return entries.loc[again, ["host", "image_id", "size_gib", "time"]].reset_index(drop=True)


def _filled_twice(records: Records, case: Case) -> list[Finding]:
    """Downloads of an image on several nodes at once, which a lock of all nodes would have made clones."""
    if case.scenario.cinder.lock_scope == "cloud":
        return []
    found = duplicates(records, case)
    again = _at_once(records, case)
    lines = []
    for host, chosen in by(again, "host"):
        entries = found[found["host"] == host]
        gib = sum(case.images[image_id].size_bytes for image_id in chosen["image_id"]) / GIB
        twice = count(len(entries), "duplicate entry", "duplicate entries")
        kept = f" and left {twice} ({entries['size_gib'].sum():,} GiB) in the cache" if len(entries) else ""
        images = some(name_of(case, image_id) for image_id in chosen["image_id"].unique())
        line = (
            f"{creates(chosen)} of {images} downloaded on one node while another did"
            f" ({gib:,.1f} GiB){kept}: with a shared [coordination] backend_url (lock_scope cloud) they wait"
            " for the first and clone its entry"
        )
        lines.append(at_host(line, case, host, lost_s(chosen, case)))
    return lines


def _at_once(records: Records, case: Case) -> pd.DataFrame:
    """Downloads that began while one of the same image ran on their pool, which fills a cache."""

    def of_several_nodes(host: str, image_id: str) -> bool:
        spec = case.scenario.backend_at(host)
        gib = case.images[image_id].virtual_gib
        return len(spec.node_names) > 1 and not cache_refuses(gib, spec.image_volume_cache_max_size_gb)

    filling = _filling(records, case)
    key = ["host", "image_id"]
    host, image = (pd.factorize(filling[name]) for name in key)
    filling = filling[by_pair(host, image, of_several_nodes)]
    ended = filling[key].assign(until=filling.groupby(key, observed=True)["end"].cummax())
    until = ended.groupby(key, observed=True)["until"].shift()
    return filling[filling["time"] < until].sort_values(key, kind="stable")


def _on_other_arrays(records: Records, case: Case) -> list[Finding]:
    """Downloads of images whose entry is on an array from which the driver cannot clone."""
    across = [
        name for name, spec in case.scenario.backends.items() if spec.clone_across_pools and not spec.cluster
    ]
    if not across:
        return []
    held = _held(records, case)
    downloads = _filling(records, case)
    downloads = downloads.assign(backend=mapped(downloads["host"], backend_of))
    downloads = downloads[downloads["backend"].isin(across)]
    unfilled = ~among(downloads["volume_id"], records.cache_events["volume_id"])
    lines = []
    for name, chosen in by(downloads.assign(unfilled=unfilled), "backend"):
        lost = chosen[chosen["unfilled"]]
        lost = lost[_elsewhere(held, name, lost)]
        if len(lost):
            images = some(name_of(case, image_id) for image_id in lost["image_id"].unique())
            line = (
                f"{creates(lost)} of {images} downloaded, because their cache entry is on another"
                " array: with clone_across_pools Cinder finds it there, cannot clone it, and caches nothing"
                " in its place; in a cluster the look-up stays within the pool"
            )
            lines.append(at_host(line, case, name, lost_s(lost, case)))
    return lines


def _filling(records: Records, case: Case) -> pd.DataFrame:
    """The downloads that a cache could have had, in order of time."""
    requests = records.requests
    cached = [
        host for host in case.scenario.pools() if case.scenario.backend_at(host).image_volume_cache_enabled
    ]
    filling = requests[(requests["source"] == "download") & requests["host"].isin(cached)]
    events = case.trace.events
    return filling[~among(filling["volume_id"], events.loc[events["encrypted"], "volume_id"])]


def held_on(records: Records, case: Case) -> defaultdict[tuple[str, str], list[tuple[float, float]]]:
    """By pool and image: from when to when it was in the cache there, in seconds."""
    return _spans(_of_all(records, case))


def _spans(events: pd.DataFrame) -> defaultdict[tuple[str, str], list[tuple[float, float]]]:
    """By `host` and image of these events: from when to when each of its entries was there, in seconds."""
    begun: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
    held: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    rows = zip(*_lists(events, "host", "image_id", "event", "time"), strict=True)
    for host, image_id, event, time in rows:
        key = host, image_id
        if event == "create":
            begun[key].append(time)
        elif begun[key]:
            held[key].append((begun[key].popleft(), time))
    for key, starts in begun.items():
        held[key] += [(start, float("inf")) for start in starts]
    return held


def _held(records: Records, case: Case) -> dict[str, pd.DataFrame]:
    """By image: the `backend` of each of its entries, and from `start` to `end` it was there (seconds)."""
    events = _of_all(records, case)
    spans = _spans(events.assign(host=mapped(events["host"], backend_of)))
    rows = [(*key, *span) for key, of_key in spans.items() for span in of_key]
    held = pd.DataFrame(rows, columns=["backend", "image_id", "start", "end"])
    return {str(image_id): of_image for image_id, of_image in held.groupby("image_id")}


def _elsewhere(held: dict[str, pd.DataFrame], backend: str, creates: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether another backend had an entry of the image at any time of each create."""
    found = np.zeros(len(creates), dtype=bool)
    for image_id, rows in creates.groupby("image_id", observed=True).indices.items():
        if image_id in held:
            others = held[image_id][held[image_id]["backend"] != backend]
            start, end = (np.sort(others[name].to_numpy(float)) for name in ("start", "end"))
            create = creates.iloc[rows]
            begun = np.searchsorted(start, create["end"].to_numpy(float), side="right")
            over = np.searchsorted(end, create["time"].to_numpy(float), side="left")
            found[rows] = begun > over
    return found


def _of_all(records: Records, case: Case) -> pd.DataFrame:
    """The events of entries, those of the start first: `host`, `image_id`, `event`, `time`."""
    columns = ["host", "image_id", "event", "time"]
    before = _initial(case).assign(event="create", time=0.0)[columns]
    return pd.concat([before.astype({"host": "str", "image_id": "str"}), _entries(records)[columns]])


def _initial(case: Case) -> pd.DataFrame:
    return case.initial[case.initial["kind"] == "cache"]


def _entries(records: Records) -> pd.DataFrame:
    events = records.cache_events
    return events[events["event"].isin(list(ENTRIES))]


def _lists(table: pd.DataFrame, *columns: str) -> list[list[Any]]:
    """Columns as lists, which are read row by row many times as fast."""
    return [table[name].to_numpy(object).tolist() for name in columns]
