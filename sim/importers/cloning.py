"""How a backend's driver clones: keys of the scenario, and notes for the operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sim.importers.assumptions import Assumed
from sim.importers.drivers import BACKGROUND_COPY, CINDER, FULL_COPY, NOT_KNOWN, Driver, driver
from sim.importers.notes import Note
from sim.importers.settings import Section


def keys(section: Section, write_mib_s: Assumed) -> dict[str, Any]:
    """The backend's keys that its driver determines: limits, `clone_mib_s` if a clone is a copy, locks, and
    `imports_raw_file`."""
    known = driver(section.loaded_driver)
    if known is None:
        return {}
    options = section.driver_options
    found = {key: one for key, one in known.limits(options).items() if "." not in key}
    kind, at = known.kind(options)
    if kind == FULL_COPY:
        line = at.partition(" ")[0]
        found["clone_mib_s"] = Assumed(
            write_mib_s.value, f"a clone is a full copy, at the write rate ({line})"
        )
    if known.raw_file_at:
        found["imports_raw_file"] = True
    if options.get("lvm_type") == "default":
        found["thin"] = False
    if known.clone_lock == "source":
        found["clone_lock"] = "source"
    elif known.clone_lock == "backend":
        found["clone_streams"] = 1
    return found


def pool_limit(section: Section) -> Assumed | None:
    """The published limit on volumes for each of the backend's pools."""
    known = driver(section.loaded_driver)
    return known.limits(section.driver_options).get("pools.max_volumes") if known else None


def notes(sections: Iterable[Section]) -> Iterator[Note]:
    """Notes on the clones of these backends, one for all backends to which it applies."""
    names: dict[Note, list[str]] = {}
    for section in sections:
        for note in _notes(section):
            names.setdefault(note, []).append(section.name)
    for note, backends in names.items():
        yield Note(note.kind, f"backend {', '.join(backends)}: {note.text}")


def _notes(section: Section) -> Iterator[Note]:
    known = driver(section.loaded_driver)
    if known is None:
        what = "this driver is not part of Cinder; its clones are assumed not to be copies"
        yield Note("unknown", f"no figure known for {section.loaded_driver}: {what} (Cinder {CINDER})")
        return
    yield from _kind(known, section.driver_options)
    yield from _limit(known, section.driver_options)
    if known.clone_lock:
        of_source = known.clone_lock == "source"
        whose, key = ("of one volume", "clone_lock") if of_source else ("on this backend", "clone_streams")
        yield Note("read", f"{known.lock_at}: clones {whose} wait for each other: {key}")
    if known.clone_image:
        yield Note(
            "unknown", f"{known.clone_image_at}: the driver itself makes volumes from {known.clone_image}"
        )


def _kind(known: Driver, options: Mapping[str, Any]) -> Iterator[Note]:
    kind, at = known.kind(options)
    value = options.get(known.option)
    decided = "" if value is None else f" with {known.option} = {value}"
    if kind == FULL_COPY:
        what = f"a clone is a full copy{decided}, made at the write rate: clone_mib_s"
        yield Note("assumed", f"{at}: {what} ({known.how})")
    elif kind == BACKGROUND_COPY:
        what = f"a clone is ready at once{decided}; the copy in the background is not simulated"
        yield Note("unknown", f"{at}: {what} ({known.how})")
    elif kind == NOT_KNOWN:
        what = f"no figure known{decided}: a clone is assumed not to be a copy"
        yield Note("unknown", f"{at}: {what} ({known.how})")
    elif decided:
        what = (
            f"a clone is copy-on-write{decided}, and a {known.then if kind == known.clone else known.clone}"
        )
        yield Note("assumed", f"{at}: {what} with other values ({known.how})")


def _limit(known: Driver, options: Mapping[str, Any]) -> Iterator[Note]:
    limits = known.limits(options)
    for key, value in limits.items():
        if not isinstance(value, Assumed):
            what = f"{key} {value} is {known.limit_option}"
            yield Note("read", f"{known.limit_at}: {what} (it counts for each {known.counts})")
