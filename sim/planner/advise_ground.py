"""What actions are tried on: the scenario with its releases, and the same with one pool for several."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from sim.inputs.beside import beside
from sim.inputs.hosts import backend_of, host_of
from sim.inputs.images import write_images
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.inputs.problems import BadInput, Problems
from sim.inputs.scenario import Case, Scenario, put
from sim.inputs.trace import write_initial, write_trace
from sim.inputs.yamlfile import read_yaml
from sim.sweep.varying import paths_of
from sim.workload.loading import load

BEFORE_S = 3600.0  # a release comes so long before the first create of its image
# Keys of a backend that add up, and those that may differ, when several become one.
_ADDED = ("max_volumes", "write_streams", "array_mib_s", "clone_streams")
_OWN = ("pools", "node", "nodes", "cluster", MAX_SIZE, MAX_COUNT, *_ADDED)


def with_releases(path: Path, folder: Path) -> Path:
    """The scenario, or a copy in `folder` whose trace says when images were released.

    No source of a real cloud says that. So a trace without releases gets one for each image, BEFORE_S before
    its first create. An image that is asked for in the first BEFORE_S, or that an upload makes, gets none.
    A release changes nothing without a prefetch. Raises BadInput.
    """
    case = load(path)
    events = case.trace.events
    if case.scenario.workload.trace is None or (events["event"] == "release").any():
        return path
    asked = events[(events["event"] == "create") & (events["image_id"] != "")]
    first = asked.groupby(asked["image_id"].astype("str"), sort=True)["time"].min()
    first = first[(first >= BEFORE_S) & ~first.index.isin(case.uploaded)]
    if first.empty:
        return path
    made = pd.DataFrame({"time": first.to_numpy() - BEFORE_S, "image_id": first.index, "event": "release"})
    for name in events.columns.difference(made.columns):
        made[name] = {"size_gib": 0, "encrypted": False}.get(str(name), "")
    every = pd.concat([made[list(events.columns)], events.astype({"event": "str"})], ignore_index=True)
    every = every.sort_values("time", kind="stable", ignore_index=True)
    target = folder / "scenario.yaml"
    _write(replace(case, trace=replace(case.trace, events=every)), target, {}, {"trace"})
    return target


def one_pool(path: Path, folder: Path, one_array: bool) -> Path | None:
    """A copy in `folder` in which the pools of each backend are one pool; None if nothing changes.

    With `one_array`, backends that are alike are one backend, too. The one pool has the space, the places and
    the limits of all.
    """
    case = load(path)
    names = joined(case.scenario, one_array)
    if len(set(names.values())) == len(names):
        return None
    events, initial = case.trace.events.copy(), case.initial.copy()
    for table, columns in ((events, ("host", "first_host")), (initial, ("host",))):
        for column in columns:
            table[column] = table[column].astype("str").map({**names, "": ""}).astype("category")
    images = {
        key: image.model_copy(update={"store_hosts": tuple(dict.fromkeys(map(names.get, image.store_hosts)))})
        for key, image in case.images.items()
    }
    changed = replace(case, images=images, initial=initial)
    changed = replace(changed, trace=replace(case.trace, events=events))
    values: dict[tuple[str, ...], object] = {("backends",): _backends(case.scenario, names)}
    if case.scenario.store is not None and case.scenario.store.home is not None:
        values["store", "home"] = names[case.scenario.store.home]
    target = folder / "scenario.yaml"
    _write(changed, target, values, {"trace", "images", "initial"})
    try:
        load(target)
    except BadInput:
        return None
    return target


def in_one_pool(scenario: Scenario, ground: Scenario, names: Mapping[str, str]) -> dict[str, Any]:
    """The values, by key, that give `one_pool`'s scenario the settings of a changed original.

    `names`: what the unchanged original's hosts became (`joined`). Changes may make backends less alike.
    """
    wanted = _backends(scenario, names)
    found: dict[str, Any] = {}
    there = ground.model_dump(by_alias=True)["backends"]
    for name, backend in there.items():
        new = wanted.get(name, {})
        found |= {f"backends.{name}.{key}": new[key] for key in new if new[key] != backend[key]}
    return found


def write_scenario(path: Path, target: Path, values: Mapping[str, Any], strategy: str) -> None:
    """Write a copy of the scenario at `path` with other values by key, in which `strategy` is today's."""
    case = load(path)
    raw = case.scenario.model_dump(by_alias=True)
    paths: dict[tuple[str, ...], object] = {
        each: value for key, value in values.items() for each in paths_of(key, raw)
    }
    _write(case, target, {**paths, ("today",): strategy, ("strategies",): [strategy]}, set())


