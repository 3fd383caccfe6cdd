"""Notes for an operator on cinder.conf: what was found, what it means, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from sim.importers.conf_files import CACHE_OPTIONS, SHARED
from sim.importers.notes import Note
from sim.importers.settings import WHOLE, Configuration, Section, Service
from sim.inputs.schedulers import NEEDS_NOVA, shipped

MIB = 2**20
# tooz's drivers that ask for a lock again and again. Its others have queues, that of files in each process.
ASKING_AGAIN = {"etcd3", "memcached", "mysql", "redis"}
HANDLERS = ("OrderedHostWeightHandler", "StochasticHostWeightHandler")


def notes(found: Configuration, services: list[Service], shared: list[list[Section]]) -> Iterator[Note]:
    """All notes. `shared`: for each backend, its section in every service that has it."""
    for service in services:
        yield from _files(service)
    yield from _differences(services)
    yield from _lock_order(services)
    for same in shared:
        yield from _merged(same, found.lock_scope)
    for label, section in found.sections.items():
        yield from _cache(label, section)
        yield from _name(label, section)
        yield from _backend(label, section)
    yield from _uploads(found)
    yield from _scheduler(found)
    yield from _conversion(found)
    yield from _zones(found)


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
            f"enabled_backends differs between {listed}: the last one counts, as in Cinder, and the backends "
            "of the others are left out. If each file belongs to another service, give each with a --service",
        )
    there = {section.lower() for one in raw.values() for section in one}
    absent = [one.name for one in sections if one.name.lower() not in there]
    if absent:
        what = f"they get the values of [{SHARED}] only, as in Cinder"
        yield Note("read", f"{', '.join(absent)}: no section of this name; {what}")
    if any(one.image_volume_cache_enabled for one in sections) and service.tenant is None:
        names = "cinder_internal_tenant_project_id and cinder_internal_tenant_user_id"
        yield Note("read", f"{names} are not both set: Cinder caches nothing, though enabled ({shown})")
    stray = ", ".join(name for name in CACHE_OPTIONS if service.files.get(name) is not None)
    if stray:
        where = f"move them to [{SHARED}] or a backend's section"
        yield Note("read", f"[DEFAULT] {stray}: Cinder ignores them there; {where}")
    misplaced = [one.name for one in sections if _sets(service, one.name, "host")]
    if misplaced:
        what = "Cinder ignores it there; set backend_host instead"
        yield Note("read", f"[{', '.join(misplaced)}] host is set: {what}")
    if sections and not sections[0].node_told:
        what = f"the nodes of its backends are assumed to be {sections[0].node}"
        yield Note("assumed", f"{shown} does not set host: {what}; set host, or give the database (--db)")


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
    """Options that apply to all of Cinder and differ between services."""
    for name in WHOLE:
        values = [service.whole[name] for service in services if name in service.told]
        if any(value != values[0] for value in values):
            listed = ", ".join(str(value) for value in values)
            yield Note("read", f"{name} differs between the services ({listed}): the first one is used")
    if len({service.lock_url for service in services if service.sections}) > 1:
        what = "unless all URLs lead to one system, two nodes may cache one image at the same time"
        yield Note("read", f"[coordination] backend_url differs between the services: {what}")


def _lock_order(services: list[Service]) -> Iterator[Note]:
    schemes = {
        service.lock_url.partition(":")[0].partition("+")[0] for service in services if service.sections
    }
    if asking := sorted(schemes & ASKING_AGAIN):
        what = "goes to anybody who waits, but to who came first in the scenario"
        how = "set cinder.lock_order: chance to draw the order"
        yield Note("assumed", f"the lock of an image in {', '.join(asking)} {what}; {how}")


def _merged(same: list[Section], lock_scope: str) -> Iterator[Note]:
    first, nodes = same[0], sorted({one.node for one in same})
    if len(same) > 1:
        what = f"share {first.owner}, so they are one backend, whose nodes take its creates in turn"
        lock = "; each node has its own locks of images, so that two may fill one image at the same time"
        lock = lock if lock_scope == "node" else ""
        yield Note("read", f"[{first.name}] on nodes {', '.join(nodes)}: the services {what}{lock}")
    elif first.cluster:
        what = "its other services are the same backend: give the file of each with a --service"
        yield Note("read", f"[{first.name}] belongs to cluster {first.cluster}: {what}")
    elif first.host_told and first.host != first.node:
        what = "services on other nodes with the same value are the same backend: give each with a --service"
        yield Note("read", f"[{first.name}] backend_host is {first.host}: {what}")
    own = ("host", "host_told", "node", "node_told", "nodes", "caches")
    for other in same[1:]:
        mine, theirs = asdict(first), asdict(other)
        differ = sorted(key for key in mine if key not in own and mine[key] != theirs[key])
        if differ or first.caches != other.caches:
            what = f"{', '.join(differ) or 'the internal tenant'} differs between its services"
            yield Note("read", f"[{first.name}] {what}: the first one is used ({first.node})")


def _cache(label: str, one: Section) -> Iterator[Note]:
    if one.image_volume_cache_enabled and not (
        one.image_volume_cache_max_count or one.image_volume_cache_max_size_gb
    ):
        until = "until the array or the internal tenant's quota is full"
        yield Note("read", f"[{label}] the cache has no limit: it grows {until}")


def _name(label: str, one: Section) -> Iterator[Note]:
    at = f" ({one.reported.at})" if one.reported.at else ""
    if one.reported.name is None:
        what = f"its driver {one.volume_driver} makes a name that these files do not show{at}"
        then = f"{one.name} is used; set volume_backend_name so that volume types can ask for it"
        yield Note("assumed", f"[{label}] no volume_backend_name is set: {what}; {then}")
    elif not one.reported.name:
        what = f"its driver then reports none{at}, so volumes whose type asks for a name never go there"
        yield Note("read", f"[{label}] no volume_backend_name is set: {what}")
    elif at:
        yield Note("read", f"[{label}] its driver reports volume_backend_name {one.reported.name}{at}")


def _backend(label: str, one: Section) -> Iterator[Note]:
    if one.max_over_subscription_ratio is None:
        what = "max_over_subscription_ratio is auto, which is not simulated: 20.0 is used"
        yield Note("assumed", f"[{label}] {what}")
    if one.volume_copy_bps_limit:
        rate = f"{one.volume_copy_bps_limit / MIB:,.1f} MiB/s"
        what = f"Cinder writes an image to a block device at {rate} at most"
        then = f"where the assumed write_mib_s is above {rate}, set it to at most that in the scenario"
        yield Note("unknown", f"[{label}] volume_copy_bps_limit is set: {what}; {then}")


def _uploads(found: Configuration) -> Iterator[Note]:
    name = "image_upload_use_cinder_backend"
    uploads = [label for label, one in found.sections.items() if one.image_upload_use_cinder_backend]
    if uploads:
        what = "image-volumes of uploaded images count as users' volumes"
        yield Note("unknown", f"{name} on {', '.join(uploads)}: {what}")
    internal = [label for label, one in found.sections.items() if one.image_upload_use_internal_tenant]
    if internal and len(internal) < len(found.sections):
        what = "the scenario has one value for all backends, which is true"
        yield Note(
            "assumed", f"image_upload_use_internal_tenant is true on {', '.join(internal)} only: {what}"
        )


def _scheduler(found: Configuration) -> Iterator[Note]:
    for option, kind, default in (
        ("scheduler_default_filters", "filters", "Cinder's default filters are used"),
        ("scheduler_default_weighers", "weights", "CapacityWeigher is used"),
    ):
        names = found.whole[option]
        others = [name for name in names if name not in shipped(kind)]
        if others and len(others) == len(names):
            yield Note("assumed", f"{option} has none that is simulated: {default}")
        for name in others:
            what = "no class of this name is installed here; volumes may be on other pools than in your cloud"
            if name == NEEDS_NOVA:
                what = "it acts only on requests with the hint local_to_instance, and asks Nova"
            yield Note("unknown", f"{option} has {name}, which is not simulated: {what}")
    for option, kind, user in (
        ("filter_function", "filters", "DriverFilter"),
        ("goodness_function", "weighers", "GoodnessWeigher"),
    ):
        names = [label for label, one in found.sections.items() if getattr(one, option)]
        if names and user not in found.whole[f"scheduler_default_{kind}"]:
            what = f"scheduler_default_{kind} has no {user}, so nothing evaluates it"
            then = "if your scheduler has a cinder.conf of its own, give it with --service"
            yield Note("read", f"[{', '.join(names)}] {option} is set, but {what}; {then}")
    handler = found.whole["scheduler_weight_handler"]
    if handler.rpartition(".")[2] not in HANDLERS:
        what = "is not simulated: OrderedHostWeightHandler, Cinder's default, is used"
        yield Note("assumed", f"scheduler_weight_handler {handler} {what}")


def _conversion(found: Configuration) -> Iterator[Note]:
    if found.whole["image_conversion_disable"]:
        what = "creates that download an image which is not raw fail"
        yield Note("read", f"image_conversion_disable is true: {what}")


def _zones(found: Configuration) -> Iterator[Note]:
    zones: dict[str, list[str]] = {}
    for label, one in found.sections.items():
        zones.setdefault(one.availability_zone, []).append(label)
    if len(zones) > 1:
        listed = ", ".join(f"{zone} ({', '.join(names)})" for zone, names in zones.items())
        what = "a create runs only in the zone that it asks for"
        yield Note("read", f"backends are in several availability zones, {listed}: {what}")
