"""The settings of cinder.conf that a watch shows, read again when a file changes, and their drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.importers import configuration
from sim.importers.conf_files import SHARED, files_of
from sim.importers.drivers import driver
from sim.importers.settings import Configuration, Section
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.inputs.problems import Problems
from sim.live.promise import QUOTAS, SCHEMES, Promise
from sim.live.state import CLONE, Place, State

OPTIONS = {"volumes": "quota_volumes", "gigabytes": "quota_gigabytes"}


@dataclass(frozen=True)
class Difference:
    """A setting that was promised: what it is, if that differs. `backend`: '' for the whole of Cinder."""

    backend: str
    setting: str
    promised: object
    actual: object

    @property
    def drifted(self) -> bool:
        """Whether it is not as promised."""
        return self.promised != self.actual

    def __str__(self) -> str:
        where = f"[{self.backend}] " if self.backend else ""
        return f"{where}{self.setting} is {_shown(self.actual)}, and not {_shown(self.promised)} as promised"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Settings:
    """cinder.conf of the services, as it is in the files now. None of it is known without files.

    `readable`: whether the last reading of the files worked; if not, those of before stay. `problems`: what
    was wrong with it.
    """

    def __init__(
        self, conf: Sequence[Path], services: Sequence[Sequence[Path]], promise: Promise | None
    ) -> None:
        self._conf, self._services, self.promise = conf, services, promise
        self.configuration: Configuration | None = None
        self.problems: list[str] = []
        self._seen: object = None

    @property
    def readable(self) -> bool:
        """Whether the last reading of the files worked."""
        return not self.problems

    def read(self) -> bool:
        """Read the files if one has changed; returns whether they were read."""
        every = [*([self._conf] if self._conf else []), *self._services]
        seen = [
            (file, _changed(file)) for paths in every for path in paths for file in (path, *files_of(path))
        ]
        if seen == self._seen or not every:
            return False
        self._seen = seen
        problems = Problems()
        found = configuration.read(self._conf, problems, self._services)
        self.problems = problems.lines()
        if found is not None:
            self.configuration = found
        return True

    def section(self, place: Place) -> Section | None:
        """The section of a pool's backend, if the files have it."""
        if self.configuration is None:
            return None
        same = [one for one in self.configuration.sections.values() if one.name == place.backend]
        exact = [one for one in same if place.host in (one.cluster, one.host, *one.nodes)]
        unsure = [one for one in same if not one.host_told]
        return next(iter([*exact, *unsure]), None)

    def cloned(self, place: Place, encrypted: bool) -> str:
        """What made a clone there: `driver`, `store` or `cache` if only one of them can, else `clone`."""
        section = self.section(place)
        if section is None or self.configuration is None:
            return CLONE
        known = driver(section.loaded_driver)
        can = {
            "driver": known is None or bool(known.clone_image),
            "store": self.configuration.allows_store,
            "cache": section.caches and not encrypted,
        }
        only = [name for name, possible in can.items() if possible]
        return only[0] if len(only) == 1 else CLONE

    def places(self, place: Place, volumes: Mapping[Place, int]) -> int | None:
        """How many more volumes a pool takes, if a limit is known; `volumes`: how many each pool has."""
        here = volumes.get(place, 0)
        whole = sum(count for each, count in volumes.items() if each[:2] == place[:2])
        left = [most - here for most in self._limits(place, place.pool)]
        left += [most - whole for most in self._limits(place, "")]
        return min(left, default=None)

    def _limits(self, place: Place, pool: str) -> Iterator[int]:
        if self.promise is not None and (most := self.promise.places.get((place.backend, pool))) is not None:
            yield most
            return
        section = self.section(place)
        known = driver(section.loaded_driver) if section is not None else None
        if section is not None and known is not None:
            key = "pools.max_volumes" if pool else "max_volumes"
            most = known.limits(section.driver_options).get(key)
            if most is not None:
                yield int(getattr(most, "value", most))

    def differences(self, state: State | None) -> list[Difference]:
        """Every setting that was promised, beside what it is. `state`: for quotas, if they are known."""
        if self.promise is None or self.configuration is None:
            return []
        found = []
        for name, promised in _of_backends(self.promise, self.configuration).items():
            section = _named(self.configuration, name)
            if section is None:
                found.append(Difference(name, "enabled_backends", "there", "missing"))
                continue
            actual = {
                ENABLED: section.caches,
                MAX_SIZE: section.image_volume_cache_max_size_gb,
                MAX_COUNT: section.image_volume_cache_max_count,
            }
            found += [Difference(name, option, value, actual[option]) for option, value in promised.items()]
        if self.promise.store is not None:
            # Only `cinder` counts: the operator's other schemes may stay.
            words = {True: "with cinder", False: "without cinder"}
            actual_store = self.configuration.allows_store
            found.append(Difference("", SCHEMES, words[self.promise.store], words[actual_store]))
        if state is not None:
            limits = quota_limits(state, self.configuration)
            for resource, value in self.promise.quotas.items():
                found.append(Difference("", QUOTAS[resource], value, limits.get(resource, value)))
        return found


def quota_limits(state: State, configuration: Configuration | None) -> dict[str, int]:
    """The internal tenant's limits of volumes and GiB; -1 and less: none.

    Own limits come before those of the default class, and these before cinder.conf's
    (`cinder.quota.DbQuotaDriver`).
    """
    found: dict[str, int] = {}
    if configuration is not None:
        found = {name: int(configuration.whole[option]) for name, option in OPTIONS.items()}
    if configuration is None or configuration.whole["use_default_quota_class"]:
        found |= state.default_quotas
    return found | state.quotas


def _of_backends(promise: Promise, found: Configuration) -> dict[str, dict[str, bool | int]]:
    """The promised settings of each backend. `[backend_defaults]` promises them for every backend."""
    own = {name: of for name, of in promise.backends.items() if name != SHARED}
    shared = promise.backends.get(SHARED, {})
    others = [label for label, one in found.sections.items() if not {label, one.name} & own.keys()]
    return {name: {**shared, **of} for name, of in own.items()} | {
        label: {**shared} for label in others if shared
    }


def _named(found: Configuration, name: str) -> Section | None:
    """The section that a scenario's backend names: by its label, else by its own name."""
    same = [one for label, one in found.sections.items() if name in (label, one.name)]
    return found.sections.get(name) or next(iter(same), None)


def _changed(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
