"""What a run comes to: hit rates, times, space and cost, by pure functions on its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.results import Records, usage_columns

if TYPE_CHECKING:
    from sim.scenario import Case

GIB = 2**30
ALL = "all"  # the summary's last row
SOURCES = ("driver", "store", "cache", "download", "none")


def summary(records: Records, case: Case, strategy: str) -> pd.DataFrame:
    """One row per tier, in scenario order, then `all`.

    Columns:
        tier, strategy, creates.
        clone_hit_rate = (driver + store + cache clones) / creates, so errors count against it;
        driver_hit_rate, store_hit_rate, cache_hit_rate: of one source. NaN without creates.
        create_s_mean, create_s_p50, create_s_p95, create_s_p99: seconds of the creates that
        succeed (percentiles interpolate linearly between order statistics, numpy's default);
        NaN if none does.
        boot_timeout_share: creates that succeed, but after more than `boot_timeout_s`, / creates.
        errors. downloaded_gib: the images' `size_bytes`, of the creates that a download made.
        {image,cache,store}_{volumes,provisioned_gib,physical_gib}_{mean,peak}: image-volumes,
        image = cache + store; means are time-weighted.
        price_month: mean physical GiB and mean volumes of cache and store at the tier's prices;
        `all` is the sum.
        gib_per_point: mean provisioned GiB of image-volumes per percentage point of clone-hit
        rate; NaN without hits.

    Raises RuntimeError unless creates are the sum of their sources, and errors those without one.
    """
    prices = case.scenario.tiers
    usage = pd.concat(
        [
            usage_columns(records.usage, "tier", prices, ("image", "cache", "store")),
            usage_columns(records.usage, ALL, [""], ("image", "cache", "store")),
        ],
        ignore_index=True,
    )
    requests = records.requests.assign(
        seconds=records.requests["end"] - records.requests["time"],
        gib=records.requests["image_id"].map(
            {image_id: image.size_bytes / GIB for image_id, image in case.images.items()}
        ),
    )
    of_tiers = [requests[requests["volume_type"] == tier] for tier in prices]
    rows = [_of_requests(chosen, case.scenario.boot_timeout_s) for chosen in (*of_tiers, requests)]
    table = pd.DataFrame(rows).join(usage)
    table.insert(0, "tier", [*prices, ALL])
    table.insert(1, "strategy", strategy)
    table["price_month"] = _prices(table, case)
    points = 100 * table["clone_hit_rate"]
    table["gib_per_point"] = table["image_provisioned_gib_mean"] / points.where(points > 0)
    return table


def _of_requests(requests: pd.DataFrame, boot_timeout_s: float) -> dict[str, float]:
    """What the creates of one row come to; `requests` has their `seconds` and `gib`, too."""
    creates = len(requests)
    by_source = {source: int((requests["source"] == source).sum()) for source in SOURCES}
    errors = int((requests["status"] == "error").sum())
    if sum(by_source.values()) != creates or by_source["none"] != errors:
        raise RuntimeError(f"{creates} creates, {errors} errors, but sources {by_source}")
    clones = by_source["driver"] + by_source["store"] + by_source["cache"]
    seconds = requests.loc[requests["status"] == "available", "seconds"].to_numpy(dtype=float)
    percentiles = np.percentile(seconds, (50, 95, 99)).tolist() if seconds.size else [np.nan] * 3
    return {
        "creates": creates,
        "clone_hit_rate": _share(clones, creates),
        "driver_hit_rate": _share(by_source["driver"], creates),
        "store_hit_rate": _share(by_source["store"], creates),
        "cache_hit_rate": _share(by_source["cache"], creates),
        "create_s_mean": float(seconds.mean()) if seconds.size else np.nan,
        **dict(zip(("create_s_p50", "create_s_p95", "create_s_p99"), percentiles, strict=True)),
        "boot_timeout_share": _share(int((seconds > boot_timeout_s).sum()), creates),
        "errors": errors,
        "downloaded_gib": float(requests.loc[requests["source"] == "download", "gib"].sum()),
    }


def _share(part: int, whole: int) -> float:
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
