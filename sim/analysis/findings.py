"""Findings on a run, in plain words, with numbers on which an operator can act."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis.directory_findings import full_directories
from sim.analysis.driver_findings import driver_findings
from sim.analysis.node_findings import node_findings
from sim.analysis.quota_findings import refused_by_quotas, tenant_quotas
from sim.analysis.room_findings import entries_of_deleted_images, lack_of_space, refused_deletes
from sim.analysis.store_findings import store_findings
from sim.analysis.wording import (
    ENTRIES,
    by,
    clone_limits,
    count,
    creates,
    events_of,
    exceptions,
    first,
    name_of,
    seconds_text,
    share,
    some,
)
from sim.inputs.strategies import STRATEGIES, Strategy
from sim.model.records import FILL_FAILED, TOO_LARGE, Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case


def findings(records: Records, case: Case, strategy: str) -> list[str]:
    """One line per finding, the gravest kinds first; empty if nothing stands out."""
    chosen = STRATEGIES[strategy]
    kinds = [
        _no_cache(case, chosen),
        _errors(records),
        _other_errors(records),
        refused_by_quotas(records, case),
        full_directories(records, case, strategy),
        _held_by_cache(records, case),
        lack_of_space(records, case, chosen),
        _slow(records, case),
        _refused(records, case),
        _waits(records),
        node_findings(records, case) if chosen.image_volume_cache_enabled else [],
        _overshoots(records, case),
        _failed_fills(records, case),
        _clone_limits(records, case),
        _orphans(records),
        refused_deletes(records, case, chosen),
        entries_of_deleted_images(records, case),
        driver_findings(records, case),
    ]
    if chosen.uses_store and not chosen.on_demand:  # on demand, they are where creates ask
        kinds.append(store_findings(records, case, chosen))
    return [line for lines in kinds for line in first(lines)]


def overshoot(records: Records, case: Case) -> pd.DataFrame:
    """Fills at the same time that took a cache over its limits; no lock protects the limits."""
    events = records.cache_events
    events = events[events["event"].isin(list(ENTRIES))]
    initial = case.initial[case.initial["kind"] == "cache"]
    ends = (records.requests["end"], events["time"], case.trace.events["time"])
    end = max((float(times.max()) for times in ends if len(times)), default=0.0)
    per_backend = case.scenario.what_if.limits_per_backend

    def bounded(table: pd.DataFrame) -> pd.Series[str]:
        hosts = table["host"].astype(str)
        return hosts.str.replace("#.*", "", regex=True) if per_backend else hosts

    rows = []
    for host, of_pool in events.groupby(bounded(events), sort=True):
        backend = case.scenario.backend_at(str(host))
        sign = of_pool["event"].astype(object).map(ENTRIES).to_numpy(dtype=float)
        sizes = of_pool["size_gib"].to_numpy(dtype=float)
        before = initial.loc[bounded(initial) == host, "size_gib"]
        for limit, allowed, levels in (
            (
                "image_volume_cache_max_count",
                backend.image_volume_cache_max_count,
                len(before) + np.cumsum(sign),
            ),
            (
                "image_volume_cache_max_size_gb",
                backend.image_volume_cache_max_size_gb,
                float(before.sum()) + np.cumsum(sign * sizes),
            ),
        ):
            peak, over_s = _above(allowed, of_pool["time"].to_numpy(dtype=float), levels, sign, end)
            if over_s > 0:
                rows.append((host, limit, allowed, peak, over_s))
    return pd.DataFrame(rows, columns=["host", "limit", "allowed", "peak", "over_s"])


def _above(
    allowed: int, times: np.ndarray, levels: np.ndarray, sign: np.ndarray, end: float
) -> tuple[int, float]:
    """Highest level and seconds above `allowed` (0 = unlimited) from the first fill on.

    Entries that exist at the start may exceed the limits until the first fill evicts them. This does not
    count.
    """
    held = np.diff(times, append=end)
    over = (levels > allowed) & (np.cumsum(sign > 0) > 0) & (held > 0)
    if not allowed or not over.any():
        return 0, 0.0
    return int(levels[over].max()), float(held[over].sum())


def _no_cache(case: Case, strategy: Strategy) -> list[str]:
    off = not any(backend.image_volume_cache_enabled for backend in case.scenario.backends.values())
    if not (strategy.image_volume_cache_enabled and off):
        return []
    return ["no backend has a cache: image_volume_cache_enabled is false everywhere, so nothing is cached"]


def _errors(records: Records) -> list[str]:
    failed = records.requests[records.requests["status"] == "error"]
    if failed.empty:
        return []
    return [f"{share(failed, records)} failed: {exceptions(failed['error'])}"]


def _other_errors(records: Records) -> list[str]:
    others = records.others
    failed = others[others["status"] == "error"]
    if failed.empty:
        return []
    some_of_all = f"{count(len(failed), 'create')} without an image of {len(others):,}"
    return [f"{some_of_all} failed: {exceptions(failed['error'])}"]


def _held_by_cache(records: Records, case: Case) -> list[str]:
    never = "" if case.scenario.what_if.evict_for_users else ", which never give way to users,"
    return [
        f"{tier}: {count(len(chosen), 'create')}{without} failed at the array's volume limit while up to"
        f" {count(int(chosen['cache_held'].max()), 'cached image-volume')}{never}"
        " held places: lower image_volume_cache_max_count or raise max_volumes"
        for table, without in ((records.requests, ""), (records.others, " without an image"))
        for tier, chosen in by(table[table["cache_held"] > 0], "volume_type")
    ]


def _slow(records: Records, case: Case) -> list[str]:
    limit = case.scenario.boot_timeout_s
    done = records.requests[records.requests["status"] == "available"]
    seconds = done["end"] - done["time"]
    slow = seconds[seconds > limit]
    if slow.empty:
        return []
    return [
        f"{share(slow, records)} took longer than boot_timeout_s ({seconds_text(limit)}),"
        f" the longest {seconds_text(slow.max())}: a boot would have given up"
    ]


def _refused(records: Records, case: Case) -> list[str]:
    skips = events_of(records, "skip")
    refused = skips[skips["reason"].astype(str).str.startswith(TOO_LARGE)]
    lines = []
    for host, chosen in by(refused, "host"):
        sizes = chosen.groupby("image_id", observed=True)["size_gib"].max()
        names = some(f"{name_of(case, image_id)} ({size} GiB)" for image_id, size in sizes.items())
        line = (
            f"{host}: the cache refuses {names}, larger than image_volume_cache_max_size_gb"
            f" ({case.scenario.backend_at(host).image_volume_cache_max_size_gb})"
        )
        asked = chosen[chosen["volume_id"] != ""]  # the other rows are clones of uploaded volumes
        if len(asked):
            line += (
                f"; {creates(asked)} of them"
                " downloaded one after another inside the image's lock, which is worse than no cache"
            )
        lines.append(line)
    return lines


def _waits(records: Records) -> list[str]:
    waits = records.requests["lock_wait_s"]
    waits = waits[waits > 0]
    if waits.empty:
        return []
    return [
        f"{share(waits, records)} waited for their image's lock, behind another create's fill:"
        f" p95 {seconds_text(float(np.percentile(waits, 95)))}, at most {seconds_text(waits.max())}"
    ]


def _overshoots(records: Records, case: Case) -> list[str]:
    over = overshoot(records, case).sort_values("over_s", ascending=False, kind="stable")
    return [
        f"{row['host']}: the cache held up to {row['peak']:,} {_unit(row['limit'])}, though"
        f" {row['limit']} is {row['allowed']:,}: fills at once each found room;"
        f" above it for {seconds_text(row['over_s'])} in all"
        for row in over.to_dict("records")
    ]


def _unit(limit: str) -> str:
    return "GiB" if limit.endswith("_gb") else "entries"


def _failed_fills(records: Records, case: Case) -> list[str]:
    skips = events_of(records, "skip")
    failed = skips[skips["reason"].astype(str).str.startswith(FILL_FAILED)]
    lines = []
    for host, chosen in by(failed, "host"):
        lost = _lost(records.cache_events[records.cache_events["host"] == host], chosen)
        entries = count(lost, "entry", "entries")
        evicted = f"; {entries} evicted to make room, which nothing replaced" if lost else ""
        reasons = exceptions(chosen["reason"].astype(str).str.removeprefix(FILL_FAILED))
        fills = count(len(chosen), "cache fill")
        quota = f"; {tenant_quotas(case)}" if "OverQuota" in reasons else ""
        lines.append(f"{host}: {fills} failed ({reasons}) and cached nothing{evicted}{quota}")
    return lines


def _lost(events: pd.DataFrame, failed: pd.DataFrame) -> int:
    """The number of a pool's entries that were evicted for fills that never succeeded."""
    filled = events.loc[events["event"] == "create", "volume_id"]
    in_vain = events["volume_id"].isin(failed["volume_id"]) & ~events["volume_id"].isin(filled)
    return int(((events["event"] == "evict") & in_vain).sum())


def _clone_limits(records: Records, case: Case) -> list[str]:
    return [
        f"{host}: {count(len(chosen), 'cache entry', 'cache entries')} lost to the array's clone"
        f" limit ({clone_limits(case, host)}):"
        " the next create of such an image downloads it again"
        for host, chosen in by(events_of(records, "clone_limit"), "host")
    ]


def _orphans(records: Records) -> list[str]:
    usage = records.usage
    orphans = usage[(usage["scope"] == "pool") & (usage["kind"] == "orphan")]
    orphans = orphans[orphans["volumes_end"] > 0]
    return [
        f"{row['name']}: orphans, {count(row['volumes_end'], 'image-volume')} without a cache entry"
        f" (at most {row['volumes_peak']:,.0f} at once): nothing reclaims them, delete them by hand"
        for row in orphans.sort_values("volumes_end", ascending=False, kind="stable").to_dict("records")
    ]
