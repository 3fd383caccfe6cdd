"""What a run of engine `fast` comes to, without the tables that a sweep would throw away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.fast.engine import Prepared
from sim.fast.state import ACCOUNTS, NONE, State
from sim.metrics import GIB, PERCENTILES
from sim.results import SOURCES
from sim.scenario import Scenario
from sim.usage import KINDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
DAY_S = 86_400
USED = ("user", "cache", "store", "image")
ACCOUNT_FIELDS = {"volumes": "volumes", "provisioned_gib": "provisioned", "physical_gib": "physical"}
DAILY = ("creates", "clones")


@dataclass(frozen=True)
class Groups:
    """Which creates belong to which of `names`: `code` a position, or NONE for none."""

    scope: str
    names: list[str]
    code: Ints


class Measurer:
    """Measures runs of one prepared case. `warm_up_s`: creates before it are left out."""

    def __init__(self, prepared: Prepared, warm_up_s: float = 0.0) -> None:
        self.prepared = prepared
        case, names = prepared.case, prepared.names
        asked = prepared.asked
        self.time = asked["time"].to_numpy(np.float64)
        self.chosen = self.time >= warm_up_s
        tier = {name: number for number, name in enumerate(names.tiers)}
        self.tier = asked["volume_type"].astype("str").map(tier).to_numpy(np.int64)
        sizes = {image.image_id: image.size_bytes / GIB for image in case.images.values()}
        self.gib = asked["image_id"].astype("str").map(sizes).to_numpy(np.float64)
        self.day = (self.time // DAY_S).astype(np.int64)
        self.days = int(self.day.max(initial=-1)) + 1
        self.last_event = float(case.trace.events["time"].iloc[-1])
        self.backend_of = np.array(
            [names.backends.index(host.partition("#")[0]) for host in names.hosts] + [NONE]
        )

    def rows(self, s: State, scenario: Scenario) -> list[dict[str, Any]]:
        """A row for each tier, pool and backend, and one for all.

        Columns are those of `sim.metrics.summary`, with `scope`, `name`, usage of users' volumes too, and
        `daily_creates` and `daily_clones` (lists, a day each). Usage of a backend is the sum over its pools:
        its peaks are bounds from above.
        """
        done = s.rows[: len(self.time)]
        host = done["host"].astype(np.int64)
        names = self.prepared.names
        seconds = np.where(done["available"], done["end"] - self.time, np.nan)
        end = max(self.last_event, float(done["end"].max(initial=0.0)), float(s.world[0]["last_change"]))
        usage = _usage(s, len(names.hosts) + len(names.tiers) + 1, end)
        pools, tiers = usage[: len(names.hosts)], usage[len(names.hosts) : -1]
        of_backend = [
            _added([pool for pool, its in zip(pools, self.backend_of, strict=False) if its == number])
            for number in range(len(names.backends))
        ]
        rows = []
        for groups, used in (
            (Groups("tier", names.tiers, self.tier), tiers),
            (Groups("pool", names.hosts, host), pools),
            (Groups("backend", names.backends, self.backend_of[host]), of_backend),
            (Groups("all", [""], np.zeros(len(host), np.int64)), usage[-1:]),
        ):
            rows += self._group(groups, done["source"].astype(np.int64), seconds, used, scenario)
        _add_prices(rows, scenario)
        return rows

    def _group(
        self,
        groups: Groups,
        source: Ints,
        seconds: Floats,
        usage: list[dict[str, float]],
        scenario: Scenario,
    ) -> list[dict[str, Any]]:
        chosen = self.chosen & (groups.code != NONE)
        code, source, seconds = groups.code[chosen], source[chosen], seconds[chosen]
        count = len(groups.names)
        by_source = np.bincount(code * len(SOURCES) + source, minlength=count * len(SOURCES))
        by_source = by_source.reshape(count, len(SOURCES))
        made = ~np.isnan(seconds)
        late = np.bincount(code[made & (seconds > scenario.boot_timeout_s)], minlength=count)
        download = source == SOURCES.index("download")
        gib = np.bincount(code[download], self.gib[chosen][download], count)
        day = self.day[chosen]
        clone = source > SOURCES.index("download")
        daily = [
            np.bincount(code[these] * self.days + day[these], minlength=count * self.days).reshape(count, -1)
            for these in (np.ones(len(code), bool), clone)
        ]
        order = np.lexsort((seconds[made], code[made]))
        ordered = np.split(seconds[made][order], np.cumsum(np.bincount(code[made], minlength=count))[:-1])
        return [
            {
                "scope": groups.scope,
                "name": name,
                **_counted(by_source[number], ordered[number], int(late[number])),
                "downloaded_gib": float(gib[number]),
                **usage[number],
                **{f"daily_{what}": table[number].tolist() for what, table in zip(DAILY, daily, strict=True)},
            }
            for number, name in enumerate(groups.names)
        ]


def _counted(by_source: Ints, seconds: Floats, late: int) -> dict[str, float]:
    creates = int(by_source.sum())
    of = dict(zip(SOURCES, by_source.tolist(), strict=True))
    percentiles = (
        np.percentile(seconds, PERCENTILES).tolist() if len(seconds) else [np.nan] * len(PERCENTILES)
    )

    def share(part: float) -> float:
        return part / creates if creates else np.nan

    return {
        "creates": creates,
        "clone_hit_rate": share(of["driver"] + of["store"] + of["cache"]),
        "driver_hit_rate": share(of["driver"]),
        "store_hit_rate": share(of["store"]),
        "cache_hit_rate": share(of["cache"]),
        "create_s_mean": float(seconds.mean()) if len(seconds) else np.nan,
        **{f"create_s_p{percent}": value for percent, value in zip(PERCENTILES, percentiles, strict=True)},
        "boot_timeout_share": share(late),
        "errors": of["none"],
    }


def _usage(s: State, scopes: int, end: float) -> list[dict[str, float]]:
    """Means and peaks of each scope, as `sim.fast.engine.usage_of` has them."""
    accounts = s.accounts.reshape(scopes, ACCOUNTS)
    held = end - accounts["since"]
    columns: dict[str, Floats] = {}
    for number, kind in enumerate(KINDS):
        if kind not in USED:
            continue
        for quantity, field in ACCOUNT_FIELDS.items():
            level = accounts[field][:, number].astype(np.float64)
            area = accounts[f"{field}_area"][:, number]
            columns[f"{kind}_{quantity}_mean"] = (area + held[:, number] * level) / end if end > 0 else level
            columns[f"{kind}_{quantity}_peak"] = accounts[f"{field}_peak"][:, number].astype(np.float64)
    table = np.stack(list(columns.values()), axis=1).tolist()
    return [dict(zip(columns, row, strict=True)) for row in table]


def _added(pools: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(pool[name] for pool in pools) for name in pools[0]}


def _add_prices(rows: list[dict[str, Any]], scenario: Scenario) -> None:
    """`price_month` and `gib_per_point`; a pool or backend of several tiers has no price of its own."""
    total = 0.0
    for row in rows:
        tiers = [row["name"]]
        if row["scope"] in ("pool", "backend"):
            tiers = list(scenario.backends[row["name"].partition("#")[0]].volume_types)
        price = np.nan
        if row["scope"] != "all" and len(tiers) == 1:
            tier = scenario.tiers[tiers[0]]
            price = tier.price_gib_month * row["image_physical_gib_mean"]
            price += tier.price_volume_month * row["image_volumes_mean"]
        if row["scope"] == "tier":
            total += price
        row["price_month"] = total if row["scope"] == "all" else price
        hits = 100 * row["clone_hit_rate"]
        row["gib_per_point"] = row["image_provisioned_gib_mean"] / hits if hits > 0 else np.nan
