"""How each of Cinder's drivers clones a volume: `sim/data/drivers.csv`, and the options that decide it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from oslo_config import cfg
from oslo_utils import importutils

from sim.importers import assumptions

CINDER = "29.0.0"  # the release that `sim/data/drivers.csv` describes
FULL_COPY, BACKGROUND_COPY, NOT_KNOWN = "full copy", "background copy", "not known"
_NETAPP = "cinder.volume.drivers.netapp.common"


@dataclass(frozen=True)
class Driver:
    """A row of `sim/data/drivers.csv`; fields ending in `_at` name a file, a line and a function of Cinder.

    A clone is of kind `clone`, or of kind `then` if the backend's `option` is `when` (a value, or `<=` a
    number). `key` is the scenario's key of a limit: the limit is that of `array` and `limit` in
    `sim/data/array_limits.csv`, or the value of `limit_option`. `raw_file_at` is empty if the driver writes
    no raw file to import.
    """

    volume_driver: str
    clone: str
    option: str
    when: str
    then: str
    then_at: str
    shown_at: str
    key: str
    array: str
    limit: str
    counts: str
    limit_option: str
    limit_at: str
    clone_lock: str
    lock_at: str
    clone_image: str
    clone_image_at: str
    raw_file_at: str
    cloned_at: str
    how: str

    def kind(self, options: Mapping[str, Any]) -> tuple[str, str]:
        """The kind of clone with these backend options, and the line of Cinder's code that shows it."""
        value = options.get(self.option)
        bound = self.when.removeprefix("<=")
        if value is None:
            same = False
        elif bound != self.when:
            same = int(value) <= int(bound)
        else:
            same = str(value).lower() == bound.lower()
        return (self.then, self.then_at) if same else (self.clone, self.shown_at)

    def limits(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The limit by its key: `Assumed` as published, or the value of the backend's option."""
        if chosen := int(options.get(self.limit_option) or 0):
            return {self.key: chosen}
        published = assumptions.limit(self.array, self.limit)
        return {} if published is None else {self.key: published}


@cache
def _drivers() -> dict[str, Driver]:
    rows = assumptions.table("drivers").to_dict("records")
    return {row["volume_driver"]: Driver(**{str(key): value for key, value in row.items()}) for row in rows}


def driver(volume_driver: str) -> Driver | None:
    """The row of the class at this path; None if the class is not part of Cinder."""
    return _drivers().get(volume_driver)


def loaded(volume_driver: str, option: Callable[[str], Any]) -> str:
    """The path of the class that Cinder loads for `volume_driver`.

    `cinder.volume.manager.MAPPING` lists renamed drivers. Two options of the backend, which `option` gives,
    choose NetApp's.
    """
    renamed: dict[str, str] = importlib.import_module("cinder.volume.manager").MAPPING
    path = renamed.get(volume_driver, volume_driver)
    if path == f"{_NETAPP}.NetAppDriver":
        families = importlib.import_module(_NETAPP).NETAPP_UNIFIED_DRIVER_REGISTRY
        family = families.get(option("netapp_storage_family"), {})
        path = family.get(option("netapp_storage_protocol"), path)
    return path


def options(volume_driver: str) -> list[cfg.Opt]:
    """The driver's definitions of the options that determine its clones, if this Cinder has them."""
    known = driver(volume_driver)
    names = {known.option, known.limit_option} - {""} if known else set()
    if not names:
        return []
    try:
        defined = importutils.import_class(volume_driver).get_driver_options()
    except ImportError:
        return []
    return [opt for opt in defined if opt.name in names]
