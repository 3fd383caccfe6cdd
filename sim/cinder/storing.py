"""Images that come into the Cinder store later: what Glance's store does, over Cinder's own creates."""

from __future__ import annotations

import math
from functools import partial
from typing import Protocol

from cinder import exception

from sim.cinder.addresses import address
from sim.cinder.api import Checked
from sim.cinder.clock import Clock, current_process
from sim.cinder.database import Context, Database, Volume
from sim.cinder.glance import Glance, Registered, owner_of
from sim.cinder.quotas import Quotas
from sim.cinder.recorder import Request
from sim.inputs.hosts import backend_of
from sim.inputs.scenario import Case
from sim.inputs.strategies import Strategy
from sim.model.arrays import Array, Refusal, file_of
from sim.model.rules import polled_s


class Run(Protocol):
    """The parts of a run (`sim.cinder.engine.Simulation`) that `store_image` uses."""

    case: Case
    strategy: Strategy
    clock: Clock
    db: Database
    glance: Glance
    arrays: dict[str, Array]
    quotas: Quotas
    store_project: str

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
    context, size_gib = Context(run.store_project, run.store_project), max(1, found.image.size_gib)
    volume_type = volume_type or run.case.scenario.backend_at(host).volume_types[0]
    try:
        zones = run.checked(context, "", size_gib, availability_zone)[0]
        run.quotas.take(context, size_gib, volume_type)
    except exception.CinderException:
        run.glance.update(image_id)
        return
    volume = Volume(
        run.db,
        id=run.db.new_id(),
        size=size_gib,
        **(address(host, run.case.scenario.backend_at(host)) if host else {}),
        project_id=run.store_project,
        user_id=run.store_project,
        volume_type_id=volume_type,
        display_name=f"image-{image_id}",
    )
    request = Request(volume.id, None)
    request.then = partial(_write_file, run, found, run.clock.now)
    process = current_process()
    process.request, process.makes = request, "store"
    run.begin(request, context, volume, "", first_host, zones)


def _write_file(run: Run, found: Registered, asked_s: float, volume: Volume) -> None:
    """Write an image's file to its new image-volume, and register the location.

    If the create failed or took too long, glance_store leaves the volume as it is. It deletes the volume if
    the file does not fit; Glance deletes it if the image is gone meanwhile.
    """
    image = found.image
    current_process().request = Request(volume.id, None)
    elapsed_s = run.clock.now - asked_s
    seen_s = polled_s(elapsed_s)
    if seen_s < math.inf:
        run.clock.sleep(seen_s - elapsed_s)
    stored = False
    if volume.status == "available" and seen_s < math.inf:
        try:
            array = run.arrays[backend_of(volume.pool)]
            array.write(volume.id, file_of(image, found.updated_at, array.spec))
            run.glance.transfer(image)
            owner = image.image_owner or owner_of(image)
            stored = run.glance.add_location(image.image_id, volume, owner)
        except Refusal:
            pass
        if not stored:
            run.delete(volume)
    run.glance.update(image.image_id)
