"""Reads the scheduler's view of pools from a file of `cinder get-pools --detail` or of the API."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_utils import strutils

from sim.importers.json_files import first, named, records, text_of
from sim.importers.notes import Note
from sim.importers.values import text
from sim.inputs.problems import Problems, quoted

ACCEPTED = (
    "cinder get-pools --detail, openstack volume backend pool list --long (-f json), or JSON of the API "
    "(GET /v3/{project}/scheduler-stats/get_pools?detail=true)"
)
MOST_RATIO = 1e9
NO_LIMIT = ("infinite", "unknown")  # cinder.common.constants, as drivers report them


@dataclass(frozen=True)
class Pool:
    """A pool by Cinder's host (`node@backend#pool`). None: not in the file. Infinite capacity: no limit."""

    host: str
    capacity_gib: float | None
    free_gib: float | None
    thin: bool | None
    max_over_subscription_ratio: float | None
    reserved_percentage: int | None
    volume_backend_name: str


@dataclass(frozen=True)
class Pools:
    """The pools of a file, and notes on them."""

    pools: tuple[Pool, ...]
    notes: tuple[Note, ...]


def read(path: Path, problems: Problems) -> Pools | None:
    """The pools of a file; None, with problems noted, if there are none."""
    content = text_of(path, problems)
    if content is None:
        return None
    if content.lstrip().startswith(("+-", "|")):
        rows: list[dict[str, Any]] | None = list(_tables(content))
    else:
        rows = records(path, content, "pools", ACCEPTED, problems)
    if rows is None:
        return None
    before = len(problems.lines())
    found = [_pool(path, f"entry {number}", row, problems) for number, row in enumerate(rows, 1)]
    pools = [pool for pool in found if pool is not None]
    for host, times in Counter(pool.host for pool in pools).items():
        if times > 1:
            problems.add(path, f"pool {quoted(host)}", f"is there {times} times", "is there several times")
    if not pools and len(problems.lines()) == before:
        problems.add(path, "", f"has no pool; accepted: {ACCEPTED}")
    return None if len(problems.lines()) > before else Pools(tuple(pools), tuple(_notes(path, pools)))


def _tables(text: str) -> Iterator[dict[str, Any]]:
    """Rows of tables: one table of properties for each pool, or one table with a row for each."""
    titles: list[str] = []
    row: dict[str, Any] = {}
    for line in text.splitlines():
        if not line.strip().startswith("|"):
            continue
        inner = line.strip().strip("|")
        if titles and titles[0] in ("Property", "Field"):
            key, _, value = (part.strip() for part in inner.partition("|"))
            if key == titles[0]:
                yield from [row] if row else []
                row = {}
            elif key:
                row[key] = value
        else:
            cells = [cell.strip() for cell in inner.split("|")]
            if titles:
                yield named(dict(zip(titles, cells, strict=False)))
            titles = titles or cells
    if row:
        yield row


def _pool(path: Path, where: str, row: dict[str, Any], problems: Problems) -> Pool | None:
    told = {**row, **(row["capabilities"] if isinstance(row.get("capabilities"), dict) else {})}
    host = str(row.get("name") or "")
    where = f"{where}, pool {quoted(host)}"
    if "@" not in host:
        what = f"is not a Cinder pool (its name must be host@backend#pool, not {quoted(host)})"
        problems.add(path, where, f"{what}; accepted: {ACCEPTED}", "is not a Cinder pool")
        return None
    capacity = first(told, "total_capacity_gb", "capacity")
    if capacity is None:
        what = (
            f"has no capacity: list pools with --detail (cinder) or --long (openstack); accepted: {ACCEPTED}"
        )
        problems.add(path, where, what, what)
        return None
    try:
        capacity_gib = _number(capacity, 0, math.inf)
        reserved = _number(told.get("reserved_percentage"), 0, 100)
        ratio = first(told, "max_over_subscription_ratio", "max_over_ratio")
        return Pool(
            host=host,
            capacity_gib=capacity_gib or None,  # 0: its backend does not answer
            free_gib=_number(told.get("free_capacity_gb"), -math.inf, math.inf),
            thin=_thin(told),
            max_over_subscription_ratio=_number(ratio, 1, MOST_RATIO),
            reserved_percentage=None if reserved is None else int(reserved),
            volume_backend_name=text(first(told, "volume_backend_name")),
        )
    except ValueError as error:
        what = "has a value that cannot be used"
        problems.add(path, where, f"{what}: {error}", what)
        return None


def _number(value: Any, least: float, most: float) -> float | None:
    """A finite number within bounds; infinite for the words that mean no limit, None if there is none."""
    if value in (None, "", "None", "-"):
        return None
    number = math.nan
    if str(value).lower() in NO_LIMIT:
        number = math.inf
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
        number = number if math.isfinite(number) else math.nan
    if math.isnan(number):
        raise ValueError(f"{quoted(value)} is not a number")
    if not least <= number <= most:
        raise ValueError(f"{quoted(value)} is not from {least:g} to {most:g}")
    return number


def _thin(told: dict[str, Any]) -> bool | None:
    """Whether the scheduler uses over-subscription there, as `CapacityFilter` decides.

    A volume type without `provisioning:type` counts as thin if the pool supports that.
    """
    thin = first(told, "thin_provisioning_support", "thin")
    if thin is None:
        return False if "total_capacity_gb" in told else None  # PoolState.update_from
    return bool(strutils.bool_from_string(thin))


def _notes(path: Path, pools: list[Pool]) -> Iterator[Note]:
    sizes = ", ".join(
        f"{one.host} {one.capacity_gib:,.10g} GiB"
        + ("" if one.free_gib is None else f" ({one.free_gib:,.10g} free)")
        for one in pools
        if one.capacity_gib is not None and math.isfinite(one.capacity_gib)
    )
    yield Note("read", f"{path}: {len(pools)} pools" + (f": {sizes}" if sizes else ""))
    silent = [one.host for one in pools if one.capacity_gib is None]
    if silent:
        what = "report a capacity of 0, as backends do that do not answer: no limit until you set it"
        yield Note("unknown", f"{', '.join(silent)}: {what}")
    endless = [one.host for one in pools if one.capacity_gib is not None and math.isinf(one.capacity_gib)]
    if endless:
        yield Note("read", f"{', '.join(endless)}: report no number for their capacity: no limit")
    if sizes:
        what = "space in a pool that other data than Cinder's volumes use is not known"
        yield Note("unknown", f"{what}: lower its capacity_gib by that")
    if all(one.thin is None for one in pools):
        yield Note("unknown", f"{path} does not show which pools are thin: the scenario takes all as thin")
