"""What is simulated: frozen specs of a scenario, loaded and checked with every problem at once."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeGuard

import pandas as pd
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from sim.images import Image, check_images, read_images
from sim.problems import BadInput, Problems, printable, quoted
from sim.spec import (
    Count,
    Host,
    HostPart,
    Limit,
    Name,
    Names,
    Price,
    Quota,
    Rate,
    Seconds,
    Spec,
    listed,
    once,
    some,
    validated,
)
from sim.strategies import STRATEGIES
from sim.tables import count_rows
from sim.trace import (
    Known,
    Trace,
    check_volumes,
    empty_initial,
    parse_initial,
    parse_trace,
    read_batches,
)
from sim.workload.changes import Changes, changed
from sim.workload.spec import MOST_EVENTS, Duration, Generate, check_generate
from sim.workload.streams import Streams
from sim.yamlfile import read_yaml

__all__ = [
    "STRATEGY_NAMES",
    "Backend",
    "BadInput",
    "Case",
    "CinderOptions",
    "Glance",
    "Image",
    "Pool",
    "Scenario",
    "Store",
    "Tier",
    "WhatIf",
    "Workload",
    "load",
]

STRATEGY_NAMES = ("none", "store-only", "cache-only", "combined")  # of a scenario that names none


def _strategy(name: str) -> str:
    if name not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise ValueError(f"unknown strategy {quoted(name)}: must be one of {known}")
    return name


class Glance(Spec):
    """Where images are downloaded from: concurrent sends (null: no limit), and the rate of each."""

    streams: Count | None = 16
    stream_mib_s: Rate | None = None


class CinderOptions(Spec):
    """Options of the whole of Cinder; quotas are the internal tenant's (null: unlimited)."""

    lock_scope: Literal["cloud", "node"] = "cloud"
    scheduler_max_attempts: Count = 3
    backend_stats_polling_interval: Annotated[float, Field(ge=1, le=1e9)] = 60
    internal_tenant_quota_volumes: Quota = None
    internal_tenant_quota_gigabytes: Quota = None


class Tier(Spec):
    """A volume type and its prices a month."""

    price_gib_month: Price = 0.0
    price_volume_month: Price = 0.0


class Pool(Spec):
    """Limits of a pool; null: unlimited."""

    capacity_gib: Annotated[float, Field(gt=0)] | None = None
    max_volumes: Annotated[int, Field(gt=0)] | None = None


class Backend(Spec):
    """An array with its pools, how long it takes and what it allows (units are in the names).

    A rate of null is a step that takes no time, a limit of null none. `volume_types` is the key
    `volume_type`: the tiers it serves.
    """

    volume_types: Annotated[
        Names,
        BeforeValidator(partial(listed, None)),
        AfterValidator(some),
        Field(alias="volume_type"),
    ]
    pools: Annotated[dict[HostPart, Pool], AfterValidator(some)]
    node: Name = "c1"
    max_volumes: Annotated[int, Field(gt=0)] | None = None
    create_s: Seconds = 0.0
    clone_s: Seconds = 0.0
    clone_mib_s: Rate | None = None
    delete_s: Seconds = 0.0
    extend_s: Seconds = 0.0
    write_mib_s: Rate | None = None
    convert_mib_s: Rate | None = None
    write_streams: Count | None = None
    max_clones_per_volume: Count | None = None
    delete_with_clones: Literal["allowed", "busy"] = "allowed"
    driver_clones_raw: bool = False
    thin: bool = True
    dedupe: bool = False
    max_over_subscription_ratio: Annotated[float, Field(ge=1)] = 20.0
    reserved_percentage: Annotated[int, Field(ge=0, le=100)] = 0
    image_volume_cache_enabled: bool = True
    image_volume_cache_max_size_gb: Limit = 0
    image_volume_cache_max_count: Limit = 0


class Store(Spec):
    """The Cinder store: the pool for image-volumes of images that name no pool."""

    home: Host


