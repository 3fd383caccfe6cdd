"""Reads the scheduler's view of pools from a file of `cinder get-pools --detail` or of the API."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_utils import strutils

from sim.importers.json_files import first, named, records, text_of
from sim.importers.notes import Note
from sim.inputs.problems import Problems, quoted

ACCEPTED = (
    "cinder get-pools --detail, openstack volume backend pool list --long (-f json), or JSON of the API "
    "(GET /v3/{project}/scheduler-stats/get_pools?detail=true)"
)
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
    text = text_of(path, problems)
    if text is None:
        return None
    if text.lstrip().startswith(("+-", "|")):
        rows: list[dict[str, Any]] | None = list(_tables(text))
    else:
        rows = records(path, text, "pools", ACCEPTED, problems)
    if rows is None:
        return None
    before = len(problems.lines())
    pools = [pool for row in rows if (pool := _pool(path, row, problems)) is not None]
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


def _pool(path: Path, row: dict[str, Any], problems: Problems) -> Pool | None:
    told = {**row, **(row["capabilities"] if isinstance(row.get("capabilities"), dict) else {})}
    host = str(row.get("name") or "")
    where = f"pool {host}"
    if "@" not in host:
        what = f"is not a Cinder pool (its name must be host@backend#pool, not {quoted(host)})"
        problems.add(path, "", f"{what}; accepted: {ACCEPTED}", what)
        return None
    capacity = first(told, "total_capacity_gb", "capacity")
    if capacity is None:
        what = (
            f"has no capacity: list pools with --detail (cinder) or --long (openstack); accepted: {ACCEPTED}"
        )
        problems.add(path, where, what, what)
        return None
    try:
        reserved = _number(told.get("reserved_percentage"))
        return Pool(
            host=host,
            capacity_gib=_number(capacity),
            free_gib=_number(told.get("free_capacity_gb")),
            thin=_thin(told),
            max_over_subscription_ratio=_number(first(told, "max_over_subscription_ratio", "max_over_ratio")),
            reserved_percentage=None if reserved is None else int(reserved),
            volume_backend_name=str(first(told, "volume_backend_name") or ""),
        )
    except (ValueError, TypeError) as error:
        problems.add(path, where, f"has a value that is not a number: {error}")
        return None


def _number(value: Any) -> float | None:
    if value in (None, "", "None", "-"):
        return None
    return math.inf if str(value).lower() in NO_LIMIT else float(value)


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
    endless = [one.host for one in pools if one.capacity_gib is not None and math.isinf(one.capacity_gib)]
    if endless:
        yield Note("read", f"{', '.join(endless)}: report no number for their capacity: no limit")
    if sizes:
        what = "space in a pool that other data than Cinder's volumes use is not known"
        yield Note("unknown", f"{what}: lower its capacity_gib by that")
    if all(one.thin is None for one in pools):
        yield Note("unknown", f"{path} does not show which pools are thin: the scenario takes all as thin")
