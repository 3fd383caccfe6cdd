"""Tables that pages show, out of docs/figures/runs.csv and real.csv. Nothing is simulated here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
HITS, P95, GIB, PRICE = "clone_hit_rate", "create_s_p95", "image_provisioned_gib_mean", "price_month"
HEADINGS = {
    HITS: "clone hits %",
    "create_s_mean": "mean s",
    P95: "p95 s",
    "errors": "failed",
    GIB: "image GiB",
    PRICE: "price a month",
}
STRATEGIES = ("none", "store-only", "replicated-store", "on-demand-store", "cache-only", "combined")
WHAT_IFS = (
    *("lock_per_pool", "refused_without_lock", "retry_clone_limit", "limits_per_backend", "fill_lock"),
    *("evict_for_users", "prefer_clones", "prefetch", "all", "all+prefetch"),
)
SMALL = ("full_arrays", "placement", "what_ifs", "generated", "golden_images")
POLICIES = ("sieve", "gdsf", "belady")
UPLOADS = ("copy", "no-op", "raw-twin-location", "raw-twin-cache")
SHARES = (0, 25, 50, 75, 90, 100)  # % of the lines of images that are raw
NODES = {
    "three-backends": "three backends on `c1`, `c2` and `c3`",
    "one-backend-node": "one backend, `nodes: [c1, c2, c3]`, with `lock_scope: node`",
    "one-backend-cloud": "one backend, `nodes: [c1, c2, c3]`, with `lock_scope: cloud`",
}
Row = dict[str, str]


def runs() -> pd.DataFrame:
    """The simulated figures by the names of their rows, those of the real month too."""
    return pd.concat(pd.read_csv(HERE / name, index_col="run") for name in ("runs.csv", "real.csv"))


def tables(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table by the name of its file."""
    made = {
        "front": _front(found),
        "ways_month": _ways(found, "month"),
        "ways_full": _ways(found, "two_tiers"),
        "others": _others(found),
        "nodes": _nodes(found),
        "eviction": _eviction(found),
        "store_home": _store_home(found),
        "uploads": _uploads(found),
        "raw_share_month": _raw_share(found, "month"),
        "raw_share": _raw_share(found, "two_tiers"),
    }
    return {name: pd.DataFrame(rows).fillna("") for name, rows in made.items()}


def text(value: float, measure: str, like: float | None = None) -> str:
    """A figure as tables show it, with the decimals of `like` if that is given; shares are in %."""
    size = abs(value if like is None else like)
    if "_rate" in measure:
        return f"{100 * value:z.1f}"
    decimals = {P95: size < 99.95, PRICE: int(size > 0) + int(0 < size < 9.995)}.get(
        measure, measure == "create_s_mean"
    )
    return f"{value:z,.{int(decimals)}f}"


def cell(row: pd.Series, measure: str) -> str:
    """A figure, ± half its interval if it has one."""
    half = row[measure] - row.get(f"{measure}_low", float("nan"))
    shown = text(row[measure], measure)
    return f"{shown} ± {text(half, measure, row[measure])}" if half > 1e-9 else shown


def _cells(row: pd.Series, measures: Iterable[str]) -> Row:
    """Figures by their headings. Failures come in few storms: an interval over days says little of them."""
    shown = {each: text(row[each], each) if each == "errors" else cell(row, each) for each in measures}
    return {HEADINGS[each]: told for each, told in shown.items()}


def _front(found: pd.DataFrame) -> list[Row]:
    """The shipped month by tier, with the strategies that Cinder has."""
    return [
        {"tier": tier, "strategy": f"`{name}`"}
        | _cells(found.loc[f"month/{tier}/{name}"], (HITS, "create_s_mean", P95, GIB, PRICE))
        for tier in ("flash", "disk")
        for name in ("none", "store-only", "cache-only", "combined")
    ]