class WhatIf(Spec):
    """Changes to Cinder that Cinder as released does not have.

    `eviction` is how the image-volume cache chooses the entry that it gives up (`lru`: Cinder's own).
    """

    eviction: Literal["lru", "sieve", "gdsf", "belady"] = "lru"


class Workload(Spec):
    """The events, a file or generated, and a file of what exists at the start, relative to the scenario.

    The others change what is read or generated: see `sim.workload.changes.Changes`.
    """

    trace: Name | None = None
    generate: Generate | None = None
    initial: Name | None = None
    growth: Annotated[float, Field(gt=0, le=1000)] = 1.0
    image_size_factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    update_every: Duration | None = None
    until: Duration | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.trace is None) == (self.generate is None):
            raise ValueError("either trace or generate is needed")
        return self


def _images_kind(images: object) -> str:
    return "file" if isinstance(images, str) else "list"


class Scenario(Spec):
    """A whole scenario.

    `images` is a file, relative to the scenario, or the images themselves; a generated workload has its own,
    if there are none here. `today` is the strategy of today's settings (null: `cache-only` if a backend has
    its cache on, else `none`).
    """

    name: Name = "scenario"
    seed: Annotated[int, Field(ge=0)] = 7
    glance: Glance = Glance()
    cinder: CinderOptions = CinderOptions()
    what_if: WhatIf = WhatIf()
    tiers: Annotated[dict[Name, Tier], AfterValidator(some)]
    backends: Annotated[dict[HostPart, Backend], AfterValidator(some)]
    images: (
        Annotated[
            Annotated[Name, Tag("file")]
            | Annotated[tuple[Image, ...], Field(strict=False), AfterValidator(some), Tag("list")],
            Discriminator(_images_kind),
        ]
        | None
    ) = None
    store: Store | None = None
    workload: Workload
    boot_timeout_s: Seconds = 180.0
    today: Annotated[str, AfterValidator(_strategy)] | None = None
    strategies: Annotated[
        tuple[Annotated[str, AfterValidator(_strategy)], ...],
        Field(strict=False),
        AfterValidator(some),
        AfterValidator(once),
    ] = STRATEGY_NAMES

    def varied(self, values: Mapping[tuple[str, ...], object]) -> Self:
        """A scenario with other values, each at the path of its key. Raises pydantic's ValidationError."""
        return self.model_validate(put(self.model_dump(by_alias=True), values))

    def todays_strategy(self) -> str:
        """The strategy of today's settings: `today`, or what the backends' caches say."""
        if self.today is not None:
            return self.today
        cached = any(backend.image_volume_cache_enabled for backend in self.backends.values())
        return "cache-only" if cached else "none"

    def pools(self) -> dict[str, Pool]:
        """Every pool by its host (backend#pool), in the scenario's order."""
        return {
            f"{name}#{pool}": spec
            for name, backend in self.backends.items()
            for pool, spec in backend.pools.items()
        }

    def hosts_of(self, volume_type: str) -> tuple[str, ...]:
        """The hosts of the pools that serve a volume type, in the scenario's order."""
        return tuple(
            f"{name}#{pool}"
            for name, backend in self.backends.items()
            if volume_type in backend.volume_types
            for pool in backend.pools
        )


@dataclass(frozen=True)
class Case:
    """A scenario with all that its files hold, checked; images by id, in the file's order.

    `replication` is that of a generated workload, else 0.
    """

    path: Path
    scenario: Scenario
    images: dict[str, Image]
    trace: Trace
    initial: pd.DataFrame
    replication: int = 0

    @property
    def known(self) -> Known:
        """The names that its trace may use."""
        hosts = {
            host: frozenset(self.scenario.backends[host.partition("#")[0]].volume_types)
            for host in self.scenario.pools()
        }
        return Known(frozenset(self.images), frozenset(self.scenario.tiers), hosts)


