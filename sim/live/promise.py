"""What was promised: settings and figures out of a plan or an advice, a scenario or lines of cinder.conf."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from oslo_config import cfg

from sim.importers.conf_files import parse_error
from sim.importers.source_files import unusable
from sim.importers.values import instant
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.inputs.problems import Problems, quoted
from sim.inputs.strategies import STRATEGIES
from sim.inputs.yamlfile import read_yaml

SCHEMES = "allowed_direct_url_schemes"
QUOTAS = {"volumes": "internal_tenant_quota_volumes", "gigabytes": "internal_tenant_quota_gigabytes"}
ACCEPTED = "promise.json, plan.json, a scenario (.yaml), or lines of cinder.conf (.conf)"
ALL = "all"  # the whole cloud, beside the backends
FIGURES = ("hit_rate", "p95_s")
ASKED = ("creates_per_day", "new_images_per_day")


@dataclass(frozen=True)
class Promised:
    """A figure: its value, and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Promise:
    """Settings by backend, each option by Cinder's name. `store`: whether Cinder clones from the Cinder store
    (None: not said). `quotas`: the internal tenant's, by resource, where they are given; -1: no limit.
    `places`: volumes at most, by backend ('' = on the whole array) and pool. `figures`: those of each backend
    and of ALL. `hit_rate` is the share of clones among the creates that succeed, because Cinder does not keep
    the image of one that fails. `load`: what users asked for, by backend and ALL (`ASKED`; those that are
    known). `until`: the end of the history that it comes from, if known."""

    backends: Mapping[str, Mapping[str, bool | int]]
    store: bool | None = None
    quotas: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[tuple[str, str], int] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Promised]] = field(default_factory=dict)
    load: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    until: datetime | None = None


def read(path: Path, problems: Problems) -> Promise | None:
    """The promise of a file; None, with every problem noted, if it cannot be used."""
    if what := unusable(path):
        problems.add(path, "", what)
        return None
    if path.suffix == ".conf":
        return _lines(path, problems)
    found = Problems()
    document = read_yaml(path, found)
    if document is None:
        problems.update(found)
        problems.add(path, "", f"is no promise: give {ACCEPTED}")
        return None
    backends = document.get("backends")
    if not isinstance(backends, dict) or not all(isinstance(each, dict) for each in backends.values()):
        problems.add(path, "backends", f"is not a mapping of backends: give {ACCEPTED}")
        return None
    strategy = document.get("strategy", document.get("today"))
    if strategy is not None and (not isinstance(strategy, str) or strategy not in STRATEGIES):
        problems.add(path, "strategy", f"unknown strategy {quoted(strategy)}")
    known = STRATEGIES.get(str(strategy))
    promised = {
        str(name): _options(
            path, str(name), each, known is None or known.image_volume_cache_enabled, problems
        )
        for name, each in backends.items()
    }
    promise = Promise(
        promised,
        None if known is None else known.uses_store,
        _quotas(path, document, problems),
        dict(_places(backends)),
        _figures(path, document, problems),
        *_load(path, document, problems),
    )
    return None if problems else promise


