"""Cases built in memory, and strategies that draw them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from hypothesis import strategies as st

from sim.inputs.images import Image
from sim.inputs.scenario import BadInput, Case, Scenario, WhatIf
from sim.inputs.strategies import STRATEGIES
from sim.inputs.trace import EVENTS, Trace, empty_initial
from sim.model.initial import place

GIB = 2**30
NEW = "new"  # the ids of images that may be uploaded begin so
COLUMNS: dict[str, Any] = {
    "time": 0.0,
    "event": "create",
    "volume_id": "",
    "image_id": "",
    "size_gib": 0,
    "volume_type": "",
    "host": "",
    "project": "",
    "encrypted": False,
    "first_host": "",
    "availability_zone": "",
    "snapshot_id": "",
}
# Between events: many of them at once, some within one reading of the clock, some after a long time.
STEPS = (0.0, 0.0, 0.5, 1.0, 3.0, 10.0, 40.0, 300.0, 0.0, 1e-7, 0.1234565, 3e6)


def image(name: str, gib: float = 1, fmt: str = "raw", **more: Any) -> dict[str, Any]:
    """A row of an image list; the file of an image that is not raw is half its virtual size."""
    size = int(gib * GIB)
    return {
        "image_id": name,
        "name": name,
        "disk_format": fmt,
        "container_format": "bare",
        "size_bytes": size if fmt == "raw" else size // 2,
        "virtual_size_bytes": size,
        **more,
    }


def create(time: float, volume_id: str, image_id: str, host: str = "a#p0", **more: Any) -> dict[str, Any]:
    """A create of 8 GiB on tier `flash`."""
    given = {"time": time, "volume_id": volume_id, "image_id": image_id, "host": host}
    return {"event": "create", "size_gib": 8, "volume_type": "flash", **given, **more}


def case_of(
    scenario: dict[str, Any],
    images: list[dict[str, Any]],
    events: list[dict[str, Any]],
    initial: list[dict[str, Any]] | None = None,
) -> Case:
    """A checked scenario with its images, events in order, and what exists at the start."""
    tiers = scenario.get("tiers", {"flash": {}})
    raw = {**scenario, "tiers": tiers, "images": images, "workload": {"trace": "trace.csv"}}
    spec = Scenario.model_validate(raw)
    assert all(isinstance(each, Image) for each in spec.images)
    frame = pd.DataFrame([COLUMNS | event for event in events], columns=list(COLUMNS))
    frame = frame.astype({"time": float, "size_gib": "int64", "encrypted": bool})
    frame["event"] = pd.Categorical(frame["event"], EVENTS)
    before = empty_initial()
    if initial:
        before = pd.DataFrame([{"project": "", **row} for row in initial], columns=before.columns)
    trace = Trace(frame, None, Path("trace.csv"))
    return Case(Path("scenario.yaml"), spec, {each.image_id: each for each in spec.images}, trace, before)


def one_pool(**backend: Any) -> dict[str, Any]:
    """A scenario of one backend `a` with one pool `p0`; nothing takes time unless told."""
    return {"backends": {"a": {"volume_type": "flash", "pools": {"p0": {}}, **backend}}}


def gib_of(each: Image) -> int:
    """What an entry of an image takes of the cache's size limit."""
    return math.ceil(each.virtual_size_bytes / GIB)


# -- what is drawn: the plain value comes first, as examples shrink towards it -------------------

