"""Commands for real clouds: import, calibrate."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sim.cli.ending import command
from sim.cli.shared import Fmt, Format, Json, plain, print_json, progress, show
from sim.cli.sources import (
    Conf,
    Db,
    Dump,
    GlanceCloud,
    Images,
    Notifications,
    Pools,
    Service,
    Since,
    Until,
    Volumes,
    given_of,
)
from sim.inputs.beside import unwritable
from sim.inputs.problems import BadInput, printable


class PlacementOption(StrEnum):
    """Where creates of an imported history are tried first."""

    first_host = "first-host"
    scheduler = "scheduler"


HEADINGS = {"read": "Read", "assumed": "Assumed", "unknown": "Not known"}


@command("import")
def import_(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The new folder to create.")],
    conf: Conf = None,
    service: Service = None,
    db: Db = None,
    dump: Dump = None,
    glance: GlanceCloud = None,
    images: Images = None,
    pools: Pools = None,
    volumes: Volumes = None,
    notifications: Notifications = None,
    since: Since = None,
    until: Until = None,
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
    from sim.importers.importing import import_cloud, wrong

    sources = conf, service, db, dump, glance, images, pools, volumes, notifications
    given = given_of(*sources, since, until, problems)
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
