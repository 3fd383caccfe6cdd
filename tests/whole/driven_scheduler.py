"""Driven cases of the scheduler: reports of drivers, what volume types ask for, services that come and go."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cinder import objects
from cinder.common import constants

from . import cloud
from .build import TIER, Builder
from .odd import Alike, Odd, driven
from .process import admin
from .registry import small

_stats = cloud.SimDriver.get_volume_stats


def reporting(change: Any) -> tuple[Any, str, Any]:
    """A patch: drivers' reports are changed in place, by `change(name of the backend, report, driver)`."""

    def get_volume_stats(self: Any, refresh: bool = False) -> dict[str, Any]:
        stats = _stats(self, refresh)
        change(self.configuration.config_group, stats, self)
        return stats

    return cloud.SimDriver, "get_volume_stats", get_volume_stats


def by_tier(requests: Any) -> dict[str, str]:
    """Of each volume type: the status of its creates, or where they are."""
    return dict(
        zip(requests.volume_type, requests.host.where(requests.status == "available", "error"), strict=True)
    )


ODD_POOLS: dict[str, dict[str, Any]] = {
    "unknown": {"free_capacity_gb": "unknown", "total_capacity_gb": "unknown"},
    "no_total": {"total_capacity_gb": "unknown"},
    "no_total_reserved": {"total_capacity_gb": "infinite", "reserved_percentage": 10},
    "empty": {"total_capacity_gb": 0, "free_capacity_gb": 0},
    "none": {"free_capacity_gb": None},
    "ratio": {"max_over_subscription_ratio": 0.5},
    "short": {},
    "no_protocol": {},
}


@driven
def pools_that_report_oddly(folder: Path) -> None:
    """Free space that is not known passes; none, and a ratio below 1, do not."""

    def change(name: str, stats: dict[str, Any], _: Any) -> None:
        stats["pools"][0].update(ODD_POOLS[name])
        if name == "short":
            del stats["pools"][0]["thick_provisioning_support"]
        if name == "no_protocol":
            del stats["storage_protocol"]

    b = Builder(*small(1), tiers=dict.fromkeys(ODD_POOLS, TIER))
    for number, name in enumerate(ODD_POOLS):
        b.backend(name, name, pools={"p0": {"capacity_gib": 100}})
        b.create(number, "i0", "", volume_type=name).create(70 + number, "i0", "", volume_type=name)
    requests = Odd(b.case(folder), "cache-only", reporting(change)).execute().requests
    passed = {"unknown", "no_total", "short", "no_protocol"}
    assert by_tier(requests) == {name: f"{name}#p0" if name in passed else "error" for name in ODD_POOLS}
    refused = requests[~requests.volume_type.isin(passed)]
    assert refused.error.str.startswith("NoValidBackend").all() and set(refused.attempts) == {0}


PROTOCOLS = {
    "iscsi": (constants.ISCSI, constants.ISCSI_VARIANT),
    "fc": (constants.FC, constants.FC_VARIANT_1),
    "nfs": (constants.NFS, constants.NFS_VARIANT),
    "nvme": (constants.NVMEOF, constants.NVMEOF_VARIANT_1),
}


@driven
def protocols_with_other_names(folder: Path) -> None:
    """A volume type that asks for a protocol finds the driver that reports another name of it."""

    def change(name: str, stats: dict[str, Any], _: Any) -> None:
        stats["storage_protocol"] = PROTOCOLS[name][0]

    b = Builder(*small(1), tiers=dict.fromkeys(PROTOCOLS, TIER))
    for name in PROTOCOLS:
        b.backend(name, name, pools={"p0": {"capacity_gib": 100}}).create(0, "i0", "", volume_type=name)
    types = {name: {"storage_protocol": asked} for name, (_, asked) in PROTOCOLS.items()}
    whole = Odd(b.case(folder), "cache-only", reporting(change), types=types).execute()
    assert by_tier(whole.requests) == {name: f"{name}#p0" for name in PROTOCOLS}


