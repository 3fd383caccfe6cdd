"""Findings on a run, in plain words, with numbers that an operator can act upon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sim.inputs.problems import printable
from sim.inputs.strategies import STRATEGIES, Strategy
from sim.model.initial import store_hosts
from sim.model.records import FILL_FAILED, TOO_LARGE, Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

MOST = 5  # lines of one kind, and names in one line
# What an event does to the number of entries.
ENTRIES = {"create": 1, "evict": -1, "stale": -1, "clone_limit": -1}


def findings(records: Records, case: Case, strategy: str) -> list[str]:
    """One line per finding, the gravest kinds first; empty if nothing stands out."""
    kinds = [
        _errors(records),
        _other_errors(records),
        _held_by_cache(records, case),
        _slow(records, case),
        _refused(records, case),
        _waits(records),
        _overshoots(records, case),
        _failed_fills(records, case),
        _clone_limits(records, case),
        _orphans(records),
    ]
    chosen = STRATEGIES[strategy]
    if chosen.uses_store and not chosen.on_demand:  # which puts image-volumes where they are asked for
        kinds.append(_store(records, case, chosen))
    return [line for lines in kinds for line in _first(lines)]


def overshoot(records: Records, case: Case) -> pd.DataFrame:
    """Fills at the same time that took a cache over its limits, which no lock protects.

    One row per pool (per backend with `limits_per_backend`) and limit that was exceeded for some time after
    the first fill: host, limit (image_volume_cache_max_count | image_volume_cache_max_size_gb), allowed,
    peak (entries or GiB), over_s (seconds above it in all, until the last event or end of a create).
    """
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

    Entries of the start may exceed the limits until the first fill evicts them. This does not count.
    """
    held = np.diff(times, append=end)
    over = (levels > allowed) & (np.cumsum(sign > 0) > 0) & (held > 0)
    if not allowed or not over.any():
        return 0, 0.0
    return int(levels[over].max()), float(held[over].sum())


def _errors(records: Records) -> list[str]:
    failed = records.requests[records.requests["status"] == "error"]
    if failed.empty:
        return []
    return [f"{_share(failed, records)} failed: {_exceptions(failed['error'])}"]


def _other_errors(records: Records) -> list[str]:
    others = records.others
    failed = others[others["status"] == "error"]
    if failed.empty:
        return []
    share = f"{_count(len(failed), 'create')} without an image of {len(others):,}"
    return [f"{share} failed: {_exceptions(failed['error'])}"]


def _held_by_cache(records: Records, case: Case) -> list[str]:
    never = "" if case.scenario.what_if.evict_for_users else ", which never give way to users,"
    return [
        f"{tier}: {_count(len(chosen), 'create')}{without} failed at the array's volume limit while up to"
        f" {_count(int(chosen['cache_held'].max()), 'cached image-volume')}{never}"
        " held places: lower image_volume_cache_max_count or raise max_volumes"
        for creates, without in ((records.requests, ""), (records.others, " without an image"))
        for tier, chosen in _by(creates[creates["cache_held"] > 0], "volume_type")
    ]


def _slow(records: Records, case: Case) -> list[str]:
    limit = case.scenario.boot_timeout_s
    done = records.requests[records.requests["status"] == "available"]
    seconds = done["end"] - done["time"]
    slow = seconds[seconds > limit]
    if slow.empty:
        return []
    return [
        f"{_share(slow, records)} took longer than boot_timeout_s ({_seconds(limit)}),"
        f" the longest {_seconds(slow.max())}: a boot would have given up"
    ]


def _refused(records: Records, case: Case) -> list[str]:
    skips = _events(records, "skip")
    refused = skips[skips["reason"].astype(str).str.startswith(TOO_LARGE)]
    lines = []
    for host, chosen in _by(refused, "host"):
        sizes = chosen.groupby("image_id", observed=True)["size_gib"].max()
        names = _some(f"{_name(case, image_id)} ({size} GiB)" for image_id, size in sizes.items())
        line = (
            f"{host}: the cache refuses {names}, larger than image_volume_cache_max_size_gb"
            f" ({case.scenario.backend_at(host).image_volume_cache_max_size_gb})"
        )
        asked = chosen[chosen["volume_id"] != ""]  # the rest are clones of uploaded volumes
        if len(asked):
            line += (
                f"; {_creates(asked)} of them"
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
        f"{_share(waits, records)} waited for their image's lock, behind another create's fill:"
        f" p95 {_seconds(float(np.percentile(waits, 95)))}, at most {_seconds(waits.max())}"
    ]


def _overshoots(records: Records, case: Case) -> list[str]:
    over = overshoot(records, case).sort_values("over_s", ascending=False, kind="stable")
    return [
        f"{row['host']}: the cache held up to {row['peak']:,} {_unit(row['limit'])}, though"
        f" {row['limit']} is {row['allowed']:,}: fills at once each found room;"
        f" above it for {_seconds(row['over_s'])} in all"
        for row in over.to_dict("records")
    ]


def _unit(limit: str) -> str:
    return "GiB" if limit.endswith("_gb") else "entries"


def _failed_fills(records: Records, case: Case) -> list[str]:
    skips = _events(records, "skip")
    failed = skips[skips["reason"].astype(str).str.startswith(FILL_FAILED)]
    lines = []
    for host, chosen in _by(failed, "host"):
        lost = _lost(records.cache_events[records.cache_events["host"] == host], chosen)
        entries = _count(lost, "entry", "entries")
        evicted = f"; {entries} evicted to make room, which nothing replaced" if lost else ""
        reasons = _exceptions(chosen["reason"].astype(str).str.removeprefix(FILL_FAILED))
        fills = _count(len(chosen), "cache fill")
        quota = f"; {_quota(case)}" if "OverQuota" in reasons else ""
        lines.append(f"{host}: {fills} failed ({reasons}) and cached nothing{evicted}{quota}")
    return lines


