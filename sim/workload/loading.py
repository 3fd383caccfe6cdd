"""Loads a scenario with its files: reads, checks with every problem at once, applies its changes."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd
from pydantic import ValidationError

from sim.inputs.generator import MOST_EVENTS, Generate, check_generate
from sim.inputs.hosts import SEPARATOR, host_of
from sim.inputs.images import Image, check_images, read_images
from sim.inputs.memory import shortage
from sim.inputs.nodes import check_nodes
from sim.inputs.problems import BadInput, Problems, printable, quoted
from sim.inputs.quotas import check_quotas
from sim.inputs.scenario import Case, Scenario, put
from sim.inputs.spec import listed, validated
from sim.inputs.tables import count_rows
from sim.inputs.trace import (
    Known,
    Trace,
    check_volumes,
    empty_events,
    empty_initial,
    parse_initial,
    parse_trace,
    read_batches,
)
from sim.inputs.yamlfile import read_yaml
from sim.workload.changes import Changes, changed
from sim.workload.streams import Streams


def load(
    path: str | os.PathLike[str],
    most_events: int | None = None,
    replication: int = 0,
    *,
    values: Mapping[tuple[str, ...], object] | None = None,
    most_drawn: int | None = None,
) -> Case:
    """Read a scenario and every file it names. Raises BadInput with all problems of all files.

    A scenario without a name gets that of its file. A Parquet trace of more than `most_events` is opened but
    not read: its case has no events (see `sim.analysis.streaming`). `replication` is the number of the draw
    of a generated workload, which is not drawn if about more than `most_drawn` events are expected: its case
    has no events, either. `values` replace those in the file, each at the path of its key.
    """
    case = read(path, most_events, values=values)
    generated = case.scenario.workload.generate is not None
    if generated and most_drawn is not None and _busier(case).expected_events > most_drawn:
        return _undrawn(case, replication)
    return drawn(case, replication)


def drawn(case: Case, replication: int) -> Case:
    """What `load` returns, from what `read` did. Raises BadInput."""
    if case.scenario.workload.generate is not None:
        case = _generated(case, replication)
        case = replace(case, images=_imported(case.scenario, case.images))  # a workload may make its own
    _check_owners(case)
    return _changed(case)


def read(
    path: str | os.PathLike[str],
    most_events: int | None = None,
    *,
    values: Mapping[tuple[str, ...], object] | None = None,
) -> Case:
    """Read a scenario and every file it names, for `drawn`; `load` says what the arguments are.

    A generated workload has no events yet, and a trace has not changed yet.
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
    _check_stores(path, raw, tiers, problems)
    check_quotas(path, raw, tiers, problems)
    check_nodes(path, raw, problems)
    workload = _mapping(raw, "workload") or {}
    check_generate(path, raw, workload, tiers, hosts, problems)
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
    if scenario is not None and isinstance(scenario.images, tuple):
        images = {image.image_id: image for image in scenario.images}
    _check_released(path, workload, images, problems)
    problems.raise_any()
    assert scenario is not None
    images = _imported(scenario, images)
    if trace is None:
        assert scenario.workload.generate is not None
        trace = Trace(empty_events(), scenario.workload.generate.start, path)
    return Case(path, scenario, images, trace, initial)


def _imported(scenario: Scenario, images: dict[str, Image]) -> dict[str, Image]:
    """The images as Glance keeps them."""
    if scenario.glance.convert_on_import != "raw":
        return images
    return {image_id: image.as_raw() for image_id, image in images.items()}


