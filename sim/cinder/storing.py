"""Images that come into the Cinder store: what Glance's store does, over Cinder's own creates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from cinder import exception
from glanceclient.exc import HTTPInternalServerError, HTTPOverLimit

from sim.cinder.api import Checked
from sim.cinder.clock import Clock, current_process
from sim.cinder.database import INTERNAL_USER, Context, Database, Volume
from sim.cinder.driver import of_a_driver
from sim.cinder.glance import Glance, Kept, Registered, owner_of
from sim.cinder.manager import VolumeManager
from sim.cinder.quotas import Quotas
from sim.cinder.recorder import Request
from sim.inputs.hosts import backend_of
from sim.inputs.scenario import Case, Image
from sim.inputs.strategies import Strategy
from sim.model.arrays import Array, Refusal, file_of
from sim.model.initial import Placed, asked_type, put, stored
from sim.model.rules import CLOCK_S, polled_s


class Run(Protocol):
    """The parts of a run (`sim.cinder.engine.Simulation`) that the store uses."""

    case: Case
    strategy: Strategy
    clock: Clock
    db: Database
    glance: Glance
    arrays: dict[str, Array]
    quotas: Quotas
    store_project: str
    addresses: dict[str, dict[str, Any]]  # of the pools' hosts, and of none

    def checked(self, context: Context, image_id: str, size_gib: int, zone: str, /) -> Checked: ...

    def begin(
        self,
        request: Request,
        context: Context,
        volume: Volume,
        image_id: str,
        first_host: str,
        zones: list[str],
    ) -> None: ...

    def delete(self, volume: Volume) -> None: ...

    def extend(self, volume: Volume, size_gib: int, /) -> None: ...

    def enter(self, placed: Placed, services: Sequence[VolumeManager], /) -> Volume: ...

    def first_service(self, host: str, /) -> Sequence[VolumeManager]: ...


def keep(run: Run, image: Image, version: datetime, store_id: str | None) -> Kept:
    """Put an uploaded image's file into a store of Glance; an image without a place in Cinder has no volume.

    Either Glance asks Cinder for a volume, which takes time, or, on known pools, all volumes are there at
    once, or none if one does not fit. Cinder does not tell Glance the size of an upload: a volume that Glance
    asks for has 1 GiB. Raises the exception of a real Glance or driver.
    """
    volume_type = asked_type(run.case, run.strategy, store_id)
    if volume_type is not None and not image.store_hosts:
        asked = _asked_for(run, image, volume_type)
        return [asked], partial(_grow, run, asked)
    context = Context(INTERNAL_USER, run.store_project)
    done: list[Placed] = []
    try:
        for volume in stored(run.case, run.strategy, image):
            array = run.arrays[backend_of(volume.host)]
            run.quotas.take(context, volume.size_gib, volume.tier)
            done.append(volume)
            put(array, volume, version)
    except (Refusal, exception.CinderException) as error:
        for each in done:
            run.arrays[backend_of(each.host)].end_delete(each.volume_id)
            run.quotas.count(run.store_project, each.size_gib, each.tier, -1)
        raise of_a_driver(error) if isinstance(error, Refusal) else error from None
    return [run.enter(volume, run.first_service(volume.host)) for volume in done], None


def _asked_for(run: Run, image: Image, volume_type: str) -> Volume:
    """Have Cinder make the volume of an upload, and wait for it. Raises HTTPInternalServerError.

    Glance answers so whatever Cinder refuses or does not finish (`upload` in glance/api/v2/image_data.py).
    """
    found = run.glance.images[image.image_id]
    try:
        volume, begin = _new_volume(run, image, 1, volume_type, "", "", "")
    except exception.CinderException:
        raise HTTPInternalServerError from None
    run.clock.cast(begin, None)
    _look(run, volume, "creating")
    if volume.status != "available" or not _kept(run, found, volume):
        raise HTTPInternalServerError
    return volume


def _grow(run: Run, volume: Volume) -> None:
    """Have Cinder extend an image-volume by 1 GiB, and write on (`_offline_extend` of glance_store).

    Of a quota's refusal Glance knows no more than that it failed. If the scheduler finds no space, the volume
    is available in its old size, and the next write finds no space on the device. In either case, and if the
    array refuses or all takes too long, glance_store deletes the volume; Cinder refuses that while it
    extends. Raises Glance's answer.
    """
    size_gib = volume.size + 1
    failed: type[Exception] | None = None
    try:
        run.extend(volume, size_gib)
    except exception.CinderException:
        failed = HTTPInternalServerError
    else:
        _look(run, volume, "extending")
        if volume.status != "available" or volume.size < size_gib:
            failed = HTTPOverLimit  # of `StorageFull`
    if failed:
        with suppress(exception.InvalidVolume):
            run.delete(volume)
        raise failed


def _look(run: Run, volume: Volume, changing: str) -> None:
    """Wait until glance_store sees that a volume is not in this status any more, or gives up."""
    asked_s = run.clock.now
    while volume.status == changing:
        elapsed_s = run.clock.now - asked_s
        seen_s = polled_s(elapsed_s + 2 * CLOCK_S)
        if seen_s == math.inf:
            return
        run.clock.sleep(seen_s - elapsed_s)


def store_image(
    run: Run,
    image_id: str,
    _: int,
    volume_type: str,
    host: str,
    project: str,
    encrypted: bool,
    first_host: str,
    availability_zone: str,
) -> None:
    """Have Cinder create a volume for an image's file, as `Store.add` of glance_store does.

    Each step that Glance saves changes the image's `updated_at`: a `copy-image` does so when it begins and
    when it ends, failed or not.
    """
    found = run.glance.images.get(image_id)
    if found is None or found.status != "active" or not run.strategy.stores_later:
        return
    run.glance.update(image_id)
    volume_type = volume_type or run.case.scenario.backend_at(host).volume_types[0]
    try:
        size_gib = max(1, found.image.size_gib)
        begin = _new_volume(run, found.image, size_gib, volume_type, host, first_host, availability_zone)[1]
    except exception.CinderException:
        run.glance.update(image_id)
        return
    begin(partial(_write_file, run, found, run.clock.now))


def _new_volume(
    run: Run,
    image: Image,
    size_gib: int,
    volume_type: str,
    host: str,
    first_host: str,
    availability_zone: str,
) -> tuple[Volume, Callable[[Callable[[Volume], None] | None], None]]:
    """Ask Cinder's API for a volume for an image's file. Returns it, and what has it made.

    That takes what follows the create, if anything does. Raises the API's exception.
    """
    context = Context(run.store_project, run.store_project)
    zones = run.checked(context, "", size_gib, availability_zone)[0]
    run.quotas.take(context, size_gib, volume_type)
    volume = Volume(
        run.db,
        id=run.db.new_id(),
        size=size_gib,
        **run.addresses[host],
        project_id=run.store_project,
        user_id=run.store_project,
        volume_type_id=volume_type,
        display_name=f"image-{image.image_id}",
    )

    def begin(then: Callable[[Volume], None] | None) -> None:
        request = Request(volume.id, None)
        request.makes, request.then = "store", then
        current_process().request = request
        run.begin(request, context, volume, "", first_host, zones)

    return volume, begin


def _kept(run: Run, found: Registered, volume: Volume) -> bool:
    """Take the space of an image's file on its volume. glance_store deletes a volume that has no room."""
    array = run.arrays[backend_of(volume.pool)]
    try:
        array.write(volume.id, file_of(found.image, found.updated_at, array.spec))
    except Refusal:
        run.delete(volume)
        return False
    return True


def _write_file(run: Run, found: Registered, asked_s: float, volume: Volume) -> None:
    """Write an image's file to its new image-volume, when Glance sees it, and register the location.

    If the create failed or took too long, glance_store leaves the volume as it is. Glance deletes the volume
    if the image is gone meanwhile.
    """
    current_process().request = Request(volume.id, None)
    elapsed_s = run.clock.now - asked_s
    seen_s = polled_s(elapsed_s)
    image = found.image
    if seen_s < math.inf:
        run.clock.sleep(seen_s - elapsed_s)
        if volume.status == "available" and _kept(run, found, volume):
            run.glance.transfer(image)
            owner = image.image_owner or owner_of(image)
            if not run.glance.add_location(image.image_id, volume, owner):
                run.delete(volume)
    run.glance.update(image.image_id)
