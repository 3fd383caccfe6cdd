"""What an operator should know of what cinder.conf says: what was found, what it means, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import get_args

from sim.importers.conf_files import CACHE_OPTIONS, SHARED
from sim.importers.notes import Note
from sim.importers.settings import WHOLE, Configuration, Section, Service
from sim.inputs.scenario import Weigher

MIB = 2**20
# Cinder's filters, and what it means for the result that they are not simulated.
FILTERS = {
    "AvailabilityZoneFilter": "",
    "CapacityFilter": "",
    "CapabilitiesFilter": "",
    "DriverFilter": "the simulated scheduler uses pools that a filter_function refuses, so volumes may lie "
    "elsewhere than in your cloud",
    "InstanceLocalityFilter": "it acts only on requests with the hint local_to_instance",
    "DifferentBackendFilter": "it acts only on requests with the hint different_host",
    "SameBackendFilter": "it acts only on requests with the hint same_host",
    "JsonFilter": "it acts only on requests with the hint query",
    "IgnoreAttemptedHostsFilter": "a create that failed may be tried on the same pool again in the "
    "simulation, and never is in your cloud",
    "RetryFilter": "a create that failed may be tried on the same pool again in the simulation, and never is "
    "in your cloud",
}
# Those that always work, and what a cloud without one does.
SIMULATED = {
    "AvailabilityZoneFilter": "your cloud may place a volume in any zone",
    "CapacityFilter": "your cloud may choose a full pool, where the create then fails",
    "CapabilitiesFilter": "your cloud may place a volume on any backend, whatever its type asks for",
}
WEIGHERS = {
    "GoodnessWeigher": "pools that a goodness_function prefers are not preferred",
    "ChanceWeigher": "pools are not chosen by chance",
}
HANDLERS = ("OrderedHostWeightHandler", "StochasticHostWeightHandler")


def notes(found: Configuration, services: list[Service], shared: list[list[Section]]) -> Iterator[Note]:
    """All of them. `shared`: for each backend its section in every service that has it."""
    for service in services:
        yield from _files(service)
    yield from _differences(services)
    for same in shared:
        yield from _merged(same, found.lock_scope)
    for label, section in found.sections.items():
        yield from _cache(label, section)
        yield from _name(label, section)
        yield from _backend(label, section)
    yield from _uploads(found)
    yield from _scheduler(found)
    yield from _conversion(found)
    yield from _zones(found, services)


def _files(service: Service) -> Iterator[Note]:
    shown, sections = service.files.shown, service.sections
    backends = ", ".join(f"{one.name} ({one.volume_driver})" for one in sections) or "no backend"
    yield Note("read", f"cinder.conf ({shown}): backends {backends}")
    raw = service.files.raw()
    written = {str(path): one.get("DEFAULT", {}).get("enabled_backends") for path, one in raw.items()}
    given = {path: values[-1] for path, values in written.items() if values}
    if len({_names(text) for text in given.values()}) > 1:
        listed = ", ".join(f"{path} ({text})" for path, text in given.items())
        yield Note(
            "read",
            f"enabled_backends differs between {listed}: the last one counts, as in Cinder, so backends of "
            "the others are left out. If each file is of a service of its own, give each with a --service",
        )
    there = {section.lower() for one in raw.values() for section in one}
    absent = [one.name for one in sections if one.name.lower() not in there]
    if absent:
        what = f"all that they have is what [{SHARED}] says, as in Cinder"
        yield Note("read", f"{', '.join(absent)}: no section of this name; {what}")
    if any(one.image_volume_cache_enabled for one in sections) and service.tenant is None:
        names = "cinder_internal_tenant_project_id and cinder_internal_tenant_user_id"
        yield Note("read", f"{names} are not both set: Cinder caches nothing, though it is enabled ({shown})")
    stray = ", ".join(name for name in CACHE_OPTIONS if service.files.get(name) is not None)
    if stray:
        where = f"they belong into [{SHARED}] or a backend's section"
        yield Note("read", f"[DEFAULT] {stray}: Cinder does not look there; {where}")
    misplaced = [one.name for one in sections if _sets(service, one.name, "host")]
    if misplaced:
        what = "Cinder does not look there; the option of a backend is backend_host"
        yield Note("read", f"[{', '.join(misplaced)}] host is set: {what}")
    if sections and not sections[0].node_told:
        what = f"the nodes of its backends are taken to be called {sections[0].node}"
        yield Note("assumed", f"{shown} does not set host: {what}; write host, or give the database (--db)")


def _sets(service: Service, section: str, option: str) -> bool:
    """Whether a file writes an option in a section, which oslo.config compares without case."""
    return any(
        option in options
        for sections in service.files.raw().values()
        for name, options in sections.items()
        if name.lower() == section.lower()
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",")) - {""}


def _differences(services: list[Service]) -> Iterator[Note]:
    """Options of all of Cinder on which services do not agree."""
    for name in WHOLE:
        values = [service.whole[name] for service in services if name in service.told]
        if any(value != values[0] for value in values):
            listed = ", ".join(str(value) for value in values)
            yield Note("read", f"{name} differs between the services ({listed}): the first one is taken")
    if len({service.lock_url for service in services if service.sections}) > 1:
        what = "unless they name one system, two nodes may cache one image at the same time"
        yield Note("read", f"[coordination] backend_url differs between the services: {what}")


def _merged(same: list[Section], lock_scope: str) -> Iterator[Note]:
    first, nodes = same[0], sorted({one.node for one in same})
    if len(same) > 1:
        what = f"share {first.owner}, so they are one backend; the scenario has it on node {first.node}"
        lock = (
            "; each node has image locks of its own, which is not simulated" if lock_scope == "node" else ""
        )
        yield Note("read", f"[{first.name}] on nodes {', '.join(nodes)}: the services {what}{lock}")
    elif first.cluster:
        what = "all services of a cluster are one backend, here on one node"
        yield Note("read", f"[{first.name}] is of cluster {first.cluster}: {what}")
    elif first.host_told and first.host != first.node:
        what = "services on other nodes with the same one are this backend too, here on one node"
        yield Note("read", f"[{first.name}] backend_host is {first.host}: {what}")
    own = ("host", "host_told", "node", "node_told", "nodes", "caches")
    for other in same[1:]:
        mine, theirs = asdict(first), asdict(other)
        differ = sorted(key for key in mine if key not in own and mine[key] != theirs[key])
        if differ or first.caches != other.caches:
            what = f"{', '.join(differ) or 'the internal tenant'} differs between its services"
            yield Note("read", f"[{first.name}] {what}: the first one is taken ({first.node})")


def _cache(label: str, one: Section) -> Iterator[Note]:
    if one.image_volume_cache_enabled and not (
        one.image_volume_cache_max_count or one.image_volume_cache_max_size_gb
    ):
        until = "until the array or the internal tenant's quota is full"
        yield Note("read", f"[{label}] the cache has no limit: it grows {until}")


def _name(label: str, one: Section) -> Iterator[Note]:
    at = f" ({one.reported.at})" if one.reported.at else ""
    if one.reported.name is None:
        what = f"its driver {one.volume_driver} makes one that these files do not tell{at}"
        then = f"{one.name} is taken; set volume_backend_name so that volume types can ask for it"
        yield Note("assumed", f"[{label}] no volume_backend_name is set: {what}; {then}")
    elif not one.reported.name:
        what = f"its driver then reports none{at}, so types that ask for a name are never placed there"
        yield Note("read", f"[{label}] no volume_backend_name is set: {what}")
    elif at:
        yield Note("read", f"[{label}] its driver reports volume_backend_name {one.reported.name}{at}")


def _backend(label: str, one: Section) -> Iterator[Note]:
    if one.max_over_subscription_ratio is None:
        what = "max_over_subscription_ratio is auto, which is not simulated: 20.0 is taken"
        yield Note("assumed", f"[{label}] {what}")
    for option, used in (("filter_function", "DriverFilter"), ("goodness_function", "GoodnessWeigher")):
        if getattr(one, option):
            what = f"it is not simulated; it acts only where the scheduler has {used}"
            then = "volumes may lie elsewhere than in your cloud"
            yield Note("unknown", f"[{label}] {option} is set: {what}; {then}")
    if one.volume_copy_bps_limit:
        rate = f"{one.volume_copy_bps_limit / MIB:,.1f} MiB/s"
        what = f"writing an image to a block device is no faster than {rate}"
        then = f"write write_mib_s of at most that into the scenario where the assumed one is above {rate}"
        yield Note("unknown", f"[{label}] volume_copy_bps_limit is set: {what}; {then}")


def _uploads(found: Configuration) -> Iterator[Note]:
    name = "image_upload_use_cinder_backend"
    uploads = [label for label, one in found.sections.items() if one.image_upload_use_cinder_backend]
    if uploads:
        what = "image-volumes of uploaded images are not told apart from users' volumes"
        yield Note("unknown", f"{name} on {', '.join(uploads)}: {what}")
    internal = [label for label, one in found.sections.items() if one.image_upload_use_internal_tenant]
    if internal and len(internal) < len(found.sections):
        what = "the scenario has one value for all backends, and it is true"
        yield Note(
            "assumed", f"image_upload_use_internal_tenant is true on {', '.join(internal)} only: {what}"
        )


def _scheduler(found: Configuration) -> Iterator[Note]:
    filters, weighers = (found.whole[f"scheduler_default_{what}"] for what in ("filters", "weighers"))
    for name in filters:
        if what := FILTERS.get(name, "what it refuses is not known here, so volumes may lie elsewhere"):
            yield Note("unknown", f"scheduler_default_filters has {name}, which is not simulated: {what}")
    for name, what in SIMULATED.items():
        if name not in filters:
            yield Note("unknown", f"scheduler_default_filters lacks {name}, which is simulated: {what}")
    known = get_args(Weigher)
    others = [name for name in weighers if name not in known]
    if others and len(others) == len(weighers):
        yield Note(
            "assumed", "scheduler_default_weighers has none that is simulated: CapacityWeigher is taken"
        )
    for name in others:
        what = WEIGHERS.get(name, "what it prefers is not known here")
        yield Note("unknown", f"scheduler_default_weighers has {name}, which is not simulated: {what}")
    handler = found.whole["scheduler_weight_handler"]
    if handler.rpartition(".")[2] not in HANDLERS:
        what = "is not simulated: OrderedHostWeightHandler, Cinder's default, is taken"
        yield Note("assumed", f"scheduler_weight_handler {handler} {what}")


def _conversion(found: Configuration) -> Iterator[Note]:
    if found.whole["image_conversion_disable"]:
        what = "in your cloud creates from images of another format than the volume's (mostly raw) fail"
        then = "here they are converted; leave such images out of the list to see your cloud"
        yield Note("unknown", f"image_conversion_disable is true: {what}; {then}")


def _zones(found: Configuration, services: list[Service]) -> Iterator[Note]:
    zones: dict[str, list[str]] = {}
    for service in services:
        for one in service.sections:
            zones.setdefault(one.backend_availability_zone or service.zone, []).append(one.name)
    if len(zones) > 1:
        listed = ", ".join(f"{zone} ({', '.join(dict.fromkeys(names))})" for zone, names in zones.items())
        what = "the scenario has none, so a create without a host may run in any of them"
        then = "import each zone on its own for figures of each"
        yield Note("unknown", f"backends are in several availability zones, {listed}: {what}; {then}")
