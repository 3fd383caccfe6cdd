"""cinder.conf of one or more services: backends, and the options for Cinder as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from sim.importers import drivers
from sim.importers.backend_names import reported
from sim.importers.conf_files import CACHE_OPTIONS, SHARED, ConfFiles, backend_options, files_of, parse
from sim.importers.configuration_notes import notes
from sim.importers.settings import MULTIPLIERS, WHOLE, Configuration, Section, Service
from sim.importers.source_files import unusable
from sim.inputs.backend import NOVA
from sim.inputs.problems import Problems, quoted
from sim.inputs.textfile import read_bytes

_FIELDS = (
    *("volume_driver", "max_over_subscription_ratio", "reserved_percentage", *CACHE_OPTIONS),
    *("image_upload_use_cinder_backend", "image_upload_use_internal_tenant", "volume_copy_bps_limit"),
    *("filter_function", "goodness_function"),
)
# What a scenario can hold of Cinder's numbers, from and to.
_MOST = 2**31 - 1
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("quota_volumes", "quota_gigabytes", "per_volume_size_limit"), (-_MOST, _MOST)),
    **dict.fromkeys(CACHE_OPTIONS[1:], (-_MOST, _MOST)),
    **dict.fromkeys(MULTIPLIERS, (-1e9, 1e9)),
    "scheduler_max_attempts": (1, _MOST),
    "backend_stats_polling_interval": (1, 1e9),
    "max_over_subscription_ratio": (1, 1e9),
    "reserved_percentage": (0, 100),
}


def read(
    paths: Sequence[Path], problems: Problems, services: Sequence[Sequence[Path]] = ()
) -> Configuration | None:
    """Read the files of one service and of each further one in `services`; a folder stands for its files.

    A service's files are read as Cinder reads `--config-file` and `--config-dir`, in this order. None, with
    every problem noted, if they cannot be used.
    """
    every = [paths, *services] if paths else list(services)
    for path in dict.fromkeys(chain.from_iterable(every)):
        for file in [path] if unusable(path, folder=True) else files_of(path):
            if why := unusable(file):
                problems.add(file, "", why)
            else:
                read_bytes(file, problems)
    if problems:
        return None
    parsed = [found for each in every if (found := parse(each, problems)) is not None]
    read = [_service(files, number, problems) for number, files in enumerate(parsed)]
    if not problems and not any(service.sections for service in read):
        for service in read:
            problems.add(service.files.shown, "[DEFAULT] enabled_backends", f"is empty: {_instead(service)}")
    return None if problems else _joined(read)


def _service(files: ConfFiles, number: int, problems: Problems) -> Service:
    whole = {name: files.get(name) for name in WHOLE}
    whole["allowed_direct_url_schemes"] = whole["allowed_direct_url_schemes"] or ()
    _check_numbers(files, "DEFAULT", whole, problems)
    told = frozenset(name for name in WHOLE if files.sets(name))
    service = Service(files, (), whole, told, files.get("backend_url", "coordination") or "")
    raw = {section.lower() for sections in files.raw().values() for section in sections}
    enabled = list(dict.fromkeys(name for name in files.get("enabled_backends") or () if name))
    for name in enabled:
        # oslo.config compares section names without case. With neither, Cinder would run the default
        # driver; more likely a file is missing.
        if name.lower() not in raw and SHARED not in raw:
            known = ", ".join(sorted(raw - {"default", "coordination"})) or "none at all"
            what = f"{quoted(name)} has no section of its own; the files have: {known}"
            problems.add(files.shown, "[DEFAULT] enabled_backends", what)
    sections = tuple(_section(service, name, number, problems) for name in enabled)
    return replace(service, sections=sections)


def _check_numbers(files: ConfFiles, group: str, values: Mapping[str, Any], problems: Problems) -> None:
    for name in values.keys() & _BOUNDS.keys():
        low, high = _BOUNDS[name]
        value = values[name]
        if value in (None, "auto"):
            continue
        number = float(value) if isinstance(value, str) else value  # an int may be too large for a float
        if not low <= number <= high:
            problems.add(files.shown, f"[{group}] {name}", f"{quoted(value)} is not from {low:g} to {high:g}")


def _section(service: Service, name: str, number: int, problems: Problems) -> Section:
    files = service.files
    files.define(name, backend_options())
    values = {field: files.of_backend(name, field) for field in _FIELDS}
    _check_numbers(files, name, values, problems)
    ratio = values["max_over_subscription_ratio"]
    values["max_over_subscription_ratio"] = None if ratio in (None, "auto") else float(ratio)
    for limit in CACHE_OPTIONS[1:]:  # Cinder takes every value that is not positive as no limit
        values[limit] = max(0, values[limit] or 0)
    loaded = drivers.loaded(values["volume_driver"] or "", lambda option: files.of_backend(name, option))
    files.define(name, decisive := drivers.options(loaded))
    zone = files.of_backend(name, "backend_availability_zone") or service.whole["storage_availability_zone"]
    own, told = files.host_of(name), files.sets("host")
    # Services without a host option are assumed to run on different nodes.
    node = files.get("host") if told or not number else f"node{number + 1}"
    return Section(
        name=name,
        host=own or node,
        host_told=told or own is not None,
        node=node,
        node_told=told,
        nodes=(node,),
        cluster=(files.get("cluster") or "").strip(),
        reported=reported(loaded, files.of_backend(name, "volume_backend_name")),
        caches=bool(values["image_volume_cache_enabled"]) and service.tenant is not None,
        loaded_driver=loaded,
        availability_zone=zone or NOVA,
        driver_options={opt.name: files.of_backend(name, opt.name) for opt in decisive},
        **values,
    )


def _instead(service: Service) -> str:
    """What a file without backends seems to be, and what to do."""
    merged: dict[str, set[str]] = {}
    for sections in service.files.raw().values():
        for section, options in sections.items():
            merged.setdefault(section, set()).update(options)
    own = merged.get("DEFAULT", set())
    able = [name for name in merged if name not in ("DEFAULT", SHARED) and "volume_driver" in merged[name]]
    if able:
        names = ",".join(able)
        return f"sections {', '.join(able)} have a volume_driver: write enabled_backends = {names}"
    if "volume_driver" in own:
        return (
            "volume_driver is in [DEFAULT], which Cinder has ignored since Ocata: move the driver's"
            " options into a section and name that in enabled_backends"
        )
    marks = {"scheduler_": "cinder-scheduler", "osapi_": "cinder-api", "api_paste_config": "cinder-api"}
    for mark, whose in marks.items():
        if some := sorted(option for option in own if option.startswith(mark)):
            return f"it has {some[0]}, so it seems to be the file of a {whose}: give that of a cinder-volume"
    return "it has no backend and no section with a volume_driver: give the file of a cinder-volume"


def _joined(services: list[Service]) -> Configuration:
    """One configuration for all services; a backend that several services share is in it once."""
    shared: dict[tuple[str, str], list[Section]] = {}
    for section in chain.from_iterable(service.sections for service in services):
        shared.setdefault((section.owner, section.name), []).append(section)
    sections = [
        replace(same[0], nodes=tuple(dict.fromkeys(one.node for one in same))) for same in shared.values()
    ]
    names = [section.name for section in sections]
    labels = [
        one.name if names.count(one.name) == 1 else f"{one.name}.{one.cluster or one.host}"
        for one in sections
    ]
    whole, told = {}, frozenset(chain.from_iterable(service.told for service in services))
    for name in WHOLE:
        whole[name] = next((one.whole[name] for one in services if name in one.told), services[0].whole[name])
    found = Configuration(
        sections=dict(zip(labels, sections, strict=True)),
        whole=whole,
        told=told,
        internal_tenant=next((service.tenant for service in services if service.tenant), None),
        # A `file:` lock covers one node, even on a shared mount; tooz's other locks cover the cloud.
        lock_scope="node"
        if any(service.lock_url.startswith("file:") for service in services if service.sections)
        else "cloud",
    )
    return replace(found, notes=tuple(notes(found, services, list(shared.values()))))
