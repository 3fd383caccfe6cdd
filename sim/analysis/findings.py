"""Findings on a run, in plain words, with numbers on which an operator can act."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis.directory_findings import full_directories
from sim.analysis.driver_findings import driver_findings
from sim.analysis.names import among
from sim.analysis.node_findings import node_findings
from sim.analysis.quota_findings import refused_by_quotas, tenant_quotas
from sim.analysis.room_findings import entries_of_deleted_images, lack_of_space, refused_deletes
from sim.analysis.store_findings import store_findings
from sim.analysis.wording import (
    ENTRIES,
    Finding,
    at_host,
    by,
    changes,
    clone_limits,
    count,
    creates,
    events_of,
    exceptions,
    lost_by,
    lost_s,
    name_of,
    seconds_text,
    share,
    some,
)
from sim.inputs.strategies import STRATEGIES, Strategy
from sim.model.records import FILL_FAILED, TOO_LARGE, Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case


def findings(records: Records, case: Case, strategy: str) -> list[Finding]:
    """One line per finding, the gravest kinds first; empty if nothing stands out."""
    chosen = STRATEGIES[strategy]
    kinds = [
        _no_cache(case, chosen),
        _errors(records, case),
        _other_errors(records, case),
        refused_by_quotas(records, case),
        full_directories(records, case, strategy),
        _held_by_cache(records, case),
        lack_of_space(records, case, chosen),
        _slow(records, case),
        _refused(records, case),
        _waits(records, case),
        node_findings(records, case) if chosen.image_volume_cache_enabled else [],
        _overshoots(records, case),
        _failed_fills(records, case),
        _clone_limits(records, case),
        _orphans(records, case),
        refused_deletes(records, case, chosen),
        entries_of_deleted_images(records, case),
        driver_findings(records, case),
    ]
    if chosen.uses_store and not chosen.on_demand:  # on demand, they are where creates ask
        kinds.append(store_findings(records, case, chosen))
    return [line for lines in kinds for line in lines]


def most(findings: Iterable[Finding], number: int) -> list[Finding]:
    """At most so many of them, those that cost creates most first."""
    return sorted(findings, key=lambda line: -line.lost_s)[:number]


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
        sign = changes(of_pool)
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


def _by_tier(
    table: pd.DataFrame, chosen: pd.DataFrame, case: Case
) -> Iterator[tuple[str, str, pd.DataFrame, str]]:
    """By tier: its name, how a line on it begins, what is chosen, and how much of the table that is."""
    for tier, rows in by(chosen, "volume_type"):
        told = f"{tier}: " if len(case.scenario.tiers) > 1 else ""
        yield tier, told, rows, share(rows, int((table["volume_type"] == tier).sum()))


def _no_cache(case: Case, strategy: Strategy) -> list[Finding]:
    off = not any(backend.image_volume_cache_enabled for backend in case.scenario.backends.values())
    if not (strategy.image_volume_cache_enabled and off):
        return []
    line = "no backend has a cache: image_volume_cache_enabled is false everywhere, so nothing is cached"
    return [Finding(line)]


def _errors(records: Records, case: Case) -> list[Finding]:
    table = records.requests
    return [
        Finding(f"{told}{some_of_all} failed: {exceptions(failed['error'])}", tier, lost_s(failed, case))
        for tier, told, failed, some_of_all in _by_tier(table, table[table["status"] == "error"], case)
    ]


def _other_errors(records: Records, case: Case) -> list[Finding]:
    table = records.others
    return [
        Finding(
            f"{told}{count(len(failed), 'create')} without an image of"
            f" {(table['volume_type'] == tier).sum():,} failed: {exceptions(failed['error'])}",
            tier,
            lost_s(failed, case),
        )
        for tier, told, failed, _ in _by_tier(table, table[table["status"] == "error"], case)
    ]


def _held_by_cache(records: Records, case: Case) -> list[Finding]:
    never = "" if case.scenario.what_if.evict_for_users else ", which never give way to users,"
    return [
        Finding(
            f"{tier}: {count(len(chosen), 'create')}{without} failed at the array's volume limit while up to"
            f" {count(int(chosen['cache_held'].max()), 'cached image-volume')}{never}"
            " held places: lower image_volume_cache_max_count or raise max_volumes",
            tier,
            lost_s(chosen, case),
        )
        for table, without in ((records.requests, ""), (records.others, " without an image"))
        for tier, chosen in by(table[table["cache_held"] > 0], "volume_type")
    ]


def _slow(records: Records, case: Case) -> list[Finding]:
    limit, table = case.scenario.boot_timeout_s, records.requests
    slow = table[(table["status"] == "available") & (table["end"] - table["time"] > limit)]
    return [
        Finding(
            f"{told}{some_of_all} took longer than boot_timeout_s ({seconds_text(limit)}), the longest"
            f" {seconds_text((chosen['end'] - chosen['time']).max())}: a boot would have given up",
            tier,
            lost_s(chosen, case),
        )
        for tier, told, chosen, some_of_all in _by_tier(table, slow, case)
    ]


def _refused(records: Records, case: Case) -> list[Finding]:
    skips = events_of(records, "skip")
    refused = skips[skips["reason"].astype(str).str.startswith(TOO_LARGE)]
    lines = []
    for host, chosen in by(refused, "host"):
        sizes = chosen.groupby("image_id", observed=True)["size_gib"].max()
        names = some(f"{name_of(case, image_id)} ({size} GiB)" for image_id, size in sizes.items())
        line = (
            f"the cache refuses {names}, larger than image_volume_cache_max_size_gb"
            f" ({case.scenario.backend_at(host).image_volume_cache_max_size_gb})"
        )
        asked = chosen[chosen["volume_id"] != ""]  # the other rows are clones of uploaded volumes
        if len(asked):
            line += (
                f"; {creates(asked)} of them"
                " downloaded one after another inside the image's lock, which is worse than no cache"
            )
        lines.append(at_host(line, case, host, lost_by(asked, records, case)))
    return lines


def _waits(records: Records, case: Case) -> list[Finding]:
    table = records.requests
    lines = []
    for tier, told, chosen, some_of_all in _by_tier(table, table[table["lock_wait_s"] > 0], case):
        waits = chosen["lock_wait_s"]
        p95, longest = (seconds_text(each) for each in (float(np.percentile(waits, 95)), waits.max()))
        line = f"{told}{some_of_all} waited for their image's lock, behind another create's fill: p95 {p95}"
        lines.append(Finding(f"{line}, at most {longest}", tier, float(waits.sum())))
    return lines


def _overshoots(records: Records, case: Case) -> list[Finding]:
    over = overshoot(records, case).sort_values("over_s", ascending=False, kind="stable")
    return [
        at_host(
            f"the cache held up to {row['peak']:,} {_unit(row['limit'])}, though"
            f" {row['limit']} is {row['allowed']:,}: fills at once each found room;"
            f" above it for {seconds_text(row['over_s'])} in all",
            case,
            row["host"],
        )
        for row in over.to_dict("records")
    ]


def _unit(limit: str) -> str:
    return "GiB" if limit.endswith("_gb") else "entries"


def _failed_fills(records: Records, case: Case) -> list[Finding]:
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
        line = f"{fills} failed ({reasons}) and cached nothing{evicted}{quota}"
        lines.append(at_host(line, case, host, lost_by(chosen, records, case)))
    return lines


def _lost(events: pd.DataFrame, failed: pd.DataFrame) -> int:
    """The number of a pool's entries that were evicted for fills that never succeeded."""
    filled = events.loc[events["event"] == "create", "volume_id"]
    evicted = events.loc[events["event"] == "evict", "volume_id"]
    return int((among(evicted, failed["volume_id"]) & ~among(evicted, filled)).sum())


def _clone_limits(records: Records, case: Case) -> list[Finding]:
    return [
        at_host(
            f"{count(len(chosen), 'cache entry', 'cache entries')} lost to the array's clone"
            f" limit ({clone_limits(case, host)}):"
            " the next create of such an image downloads it again",
            case,
            host,
            lost_by(chosen, records, case),
        )
        for host, chosen in by(events_of(records, "clone_limit"), "host")
    ]


def _orphans(records: Records, case: Case) -> list[Finding]:
    usage = records.usage
    orphans = usage[(usage["scope"] == "pool") & (usage["kind"] == "orphan")]
    orphans = orphans[orphans["volumes_end"] > 0]
    return [
        at_host(
            f"orphans, {count(row['volumes_end'], 'image-volume')} without a cache entry"
            f" (at most {row['volumes_peak']:,.0f} at once): nothing reclaims them, delete them by hand",
            case,
            row["name"],
        )
        for row in orphans.sort_values("volumes_end", ascending=False, kind="stable").to_dict("records")
    ]