def _changed(case: Case) -> Case:
    """Apply the changes of a case's workload. Raises BadInput if they leave no creates or too many events."""
    workload = case.scenario.workload
    changes = Changes(workload.image_size_factor, workload.growth, workload.update_every, workload.until)
    if changes.none:
        return case
    events = case.trace.events
    generated = workload.generate is not None
    more = (
        0.0
        if changes.update_every is None
        else len(case.images) * events["time"].iloc[-1] / changes.update_every
    )
    if (1 if generated else changes.growth) * len(events) + more > MOST_EVENTS:
        what = f"growth and update_every make more than {MOST_EVENTS:,} events"
        raise BadInput([f"{case.path}: workload: {what}"])
    if changes.growth * len(case.initial) > MOST_EVENTS:
        what = f"growth makes more than {MOST_EVENTS:,} volumes at the start"
        raise BadInput([f"{case.path}: workload: {what}"])
    streams = Streams(case.scenario.seed, case.replication)
    events, images, initial = changed(changes, events, case.images, case.initial, streams, generated)
    if not (events["event"] == "create").any():
        raise BadInput([f"{case.path}: workload: growth and until leave no creates"])
    return replace(case, trace=replace(case.trace, events=events), images=images, initial=initial)


def _check_owners(case: Case) -> None:
    """Raise BadInput if a project uploads a private image that belongs to another project."""
    events = case.trace.events
    uploads = events[events["event"] == "upload"]
    if uploads.empty:
        return
    creates = events[events["event"] == "create"]
    made = pd.concat([creates[["volume_id", "project"]], case.initial[["volume_id", "project"]]])
    projects = dict(zip(made["volume_id"], made["project"].astype("str"), strict=True))
    problems = [
        f"{case.trace.path}: upload of volume {quoted(volume)} of project {quoted(projects[volume])}:"
        f" image {quoted(image)} belongs to {quoted(case.images[image].owner)}"
        for volume, image in zip(uploads["volume_id"], uploads["image_id"].astype(str), strict=True)
        if case.images[image].owner not in ("", projects[volume])
    ]
    problems += [
        f"{case.trace.path}: upload of image {quoted(image)}: its image_owner is who uploads it"
        for image in uploads["image_id"].astype(str)
        if case.images[image].image_owner
    ]
    if problems:
        raise BadInput(problems)


def _busier(case: Case) -> Generate:
    """The parameters of a generated workload after growth. Raises BadInput if this machine cannot hold its
    events."""
    path, workload = case.path, case.scenario.workload
    spec = workload.generate
    assert spec is not None
    try:
        # Growth draws more from the same process instead of copies: storms come more often, too.
        busier = spec.model_validate(
            {**spec.model_dump(by_alias=True), "creates_per_day": workload.growth * spec.creates_per_day}
        )
    except ValidationError as error:
        raise BadInput([f"{path}: workload.growth: {each['msg']}" for each in error.errors()]) from None
    if lacking := shortage(busier.expected_events):
        raise BadInput(
            [f"{path}: workload.generate: {lacking}: make it shorter, or give fewer creates_per_day"]
        )
    return busier


def _undrawn(case: Case, replication: int) -> Case:
    """The case of a generated workload without its events. Its images are those of the start."""
    from sim.workload.generate import catalogue

    streams = Streams(case.scenario.seed, replication)
    lines = case.images or {line.image_id: line for line in catalogue(_busier(case), streams)}
    return replace(case, images=lines, replication=replication)


def _generated(case: Case, replication: int) -> Case:
    """The case of a generated workload; raises BadInput if it contradicts the initial state."""
    from sim.workload.generate import generate

    path, scenario, initial = case.path, case.scenario, case.initial
    served = [tier for tier in scenario.tiers if scenario.hosts_of(tier)]
    images = tuple(case.images.values())
    made = generate(_busier(case), images, served, scenario.seed, replication, path)
    problems = Problems()
    file = path.parent / (scenario.workload.initial or "")
    for name in sorted(set(initial["image_id"]) - {"", *made.images}):
        problems.add(file, "", f"unknown image {quoted(name)}", "unknown image")
    there = set(initial["volume_id"]) - {""}
    for name in sorted(there and there.intersection(made.trace.events["volume_id"])):
        problems.add(file, "", f"volume {quoted(name)} is also generated", "volume is also generated")
    problems.raise_any()
    return replace(case, images=made.images, trace=made.trace, replication=replication)