def put(raw: Mapping[Any, Any], values: Mapping[tuple[str, ...], object]) -> dict[Any, Any]:
    """`raw` with other values, each at the path of its key; parts on the way that it lacks are made.

    What is on the way is copied, the rest is shared.
    """
    found = dict(raw)
    own: dict[tuple[str, ...], dict[Any, Any]] = {(): found}
    for path, value in values.items():
        for depth, part in enumerate(path[:-1]):
            if path[: depth + 1] not in own:
                own[path[:depth]][part] = own[path[: depth + 1]] = dict(own[path[:depth]].get(part, {}))
        own[path[:-1]][path[-1]] = value
    return found


def load(
    path: str | os.PathLike[str],
    most_events: int | None = None,
    replication: int = 0,
    *,
    values: Mapping[tuple[str, ...], object] | None = None,
    uploads: bool = False,
) -> Case:
    """Reads a scenario and every file it names. Raises BadInput with all problems of all files.

    A scenario without a name gets that of its file. A Parquet trace of more than `most_events` is not read,
    only opened: its case has none of its events (see `sim.fast.stream`). `replication` is which draw of a
    generated workload; it may have `uploads` only if the case is not to be simulated. `values` replace those
    in the file, each at the path of its key.
    """
    path = Path(path)
    problems = Problems()
    raw = read_yaml(path, problems)
    if raw is None:
        raise BadInput(problems.lines())
    raw = put(raw, values or {})
    scenario = validated(Scenario, {"name": path.stem, **raw}, path, "", problems)
    tiers, hosts = _tiers(raw), _hosts(raw)
    _check_pools(path, raw, tiers, hosts, problems)
    workload = _mapping(raw, "workload") or {}
    check_generate(path, raw, workload, tiers, hosts, uploads, problems)
    pools = None if hosts is None else frozenset(hosts)
    images: dict[str, Image] = {}
    ids = None
    if _names_file(named := raw.get("images")):
        images, ids = read_images(path.parent / named, pools, problems)
    elif isinstance(named, list) and all(isinstance(image, dict) for image in named):
        places = [f"images.{number}" for number in range(len(named))]
        check_images(path, places, named, pools, problems)
        ids = frozenset(str(image.get("image_id")) for image in named)
    known = Known(ids if named is not None else None, tiers, hosts)
    trace, initial = _read_workload(path.parent, workload, known, problems, most_events)
    problems.raise_any()
    assert scenario is not None
    if isinstance(scenario.images, tuple):
        images = {image.image_id: image for image in scenario.images}
    case = Case(path, scenario, images, trace, initial) if trace is not None else None
    if case is None:
        case = _generated(path, scenario, images, initial, replication)
    return _changed(case)


def _changed(case: Case) -> Case:
    """The case with the changes of its workload. Raises BadInput if they leave nothing, or make too much."""
    workload = case.scenario.workload
    changes = Changes(workload.image_size_factor, workload.growth, workload.update_every, workload.until)
    if changes.none:
        return case
    events = case.trace.events
    if not len(events):
        raise BadInput([f"{case.path}: workload: a trace that is too large to be read cannot be changed"])
    generated = workload.generate is not None
    more = (
        0.0
        if changes.update_every is None
        else len(case.images) * events["time"].iloc[-1] / changes.update_every
    )
    if (1 if generated else changes.growth) * len(events) + more > MOST_EVENTS:
        what = f"growth and update_every make more than {MOST_EVENTS:,} events"
        raise BadInput([f"{case.path}: workload: {what}"])
    streams = Streams(case.scenario.seed, case.replication)
    events, images, initial = changed(changes, events, case.images, case.initial, streams, generated)
    if not (events["event"] == "create").any():
        raise BadInput([f"{case.path}: workload: growth and until leave no creates"])
    return replace(case, trace=replace(case.trace, events=events), images=images, initial=initial)


