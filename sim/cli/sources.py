"""Options that name the sources of a real cloud, for all commands that read one."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli.ending import DATABASE

if TYPE_CHECKING:
    from sim.importers.importing import Given


class Files(tuple[Path, ...]):
    """The files of one service."""


def _files(text: str) -> Files:
    """Parse file names with commas between them."""
    files = Files(Path(name) for name in text.split(",") if name)
    if not files:
        raise typer.BadParameter("name a file")
    return files


Conf = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="cinder.conf of one service, or a folder of such files. Give several in the order that"
        " Cinder reads them.",
    ),
]
Service = Annotated[
    list[Files] | None,
    typer.Option(
        parser=_files,
        metavar="FILE[,FILE]",
        help="cinder.conf of one more service, such as one on another node or in another zone. Give the"
        " option once for each service.",
    ),
]
DB = typer.Option(
    metavar="URL",
    envvar=DATABASE,
    help="Cinder's database, written as in [database] connection. The variable keeps a password out of the"
    " command line.",
)
Db = Annotated[str | None, DB]
Dump = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="In place of --db: what mysqldump or pg_dump wrote of Cinder's database, gzip'd or not."
        " The command executes nothing of it.",
    ),
]
GlanceCloud = Annotated[
    str | None,
    typer.Option(metavar="CLOUD", help="Read images from the Glance of this cloud in clouds.yaml."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="In place of --glance: JSON of `openstack image list --long -f json` or of the images API.",
    ),
]
Pools = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Capacities of pools: what `cinder get-pools --detail` or the API wrote."
    ),
]
Volumes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Where there is no database: JSON of the volumes API, or of `openstack volume list"
        " --all-projects --long -f json`.",
    ),
]
Notifications = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Cinder's notifications in JSON or in a log. Give the option once for each file.",
    ),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Start of the period in UTC (default: all history).")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="End of the period in UTC (default: now).")]


def given_of(
    conf: list[Path] | None,
    service: list[Files] | None,
    db: str | None,
    dump: Path | None,
    glance: str | None,
    images: Path | None,
    pools: Path | None,
    volumes: Path | None,
    notifications: list[Path] | None,
    since: str | None,
    until: str | None,
    problems: list[str],
) -> Given:
    """The sources that the options name; notes problems with the times."""
    db = unless_named(db, dump, volumes)
    from sim.importers.importing import Given

    return Given(
        conf=conf or (),
        services=service or (),
        db=db,
        dump=dump,
        glance=glance,
        images=images,
        pools=pools,
        volumes=volumes,
        notifications=notifications or (),
        since=time_given("--since", since, problems),
        until=time_given("--until", until, problems),
    )


def unless_named(db: str | None, *others: object) -> str | None:
    """The URL of the database; None if it is that of the environment, and `others` name the same data."""
    return None if any(others) and db == os.environ.get(DATABASE) else db


def time_given(option: str, text: str | None, problems: list[str]) -> datetime | None:
    """Parse a point in time in ISO 8601; without a zone it is UTC."""
    if text is None:
        return None
    from sim.importers.values import instant

    try:
        return instant(text)
    except ValueError as error:
        problems.append(f"{option}: {error}, such as 2026-01-31T08:00")
        return None
