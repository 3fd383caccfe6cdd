"""Reads Cinder's notifications: the actions of its image-volume cache, and creates and deletes of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pandas as pd

from sim.importers.cache_telemetry import CacheTelemetry
from sim.importers.notes import Note
from sim.importers.notification_files import ACCEPTED, notifications
from sim.importers.notified_volumes import NotifiedVolumes
from sim.importers.values import instant
from sim.inputs.problems import Problems

WANTED = f"event types volume.create.*, volume.delete.start and image_volume_cache.* are wanted; {ACCEPTED}"
EVENTS = (
    "Ceilometer's events lack the formats and sizes of images, whether a create was a download, and "
    "when it ended: the time of its notification is used"
)


@dataclass(frozen=True)
class Telemetry:
    """The content of notifications, or of a list of volumes, for a period.

    `counts`: a row per host of the cache, the columns of `cache_telemetry.COUNTS`. `events`: a trace with UTC
    times and Cinder's hosts, `create_s` and, where notifications tell it, `downloaded`. `images`: the images
    of the volumes. `initial`: rows of an initial state as `History` has them, None if the source has none.
    `zones`: the availability zone of each host.
    """

    counts: pd.DataFrame
    events: pd.DataFrame
    images: pd.DataFrame
    notes: list[Note]
    initial: pd.DataFrame | None = None
    zones: dict[str, str] = field(default_factory=dict)


def read(
    paths: Sequence[Path],
    since: datetime | None,
    until: datetime | None,
    internal_tenant: str | None,
    problems: Problems,
) -> Telemetry | None:
    """Reads files of notifications one by one; None if there is a problem.

    `since` and `until` bound the period. `internal_tenant` is the project of Cinder's own image-volumes; if
    it is None, they are known by their names.
    """
    before = len(problems.lines())
    cache, volumes = CacheTelemetry(since, until), NotifiedVolumes(internal_tenant)
    takers = cache.takers | volumes.takers
    taken = of_ceilometer = 0
    told: list[Note] = []
    for path in paths:
        for number, message in notifications(path, problems, told):
            take = takers.get(message["event_type"])
            if take is None:
                continue
            try:
                take(message, instant(message["timestamp"]))
                taken += 1
                of_ceilometer += "of_ceilometer" in message
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                what = f"{message['event_type']} does not have the form that Cinder sends"
                problems.add(path, f"line {number}", f"{what} ({type(error).__name__}: {error})", what)
    if not taken and len(problems.lines()) == before:
        for path in paths:
            problems.add(
                path, "", f"has no notification about Cinder's volumes or its image-volume cache: {WANTED}"
            )
    if len(problems.lines()) > before:
        return None
    made = volumes.made(since, until)
    counts = cache.counts(made)
    events, images, notes = volumes.tables(since, until)
    if of_ceilometer:
        told.append(Note("unknown", EVENTS))
    said = [*told, *cache.notes(counts, made), *notes]
    return Telemetry(counts, events, images, said, zones=volumes.zones())
