"""Hit rates, times, space and cost of a run, by pure functions on its tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.inputs.units import GIB
from sim.model.records import CLONES, SOURCES, Records
from sim.model.usage import ALL, OWNERS, QUANTITIES

if TYPE_CHECKING:
    from sim.inputs.images import Image
    from sim.inputs.scenario import Case

PERCENTILES = (50, 95, 99)
DIGIT = 16  # bits of a float that one pass counts
Digits = dict[int, npt.NDArray[np.int64]]  # by leading bits, how often each next digit comes


def summary(records: Records, case: Case, strategy: str) -> pd.DataFrame:
    """One row per tier, in scenario order, then `all`.

    Columns:

    - `tier`, `strategy`, `creates`.
    - `clone_hit_rate` = (driver + store + cache clones) / creates. Failed creates count as misses.
      `driver_hit_rate`, `store_hit_rate`, `cache_hit_rate`: the same for one source. NaN without creates.
    - `create_s_mean`, `create_s_p50`, `create_s_p95`, `create_s_p99`: seconds of the successful creates
      (percentiles interpolate linearly between order statistics, numpy's default). NaN without any.
    - `boot_timeout_share`: the share of creates that succeed only after `boot_timeout_s`.
    - `errors`: failed creates; `other_errors`: failed creates without an image (`Records.others`), which
      count in no other column. `downloaded_gib`: GiB (`size_bytes`) of the images that creates downloaded.
    - `{image,cache,store}_{volumes,provisioned_gib,physical_gib}_{mean,peak}`: image-volumes,
      image = cache + store; means are time-weighted.
    - `price_month`: mean physical GiB and mean volumes of cache and store at the tier's prices;
      `all` is the sum.
    - `gib_per_point`: mean provisioned GiB of image-volumes per percentage point of clone-hit
      rate; NaN without hits.

    Raises RuntimeError unless the creates by source add up, and the errors are those without a source.
    """
    # Names are compared for each tier, source and status: as numbers, that is soon done.
    named = dict.fromkeys(("volume_type", "image_id", "source", "status"), "category")
    of = records.requests
    requests = pd.DataFrame({name: of[name] for name in (*named, "time", "end")}, copy=False).astype(named)
    others = records.others[["volume_type", "status"]]
    boot_timeout_s = case.scenario.boot_timeout_s
    rows = {name: (of_tier(requests, name), of_tier(others, name)) for name in (*case.scenario.tiers, ALL)}
    tallies = {name: tally(*of_row, case.images, boot_timeout_s) for name, of_row in rows.items()}
    percentiles = {name: _percentiles(seconds_of(of_row)) for name, (of_row, _) in rows.items()}
    return summary_of(tallies, percentiles, records.usage, case, strategy)


def summary_of(
    tallies: Mapping[str, pd.Series[float]],
    percentiles: Mapping[str, Sequence[float]],
    usage: pd.DataFrame,
    case: Case,
    strategy: str,
) -> pd.DataFrame:
    """`summary` from counts: by tier and for `all`, a `tally` and PERCENTILES of the seconds."""
    prices = case.scenario.tiers
    kinds = ("image", *OWNERS[1:])
    of_usage = pd.concat(
        [usage_columns(usage, "tier", prices, kinds), usage_columns(usage, ALL, [""], kinds)],
        ignore_index=True,
    )
    rows = [_row(tallies[name], percentiles[name]) for name in (*prices, ALL)]
    table = pd.DataFrame(rows).join(of_usage)
    table.insert(0, "tier", [*prices, ALL])
    table.insert(1, "strategy", strategy)
    table["price_month"] = _prices(table, case)
    points = 100 * table["clone_hit_rate"]
    table["gib_per_point"] = table["image_provisioned_gib_mean"] / points.where(points > 0)
    return table


def of_tier(creates: pd.DataFrame, tier: str) -> pd.DataFrame:
    """The rows of a tier; of ALL, every row."""
    return creates if tier == ALL else creates[creates["volume_type"] == tier]


def seconds_of(requests: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The seconds of the creates that succeed."""
    done = (requests["status"] == "available").to_numpy()
    seconds: npt.NDArray[np.float64] = requests["end"].to_numpy(float) - requests["time"].to_numpy(float)
    return seconds[done]


def tally(
    requests: pd.DataFrame, others: pd.DataFrame, images: Mapping[str, Image], boot_timeout_s: float
) -> pd.Series[float]:
    """Additive counts: creates by source, errors (also without an image), late ones, seconds, GiB."""
    by_source = {source: int((requests["source"] == source).sum()) for source in reversed(SOURCES)}
    errors = int((requests["status"] == "error").sum())
    if sum(by_source.values()) != len(requests) or by_source["none"] != errors:
        raise RuntimeError(f"{len(requests)} creates, {errors} errors, but sources {by_source}")
    seconds = seconds_of(requests)
    downloaded = requests.loc[requests["source"] == "download", "image_id"]
    gib_of = {image_id: image.size_bytes / GIB for image_id, image in images.items()}
    gib = downloaded.map(gib_of).astype("float64")
    return pd.Series(
        {
            **by_source,
            "creates": len(requests),
            "errors": errors,
            "other_errors": int((others["status"] == "error").sum()),
            "late": int((seconds > boot_timeout_s).sum()),
            "seconds": float(seconds.sum()),
            "downloaded_gib": float(gib.sum()),
        },
        dtype=float,
    )


def by_project(records: Records, case: Case) -> pd.DataFrame:
    """One row per project that asked for images, the busiest first.

    Columns: project ('' = none), creates, and the creates by source: driver, store, cache, download, none
    (errors).
    """
    events = case.trace.events
    asked = events[(events["event"] == "create") & (events["image_id"] != "")]
    projects = asked["project"].astype("str").to_numpy()
    table = pd.crosstab(projects, records.requests["source"].to_numpy(object))
    table = table.reindex(columns=list(reversed(SOURCES)), fill_value=0)
    table.insert(0, "creates", table.sum(axis=1))
    table = table.rename_axis(index="project", columns=None).reset_index()
    return table.sort_values(["creates", "project"], ascending=[False, True], ignore_index=True)


def uploads_of(records: Records, strategy: str) -> pd.DataFrame:
    """One row on the uploads of a run and on the creates from uploaded images; empty without uploads.

    Columns: strategy, uploads, errors, upload_s_p50 and upload_s_p95 (successful uploads; NaN without any);
    later_creates (creates from uploaded images), and how they ended: later_clones (driver, store and cache),
    later_downloads and later_errors.
    """
    uploads, requests = records.uploads, records.requests
    done = uploads[uploads["status"] == "active"]
    seconds = (done["end"] - done["time"]).to_numpy(np.float64)
    p50, p95, _ = _percentiles(seconds)
    later = requests[requests["image_id"].isin(uploads["image_id"])]
    row = {
        "strategy": strategy,
        "uploads": len(uploads),
        "errors": len(uploads) - len(done),
        "upload_s_p50": p50,
        "upload_s_p95": p95,
        "later_creates": len(later),
        "later_clones": int(later["source"].isin(CLONES).sum()),
        "later_downloads": int((later["source"] == "download").sum()),
        "later_errors": int((later["status"] == "error").sum()),
    }
    return pd.DataFrame([row] if len(uploads) else [], columns=list(row))


def _percentiles(seconds: npt.NDArray[np.float64]) -> list[float]:
    return np.percentile(seconds, PERCENTILES).tolist() if seconds.size else [np.nan] * len(PERCENTILES)


def _row(counted: pd.Series[float], percentiles: Sequence[float]) -> dict[str, float]:
    """The columns of one row of the summary that come from its creates."""
    creates, errors = int(counted["creates"]), int(counted["errors"])
    return {
        "creates": creates,
        "clone_hit_rate": _share(counted["driver"] + counted["store"] + counted["cache"], creates),
        "driver_hit_rate": _share(counted["driver"], creates),
        "store_hit_rate": _share(counted["store"], creates),
        "cache_hit_rate": _share(counted["cache"], creates),
        "create_s_mean": _share(counted["seconds"], creates - errors),
        **dict(zip(("create_s_p50", "create_s_p95", "create_s_p99"), percentiles, strict=True)),
        "boot_timeout_share": _share(counted["late"], creates),
        "errors": errors,
        "other_errors": int(counted["other_errors"]),
        "downloaded_gib": float(counted["downloaded_gib"]),
    }


def percentiles_of_many(
    passes: Callable[[], Iterable[Mapping[str, npt.NDArray[np.float64]]]], counts: Mapping[str, int]
) -> dict[str, list[float]]:
    """PERCENTILES by name, equal to numpy's, of more values than fit in memory; none may be negative.

    Each call of `passes` gives all values of all names again, in parts; `counts` tells how many they are.
    Four passes find the digits of the order statistics: floats that are not negative have the order of their
    bits.
    """
    found = {name: _order_statistics(count) for name, count in counts.items()}
    for shift in range(64 - DIGIT, -1, -DIGIT):
        counted: dict[str, Digits] = {
            name: {prefix: np.zeros(1 << DIGIT, np.int64) for prefix, _ in of_ranks.values()}
            for name, of_ranks in found.items()
        }
        for part in passes():
            for name, values in part.items():
                _count_digits(np.ascontiguousarray(values).view(np.uint64), shift, counted[name])
        for name, of_ranks in found.items():
            for rank, (prefix, within) in of_ranks.items():
                upto = np.cumsum(counted[name][prefix])
                digit = int(np.searchsorted(upto, within, side="right"))
                before = int(upto[digit - 1]) if digit else 0
                of_ranks[rank] = (prefix << DIGIT) | digit, within - before
    return {name: _of_statistics(found[name], count) for name, count in counts.items()}


def _places(count: int) -> list[float]:
    return [(count - 1) * (percent / 100) for percent in PERCENTILES]


def _order_statistics(count: int) -> dict[int, tuple[int, int]]:
    """By rank among all values: the leading bits, none so far, and the rank among the values with them."""
    ranks = {rank for place in _places(count) for rank in (math.floor(place), math.ceil(place))}
    return {rank: (0, rank) for rank in sorted(ranks)} if count else {}


def _count_digits(keys: npt.NDArray[np.uint64], shift: int, counted: Digits) -> None:
    for prefix, histogram in counted.items():
        first = shift + DIGIT == 64
        alike = keys if first else keys[keys >> np.uint64(shift + DIGIT) == prefix]
        digits = (alike >> np.uint64(shift)) & np.uint64((1 << DIGIT) - 1)
        histogram += np.bincount(digits.astype(np.int64), minlength=1 << DIGIT)


def _of_statistics(found: Mapping[int, tuple[int, int]], count: int) -> list[float]:
    if not count:
        return _percentiles(np.zeros(0))
    value = {rank: float(np.uint64(bits).view(np.float64)) for rank, (bits, _) in found.items()}
    return [
        _between(value[math.floor(at)], value[math.ceil(at)], at - math.floor(at)) for at in _places(count)
    ]


def _between(low: float, high: float, part: float) -> float:
    """Linear interpolation, as numpy rounds it (`numpy.lib._function_base_impl._lerp`)."""
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


def _share(part: float, whole: int) -> float:
    return part / whole if whole else np.nan


def _prices(table: pd.DataFrame, case: Case) -> list[float]:
    """Price a month of each tier's image-volumes, then their sum."""
    tiers = [
        tier.price_gib_month * gib + tier.price_volume_month * volumes
        for tier, gib, volumes in zip(
            case.scenario.tiers.values(),
            table["image_physical_gib_mean"][:-1],
            table["image_volumes_mean"][:-1],
            strict=True,
        )
    ]
    return [*tiers, float(sum(tiers))]


def usage_columns(
    usage: pd.DataFrame, scope: str, names: Iterable[str], kinds: Iterable[str]
) -> pd.DataFrame:
    """`{kind}_{quantity}_{mean|peak}` of one scope, a row per name (the index); 0 if none."""
    index = pd.Index(list(names))
    rows = usage[usage["scope"] == scope]
    columns = {}
    for kind in kinds:
        of_kind = rows[rows["kind"] == kind].set_index("name")
        for quantity in QUANTITIES:
            for stat in ("mean", "peak"):
                column = of_kind[f"{quantity}_{stat}"].reindex(index, fill_value=0.0)
                columns[f"{kind}_{quantity}_{stat}"] = column.astype(float)
    return pd.DataFrame(columns, index=index)


def pools_table(records: Records, case: Case) -> pd.DataFrame:
    """One row per pool, in scenario order, unused pools too.

    Columns: host, volume_type (several joined by ';'), requests, store_clones, cache_clones,
    driver_clones, downloads, errors (creates count on the pool where they ended; creates that no pool
    took do not count), other_errors (the same of creates without an image), then
    {user,cache,store}_{volumes,provisioned_gib,physical_gib}_{mean,peak},
    and orphans at the end of the run.
    """
    return pools_table_of(pool_counts(records.requests, records.others, case), records.usage, case)


def pool_counts(requests: pd.DataFrame, others: pd.DataFrame, case: Case) -> pd.DataFrame:
    """The columns of `pools_table` that count creates, by host (the index)."""
    hosts = pd.Index(list(case.scenario.pools()))
    host, source = requests["host"].astype("category"), requests["source"]
    counted = {
        "requests": host,
        "store_clones": host[source == "store"],
        "cache_clones": host[source == "cache"],
        "driver_clones": host[source == "driver"],
        "downloads": host[source == "download"],
        "errors": host[requests["status"] == "error"],
        "other_errors": others.loc[others["status"] == "error", "host"],
    }
    return pd.DataFrame({name: _count_by(column, hosts) for name, column in counted.items()}, index=hosts)


def pools_table_of(counts: pd.DataFrame, usage: pd.DataFrame, case: Case) -> pd.DataFrame:
    """`pools_table` from counts."""
    types = {host: ";".join(case.scenario.backend_at(host).volume_types) for host in case.scenario.pools()}
    hosts = counts.index
    table = counts.join(usage_columns(usage, "pool", hosts, OWNERS))
    table.insert(0, "volume_type", list(types.values()))
    of_pools = usage[usage["scope"] == "pool"]
    orphans = of_pools[of_pools["kind"] == "orphan"].set_index("name")["volumes_end"]
    table["orphans"] = orphans.reindex(hosts, fill_value=0).astype("int64")
    return table.rename_axis("host").reset_index()


def _count_by(column: pd.Series[Any], names: pd.Index[Any]) -> list[int]:
    """The number of rows of `column` for each of `names`."""
    counts = column.value_counts()
    return [int(counts.get(name, 0)) for name in names]
