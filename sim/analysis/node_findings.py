"""Findings on several nodes and several arrays: what is cached twice, or found but cannot be cloned."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

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
    there = Counter(zip(*(_initial(case)[column] for column in ("host", "image_id")), strict=True))
    rows = []
    for event in _entries(records).to_dict("records"):
        key = event["host"], event["image_id"]
        if event["event"] == "create" and there[key]:
            rows.append((*key, event["size_gib"], event["time"]))
        there[key] += ENTRIES[event["event"]]
    return pd.DataFrame(rows, columns=["host", "image_id", "size_gib", "time"])


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
    rows = []
    for (host, image_id), chosen in _filling(records, case).groupby(["host", "image_id"], observed=True):
        spec = case.scenario.backend_at(str(host))
        too_large = cache_refuses(case.images[str(image_id)].virtual_gib, spec.image_volume_cache_max_size_gb)
        if len(spec.node_names) == 1 or too_large:
            continue
        until = chosen["end"].cummax().shift()
        rows.append(chosen[chosen["time"] < until])
    return pd.concat(rows) if rows else records.requests.iloc[:0]


def _on_other_arrays(records: Records, case: Case) -> list[Finding]:
    """Downloads of images whose entry is on an array from which the driver cannot clone."""
    filled = set(records.cache_events["volume_id"])
    held = _held(records, case)
    lines = []
    downloads = _filling(records, case)
    for name, chosen in by(downloads.assign(backend=downloads["host"].map(backend_of)), "backend"):
        spec = case.scenario.backends[name]
        if not spec.clone_across_pools or spec.cluster:
            continue
        lost = chosen[
            [
                row["volume_id"] not in filled and _elsewhere(held[row["image_id"]], name, row)
                for row in chosen.to_dict("records")
            ]
        ]
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
    events = case.trace.events
    encrypted = set(events.loc[events["encrypted"], "volume_id"])
    requests = records.requests
    cached = {
        host for host in case.scenario.pools() if case.scenario.backend_at(host).image_volume_cache_enabled
    }
    chosen = (requests["source"] == "download") & requests["host"].isin(cached)
    return requests[chosen & ~requests["volume_id"].isin(encrypted)]


def held_on(records: Records, case: Case) -> defaultdict[tuple[str, str], list[tuple[float, float]]]:
    """By pool and image: from when to when it was in the cache there, in seconds."""
    return _spans(_of_all(records, case))


def _spans(events: Iterator[dict[Any, Any]]) -> defaultdict[tuple[str, str], list[tuple[float, float]]]:
    """By `host` and image of these events: from when to when each of its entries was there, in seconds."""
    begun: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    held: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        key = event["host"], event["image_id"]
        if event["event"] == "create":
            begun[key].append(event["time"])
        elif begun[key]:
            held[key].append((begun[key].pop(0), event["time"]))
    for key, starts in begun.items():
        held[key] += [(start, float("inf")) for start in starts]
    return held


def _held(records: Records, case: Case) -> defaultdict[str, list[tuple[str, float, float]]]:
    """By image: the backend of each of its entries, and from when to when it was there, in seconds."""
    held: defaultdict[str, list[tuple[str, float, float]]] = defaultdict(list)
    events = ({**event, "host": backend_of(event["host"])} for event in _of_all(records, case))
    for (backend, image_id), spans in _spans(events).items():
        held[image_id] += [(backend, *span) for span in spans]
    return held


def _elsewhere(held: list[tuple[str, float, float]], backend: str, row: dict[Any, Any]) -> bool:
    return any(where != backend and start <= row["end"] and row["time"] <= end for where, start, end in held)


def _of_all(records: Records, case: Case) -> Iterator[dict[Any, Any]]:
    yield from _initial(case).assign(event="create", time=0.0).to_dict("records")
    yield from _entries(records).to_dict("records")


def _initial(case: Case) -> pd.DataFrame:
    return case.initial[case.initial["kind"] == "cache"]


def _entries(records: Records) -> pd.DataFrame:
    events = records.cache_events
    return events[events["event"].isin(list(ENTRIES))]
