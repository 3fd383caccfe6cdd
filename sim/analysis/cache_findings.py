"""Findings on the image-volume cache: what it refuses, loses, holds too long or too much of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sim.analysis.adding import Counts, Kind, Part, costs_of
from sim.analysis.names import among
from sim.analysis.quota_findings import tenant_quotas
from sim.analysis.wording import (
    Finding,
    at_host,
    clone_limits,
    count,
    exception_of,
    exceptions,
    lost,
    name_of,
    number,
    parts_of,
    seconds_text,
    some,
)
from sim.inputs.strategies import Strategy
from sim.model.records import FILL_FAILED, TOO_LARGE

if TYPE_CHECKING:
    from sim.inputs.scenario import Case


def _refused(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    refused = part.skips[part.skips["reason"].str.startswith(TOO_LARGE)]
    if refused.empty:
        return None
    rows = costs_of(refused, part, case)
    asked = (rows["volume_id"] != "") & ~rows.duplicated(["host", "volume_id"])  # else: a clone of an upload
    rows = rows.assign(creates=asked.astype(int), size_gib_max=rows["size_gib"])
    return rows[["host", "image_id", "creates", "size_gib_max", "lost_s"]]


def _failed_fills(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    failed = part.skips[part.skips["reason"].str.startswith(FILL_FAILED)]
    if failed.empty:
        return None
    rows = costs_of(failed, part, case)
    what = exception_of(rows["reason"].str.removeprefix(FILL_FAILED))
    first = ~rows.duplicated(["host", "volume_id"])
    rows = rows.assign(what=what, creates=1, evicted=_evicted(part, rows).where(first, 0))
    return rows[["host", "what", "creates", "evicted", "lost_s"]]


def _evicted(part: Part, failed: pd.DataFrame) -> pd.Series[int]:
    """The entries of its pool that each create evicted for fills that never succeeded there."""
    key = ["host", "volume_id"]
    filled = pd.MultiIndex.from_frame(part.events_of("create")[key])
    evicted = part.events_of("evict")[key]
    evicted = evicted[among(evicted["volume_id"], failed["volume_id"])]
    lost = evicted[~pd.MultiIndex.from_frame(evicted).isin(filled)].value_counts()
    return pd.Series(
        lost.reindex(pd.MultiIndex.from_frame(failed[key]), fill_value=0).to_numpy(), failed.index
    )


def _lost_to_limits(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    events = part.events_of("clone_limit")
    return None if events.empty else costs_of(events, part, case)[["host", "lost_s"]].assign(creates=1)


KINDS = {
    "refused": Kind(("host", "image_id"), _refused),
    "failed fills": Kind(("host", "what"), _failed_fills),
    "clone limits": Kind(("host",), _lost_to_limits),
}


def no_cache(case: Case, strategy: Strategy) -> list[Finding]:
    """Whether a strategy with a cache has none."""
    off = not any(backend.image_volume_cache_enabled for backend in case.scenario.backends.values())
    if not (strategy.image_volume_cache_enabled and off):
        return []
    line = "no backend has a cache: image_volume_cache_enabled is false everywhere, so nothing is cached"
    return [Finding(line)]


def refused(counts: Counts, case: Case) -> list[Finding]:
    """Images that are larger than the cache."""
    lines = []
    for host, rows in parts_of(counts.get("refused"), "host"):
        sizes = zip(rows["image_id"], rows["size_gib_max"], strict=True)
        names = some(f"{name_of(case, image_id)} ({size} GiB)" for image_id, size in sizes)
        line = (
            f"the cache refuses {names}, larger than image_volume_cache_max_size_gb"
            f" ({case.scenario.backend_at(host).image_volume_cache_max_size_gb})"
        )
        if rows["creates"].any():
            line += (
                f"; {count(number(rows), 'create')} of them"
                " downloaded one after another inside the image's lock, which is worse than no cache"
            )
        lines.append(at_host(line, case, host, lost(rows)))
    return lines


def failed_fills(counts: Counts, case: Case) -> list[Finding]:
    """Fills that failed, and what was evicted for them."""
    lines = []
    for host, rows in parts_of(counts.get("failed fills"), "host"):
        evicted = int(rows["evicted"].sum())
        entries = count(evicted, "entry", "entries")
        in_vain = f"; {entries} evicted to make room, which nothing replaced" if evicted else ""
        reasons = exceptions(rows)
        quota = f"; {tenant_quotas(case)}" if "OverQuota" in reasons else ""
        fills = count(number(rows), "cache fill")
        line = f"{fills} failed ({reasons}) and cached nothing{in_vain}{quota}"
        lines.append(at_host(line, case, host, lost(rows)))
    return lines


def lost_to_limits(counts: Counts, case: Case) -> list[Finding]:
    """Entries that reached the array's limit of clones."""
    return [
        at_host(
            f"{count(number(rows), 'cache entry', 'cache entries')} lost to the array's clone"
            f" limit ({clone_limits(case, host)}):"
            " the next create of such an image downloads it again",
            case,
            host,
            lost(rows),
        )
        for host, rows in parts_of(counts.get("clone limits"), "host")
    ]


def orphans(usage: pd.DataFrame, case: Case) -> list[Finding]:
    """Image-volumes without an entry."""
    of_pools = usage[(usage["scope"] == "pool") & (usage["kind"] == "orphan")]
    left = of_pools[of_pools["volumes_end"] > 0]
    return [
        at_host(
            f"orphans, {count(row['volumes_end'], 'image-volume')} without a cache entry"
            f" (at most {row['volumes_peak']:,.0f} at once): nothing reclaims them, delete them by hand",
            case,
            row["name"],
        )
        for row in left.sort_values("volumes_end", ascending=False, kind="stable").to_dict("records")
    ]


def useless_entries(cache: pd.DataFrame, deleted_images: set[str], case: Case) -> list[Finding]:
    """Cache entries that no create can use any more, because their image was deleted."""
    useless = cache[cache["image_id"].isin(list(deleted_images))].assign(creates=1)
    return [
        at_host(
            f"{count(len(chosen), 'cache entry', 'cache entries')} of deleted images,"
            f" {chosen['size_gib'].sum():,} GiB, stay until they are the least recently used",
            case,
            host,
        )
        for host, chosen in parts_of(useless, "host")
    ]


def overshoots(table: pd.DataFrame, case: Case) -> list[Finding]:
    """Limits that the cache passed: `sim.analysis.cache_levels.Overshoots.table`."""
    return [
        at_host(
            f"the cache held up to {row['peak']:,} {_unit(row['limit'])}, though"
            f" {row['limit']} is {row['allowed']:,}: fills at once each found room;"
            f" above it for {seconds_text(row['over_s'])} in all",
            case,
            row["host"],
        )
        for row in table.sort_values("over_s", ascending=False, kind="stable").to_dict("records")
    ]


def _unit(limit: str) -> str:
    return "GiB" if limit.endswith("_gb") else "entries"