def _read_workload(
    folder: Path, workload: Mapping[Hashable, Any], known: Known, problems: Problems, most: int | None
) -> tuple[Trace | None, pd.DataFrame]:
    given, before = workload.get("trace"), workload.get("initial")
    events = trace = None
    if _names_file(given):
        changed = any(workload.get(key) is not None for key in CHANGES)
        if most is not None and not changed and count_rows(folder / given) > most:
            first = next(read_batches(folder / given, known, 1), None)
            if first is None:
                problems.add(folder / given, "", "says that it has rows, and has none")
            else:
                trace = replace(first, events=first.events.iloc[:0])
        else:
            events = parse_trace(folder / given, known, problems)
            trace = events[1] if events else None
    initial = empty_initial()
    if _names_file(before):
        found = parse_initial(folder / before, known, trace.start if trace else None, problems)
        if found is None:
            return trace, initial  # then the existing volumes are unknown
        initial = found[1]
    if events:
        check_volumes(*events, initial)
    return trace, initial


CHANGES = ("growth", "image_size_factor", "update_every", "until")  # they need all events at once


def _names_file(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and name != ""


def _check_released(
    path: Path, workload: Mapping[Hashable, Any], images: Mapping[str, Image], problems: Problems
) -> None:
    spec = _mapping(workload, "generate")
    if spec is None or not any(image.released for image in images.values()):
        return
    if spec.get("start") is None:
        problems.add(path, "workload.generate.start", "is needed: the image list has dates in released")
    popularity = _mapping(spec, "popularity") or {}
    if popularity.get("release_every", ...) is not None:
        what = "write null: the image list has dates in released"
        problems.add(path, "workload.generate.popularity.release_every", what)


# The following checks work on the scenario as it was read, whatever else is wrong with it: so a mistake in
# one place does not hide mistakes in others.


def _mapping(raw: Mapping[Hashable, Any], key: str) -> dict[Hashable, Any] | None:
    value = raw.get(key)
    return value if isinstance(value, dict) else None


def _tiers(raw: Mapping[Hashable, Any]) -> frozenset[str] | None:
    tiers = _mapping(raw, "tiers")
    return None if tiers is None else frozenset(map(str, tiers))


def _hosts(raw: Mapping[Hashable, Any]) -> dict[str, frozenset[str] | None] | None:
    """The volume types of each host, as in `Known`; None if not all hosts are known."""
    hosts: dict[str, frozenset[str] | None] = {}
    backends = _mapping(raw, "backends")
    for name, backend in (backends or {}).items():
        pools = _mapping(backend, "pools") if isinstance(backend, dict) else None
        if not pools:
            return None
        served = _served(backend)
        types = None if served is None else frozenset(served)
        hosts |= {host_of(str(name), str(pool)): types for pool in pools}
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
    if isinstance(home, str) and SEPARATOR in home and hosts is not None and home not in hosts:
        problems.add(path, "store.home", f"unknown pool {quoted(home)}")


def _check_stores(
    path: Path, raw: Mapping[Hashable, Any], tiers: frozenset[str] | None, problems: Problems
) -> None:
    stores = _mapping(raw, "stores") or {}
    named = {f"stores.{printable(str(name))}": store for name, store in stores.items()}
    for where, store in {"store": raw.get("store"), **named}.items():
        placed_in = store.get("volume_type") if isinstance(store, dict) else None
        if isinstance(placed_in, str) and tiers is not None and placed_in not in tiers:
            problems.add(path, f"{where}.volume_type", f"{quoted(placed_in)} is not in tiers")
    for tier, spec in (_mapping(raw, "tiers") or {}).items():
        store_id = spec.get("image_service_store_id") if isinstance(spec, dict) else None
        if isinstance(store_id, str) and store_id not in stores:
            where = f"tiers.{printable(str(tier))}.image_service_store_id"
            problems.add(path, where, f"{quoted(store_id)} is not in stores")
