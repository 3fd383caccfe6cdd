"""What a watch checks of the tables of a finished run (numbers as in tests/properties/INVARIANTS.md)."""

from __future__ import annotations

from collections import Counter
from math import isclose
from typing import Any

from sim.cinder.watch.books import Watch
from sim.model.records import SOURCES, Records


def check(watch: Watch, records: Records) -> None:
    """The invariants that a finished run's tables must keep."""
    _requests(watch, records)
    _cache_events(watch, records)
    _usage(watch, records)
    _volumes_at_the_end(watch, records)
    _links(watch, records)


def _requests(watch: Watch, records: Records) -> None:
    cinder = watch.case.scenario.cinder
    events, requests = watch.case.trace.events, records.requests
    creates = events[(events["event"] == "create") & (events["image_id"] != "")]
    watch.that(len(requests) == len(creates), "I11", "a row for each create")
    watch.that(int(requests["source"].isin(SOURCES).sum()) == len(requests), "I11", "sources")
    for asked, row in zip(creates.to_dict("records"), requests.to_dict("records"), strict=True):
        who, error = row["volume_id"], row["status"] == "error"
        _that(watch, row["status"] in ("available", "error"), "I11", row)
        _that(watch, (row["source"] == "none") == error == bool(row["error"]), "I11", row)
        for column in ("volume_id", "image_id", "volume_type", "size_gib", "time"):
            watch.that(row[column] == asked[column], "I15", column, who)
        waited = row["lock_wait_s"] + row["stream_wait_s"]
        _that(watch, min(row["lock_wait_s"], row["stream_wait_s"]) >= 0, "I18", row)
        _that(watch, waited <= row["end"] - row["time"] + 1e-9, "I18", row)
        most = 1 if asked["host"] else cinder.scheduler_max_attempts
        _that(watch, 0 <= row["attempts"] <= most, "I19", row)
        _that(watch, row["attempts"] > 0 or (error and row["host"] == ""), "I19", row)
        if asked["host"]:
            _that(watch, row["host"] in ("", asked["host"]), "I19", row)
        if row["host"]:
            _that(watch, asked["volume_type"] in watch.backend(row["host"]).volume_types, "I19", row)
        if asked["encrypted"]:
            _that(watch, row["source"] in ("download", "none"), "I9", row)
            watch.that(row["lock_wait_s"] == 0, "I9", "waited for the image's lock", who)
        _that(watch, row["source"] != "store" or watch.strategy.uses_store, "I21", row)
        _that(watch, row["source"] != "cache" or watch.caches(row["host"]), "I21", row)
    watch.served += Counter(requests["source"])
    watch.served["rescheduled"] += int((requests["attempts"] > 1).sum())


def _cache_events(watch: Watch, records: Records) -> None:
    """I22: entries at the start + made - gone = entries at the end; only a download fills."""
    balance: Counter[tuple[str, str]] = Counter()
    initial = watch.case.initial
    for row in initial[initial["kind"] == "cache"].to_dict("records"):
        balance[row["host"], row["image_id"]] += 1
    requests = records.requests.set_index("volume_id")
    sources, attempts = requests["source"].to_dict(), requests["attempts"].to_dict()
    for row in records.cache_events.to_dict("records"):
        # Whoever looks across pools may drop an entry that was there at the start. What fills the store on
        # demand is noted as fills of the cache are.
        drops = row["event"] in ("stale", "clone_limit") and watch.across()
        _that(watch, watch.caches(row["host"]) or drops or watch.strategy.on_demand, "I22", row)
        watch.served[row["event"]] += 1
        if row["event"] != "skip":
            balance[row["host"], row["image_id"]] += 1 if row["event"] == "create" else -1
        most = len(records.cache_events) if watch.may_repeat(row["host"]) else 1
        _that(watch, 0 <= balance[row["host"], row["image_id"]] <= most, "I22", row)
        if row["event"] in ("create", "skip", "evict") and attempts.get(row["volume_id"]) == 1:
            _that(watch, sources[row["volume_id"]] in ("download", "none"), "I22", row)
        if row["event"] == "evict":
            spec = watch.backend(row["host"])
            limited = spec.image_volume_cache_max_count or spec.image_volume_cache_max_size_gb
            _that(watch, bool(limited), "I5", row)
    left = Counter(zip(records.cache["host"], records.cache["image_id"], strict=True))
    watch.that(+balance == left, "I22", f"{balance} left, not {left}")


def _usage(watch: Watch, records: Records) -> None:
    """I23: means are at most peaks, pools and tiers add up to all, image = cache + store."""
    rows = {(row["scope"], row["name"], row["kind"]): row for row in records.usage.to_dict("records")}
    for quantity in ("volumes", "provisioned_gib", "physical_gib"):
        added: Counter[tuple[str, str]] = Counter()
        for (scope, name, kind), row in rows.items():
            mean, peak = row[f"{quantity}_mean"], row[f"{quantity}_peak"]
            watch.that(-1e-9 <= mean <= peak + 1e-9, "I23", f"{mean} {quantity} of at most {peak}")
            added[scope, kind] += mean
            if kind == "image":
                parts = sum(rows[scope, name, each][f"{quantity}_mean"] for each in ("cache", "store"))
                watch.that(abs(mean - parts) < 1e-6, "I23", f"{quantity}: image is not cache + store")
        for (scope, kind), total in added.items():
            off = abs(total - added["all", kind])
            watch.that(off < 1e-6, "I23", f"{quantity} of each {scope} do not add up")
    orphans = Counter(
        {
            name: row["volumes_end"]
            for (scope, name, kind), row in rows.items()
            if (scope, kind) == ("pool", "orphan")
        }
    )
    watch.that(+orphans == +watch.orphans, "I7", f"orphans in usage: {orphans}, not {watch.orphans}")
    watch.served["orphans"] += sum(watch.orphans.values())


def _links(watch: Watch, records: Records) -> None:
    """I33: a link has carried the bytes of its transfers, and was never faster than it is."""
    for row in records.links.to_dict("records"):
        name, asked, carried = row["name"], row["asked_mib"], row["carried_mib"]
        told = f"{row['link']} {name}: {carried} of {asked} MiB"
        watch.that(isclose(carried, asked, rel_tol=1e-6, abs_tol=1e-6), "I33", told)
        watch.that(row["busy"] <= 1 + 1e-9, "I33", f"{row['link']} {name}: busy {row['busy']}")
        watch.served["links"] += row["transfers"]


def _volumes_at_the_end(watch: Watch, records: Records) -> None:
    """I24: what is available and was not deleted is on its array, of the size asked for.

    Of one attempt: the delete of what a failed one left may take the volume that a later one made.
    """
    events = watch.case.trace.events
    deleted = set(events[events["event"] == "delete"]["volume_id"])
    for row in records.requests.to_dict("records"):
        kept = row["status"] == "available" and row["volume_id"] not in deleted
        if kept and row["attempts"] == 1:
            volume = watch.arrays[row["host"].partition("#")[0]].volumes.get(row["volume_id"])
            there = volume is not None and (volume.pool.host, volume.size_gib, volume.kind)
            _that(watch, there == (row["host"], row["size_gib"], "user"), "I24", row)


def _that(watch: Watch, holds: bool, rule: str, row: dict[Any, Any]) -> None:
    """Note a row that breaks a rule, with what of it is not empty."""
    if not holds:
        told = [f"{name} {value}" for name, value in row.items() if value not in ("", 0)]
        watch.that(False, rule, ", ".join(told), row["volume_id"])
