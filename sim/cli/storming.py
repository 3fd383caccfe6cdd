"""The command `storm`: many creates at one instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sim import api
from sim.cli.ending import command
from sim.cli.shared import (
    Engine,
    Fmt,
    Format,
    Json,
    Scenario,
    bad_options,
    checked,
    handed_over,
    one_strategy,
    plain,
    print_json,
    show,
)
from sim.inputs.problems import printable, quoted

Creates = Annotated[int, typer.Option(metavar="N", help="Number of creates at one instant.")]
Image = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Image of all creates (default: the one that is asked for most)."),
]
Images = Annotated[
    int | None, typer.Option(metavar="K", help="Take the K images that are asked for most, in turn.")
]
Tier = Annotated[str | None, typer.Option(metavar="T", help="Volume type (default: all of them, in turn).")]
Within = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="All should be up within this time (default: boot_timeout_s)."),
]
Warm = Annotated[
    bool | None,
    typer.Option(
        "--warm/--cold",
        help="Whether the caches got the images an hour before (default: cold; with --beside, as they are).",
    ),
]
Beside = Annotated[
    bool,
    typer.Option(
        "--beside", help="Beside the scenario's own load, in its busiest hour, not on an empty cloud."
    ),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        help="Strategy to look at (default: what runs today; the first table has all).",
        autocompletion=one_strategy,
    ),
]
Retries = Annotated[
    int,
    typer.Option(
        metavar="N", help="How often a server comes again when its create failed or Nova gave it up."
    ),
]
Looks = Annotated[
    int,
    typer.Option(metavar="N", help="Nova's option: how often it looks again whether the volume is there."),
]
Interval = Annotated[
    int, typer.Option(metavar="SECONDS", help="Nova's option: the time between two such looks.")
]


@command()
def storm(
    scenario: Scenario,
    creates: Creates,
    image: Image = None,
    images: Images = None,
    tier: Tier = None,
    within: Within = None,
    warm: Warm = None,
    beside: Beside = False,
    strategy: Strategy = None,
    retries: Retries = 0,
    block_device_allocate_retries: Looks = 60,
    block_device_allocate_retries_interval: Interval = 3,
    engine: Engine = "fast",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the tables, a picture, report.html and a manifest into DIR."),
    ] = None,
    fmt: Fmt = None,
    as_json: Json = False,
) -> None:
    """Simulate many creates at one instant, and what would help.

    The output says when they are up, and what runs out first. Each lever is simulated alone, and every two
    together. The smallest value that is enough comes from simulations, too: one less is not enough.
    With --engine cinder, Cinder's own code gives the times and the levers; what is shared is engine fast's.

    \b
    Example: will 100 servers boot on Monday at nine?
      cinder-cache storm scenarios/smallest.yaml --creates 100 --within 180s
    """
    problems = bad_options(engine, [strategy] if strategy else [], out, fmt)
    within_s = _within_s(within, problems)
    if image is not None and images is not None:
        problems.append("--image, --images: give one of them")
    from sim.planner.storm import Ask, bad_numbers

    ask = Ask(
        *(creates, image, 1 if images is None else images, tier, within_s, warm, beside, retries),
        *(block_device_allocate_retries, block_device_allocate_retries_interval),
    )
    case = checked(scenario, [strategy] if strategy else None, problems + bad_numbers(ask))
    ran = handed_over(case.scenario, engine)
    found = api.storm(case, ask, strategy, engine)
    from sim.planner.storm_answer import tables_of
    from sim.report.display_storm import advice, conclusions, storm_text

    tables = tables_of(found)
    if out is not None:
        from sim.analysis.results import put, together, versions
        from sim.inputs.files import hashes
        from sim.report.page import made_of
        from sim.report.page import write as write_page
        from sim.report.stormed import storm_page, write_picture

        manifest: dict[str, Any] = {"scenario": case.scenario.name, "strategy": found.strategy, "engine": ran}
        manifest |= {"storm": document(found), "versions": versions(), "sha256": hashes(case)}
        with together(out) as new:
            put(tables, manifest, new, (fmt or Format.csv).value)
            write_picture(found, new)
            write_page(storm_page(found, made_of(case, ran)), new)
        print(f"storm: written to {printable(str(out))}", file=sys.stderr)
    if as_json:
        told = {"conclusions": conclusions(found), "advice": advice(found), "pair": found.helps.pair}
        small = {name: plain(tables[name]) for name in ("times", "shares", "levers") if name in tables}
        print_json({"scenario": case.scenario.name, "storm": document(found)} | told | small)
    else:
        show(storm_text(found), coloured=True)


def document(found: Any) -> dict[str, Any]:
    """Which storm was asked for."""
    ask = found.ask
    return {
        "creates": ask.creates,
        "images": found.images,
        "tiers": found.tiers,
        "strategy": found.strategy,
        "within_s": found.within_s,
        "warm": ask.warm,
        "beside": ask.beside,
        "retries": ask.retries,
        "block_device_allocate_retries": ask.block_device_allocate_retries,
        "block_device_allocate_retries_interval": ask.block_device_allocate_retries_interval,
    }


def _within_s(text: str | None, problems: list[str]) -> float | None:
    """Seconds for `--within`; notes what is wrong with it."""
    from pydantic import TypeAdapter

    from sim.inputs.generator import Duration

    if text is None:
        return None
    try:
        return float(TypeAdapter(Duration).validate_python(text))
    except ValueError:
        problems.append(f"--within: {quoted(text)} is no duration such as 180s, 3m or 1h")
        return None
