"""Reads the requested sources and makes a scenario from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sim.importers.assembly import assemble
from sim.importers.cloud import Placement, Sources
from sim.importers.notes import Note
from sim.importers.writing import write
from sim.inputs.beside import temporary_folder
from sim.inputs.problems import BadInput, Problems

if TYPE_CHECKING:
    from sim.importers.database import History
    from sim.importers.notifications import Telemetry

NOTHING = (
    "nothing to read: give --conf, --service, --db, --dump, --glance, --images, --pools, --volumes or "
    "--notifications"
)


@dataclass(frozen=True)
class Given:
    """The sources of a cloud to read.

    `conf`: files and folders of cinder.conf, in order. `services`: those of each further service. `db`:
    SQLAlchemy URL of Cinder's database. `dump`: a file that mysqldump or pg_dump wrote. `glance`: a cloud in
    clouds.yaml. `images`, `pools`, `volumes`: files written by the APIs or clients. `notifications`: files.
    `since`, `until`: the period, with time zones.
    """

    conf: Sequence[Path] = ()
    services: Sequence[Sequence[Path]] = ()
    db: str | None = None
    dump: Path | None = None
    glance: str | None = None
    images: Path | None = None
    pools: Path | None = None
    volumes: Path | None = None
    notifications: Sequence[Path] = ()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def something(self) -> bool:
        """Whether a source is given."""
        own = (self.db, self.dump, self.glance, self.images, self.pools, self.volumes)
        return bool(self.conf or self.services or self.notifications or any(one is not None for one in own))


def import_cloud(
    out: Path,
    given: Given,
    *,
    placement: Placement = "first-host",
    fmt: Literal["csv", "parquet"] = "csv",
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write a scenario of a cloud into the new folder `out`. Returns the content of its `import.json`.

    `progress` is called with the number of events written. Raises `BadInput` with every problem of all
    sources, and then writes nothing.
    """
    problems = Problems()
    out = out.resolve()
    _asked(out, given, problems)
    with ExitStack() as stack:
        sources = read_sources(given, problems, stack)
        try:
            return write(assemble(sources, placement), out, fmt, progress)
        except OSError as error:
            raise BadInput([f"--out: {out}: {error.strerror or error}"]) from None


def wrong(out: Path, given: Given) -> list[str]:
    """Problems that a quick look at the sources finds. It opens neither the database nor Glance."""
    problems = Problems()
    _asked(out.resolve(), given, problems)
    _matched(given, problems)
    look_at(given, problems)
    return problems.lines()


def _asked(out: Path, given: Given, problems: Problems) -> None:
    """Note problems with the folder, and whether there is a source."""
    if os.path.ismount(out):
        problems.add("--out", str(out), "is a mount point: give a folder in it")
    if os.path.exists(out) and (not out.is_dir() or any(out.iterdir())):
        problems.add("--out", str(out), "is not an empty folder: an import overwrites nothing")
    if not given.something:
        problems.add("import", "", NOTHING)


def _matched(given: Given, problems: Problems) -> None:
    """Note sources and times that do not go together."""
    for one, other in (("db", "dump"), ("glance", "images")):
        if getattr(given, one) is not None and getattr(given, other) is not None:
            problems.add(f"--{other}", "", f"has the same data as --{one}: give only one of them")
    since, until = given.since, given.until
    if since is not None and until is not None and since >= until:
        problems.add("--since", "", f"{since.isoformat()} is not before --until {until.isoformat()}")


def read_sources(given: Given, problems: Problems, stack: ExitStack) -> Sources:
    """Read the sources; `stack` holds what must stay open as long as they are used. Raises `BadInput`."""
    _matched(given, problems)
    if problems:
        look_at(given, problems)
    problems.raise_any()
    sources = _Reading(given, problems, stack).sources()
    problems.raise_any()
    return sources


def look_at(given: Given, problems: Problems) -> None:
    """Note problems with the sources that are quick to read."""
    found = Problems()  # a separate list: a reader gives up if it finds problems in it
    if given.conf or given.services:
        from sim.importers import configuration

        configuration.read(given.conf, found, given.services)
    if given.db is not None:
        from sim.importers.database_url import parse_url

        parse_url(given.db, found)
    problems.update(found)


class _Reading:
    """Reads each source with its own reader and imports a reader's libraries only if needed.

    `stack` holds what must stay open until everything is written.
    """

    def __init__(self, given: Given, problems: Problems, stack: ExitStack) -> None:
        self.given, self.problems, self.stack = given, problems, stack
        self.notes: list[Note] = []

    def sources(self) -> Sources:
        given, problems = self.given, self.problems
        configuration = pools = None
        if given.conf or given.services:
            from sim.importers import configuration as configurations

            configuration = configurations.read(given.conf, problems, given.services)
        tenant = configuration.internal_tenant if configuration else None
        history = self._history(tenant)
        images = self._images()
        if given.pools is not None:
            from sim.importers import pool_files

            pools = pool_files.read(given.pools, problems)
        telemetry = self._telemetry(tenant)
        return Sources(configuration, history, images, telemetry, pools, tuple(self.notes))

    def _history(self, tenant: str | None) -> History | None:
        given, problems = self.given, self.problems
        if given.db is None and given.dump is None:
            return None
        from sim.importers import database

        if given.db is not None:
            return database.read(given.db, given.since, given.until, tenant, problems)
        from sim.importers import dump

        assert given.dump is not None
        folder = Path(self.stack.enter_context(temporary_folder()))
        loaded = dump.load(given.dump, folder, problems, self.notes)
        if loaded is None:
            return None
        return database.read_database(loaded, given.since, given.until, tenant, problems)

    def _images(self) -> Any:
        found = None
        if self.given.glance is not None:
            from sim.importers import glance

            found = glance.read(self.given.glance, self.problems)
        elif self.given.images is not None:
            from sim.importers import image_files

            found = image_files.read(self.given.images, self.problems)
        if found is None:
            return None
        self.notes += found[1]
        return found[0]

    def _telemetry(self, tenant: str | None) -> Telemetry | None:
        given, problems = self.given, self.problems
        telemetry = None
        if given.notifications:
            from sim.importers import notifications

            telemetry = notifications.read(given.notifications, given.since, given.until, tenant, problems)
        if given.volumes is None:
            return telemetry
        from sim.importers import volume_files

        listing = volume_files.read(given.volumes, tenant, problems)
        if listing is None or (given.notifications and telemetry is None):
            return None
        if given.db is not None or given.dump is not None:
            what = "is not used: the database has the same volumes and also the deleted ones"
            self.notes.append(Note("read", f"{given.volumes}: {what}"))
            return telemetry
        joined = listing.joined(telemetry, given.since, given.until)
        if joined is None:
            self.notes += listing.notes()
        return joined
