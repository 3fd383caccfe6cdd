"""The command that watches a running cloud: watch."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.ending import command
from sim.cli.shared import show
from sim.cli.sources import DB, Service, time_given
from sim.inputs.problems import BadInput, Problems, printable, quoted

LISTEN = "127.0.0.1:9877"
INTERVAL_S = 30.0
MOST_S = 86_400.0
LAST_PORT = 2**16 - 1
HOUR_S = 3600.0
MOST_HOURS = 8760
PLANNER = "sim.planner.again"  # the module that plans in a process of its own


@command()
def watch(
    db: Annotated[str, DB],
    conf: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="cinder.conf of one service, or a folder of such files: gives the internal tenant,"
            " and limits, which are read again when a file changes.",
        ),
    ] = None,
    service: Service = None,
    promise: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What was planned: promise.json, plan.json, a scenario, or lines of cinder.conf (FILE.conf)."
            " Settings in --conf that differ are drift.",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help=f"Where Prometheus reads the metrics (default: {LISTEN})."),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help=f"Time from one reading to the next (default: {INTERVAL_S:g})."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Count only what ended from this time on, in UTC; now: from the start of the command"
            " (default: all history).",
        ),
    ] = None,
    advise_every_hours: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS",
            help="Plan the limits again from time to time, in a process of the lowest priority, and recommend"
            " others if they would save much (default: never). With --once: now.",
        ),
    ] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Print the metrics once, and exit with 1 if there is drift."),
    ] = False,
) -> None:
    """Watch the caches of a running cloud, for Prometheus.

    The command reads Cinder's database, and serves what it finds as metrics: entries, fills, evictions, how
    many creates were clones and how long they took, orphans, quotas and limits. After the first reading it
    reads only what is new. It writes nothing, and it never changes a cloud.

    \b
    Example: serve the metrics of a cloud until Ctrl-C:
      cinder-cache watch --conf /etc/cinder/cinder.conf \\
          --db mysql+pymysql://reader:secret@db/cinder
    """
    from sim.importers.database_url import parse_url
    from sim.live import promise as promises
    from sim.live.again import Asking
    from sim.live.reader import Reader, hanging_up, utc_now
    from sim.live.service import Watch, serve
    from sim.live.service import once as read_once
    from sim.live.settings import Settings

    wrong: list[str] = []
    problems = Problems()
    host, port = _address(listen or LISTEN, wrong)
    begin: datetime | None = utc_now()
    if since != "now":
        found = time_given("--since", since, wrong)
        begin = None if found is None else found.replace(tzinfo=None)
    interval_s = INTERVAL_S if interval is None else interval
    if not 1 <= interval_s <= MOST_S:
        wrong.append(f"--interval: give seconds, 1 to {MOST_S:,.0f}")
    given = {"--listen": listen, "--interval": interval}
    wrong += [
        f"{name}: not with --once, which serves nothing"
        for name, value in given.items()
        if once and value is not None
    ]
    if promise is not None and not (conf or service):
        wrong.append("--promise: give --conf, too: it is compared with cinder.conf")
    if advise_every_hours is not None and not (conf or service):
        wrong.append("--advise-every-hours: give --conf, too: it has the limits in force")
    if advise_every_hours is not None and not 1 <= advise_every_hours <= MOST_HOURS:
        wrong.append(f"--advise-every-hours: give hours, 1 to {MOST_HOURS:,}")
    database = parse_url(db, problems)
    settings = Settings(
        conf or [], service or [], promises.read(promise, problems) if promise is not None else None
    )
    settings.read()
    if wrong := [*wrong, *problems.lines(), *settings.problems]:
        raise BadInput(wrong)
    assert database is not None
    asking = None
    if advise_every_hours is not None:
        paths = {"conf": [str(each) for each in conf or []], "promise": str(promise) if promise else None}
        services = [[str(each) for each in files] for files in service or []]
        question = {**paths, "services": services, "db": db}
        asking = Asking([sys.executable, "-m", PLANNER], question, advise_every_hours * HOUR_S)
    tenant = settings.configuration.internal_tenant if settings.configuration is not None else None
    reader = Reader(hanging_up(database), begin, tenant, settings.cloned, with_volumes=bool(conf or service))
    watched = Watch(reader, settings, interval_s, asking=asking)
    if not once:
        serve(watched, host, port)
    show(read_once(watched).rstrip("\n"))
    for line in watched.recommended():
        print(f"watch: {printable(line)}", file=sys.stderr)
    drifted = watched.drifted()
    for each in drifted:
        print(f"drift: {printable(str(each))}", file=sys.stderr)
    if drifted:
        raise typer.Exit(1)


def _address(text: str, wrong: list[str]) -> tuple[str, int]:
    """Host and port; notes a problem if the text is no address."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > LAST_PORT:
        wrong.append(f"--listen: {quoted(text)} is not like {LISTEN}")
        return "", 0
    return host.removeprefix("[").removesuffix("]"), int(port)
