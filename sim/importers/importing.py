"""Reads the sources that are asked for and makes a scenario of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sim.importers.assembly import assemble
from sim.importers.cloud import Placement, Sources
from sim.importers.notes import Note
from sim.importers.writing import write
from sim.inputs.problems import BadInput, Problems


def import_cloud(
    out: Path,
    *,
    conf: Sequence[Path] = (),
    services: Sequence[Sequence[Path]] = (),
    db: str | None = None,
    glance: str | None = None,
    notifications: Sequence[Path] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    placement: Placement = "first-host",
    fmt: Literal["csv", "parquet"] = "csv",
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write a scenario of a cloud into the new folder `out`. Returns the content of its `import.json`.

    `conf`: files and folders of cinder.conf, in order. `db`: SQLAlchemy URL of Cinder's database. `glance`: a
    cloud in clouds.yaml. `notifications`: files of JSON lines. `since`, `until`: the period, with time zones.
    `progress` is called with the number of events written. Raises `BadInput` with every problem of all
    sources, and then writes nothing.
    """
    problems = Problems()
    out = out.resolve()
    _asked(out, bool(conf or services or db or glance or notifications), since, until, problems)
    if problems:
        _look(conf, services, db, problems)
    problems.raise_any()
    sources = _read(conf, services, db, glance, notifications, since, until, problems)
    problems.raise_any()
    try:
        return write(assemble(sources, placement), out, fmt, progress)
    except OSError as error:
        raise BadInput([f"--out: {out}: {error.strerror or error}"]) from None


def wrong(
    out: Path,
    conf: Sequence[Path],
    services: Sequence[Sequence[Path]],
    db: str | None,
    glance: str | None,
    notifications: Sequence[Path],
) -> list[str]:
    """Problems with the sources that a quick look finds. It asks no database and no Glance."""
    problems = Problems()
    _asked(out.resolve(), bool(conf or services or db or glance or notifications), None, None, problems)
    _look(conf, services, db, problems)
    return problems.lines()


def _asked(
    out: Path, something: bool, since: datetime | None, until: datetime | None, problems: Problems
) -> None:
    """Note problems with the arguments."""
    if os.path.ismount(out):
        problems.add("--out", str(out), "is a mount point: give a folder in it")
    if os.path.exists(out) and (not out.is_dir() or any(out.iterdir())):
        problems.add("--out", str(out), "is not an empty folder: an import overwrites nothing")
    if not something:
        problems.add(
            "import", "", "nothing to read: give --conf, --service, --db, --glance or --notifications"
        )
    if since is not None and until is not None and since >= until:
        problems.add("--since", "", f"{since.isoformat()} is not before --until {until.isoformat()}")


def _look(
    conf: Sequence[Path], services: Sequence[Sequence[Path]], db: str | None, problems: Problems
) -> None:
    """Note problems with the sources that are quick to read."""
    found = Problems()  # of their own: a reader gives up where there are some
    if conf or services:
        from sim.importers import configuration

        configuration.read(conf, found, services)
    if db:
        from sim.importers.database_url import parse_url

        parse_url(db, found)
    problems.update(found)


def _read(
    conf: Sequence[Path],
    services: Sequence[Sequence[Path]],
    db: str | None,
    glance: str | None,
    notifications: Sequence[Path],
    since: datetime | None,
    until: datetime | None,
    problems: Problems,
) -> Sources:
    """Each source by its own reader; their libraries are imported only for those that are asked for."""
    configuration = history = images = telemetry = None
    notes: list[Note] = []
    if conf or services:
        from sim.importers import configuration as configurations

        configuration = configurations.read(conf, problems, services)
    tenant = configuration.internal_tenant if configuration else None
    if db:
        from sim.importers import database

        history = database.read(db, since, until, tenant, problems)
    if glance:
        from sim.importers import glance as glance_reader

        if (found := glance_reader.read(glance, problems)) is not None:
            images, notes = found
    if notifications:
        from sim.importers import notifications as notification_reader

        telemetry = notification_reader.read(notifications, since, until, tenant, problems)
    return Sources(configuration, history, images, telemetry, tuple(notes))