def _write(case: Case, target: Path, values: Mapping[tuple[str, ...], object], own: set[str]) -> None:
    """Write a scenario and those of its files that are its `own`; the others stay where they are.

    What is in the folder above is named from the scenario, so that both can move.
    """
    raw = read_yaml(case.path, Problems())
    assert raw is not None
    scenario, values = case.scenario, {("name",): case.scenario.name, **values}
    files: list[Path] = []
    workload = scenario.workload
    named = {"trace": workload.trace, "initial": workload.initial, "images": scenario.images}
    keys = {"trace": ("workload", "trace"), "initial": ("workload", "initial"), "images": ("images",)}
    for kind, name in named.items():
        if kind in own and kind == "images" and name is not None:
            files.append(target.with_name("images.csv"))
        elif kind in own and isinstance(name, str):
            files.append(target.with_name(f"{kind}{'.parquet' if name.endswith('.parquet') else '.csv'}"))
        elif isinstance(name, str):
            there, folder = (case.path.parent / name).resolve(), target.parent.resolve()
            if there.is_relative_to(folder.parent):  # it moves with the scenario
                there = Path(os.path.relpath(there, folder))
            values = {**values, keys[kind]: str(there)}
            continue
        else:
            continue
        values = {**values, keys[kind]: files[-1].name}
    with beside(target, *files) as (new, *others):
        for file, path in zip(files, others, strict=True):
            if file.stem == "trace":
                write_trace(case.trace, path, file.suffix == ".parquet")
            elif file.stem == "initial":
                write_initial(case.initial, case.trace.start, path)
            else:
                write_images(case.images.values(), path)
        text = yaml.safe_dump(_plain(put(raw, values)), sort_keys=False, allow_unicode=True, width=110)
        new.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    """A value that YAML can hold."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def joined(scenario: Scenario, one_array: bool) -> dict[str, str]:
    """The one pool's host for each host.

    A backend some of whose pools have a limit that others lack stays as it is: nobody knows the limit of all.
    """
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for name, backend in scenario.backends.items():
        hosts = [host_of(name, pool) for pool in backend.pools]
        pools = backend.pools.values()
        kinds = {(pool.capacity_gib is None, pool.max_volumes is None) for pool in pools}
        if len(kinds) > 1:
            found |= {host: host for host in hosts}
            continue
        same = {key: value for key, value in backend.model_dump().items() if key not in _OWN}
        lacking = [getattr(backend, key) is None for key in _ADDED]
        alike = repr((same, kinds, lacking)) if one_array else name
        found |= dict.fromkeys(hosts, first.setdefault(alike, hosts[0]))
    return found


def _backends(scenario: Scenario, names: Mapping[str, str]) -> dict[str, Any]:
    """The backends of one pool each, as a scenario has them."""
    found: dict[str, Any] = {}
    members: dict[str, list[str]] = {}
    for host, to in names.items():
        members.setdefault(backend_of(to), []).append(host)
    for first, hosts in members.items():
        backends = {backend_of(each): scenario.backend_at(each) for each in hosts}
        raw = found[first] = backends[first].model_dump(by_alias=True)
        if len({names[host] for host in hosts}) > 1 or len(hosts) == 1:
            continue
        nodes = tuple(dict.fromkeys(node for each in backends.values() for node in each.node_names))
        if len(backends) > 1:
            raw |= {"node": None, "nodes": nodes}
        pools = [scenario.pools()[host] for host in hosts]
        limits = {
            key: _sum([getattr(pool, key) for pool in pools]) for key in ("capacity_gib", "max_volumes")
        }
        raw["pools"] = {next(iter(backends[first].pools)): limits}
        raw |= {key: _sum([getattr(each, key) for each in backends.values()]) for key in _ADDED}
        cached = [each for each in backends.values() if each.image_volume_cache_enabled]
        raw[ENABLED] = bool(cached)
        for key in (MAX_SIZE, MAX_COUNT):
            of_all = [getattr(each, key) * len(each.pools) for each in cached or backends.values()]
            raw[key] = sum(of_all) if all(of_all) else 0
    return found


def _sum(limits: list[Any]) -> Any:
    """The limit of all together; None is none."""
    return None if None in limits else sum(limits)