def _generated(
    path: Path, scenario: Scenario, images: dict[str, Image], initial: pd.DataFrame, replication: int
) -> Case:
    """The case of a generated workload; raises BadInput if that does not go with what exists at the start."""
    from sim.workload.generate import generate

    spec = scenario.workload.generate
    assert spec is not None
    try:
        # More of the same process, not copies of what it made: storms come more often, too.
        busier = spec.model_validate(
            {
                **spec.model_dump(by_alias=True),
                "creates_per_day": scenario.workload.growth * spec.creates_per_day,
            }
        )
    except ValidationError as error:
        raise BadInput([f"{path}: workload.growth: {each['msg']}" for each in error.errors()]) from None
    served = [tier for tier in scenario.tiers if scenario.hosts_of(tier)]
    made = generate(busier, tuple(images.values()), served, scenario.seed, replication, path)
    problems = Problems()
    file = path.parent / (scenario.workload.initial or "")
    for name in sorted(set(initial["image_id"]) - {"", *made.images}):
        problems.add(file, "", f"unknown image {quoted(name)}", "unknown image")
    for name in sorted(set(initial["volume_id"]).intersection(made.trace.events["volume_id"]) - {""}):
        problems.add(file, "", f"volume {quoted(name)} is generated too", "volume is generated too")
    problems.raise_any()
    return Case(path, scenario, made.images, made.trace, initial, replication)


def _read_workload(
    folder: Path, workload: Mapping[Hashable, Any], known: Known, problems: Problems, most: int | None
) -> tuple[Trace | None, pd.DataFrame]:
    given, before = workload.get("trace"), workload.get("initial")
    events = trace = None
    if _names_file(given):
        if most is not None and count_rows(folder / given) > most:
            first = next(read_batches(folder / given, known, 1))
            trace = replace(first, events=first.events.iloc[:0])
        else:
            events = parse_trace(folder / given, known, problems)
            trace = events[1] if events else None
    initial = empty_initial()
    if _names_file(before):
        found = parse_initial(folder / before, known, trace.start if trace else None, problems)
        if found is None:
            return trace, initial  # who knows which volumes there are
        initial = found[1]
    if events:
        check_volumes(events[0], events[1].events, initial)
    return trace, initial


def _names_file(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and name != ""


# What follows looks at a scenario as it was read, whatever else is wrong with it: so a mistake in
# one place does not hide those in others.


def _mapping(raw: Mapping[Hashable, Any], key: str) -> dict[Hashable, Any] | None:
    value = raw.get(key)
    return value if isinstance(value, dict) else None


def _tiers(raw: Mapping[Hashable, Any]) -> frozenset[str] | None:
    tiers = _mapping(raw, "tiers")
    return None if tiers is None else frozenset(map(str, tiers))


def _hosts(raw: Mapping[Hashable, Any]) -> dict[str, frozenset[str] | None] | None:
    """The volume types each host serves, as in `Known`; None if not all hosts are known."""
    hosts: dict[str, frozenset[str] | None] = {}
    backends = _mapping(raw, "backends")
    for name, backend in (backends or {}).items():
        pools = _mapping(backend, "pools") if isinstance(backend, dict) else None
        if not pools:
            return None
        served = _served(backend)
        hosts |= {f"{name}#{pool}": None if served is None else frozenset(served) for pool in pools}
    return None if backends is None else hosts


def _served(backend: Mapping[Hashable, Any]) -> list[str] | None:
    types = listed(None, backend.get("volume_type"))
    if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
        return None
    return types or None


def _check_pools(
    path: Path,
    raw: Mapping[Hashable, Any],
    tiers: frozenset[str] | None,
    hosts: Mapping[str, object] | None,
    problems: Problems,
) -> None:
    for name, backend in (_mapping(raw, "backends") or {}).items():
        for tier in (_served(backend) if isinstance(backend, dict) else None) or []:
            if tiers is not None and tier not in tiers:
                where = f"backends.{printable(str(name))}.volume_type"
                problems.add(path, where, f"{quoted(tier)} is not in tiers", "is not in tiers")
    home = (_mapping(raw, "store") or {}).get("home")
    if isinstance(home, str) and "#" in home and hosts is not None and home not in hosts:
        problems.add(path, "store.home", f"unknown pool {quoted(home)}")