def _ways(found: pd.DataFrame, scenario: str) -> list[Row]:
    """Every strategy, and every what-if of the cache and of both that changes a figure."""
    measures = [each for each in HEADINGS if each != "create_s_mean"]
    failing = found.loc[found.index.str.startswith(f"{scenario}/all/"), "errors"].any()
    shown = [each for each in measures if failing or each != "errors"]
    rows = []
    for strategy in STRATEGIES:
        base = found.loc[f"{scenario}/all/{strategy}"]
        rows.append({"": f"`{strategy}`"} | _cells(base, shown))
        for change in WHAT_IFS:
            name = f"{scenario}/all/{strategy}+{change}"
            if name in found.index and not found.loc[name, measures].equals(base[measures]):
                row = found.loc[name]
                more = f"{HITS}_more"
                paired = {"more hits": cell(row, more)} if pd.notna(row[more]) else {}
                rows.append({"": f"… `{change}`"} | _cells(row, shown) | paired)
    return rows


def _others(found: pd.DataFrame) -> list[Row]:
    """The what-ifs of the cache on the small scenarios."""
    return [
        {"": f"`{change}`" if change else "Cinder as it is"}
        | {
            f"`{name}.yaml`": " / ".join(text(row[each], each) for each in (HITS, P95, "errors", PRICE))
            for name in SMALL
            for row in (found.loc[f"{name}/all/cache-only" + f"+{change}" * bool(change)],)
        }
        for change in ("", *WHAT_IFS)
    ]


def _nodes(found: pd.DataFrame) -> list[Row]:
    """One pool a tier or several, with the cache."""
    return [
        {"each tier is": told} | _cells(found.loc[f"month-{name}/all/cache-only"], (HITS, P95, GIB, PRICE))
        for name, told in NODES.items()
    ]


def _eviction(found: pd.DataFrame) -> list[Row]:
    """Clone hits of the cache with each eviction policy."""
    places = {"`two_tiers.yaml`, flash": "two_tiers/flash", "`month.yaml`, all": "month/all"}
    return [
        {"clone hits %, `cache-only`": told}
        | {
            f"`{policy}`" if policy else "`lru`, Cinder's": cell(
                found.loc[f"{name}/cache-only" + f"+{policy}" * bool(policy)], HITS
            )
            for policy in ("", *POLICIES)
        }
        for told, name in places.items()
    ]


def _store_home(found: pd.DataFrame) -> list[Row]:
    """The store on flash and on disk."""
    names = {
        "`store-only`, on flash": "store-only",
        "`store-only`, on disk": "store-only+on-disk",
        "`cache-only`": "cache-only",
        "`combined`, on flash": "combined",
        "`combined`, on disk": "combined+on-disk",
    }
    return [
        {"": told} | _cells(found.loc[f"month/all/{name}"], (HITS, P95, GIB, PRICE))
        for told, name in names.items()
    ]


def _uploads(found: pd.DataFrame) -> list[Row]:
    """Methods of uploads: their median seconds, and the hits (mean GiB) of each strategy."""
    return [
        {
            "`upload:`": f"`{upload}`",
            "p50 s": text(found.at[f"golden_images/uploads/{upload}", "upload_s_p50"], "errors"),
        }
        | {
            f"`{name}`": f"{text(row[HITS], HITS)} ({text(row[GIB], GIB)})"
            for name in ("store-only", "cache-only", "combined", "on-demand-store")
            for row in (found.loc[f"golden_images/all/{name}+upload={upload}"],)
        }
        for upload in UPLOADS
    ]


def _raw_share(found: pd.DataFrame, scenario: str) -> list[Row]:
    """Hits / p95 / price of each strategy, by the share of raw images."""
    rows = []
    for share in SHARES:
        names = {name: found.loc[f"{scenario}-raw-{share}/all/{name}"] for name in STRATEGIES[1:]}
        creates = names["cache-only"]["raw_creates_rate"]
        rows.append(
            {"raw lines %": str(share), "raw creates %": text(creates, "raw_creates_rate")}
            | {
                f"`{name}`": " / ".join(text(row[each], each) for each in (HITS, P95, PRICE))
                for name, row in names.items()
            }
        )
    return rows