PLAIN_IMAGES = st.builds(
    lambda gib, fmt, container, owner: {
        **image("", gib, fmt.removesuffix("+"), container_format=container, owner=owner),
        **({"size_bytes": GIB // 3} if fmt == "raw+" else {}),  # a file that is not all of the content
    },
    st.sampled_from((1, 2, 3, 0.6, 1.3)),
    st.sampled_from(("raw",) * 7 + ("qcow2",) * 4 + ("raw+",)),
    st.sampled_from(("bare",) * 5 + ("ovf",)),
    st.sampled_from(("",) * 11 + ("alice",)),
)
WHOSE = st.sampled_from(
    ({},) * 8
    + (
        {"owner": "alice", "visibility": "shared", "members": ["bob"]},
        {"owner": "alice", "visibility": "public", "image_owner": "carol"},
        {"image_owner": "bob"},
    )
)
IMAGES = st.builds(lambda plain, whose: plain | whose, PLAIN_IMAGES, WHOSE)
MINIMUM = st.sampled_from(({},) * 9 + ({"min_disk": 5},))
NEW_IMAGES = st.sampled_from((0, 0, 1, 3, 5))
SECONDS = st.sampled_from((0.0, 0.5, 2.0, 7.0, 1.3, 30.0))
ZERO = dict.fromkeys(("create_s", "clone_s", "delete_s", "extend_s"), st.just(0.0))
SOME = dict.fromkeys(ZERO, SECONDS) | {
    "write_mib_s": st.sampled_from((None, 100, 400)),
    "convert_mib_s": st.sampled_from((None, 200)),
    "read_mib_s": st.sampled_from((None, 150)),
    "write_streams": st.sampled_from((None, 1, 2)),
}


MULTIPLIERS = st.sampled_from((1.0, -1.0, 0.0, 0.3, -2.5))
WEIGHING = st.fixed_dictionaries(
    {
        "scheduler_default_weighers": st.permutations(
            ("CapacityWeigher", "AllocatedCapacityWeigher", "VolumeNumberWeigher")
        ).flatmap(lambda names: st.sampled_from((names[:1], names[:2], names, []))),
        "capacity_weight_multiplier": MULTIPLIERS,
        "allocated_capacity_weight_multiplier": MULTIPLIERS,
        "volume_number_multiplier": MULTIPLIERS,
        "scheduler_weight_handler": st.sampled_from(
            ("OrderedHostWeightHandler",) * 2 + ("StochasticHostWeightHandler",)
        ),
    }
)


def quotas(draw: st.DrawFn, whole: bool) -> dict[str, Any]:
    """Quotas of users' projects and of the internal tenant by volume type, in one of three cases."""
    if not draw(st.sampled_from((False, False, True))):
        return {}
    one = st.sampled_from(
        [{}]
        + [{f"volumes{of}": few} for of in ("", "_flash", "_disk") for few in (3, 1)]
        + [{f"gigabytes{of}": few} for of in ("", "_flash", "_disk") for few in (11, 20)]
        + [{"per_volume_gigabytes": 4}, {"volumes": None}, {"volumes": 0}]
    )
    of_tenant = {"volumes_flash": draw(seldom(0, 1, 3)), "gigabytes_disk": draw(seldom(2, 5))}
    return {
        "quotas": {name: draw(one) | draw(one) for name in ("default", "alice", "bob", "project")},
        "internal_tenant_quotas": draw(st.sampled_from(({}, of_tenant))),
        "internal_tenant_owns_store": whole and draw(st.booleans()),
    }


def seldom(*limits: Any) -> st.SearchStrategy[Any]:
    """No limit in three of four."""
    return st.sampled_from((None,) * 3 * len(limits) + limits)


def backends(zero: bool) -> st.SearchStrategy[dict[str, Any]]:
    """A backend with tiny limits of every kind."""
    pool = st.fixed_dictionaries(
        {
            "capacity_gib": seldom(4, 12, 20.5, 33.337),
            "max_volumes": seldom(2, 4, 7),
        }
    )
    return st.fixed_dictionaries(
        {
            "volume_type": st.sampled_from(("flash", "flash", "disk", ["flash", "disk"])),
            "pools": st.sampled_from((1, 1, 2, 3))
            .flatmap(lambda count: st.lists(pool, min_size=count, max_size=count))
            .map(lambda pools: {f"p{number}": each for number, each in enumerate(pools)}),
            "nodes": st.sampled_from((["c1"], ["c2"], ["c1"], ["c2"], ["c1", "c2"], ["c3", "c2", "c1"])),
            "cluster": st.sampled_from((False, False, True)),
            "clone_across_pools": st.sampled_from((False,) * 3 + (True,)),
            "availability_zone": st.sampled_from(("nova",) * 6 + ("az1",) * 2),
            "max_volumes": seldom(5, 9),
            "clone_mib_s": seldom(200),
            "max_clones_per_volume": seldom(1, 2, 3),
            "delete_with_clones": st.sampled_from(("allowed", "busy")),
            "driver_clones_raw": st.sampled_from((False,) * 9 + (True,)),
            "thin": st.sampled_from((True, True, False)),
            "dedupe": st.sampled_from((False, False, True)),
            "max_over_subscription_ratio": st.sampled_from((20.0, 1.0, 2.5)),
            "reserved_percentage": st.sampled_from((0,) * 12 + (10,) * 4 + (33, 100)),
            "image_volume_cache_enabled": st.sampled_from((True,) * 9 + (False,)),
            "image_volume_cache_max_size_gb": st.sampled_from((0, 0, 2, 4)),
            "image_volume_cache_max_count": st.sampled_from((0, 1, 2, 3)),
            **(ZERO if zero else SOME),
        }
    )


# `prefer_clones` goes with the weighers: scenarios draw it.
SWITCHES = tuple(
    name
    for name, field in WhatIf.model_fields.items()
    if field.annotation is bool and name != "prefer_clones"
)


def what_ifs(policy: str) -> st.SearchStrategy[WhatIf]:
    """Cinder with an eviction policy and with any of the switches on, one of them alone as often as more."""
    names = switches_with(policy)
    one = st.sampled_from(names).map(lambda name: {name})
    chosen = st.one_of(st.just(set()), one, one, st.sets(st.sampled_from(names)))
    return chosen.map(lambda chosen: switched(policy, chosen))


def asking(case: Case, what_if: WhatIf) -> Case:
    """The same case with another Cinder."""
    both = what_if.model_copy(update={"prefer_clones": case.scenario.what_if.prefer_clones})
    return replace(case, scenario=case.scenario.model_copy(update={"what_if": both}))


def switches_with(policy: str) -> list[str]:
    """The switches that an eviction policy can be together with."""
    return [name for name in SWITCHES if policy == "lru" or name != "limits_per_backend"]


def switched(policy: str, names: Iterable[str]) -> WhatIf:
    """Cinder with an eviction policy and these switches on."""
    return WhatIf.model_validate({"eviction": policy, **dict.fromkeys(names, True)})


@st.composite
def scenarios(draw: st.DrawFn, whole: bool = False) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A scenario as in YAML, and its images; with `whole` also uploaded ones, and some that are shared."""
    zero = draw(st.sampled_from((False, False, False, True)))
    drawn = [draw(backends(zero)) for _ in range(draw(st.sampled_from((1, 1, 2, 3))))]
    images = [draw(IMAGES if whole else PLAIN_IMAGES) | draw(MINIMUM) for _ in range(draw(st.integers(2, 5)))]
    uploaded = [{**draw(IMAGES), "image_owner": ""} for _ in range(draw(NEW_IMAGES) if whole else 0)]
    scenario = {
        "tiers": {"flash": {}, "disk": {}},
        "backends": dict(zip("abc", drawn, strict=False)),
        "glance": {
            "streams": draw(st.sampled_from((16, 1, 2, None))),
            "stream_mib_s": None if zero else draw(st.sampled_from((100, 400, None))),
        },
        "cinder": {
            "lock_scope": draw(st.sampled_from(("cloud", "node"))),
            "default_availability_zone": draw(st.sampled_from(("nova",) * 8 + ("az1", "gone"))),
            "scheduler_max_attempts": draw(st.sampled_from((3, 1, 2, 6))),
            "backend_stats_polling_interval": draw(st.sampled_from((60, 20, 7.3, 1000))),
            "internal_tenant_quota_volumes": draw(seldom(2, 5, 0)),
            "internal_tenant_quota_gigabytes": draw(seldom(3, 8)),
            "image_upload_use_internal_tenant": draw(st.booleans()),
            **draw(st.one_of(st.just({}), WEIGHING)),
            **quotas(draw, whole),
            "image_conversion_disable": draw(st.sampled_from((False,) * 7 + (True,))),
        },
        "upload": draw(st.sampled_from(("copy", "no-op", "raw-twin-location", "raw-twin-cache"))),
    }
    if "StochasticHostWeightHandler" not in scenario["cinder"].values():
        scenario["what_if"] = {"prefer_clones": draw(st.booleans())}
    hosts = sorted(hosts_of(scenario, "flash") | hosts_of(scenario, "disk"))
    if draw(st.sampled_from((True, True, False))):
        scenario["store"] = {"home": draw(st.sampled_from(hosts))}
    images += uploaded
    for number, each in enumerate(images):
        new = number >= len(images) - len(uploaded)
        each["image_id"] = each["name"] = f"{NEW if new else 'i'}{number}"
        if draw(st.sampled_from((False, False, True))):
            each["store_hosts"] = ";".join(draw(st.lists(st.sampled_from(hosts), min_size=1, unique=True)))
    return scenario, images


def hosts_of(scenario: dict[str, Any], tier: str) -> set[str]:
    """The pools that serve a tier."""
    return {
        f"{name}#{pool}"
        for name, backend in scenario["backends"].items()
        if tier in backend["volume_type"]
        for pool in backend["pools"]
    }


def creates(scenario: dict[str, Any], images: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A create of any image on any tier that there is: pinned, first tried somewhere, or the scheduler's."""
    placed = [
        (tier, *hosts)
        for tier in ("flash", "disk")
        for host in sorted(hosts_of(scenario, tier))
        for hosts in ((host, ""), (host, ""), ("", ""), ("", host))
    ]
    return st.builds(
        lambda image_id, placed, size, project, encrypted, zone: create(
            0.0,
            "",
            image_id,
            placed[1],
            volume_type=placed[0],
            first_host=placed[2],
            size_gib=size,
            project=project,
            encrypted=encrypted,
            availability_zone=zone,
        ),
        st.sampled_from([each["image_id"] for each in images] * 4 + [""]),
        st.sampled_from(placed),
        st.sampled_from((5, 3, 5, 4, 2)),
        st.sampled_from(("", "", "alice", "bob")),
        st.sampled_from((False,) * 9 + (True,)),
        st.sampled_from(("",) * 9 + ("nova", "az1", "az1", "gone")),
    )


@st.composite
def events(
    draw: st.DrawFn,
    scenario: dict[str, Any],
    images: list[dict[str, Any]],
    most: int = 30,
    there: tuple[str, ...] = (),
) -> Any:
    """In order: storms, deletes and uploads of what was made or is `there`, updates, images deleted."""
    time, rows, made = 0.0, [], list(there)
    new = [each for each in images if each["image_id"].startswith(NEW)]
    projects = dict.fromkeys(there, "")
    for _ in range(draw(st.integers(1, most))):
        time += draw(st.sampled_from(STEPS))
        kind = draw(
            st.sampled_from(
                ("create",) * 20
                + ("storm",) * 8
                + ("delete",) * 8
                + ("update_image",) * 4
                + ("release",)
                + ("delete_image",)
                + ("upload",) * (6 if new else 0)
            )
        )
        if kind in ("create", "storm"):
            asked = draw(creates(scenario, images))
            for _ in range(1 if kind == "create" else draw(st.integers(2, 5))):
                made.append(f"v{sum(row['event'] == 'create' for row in rows)}")
                rows.append({**asked, "time": time, "volume_id": made[-1]})
                projects[made[-1]] = asked["project"]
        elif kind == "delete" and made:
            volume = made.pop(draw(st.integers(0, len(made) - 1)))
            rows.append({"time": time, "event": "delete", "volume_id": volume})
        elif kind == "upload" and new and made:
            volume = draw(st.sampled_from(made[-1:] * len(made) + made))  # the last as often as any
            if new[-1]["owner"] in ("", projects[volume]):
                image_id = new.pop()["image_id"]
                rows.append({"time": time, "event": "upload", "volume_id": volume, "image_id": image_id})
        else:
            event = kind if kind in ("delete_image", "release") else "update_image"
            chosen = draw(st.sampled_from(images))["image_id"]
            rows.append({"time": time, "event": event, "image_id": chosen})
    return rows or [{"time": time, "event": "update_image", "image_id": images[0]["image_id"]}]


@st.composite
def starts(draw: st.DrawFn, scenario: dict[str, Any], images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Volumes and cache entries that exist at the start."""
    hosts = sorted(hosts_of(scenario, "flash") | hosts_of(scenario, "disk"))
    there = [number for number, each in enumerate(images) if not each["image_id"].startswith(NEW)]
    entries = draw(
        st.lists(st.tuples(st.sampled_from(hosts), st.sampled_from(there)), max_size=4, unique=True)
    )
    rows = [
        {
            "kind": "cache",
            "volume_id": "",
            "image_id": f"i{number}",
            "size_gib": math.ceil(images[number]["virtual_size_bytes"] / GIB),
            "host": host,
            "last_used": -float(draw(st.integers(0, 99))) / draw(st.sampled_from((1, 7))),
        }
        for host, number in entries
    ]
    for number in range(draw(st.sampled_from((1, 1, 0, 3)))):
        row = {"kind": "volume", "volume_id": f"old{number}", "size_gib": 2, "last_used": math.nan}
        image_id = draw(st.sampled_from(["", *(each["image_id"] for each in images)]))
        rows.append({**row, "image_id": image_id, "host": draw(st.sampled_from(hosts))})
    return rows


@st.composite
def cases(draw: st.DrawFn, whole: bool = False) -> Case:
    """Any case; uploads and shared images only if it is to be the `whole` of them.

    Where what should exist at the start does not fit, nothing exists at the start.
    """
    scenario, images = draw(scenarios(whole))
    initial = draw(st.one_of(st.just([]), starts(scenario, images)))
    if not fits(case_of(scenario, images, [create(0, "v", "")], initial)):
        (scenario, images), initial = without_store(scenario, images), []
    there = tuple(row["volume_id"] for row in initial if row["kind"] == "volume")
    return case_of(scenario, images, draw(events(scenario, images, there=there)), initial)


def fits(case: Case) -> bool:
    """Whether what exists at the start fits, the store's image-volumes too."""
    try:
        place(case, STRATEGIES["combined"], NoMeter())
    except BadInput:
        return False
    return True


def without_store(
    scenario: dict[str, Any], images: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same without image-volumes of the Cinder store."""
    scenario = {key: value for key, value in scenario.items() if key != "store"}
    return scenario, [{key: each[key] for key in each if key != "store_hosts"} for each in images]


class NoMeter:
    """A meter that takes no notice."""

    def add(self, *_: Any) -> None: ...


# -- cases as text ---------------------------------------------------------------------------------


def spelled(case: Case, strategy: str) -> str:
    """A case as a file of `tests/regressions` has it, what is as absent left out."""
    scenario = case.scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    events = case.trace.events.astype({"event": str}).to_dict("records")
    whole = {
        "about": "",
        "strategy": strategy,
        "scenario": {key: value for key, value in scenario.items() if key not in ("images", "workload")},
        "images": [each.model_dump(mode="json", exclude_defaults=True) for each in case.images.values()],
        "events": [
            {key: value for key, value in row.items() if key in ("time", "event") or value != COLUMNS[key]}
            for row in events
        ],
        "initial": case.initial.to_dict("records"),
    }
    lines = []
    for key, value in whole.items():
        if isinstance(value, list):
            rows = [
                yaml.safe_dump(row, default_flow_style=True, width=math.inf, sort_keys=False) for row in value
            ]
            lines += [f"{key}:" if rows else f"{key}: []", *(f"- {row.rstrip()}" for row in rows)]
        else:
            lines.append(yaml.safe_dump({key: value}, sort_keys=False).rstrip())
    return "\n".join(lines) + "\n"


def read_spelled(path: Path) -> tuple[Case, str]:
    """A case and the strategy that `spelled` wrote."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    return case_of(raw["scenario"], raw["images"], raw["events"], raw["initial"]), raw["strategy"]