def _options(
    path: Path, name: str, given: Mapping[Any, Any], caches: bool, problems: Problems
) -> dict[str, bool | int]:
    """A backend's options of the cache; those that a scenario leaves out have its defaults."""
    enabled = given.get(ENABLED, True)
    if not isinstance(enabled, bool):
        problems.add(path, f"backends.{name}.{ENABLED}", f"{quoted(enabled)} is neither true nor false")
    if not (enabled and caches):
        return {ENABLED: False}
    found: dict[str, bool | int] = {ENABLED: True}
    for option in (MAX_SIZE, MAX_COUNT):
        value = given.get(option, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            problems.add(path, f"backends.{name}.{option}", f"{quoted(value)} is not a number from 0")
        else:
            found[option] = value
    return found


def _quotas(path: Path, document: Mapping[Any, Any], problems: Problems) -> dict[str, int]:
    """Return the quotas that a plan raises (`quota`), or that a scenario gives (`cinder`)."""
    found: dict[str, int] = {}
    plan, cinder = document.get("quota"), document.get("cinder")
    for resource, key in QUOTAS.items():
        value, where = None, f"quota.{resource}"
        if isinstance(plan, dict):
            value = plan.get(resource)
        elif isinstance(cinder, dict) and key in cinder:
            value, where = cinder[key], f"cinder.{key}"
            value = -1 if value is None else value
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            problems.add(path, where, f"{quoted(value)} is not a whole number")
        elif value is not None:
            found[resource] = value
    return found


def _figures(path: Path, document: Mapping[Any, Any], problems: Problems) -> dict[str, dict[str, Promised]]:
    """Figures of each backend, and of the whole cloud (`tiers.all`); a scenario has none."""
    every = {("backends", str(name)): each for name, each in document["backends"].items()}
    tiers = document.get("tiers")
    if isinstance(tiers, dict) and isinstance(tiers.get(ALL), dict):
        every["tiers", ALL] = tiers[ALL]
    found: dict[str, dict[str, Promised]] = {}
    for (kind, name), of in every.items():
        where = f"{kind}.{name}"
        creates, errors, others = (
            _number(path, where, of, key, problems) or 0.0 for key in ("creates", "errors", "other_errors")
        )
        made = 1 - (errors - others) / creates if creates else 1.0  # Cinder does not show the rest
        for figure in FIGURES:
            told = [_number(path, where, of, f"{figure}{end}", problems) for end in ("", "_low", "_high")]
            if told[0] is not None:
                scale = made if figure == "hit_rate" else 1.0
                value, low, high = (told[0] if each is None else each for each in told)
                # Of creates that succeed; no more than all of them can be clones.
                ends = [each / scale if scale > 0 else 0.0 for each in (value, low, high)]
                ends = [min(each, 1.0) if figure == "hit_rate" else each for each in ends]
                found.setdefault(name, {})[figure] = Promised(*ends)
    return found


def _load(
    path: Path, document: Mapping[Any, Any], problems: Problems
) -> tuple[dict[str, dict[str, float]], datetime | None]:
    load = document.get("load")
    if load is None:
        return {}, None
    if not isinstance(load, dict) or not isinstance(load.get("backends", {}), dict):
        problems.add(path, "load", "is not a mapping")
        return {}, None
    end = load.get("end")
    try:
        until = None if end is None else instant(end)
    except (TypeError, ValueError):
        problems.add(path, "load.end", f"{quoted(end)} is no time")
        until = None
    found: dict[str, dict[str, float]] = {}
    for name, of in {ALL: load.get(ALL, {}), **load.get("backends", {})}.items():
        told = {key: _number(path, f"load.{name}", of, key, problems) for key in ASKED}
        found[str(name)] = {key: value for key, value in told.items() if value is not None}
    return found, until


def _number(path: Path, where: str, of: Any, key: str, problems: Problems) -> float | None:
    """A number from 0 on, if it is given."""
    value = of.get(key) if isinstance(of, dict) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        problems.add(path, f"{where}.{key}", f"{quoted(value)} is not a number from 0")
        return None
    return float(value)


def _places(backends: Mapping[Any, Mapping[Any, Any]]) -> Any:
    """Limits on volumes that a scenario gives, by backend and pool."""
    for name, backend in backends.items():
        pools = backend.get("pools")
        for pool, each in {"": backend, **(pools if isinstance(pools, dict) else {})}.items():
            most = each.get("max_volumes") if isinstance(each, dict) else None
            if isinstance(most, int) and not isinstance(most, bool):
                yield (str(name), str(pool)), most


def _lines(path: Path, problems: Problems) -> Promise | None:
    """The options of the cache and of the store that lines of cinder.conf have."""
    raw: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(str(path), raw).parse()
    except cfg.ParseError as error:
        problems.add(path, *parse_error(str(error)))
        return None
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        problems.add(path, "", f"cannot be read: {getattr(error, 'msg', error)}")
        return None
    store = None
    for value in raw.get("DEFAULT", {}).get(SCHEMES, []):
        store = "cinder" in [scheme.strip() for scheme in value.split(",")]
    backends: dict[str, dict[str, bool | int]] = {}
    kinds: dict[str, Any] = {
        ENABLED: cfg.types.Boolean(),
        MAX_SIZE: cfg.types.Integer(),
        MAX_COUNT: cfg.types.Integer(),
    }
    for section, options in raw.items():
        for option in kinds.keys() & options.keys():
            try:
                value = kinds[option](options[option][-1])
                if value is None:
                    raise ValueError("has no value")
            except ValueError as error:
                problems.add(path, f"[{section}] {option}", " ".join(str(error).split()))
                continue
            backends.setdefault(section, {})[option] = value if option == ENABLED else max(0, value)
    if not backends and store is None:
        problems.add(path, "", f"promises nothing of the cache or the store: give {ACCEPTED}")
    return None if problems else Promise(backends, store)
