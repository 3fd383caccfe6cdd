"""Findings on creates: those that failed, were late, or waited for a lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from sim.analysis.adding import Counts, Ended, Kind, Part, costs
from sim.analysis.wording import (
    Finding,
    count,
    exception_of,
    exceptions,
    lost,
    number,
    parts_of,
    seconds_text,
)
from sim.inputs.strategies import Strategy

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

WITHOUT_IMAGE = " without an image"


def _all(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame:
    return part.requests[["volume_type"]].assign(creates=1)


def _all_others(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame:
    return part.others[["volume_type"]].assign(creates=1)


def _failed(table: pd.DataFrame, case: Case) -> pd.DataFrame | None:
    failed = table[table["status"] == "error"]
    if failed.empty:
        return None
    return costs(failed.assign(what=exception_of(failed["error"])), case, "volume_type", "what")


def _held(table: pd.DataFrame, case: Case) -> pd.DataFrame | None:
    held = table[table["cache_held"] > 0]
    if held.empty:
        return None
    return costs(held, case, "volume_type").assign(cache_held_max=held["cache_held"])


def _late(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    table = part.requests
    seconds = table["end"] - table["time"]
    late = (table["status"] == "available") & (seconds > case.scenario.boot_timeout_s)
    if not late.any():
        return None
    return costs(table[late], case, "volume_type").assign(seconds_max=seconds[late])


def _waited(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    waited = part.requests[part.requests["lock_wait_s"] > 0]
    if waited.empty:
        return None
    seconds = waited["lock_wait_s"]
    return waited[["volume_type"]].assign(creates=1, lost_s=seconds, seconds_max=seconds)


KINDS = {
    "creates": Kind(("volume_type",), _all),
    "other creates": Kind(("volume_type",), _all_others),
    "failed": Kind(("volume_type", "what"), lambda part, case, strategy: _failed(part.requests, case)),
    "others failed": Kind(("volume_type", "what"), lambda part, case, strategy: _failed(part.others, case)),
    "held": Kind(("volume_type",), lambda part, case, strategy: _held(part.requests, case)),
    "others held": Kind(("volume_type",), lambda part, case, strategy: _held(part.others, case)),
    "late": Kind(("volume_type",), _late),
    "waited": Kind(("volume_type",), _waited),
}


def _by_tier(
    counts: Counts, chosen: str, of: str, case: Case, without: str = ""
) -> Iterator[tuple[str, str, pd.DataFrame, str]]:
    """By tier: its name, how a line on it begins, what is chosen, and how much of the table that is."""
    for tier, rows in parts_of(counts.get(chosen), "volume_type"):
        told = f"{tier}: " if len(case.scenario.tiers) > 1 else ""
        total = number(counts[of][counts[of]["volume_type"] == tier])
        yield tier, told, rows, f"{count(number(rows), 'create')}{without} of {total:,}"


def failed(counts: Counts, case: Case) -> list[Finding]:
    """Creates that failed, by the exception."""
    return [
        Finding(f"{told}{some_of_all} failed: {exceptions(rows)}", tier, lost(rows))
        for chosen, of, without in (
            ("failed", "creates", ""),
            ("others failed", "other creates", WITHOUT_IMAGE),
        )
        for tier, told, rows, some_of_all in _by_tier(counts, chosen, of, case, without)
    ]


def held_by_cache(counts: Counts, case: Case) -> list[Finding]:
    """Creates that failed at the array's volume limit while the cache held places."""
    never = "" if case.scenario.what_if.evict_for_users else ", which never give way to users,"
    return [
        Finding(
            f"{tier}: {count(number(rows), 'create')}{without} failed at the array's volume limit while"
            f" up to {count(int(rows['cache_held_max'].max()), 'cached image-volume')}{never}"
            " held places: lower image_volume_cache_max_count or raise max_volumes",
            tier,
            lost(rows),
        )
        for chosen, without in (("held", ""), ("others held", WITHOUT_IMAGE))
        for tier, rows in parts_of(counts.get(chosen), "volume_type")
    ]


def late(counts: Counts, case: Case) -> list[Finding]:
    """Creates that took longer than a boot waits."""
    limit = seconds_text(case.scenario.boot_timeout_s)
    return [
        Finding(
            f"{told}{some_of_all} took longer than boot_timeout_s ({limit}), the longest"
            f" {seconds_text(rows['seconds_max'].max())}: a boot would have given up",
            tier,
            lost(rows),
        )
        for tier, told, rows, some_of_all in _by_tier(counts, "late", "creates", case)
    ]


def waited(counts: Counts, case: Case, ended: Ended) -> list[Finding]:
    """Creates that waited for the lock of their image."""
    return [
        Finding(
            f"{told}{some_of_all} waited for their image's lock, behind another create's fill:"
            f" p95 {seconds_text(ended.waited_p95_s(tier, number(rows)))},"
            f" at most {seconds_text(rows['seconds_max'].max())}",
            tier,
            lost(rows),
        )
        for tier, told, rows, some_of_all in _by_tier(counts, "waited", "creates", case)
    ]