def _quota(case: Case) -> str:
    """What the internal tenant's quota means, for findings of fills that it refused."""
    options = case.scenario.cinder
    limits = {
        "volumes": options.internal_tenant_quota_volumes,
        "GiB": options.internal_tenant_quota_gigabytes,
    }
    listed = ", ".join(f"{limit:,} {unit}" for unit, limit in limits.items() if limit is not None)
    return (
        f"OverQuota is the internal tenant's quota ({listed}), which caps the caches of all backends"
        " together: raise it with openstack quota set"
    )


def _lost(events: pd.DataFrame, failed: pd.DataFrame) -> int:
    """The number of a pool's entries that were evicted for fills which failed for good."""
    filled = events.loc[events["event"] == "create", "volume_id"]
    in_vain = events["volume_id"].isin(failed["volume_id"]) & ~events["volume_id"].isin(filled)
    return int(((events["event"] == "evict") & in_vain).sum())


def _clone_limits(records: Records, case: Case) -> list[str]:
    return [
        f"{host}: {_count(len(chosen), 'cache entry', 'cache entries')} lost to the array's clone"
        f" limit (max_clones_per_volume {case.scenario.backend_at(host).max_clones_per_volume}):"
        " the next create of such an image downloads it again"
        for host, chosen in _by(_events(records, "clone_limit"), "host")
    ]


def _orphans(records: Records) -> list[str]:
    usage = records.usage
    orphans = usage[(usage["scope"] == "pool") & (usage["kind"] == "orphan")]
    orphans = orphans[orphans["volumes_end"] > 0]
    return [
        f"{row['name']}: orphans, {_count(row['volumes_end'], 'image-volume')} without a cache entry"
        f" (at most {row['volumes_peak']:,.0f} at once): nothing reclaims them, delete them by hand"
        for row in orphans.sort_values("volumes_end", ascending=False, kind="stable").to_dict("records")
    ]


def _store(records: Records, case: Case, strategy: Strategy) -> list[str]:
    """Why images of the Cinder store are not cloned: not there, not raw, elsewhere, or of another project."""
    hosts = {image.image_id: store_hosts(case, strategy, image) for image in case.images.values()}
    stored = [image for image in case.images.values() if hosts[image.image_id]]
    if not stored:
        return ["no image is in the Cinder store: name store.home, or store_hosts of images"]
    useful = {i.image_id for i in stored if (i.disk_format, i.container_format) == ("raw", "bare")}
    useless = [image for image in stored if image.image_id not in useful]
    requests = records.requests
    lines = []
    if useless:
        gib = sum(i.size_gib * len(hosts[i.image_id]) for i in useless)
        asked = int(requests["image_id"].isin([image.image_id for image in useless]).sum())
        lines.append(
            f"{len(useless):,} of {len(stored):,} images of the Cinder store are not raw and bare:"
            f" they take {gib:,} GiB there and are never cloned;"
            f" {_count(asked, 'create')} asked for them"
        )
    placed = requests[requests["image_id"].isin(useful) & (requests["host"] != "")]
    far = sum(
        host not in hosts[image] for image, host in zip(placed["image_id"], placed["host"], strict=True)
    )
    if far:
        lines.append(
            f"{far:,} of {_count(len(placed), 'create')} of raw images of the Cinder store ran on"
            " pools without an image-volume of theirs, and only the same pool can clone it"
        )
    foreign = [i for i in stored if i.image_id in useful and i.image_owner not in ("", i.owner)]
    if foreign:
        theirs = placed[placed["image_id"].isin([image.image_id for image in foreign])]
        beside = [
            host in hosts[image] for image, host in zip(theirs["image_id"], theirs["host"], strict=True)
        ]
        missed = int((theirs["source"][beside] != "store").sum())
        lines.append(
            f"the Cinder store's image-volumes of {_some(_name(case, i.image_id) for i in foreign)} name a"
            " project (image_owner) that does not own the image:"
            f" {_count(missed, 'create')} beside them did not clone them;"
            " upload images as the project that owns them"
        )
    return lines


def _name(case: Case, image_id: Any) -> str:
    image = case.images.get(image_id)
    return printable((image.name if image else "") or str(image_id))


def _events(records: Records, event: str) -> pd.DataFrame:
    return records.cache_events[records.cache_events["event"] == event]


def _by(rows: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each value of a column; the value with the most rows comes first."""
    groups = [(str(value), group) for value, group in rows.groupby(column, observed=True)]
    return sorted(groups, key=lambda group: -len(group[1]))


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - MOST
    return lines if more <= 0 else [*lines[:MOST], f"and {more:,} more like the last"]


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more:,} more" if more > 0 else "")


def _exceptions(errors: pd.Series[Any]) -> str:
    """The count of each exception, with the one that led to it: `A after B 3, C 1`."""
    names = errors.astype(str).str.extract(r"^([^:]*)(?:: ([A-Z]\w+[A-Z]\w+):)?")
    counts = (names[0] + (" after " + names[1]).fillna("")).value_counts()
    return _some(f"{name} {count:,}" for name, count in counts.items())


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _share(creates: pd.DataFrame | pd.Series[Any], records: Records) -> str:
    return f"{_count(len(creates), 'create')} of {len(records.requests):,}"


def _creates(events: pd.DataFrame) -> str:
    return _count(events["volume_id"].nunique(), "create")


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
