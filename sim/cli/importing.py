"""Commands about real clouds: import, calibrate."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sim.cli.shared import Fmt, Format, Json, app, clean_end, plain, print_json, progress, show, unwritable
from sim.inputs.problems import BadInput, printable, quoted

HEADINGS = {"read": "Read", "assumed": "Assumed", "unknown": "Not known"}


def _instant(option: str, text: str | None, problems: list[str]) -> datetime | None:
    """A point in time given as ISO 8601; without a zone it is UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        problems.append(f"{option}: {quoted(text)} is not ISO 8601, such as 2026-01-31T08:00")
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@app.command("import")
@clean_end()
def import_(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The new folder to write.")],
    conf: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="cinder.conf, or a folder of them; several in Cinder's order."),
    ] = None,
    db: Annotated[
        str | None, typer.Option(metavar="URL", help="Cinder's database, as in [database] connection.")
    ] = None,
    glance: Annotated[
        str | None, typer.Option(metavar="CLOUD", help="A cloud of clouds.yaml, to ask its Glance.")
    ] = None,
    notifications: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Cinder's notifications, a JSON document a line."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start of the period, UTC (default: all history).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="End of the period, UTC (default: now).")
    ] = None,
    fmt: Fmt = None,
    as_json: Json = False,
) -> None:
    """Make a scenario of a real cloud.

    It only reads, needs any of four sources, and says what it had to assume.

    \b
    Example, of what Cinder is told, and of what it remembers:
      cinder-cache import --out mycloud --conf /etc/cinder/cinder.conf \\
          --db mysql+pymysql://reader:secret@db/cinder
    """
    problems = unwritable(out)
    begin, end = _instant("--since", since, problems), _instant("--until", until, problems)
    from sim.importers.importing import import_cloud, wrong

    if problems:
        raise BadInput(problems + wrong(out, conf or (), db, glance, notifications or ()))
    with progress("importing", None, shown=True) as done:
        document = import_cloud(
            out,
            conf=conf or (),
            db=db,
            glance=glance,
            notifications=notifications or (),
            since=begin,
            until=end,
            fmt=(fmt or Format.csv).value,
            progress=done,
        )
    if as_json:
        print_json(document)
    else:
        show(_told(document, out))
    print(f"import: written to {printable(str(out))}", file=sys.stderr)


def _told(document: dict[str, Any], out: Path) -> str:
    """What was read, assumed and not known, and what to do next."""
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


@app.command()
@clean_end()
def calibrate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `import` wrote.")],
    as_json: Json = False,
) -> None:
    """Fit an imported scenario's times to what was seen.

    Compares them with what they were assumed to be, and what was seen with what is simulated. Simulates the
    period with today's settings on engine `fast`; writes DIR/calibrated.yaml.

    \b
    Example, of what `import --out mycloud --db …` wrote:
      cinder-cache calibrate mycloud
    """
    from sim.importers import calibration
    from sim.report.display import calibration_text

    with progress("fitting", None, shown=True) as done:
        found = calibration.calibrate(folder, done)
    target = calibration.write(found, folder)
    if as_json:
        tables = {name: plain(getattr(found, name)) for name in ("pools", "rates", "goodness")}
        print_json(tables)
    else:
        show(calibration_text(found))
    print(f"calibrate: written to {printable(str(target))}", file=sys.stderr)
