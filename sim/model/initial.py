"""The state at the start of a run: volumes, cache entries, image-volumes of the Cinder store."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sim.inputs.hosts import backend_of
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case, Image
from sim.inputs.strategies import STRATEGIES, Strategy
from sim.model.arrays import Array, Meter, Refusal, content_of, file_of
from sim.model.rules import Kind


@dataclass(frozen=True)
class Placed:
    """A volume that exists at time 0. `last_used` is in seconds (cache entries only), sizes in GiB."""

    kind: Kind
    volume_id: str
    image: Image | None
    size_gib: int
    host: str
    tier: str
    project: str = ""
    last_used: float = 0.0


def misfits(case: Case, strategies: Iterable[str]) -> list[str]:
    """A line for everything in the initial state of one of the strategies that does not fit."""
    from sim.model.usage import UsageMeter

    problems: list[str] = []
    for name in strategies:
        try:
            place(case, STRATEGIES[name], UsageMeter(lambda: 0.0, [], []))
        except BadInput as error:
            problems += error.problems
    return list(dict.fromkeys(problems))


def place(
    case: Case,
    strategy: Strategy,
    meter: Meter,
    version: object = None,
    initial: list[Placed] | None = None,
    array: type[Array] = Array,
) -> tuple[dict[str, Array], list[Placed]]:
    """The arrays by backend with the volumes that exist at time 0, and a list of these volumes.

    `version` is the images' version until they are updated (see `sim.model.arrays.Content`), `initial` the
    case's `initial_volumes`, if known, `array` the class of the arrays. Cache entries are in the order of
    their last use. Raises `BadInput` with everything that does not fit.
    """
    arrays = {name: array(name, spec, meter) for name, spec in case.scenario.backends.items()}
    volumes = [
        *(initial_volumes(case) if initial is None else initial),
        *_store(case, strategy),
    ]
    problems = []
    for volume in volumes:
        problem = _put(arrays[backend_of(volume.host)], volume, version)
        if problem:
            problems.append(f"{case.path}: {problem}")
    if problems:
        raise BadInput(problems)
    return arrays, volumes


def _put(array: Array, volume: Placed, version: object) -> str:
    try:
        put(array, volume, version)
    except Refusal as error:
        what = "image-volume" if volume.kind != "user" else "volume"
        name = volume.image.image_id if volume.image else volume.volume_id
        return f"the {what} of {name} does not fit on {volume.host} at the start: {error}"
    return ""


def put(array: Array, volume: Placed, version: object) -> None:
    """Put a volume and its data onto an array. Raises `Refusal` and then leaves nothing there."""
    array.create(volume.volume_id, volume.host, volume.size_gib, volume.kind, volume.tier)
    if volume.image is not None:
        content = file_of if volume.kind == "store" else content_of
        try:
            array.write(volume.volume_id, content(volume.image, version, array.spec))
        except Refusal:
            array.end_delete(volume.volume_id)
            raise


def initial_volumes(case: Case) -> list[Placed]:
    """The scenario's initial state: volumes, then cache entries in the order of their last use."""
    kinds: dict[str, Literal["user", "cache"]] = {"volume": "user", "cache": "cache"}
    found = [
        Placed(
            kinds[row["kind"]],
            row["volume_id"] or f"{row['image_id']}@{row['host']}",
            case.images[row["image_id"]] if row["image_id"] else None,
            row["size_gib"],
            row["host"],
            _tier(case, row["host"]),
            row["project"],
            row["last_used"],
        )
        for row in case.initial.to_dict("records")
    ]
    return sorted(found, key=lambda volume: volume.last_used if volume.kind == "cache" else -math.inf)


def store_hosts(case: Case, strategy: Strategy, image: Image) -> tuple[str, ...]:
    """The pools that hold an image's image-volume in the Cinder store when Glance gets the image."""
    if not strategy.uses_store:
        return ()
    if strategy.replicated:
        return tuple(case.scenario.pools()) if image.disk_format == "raw" else ()
    store = None if strategy.on_demand else case.scenario.store
    return image.store_hosts or ((store.home,) if store and store.home else ())


def asked_type(case: Case, strategy: Strategy, store_id: str | None) -> str | None:
    """The volume type in which the scheduler places the image-volume of an upload to a store of Glance, if
    its image has no `store_hosts`; None: it places none."""
    asks = strategy.stores_later and not strategy.on_demand
    return case.scenario.asked_type(store_id) if asks else None


def _store(case: Case, strategy: Strategy) -> list[Placed]:
    uploaded = case.uploaded
    return [
        volume
        for image in case.images.values()
        if image.image_id not in uploaded
        for volume in stored(case, strategy, image)
    ]


def stored(case: Case, strategy: Strategy, image: Image) -> list[Placed]:
    """The image-volumes of an image in the Cinder store when Glance gets the image."""
    return [
        Placed(
            "store",
            str(uuid.uuid5(uuid.NAMESPACE_URL, f"{image.image_id}@{host}")),
            image,
            image.size_gib,
            host,
            _tier(case, host),
        )
        for host in store_hosts(case, strategy, image)
    ]


def _tier(case: Case, host: str) -> str:
    return case.scenario.backend_at(host).volume_types[0]
