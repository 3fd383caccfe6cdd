"""What was promised: limits and strategy out of a plan, a scenario or lines of cinder.conf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oslo_config import cfg

from sim.importers.source_files import unusable
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.inputs.problems import Problems, quoted
from sim.inputs.strategies import STRATEGIES
from sim.inputs.yamlfile import read_yaml

SCHEMES = "allowed_direct_url_schemes"
QUOTAS = {"volumes": "internal_tenant_quota_volumes", "gigabytes": "internal_tenant_quota_gigabytes"}
ACCEPTED = "plan.json, a scenario (.yaml), or lines of cinder.conf (.conf)"


@dataclass(frozen=True)
class Promise:
    """Settings by backend, each option by Cinder's name. `store`: whether Cinder clones from the Cinder store
    (None: not said). `quotas`: the internal tenant's, by resource, where they are given; -1: no limit.
    `places`: volumes at most, by backend ('' = on the whole array) and pool."""

    backends: Mapping[str, Mapping[str, bool | int]]
    store: bool | None = None
    quotas: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[tuple[str, str], int] = field(default_factory=dict)


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
    if strategy is not None and strategy not in STRATEGIES:
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
            except ValueError as error:
                problems.add(path, f"[{section}] {option}", " ".join(str(error).split()))
                continue
            backends.setdefault(section, {})[option] = value if option == ENABLED else max(0, value)
    if not backends and store is None:
        problems.add(path, "", f"promises nothing of the cache or the store: give {ACCEPTED}")
    return None if problems else Promise(backends, store)