@driven
def drivers_without_pools(folder: Path) -> Alike:
    """Their one pool is called after the backend's name, or `_pool0`."""

    def change(_: str, stats: dict[str, Any], driver: Any) -> None:
        pool = stats.pop("pools")[0]
        del pool["pool_name"]
        stats.update(pool)
        if driver.tiers == ("disk",):
            stats.update(volume_backend_name=None, vendor_name="other")

    b = Builder(*small(2), tiers={"flash": TIER, "disk": TIER}, cinder={"backend_stats_polling_interval": 20})
    b.backend("a", pools={"flash": {"capacity_gib": 90}}, max_over_subscription_ratio=1.0)
    b.backend("b", "disk", pools={"_pool0": {"capacity_gib": 90}}, max_over_subscription_ratio=1.0)
    for number in range(10):
        b.create(9.37 * number, f"i{number % 2}", "", 25, volume_type=("flash", "disk")[number // 2 % 2])
    case = b.delete(70.1, "v0").case(folder)
    types = {"disk": {"vendor_name": "other"}}
    whole = Odd(case, "cache-only", reporting(change), types=types).execute()
    assert set(whole.requests.host) == {"a#flash", "b#_pool0", ""}
    return case, "cache-only", whole


@driven
def a_backend_that_gets_another_name(folder: Path) -> None:
    """A driver without pools: its pool is a new one then, and the old one is gone."""
    name = {"now": "flash"}

    def change(_: str, stats: dict[str, Any], __: Any) -> None:
        pool = stats.pop("pools")[0]
        stats.update(pool, volume_backend_name=name["now"])

    b = Builder(*small(1), cinder={"backend_stats_polling_interval": 20})
    b.backend("a", pools={each: {"capacity_gib": 90} for each in ("flash", "renamed")})
    b.create(0, "i0", "").create(30.1, "i0", "").create(60.1, "i0", "")
    types = {"flash": {"vendor_name": "sim"}}
    at = {25.0: lambda _: name.update(now="renamed")}
    hosts = Odd(b.case(folder), "cache-only", reporting(change), types=types, at=at).execute().requests.host
    assert list(hosts) == ["a#flash", "a#flash", "a#renamed"]


@driven
def pools_that_come_and_go(folder: Path) -> None:
    """Volumes go to the pools of the last report, or nowhere."""
    shown = {"p0", "p1"}

    def change(_: str, stats: dict[str, Any], __: Any) -> None:
        stats["pools"] = [pool for pool in stats["pools"] if pool["pool_name"] in shown]

    def turn(_: Odd) -> None:
        shown.remove("p1")
        shown.add("p2")

    pools = {f"p{number}": {"capacity_gib": 100 + 100 * number} for number in range(3)}
    b = Builder(*small(1), cinder={"backend_stats_polling_interval": 20}).backend("a", pools=pools)
    b.create(0, "i0", "").create(30.1, "i0", "").create(70.1, "i0", "")
    at = {10.0: turn, 50.0: lambda _: shown.clear()}
    whole = Odd(b.case(folder), "cache-only", reporting(change), at=at).execute()
    assert list(whole.requests.host) == ["a#p1", "a#p2", ""]


@driven
def functions_of_the_whole_backend(folder: Path) -> Alike:
    """`filter_function` and `goodness_function` come with the report, not with each pool."""

    def change(_: str, stats: dict[str, Any], __: Any) -> None:
        for pool in stats["pools"]:
            del pool["filter_function"], pool["goodness_function"]

    b = Builder(*small(1))
    b.scenario["cinder"] = {
        "scheduler_default_filters": ["DriverFilter", "CapacityFilter", "CapabilitiesFilter"],
        "scheduler_default_weighers": ["GoodnessWeigher"],
    }
    functions = {"filter_function": "volume.size < 9", "goodness_function": "capabilities.free_capacity_gb"}
    b.backend("a", pools={"p0": {"capacity_gib": 90}, "p1": {"capacity_gib": 80}}, thin=False, **functions)
    b.backend("b", pools={"p0": {"capacity_gib": 95}}, thin=False)
    for number, size in enumerate((5, 5, 9, 8)):
        b.create(8.37 * number, "i0", "", size)
    case = b.case(folder)
    return case, "cache-only", Odd(case, "cache-only", reporting(change)).execute()


@driven
def what_volume_types_ask_for(folder: Path) -> Alike:
    """Operators and scopes; what is a driver's own; a volume type without extra specs fits everywhere."""
    b = Builder(*small(3), tiers={"flash": TIER, "disk": TIER}, cinder={"backend_stats_polling_interval": 20})
    b.backend("a", ["flash", "disk"], pools={"p0": {"capacity_gib": 80}, "p1": {"capacity_gib": 70}})
    b.backend("b", "disk", pools={"p0": {"capacity_gib": 100}}, thin=False)
    for number in range(12):
        b.create(7.37 * number, f"i{number % 3}", "", 12, volume_type=("flash", "disk", "disk")[number % 3])
    case = b.delete(60.1, "v1").case(folder)
    flash = {
        "capabilities:volume_backend_name": "<or> silver <or> flash",
        "thin_provisioning_support": "<is> True",
        "capabilities:vendor_name": "<in> si",
        "total_capacity_gb": ">= 50",
        "reserved_percentage": "== 0",
        "driver_version": "s!= 2",
        "hpe3par:provisioning": "thin",
    }
    return case, "cache-only", Odd(case, "cache-only", types={"flash": flash, "disk": {}}).execute()


@driven
def thick_volumes_of_thin_arrays(folder: Path) -> Alike:
    """`provisioning:type` thick: the scheduler looks at the free space, as for an array that is not thin."""

    def change(_: str, stats: dict[str, Any], __: Any) -> None:
        for pool in stats["pools"]:
            pool.update(thin_provisioning_support=True, max_over_subscription_ratio=20.0)

    b = Builder(*small(3), cinder={"backend_stats_polling_interval": 20}, upload="no-op")
    pools = {"p0": {"capacity_gib": 60}, "p1": {"capacity_gib": 50}}
    b.backend("a", pools=pools, thin=False, reserved_percentage=10, image_volume_cache_max_count=1)
    for number in range(14):
        b.create(7.37 * number, f"i{number % 3}", "", 9)
    case = b.delete(60.1, "v1").delete(61.3, "v2").create(130.1, "i0", "").case(folder)
    types = {"flash": {"volume_backend_name": "flash", "provisioning:type": "thick"}}
    whole = Odd(case, "cache-only", reporting(change), types=types).execute()
    assert {"available", "error"} == set(whole.requests.status)
    return case, "cache-only", whole


@driven
def services_that_are_down(folder: Path) -> None:
    """Neither they nor disabled ones get volumes; without any, there is no valid backend."""
    down: set[str] = set()

    def disable(run: Odd) -> None:
        service = objects.Service.get_by_args(admin(), "c1@b", "cinder-volume")
        service.disabled = True
        service.save()

    b = Builder(*small(1))
    for name, capacity in (("a", 300), ("b", 200), ("c", 100)):
        b.backend(name, pools={"p0": {"capacity_gib": capacity}}, node="c1", thin=False)
    for number in range(4):
        b.create(10 + 20 * number, "i0", "", 5)
    at = {
        25.0: lambda _: down.add("c1@a"),
        45.0: disable,
        65.0: lambda _: down.update(("c1@b", "c1@c")),
    }
    is_up = property(lambda service: service.host not in down)
    requests = Odd(b.case(folder), "cache-only", (objects.Service, "is_up", is_up), at=at).execute().requests
    assert list(requests.host) == ["a#p0", "b#p0", "c#p0", ""]
    assert requests.error[3].startswith("NoValidBackend")


@driven
def services_that_become_a_cluster(folder: Path) -> None:
    """Until the cluster reports, the last reports of its services count; an older one is not read."""
    down: set[str] = set()
    b = Builder(*small(1), cinder={"backend_stats_polling_interval": 1000})
    b.backend("a", pools={"p0": {"capacity_gib": 500}}, nodes=["c1", "c2"], cluster=True, thin=False)
    for number in range(4):
        b.create(10 + 20 * number, "i0", "")

    def rows() -> list[Any]:
        return [objects.Service.get_by_args(admin(), f"{node}@a", "cinder-volume") for node in ("c1", "c2")]

    def apart(run: Odd) -> None:
        """Two services, of which the second has reported before the first, and tells of less space."""
        hosts = run.scheduler.driver.host_manager
        hosts.service_states.clear()
        for row, free, second in zip(rows(), (500, 400), (6, 4), strict=True):
            row.cluster_name = None
            row.save()
            stats = run.services["a"][0].manager.driver.get_volume_stats()
            stats["pools"][0]["free_capacity_gb"] = free
            stamp = run.start + datetime.timedelta(seconds=second)
            run.scheduler.driver.update_service_capabilities("volume", row.host, stats, None, stamp)
            early = stamp - datetime.timedelta(seconds=1)  # comes late
            run.scheduler.driver.update_service_capabilities("volume", row.host, {"pools": []}, None, early)

    def cluster(_: Odd) -> None:
        for row in rows():
            row.cluster_name = "cl@a"
            row.save()

    seen: list[tuple[list[str], Any]] = []

    def look(run: Odd) -> None:
        states = run.scheduler.driver.host_manager.backend_state_map
        seen.append(
            (sorted(states), [s.pools["p0"].capabilities["free_capacity_gb"] for s in states.values()])
        )

    at = {
        5.0: lambda _: None,
        6.5: apart,
        20.0: look,
        25.0: cluster,
        40.0: look,
        45.0: lambda _: down.add("c1@a"),
        60.0: look,
    }
    is_up = property(lambda service: service.host not in down)
    requests = Odd(b.case(folder), "cache-only", (objects.Service, "is_up", is_up), at=at).execute().requests
    assert set(requests.status) == {"available"} and set(requests.host) == {"a#p0"}
    assert seen == [(["c1@a", "c2@a"], [500, 400]), (["cl@a"], [500]), (["cl@a"], [500])]


@driven
def a_weigher_that_does_not_exist(folder: Path) -> None:
    """The scheduler starts with it, and places nothing."""
    b = Builder(*small(1)).backend("a").create(0, "i0", "").create(1.1, "i0")
    given = {(None, "scheduler_default_weighers"): ["CapacityWeigher", "CapacityWeigger"]}
    requests = Odd(b.case(folder), given=given).execute().requests
    assert list(requests.status) == ["error", "available"]
    assert requests.error[0].startswith("SchedulerHostWeigherNotFound")
