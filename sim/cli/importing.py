"""Commands for real clouds: import, calibrate."""

from __future__ import annotations

import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sim.cli.ending import command
from sim.cli.shared import Fmt, Format, Json, plain, print_json, progress, show
from sim.inputs.beside import unwritable
from sim.inputs.problems import BadInput, printable


class PlacementOption(StrEnum):
    """Where creates of an imported history are tried first."""

    first_host = "first-host"
    scheduler = "scheduler"


HEADINGS = {"read": "Read", "assumed": "Assumed", "unknown": "Not known"}


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


class Files(tuple[Path, ...]):
    """The files of one service."""


def files_given(text: str) -> Files:
    """Parse file names with commas between them."""
    files = Files(Path(name) for name in text.split(",") if name)
    if not files:
        raise typer.BadParameter("name a file")
    return files


@command("import")
def import_(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The new folder to create.")],
    conf: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="cinder.conf of one service, or a folder of such files. Give several in the order that"
            " Cinder reads them.",
        ),
    ] = None,
    service: Annotated[
        list[Files] | None,
        typer.Option(
            parser=files_given,
            metavar="FILE[,FILE]",
            help="cinder.conf of one more service, such as one on another node or in another zone. Give the"
            " option once for each service.",
        ),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Cinder's database, written as in [database] connection."),
    ] = None,
    dump: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="In place of --db: what mysqldump or pg_dump wrote of Cinder's database, gzip'd or not."
            " The command executes nothing of it.",
        ),
    ] = None,
    glance: Annotated[
        str | None,
        typer.Option(metavar="CLOUD", help="Read images from the Glance of this cloud in clouds.yaml."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="In place of --glance: JSON of `openstack image list --long -f json` or of the images API.",
        ),
    ] = None,
    pools: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Capacities of pools: what `cinder get-pools --detail` or the API wrote."
        ),
    ] = None,
    volumes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where there is no database: JSON of the volumes API, or of `openstack volume list"
            " --all-projects --long -f json`.",
        ),
    ] = None,
    notifications: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Cinder's notifications in JSON or in a log. Give the option once for each file.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start of the period in UTC (default: all history).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="End of the period in UTC (default: now).")
    ] = None,
    placement: Annotated[
        PlacementOption,
        typer.Option(
            help="Where each create is tried first: on the host where the history has its volume, or where"
            " the simulated scheduler puts it."
        ),
    ] = PlacementOption.first_host,
    fmt: Fmt = None,
    as_json: Json = False,
) -> None:
    """Make a scenario from a real cloud.

    Give one or more sources: --conf (and --service), --db or --dump, --glance or --images, --pools,
    --volumes, --notifications. The command only reads from them. It lists what it read, what it assumed and
    what it cannot know.

    \b
    Example: read Cinder's configuration and its database:
      cinder-cache import --out mycloud --conf /etc/cinder/cinder.conf \\
          --db mysql+pymysql://reader:secret@db/cinder
    """
    problems = unwritable(out)
    begin, end = time_given("--since", since, problems), time_given("--until", until, problems)
    from sim.importers.importing import Given, import_cloud, wrong

    given = Given(
        conf=conf or (),
        services=service or (),
        db=db,
        dump=dump,
        glance=glance,
        images=images,
        pools=pools,
        volumes=volumes,
        notifications=notifications or (),
        since=begin,
        until=end,
    )
    if problems:
        raise BadInput(problems + wrong(out, given))
    with progress("importing", None, shown=True) as done:
        document = import_cloud(
            out,
            given,
            placement=placement.value,
            fmt=(fmt or Format.csv).value,
            progress=done,
        )
    if as_json:
        print_json(document)
    else:
        show(_told(document, out))
    print(f"import: written to {printable(str(out))}", file=sys.stderr)


def _told(document: dict[str, Any], out: Path) -> str:
    """List what the import read, what it assumed, what it cannot know, and the next command."""
    from sim.report.terminal import item

    lines = []
    for kind, heading in HEADINGS.items():
        notes = [note["text"] for note in document["notes"] if note["kind"] == kind]
        lines += [f"{heading}:", *(item(printable(text)) for text in notes), ""] if notes else []
    counts = document["counts"]
    if any(counts.values()):
        lines.append(
            f"{counts['creates']:,} creates from images, {counts['blank']:,} of other volumes,"
            f" {counts['deletes']:,} deletes"
        )
    scenario = printable(str(out / "scenario.yaml"))
    lines += ["Next:", f"  cinder-cache compare {scenario} --engine fast"]
    return "\n".join(lines)


@command()
def calibrate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that `import` wrote.")],
    as_json: Json = False,
) -> None:
    """Fit times and rates to an imported cloud's history.

    The command simulates the imported period with today's settings on engine `fast`. It compares the result
    with the history, and the fitted values with the assumed ones. It writes the fitted scenario to
    DIR/calibrated.yaml.

    \b
    Example: calibrate the folder that `import --out mycloud --db …` wrote:
      cinder-cache calibrate mycloud
    """
    from sim.importers import calibration
    from sim.report.display_calibration import calibration_text

    with progress("fitting", None, shown=True) as done:
        found = calibration.calibrate(folder, done)
    target = calibration.write(found, folder)
    if as_json:
        tables = {name: plain(getattr(found, name)) for name in ("pools", "rates", "shared", "goodness")}
        print_json(tables)
    else:
        show(calibration_text(found), coloured=True)
    print(f"calibrate: written to {printable(str(target))}", file=sys.stderr)
