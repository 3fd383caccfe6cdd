"""The page itself: its template, style and script, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sim.analysis.results import versions
from sim.inputs.beside import beside
from sim.inputs.files import hashes
from sim.inputs.scenario import Case
from sim.report.parts import Section
from sim.report.verdict import Verdict
from sim.run import engine_of

FILE = "report.html"


def write(page: str, folder: Path) -> None:
    """Write `report.html` into a folder, in one step. Raises OSError."""
    with beside(folder / FILE) as (new,):
        new.write_text(page, encoding="utf-8")


def made_of(case: Case, engine: str, warm_up_s: float = 0.0) -> dict[str, object]:
    """The inputs needed to make a page again. They have no date, so the same page has the same bytes."""
    start = case.trace.start
    told = {
        "engine": engine_of(case.scenario, engine),
        "seed": case.scenario.seed,
        "the trace starts": None if start is None else start.isoformat(),
        "creates left out before": f"{warm_up_s:,.0f} s" if warm_up_s else None,
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items() if version),
        **{f"SHA-256 of {name}": digest for name, digest in hashes(case).items()},
    }
    return {name: value for name, value in told.items() if value is not None}


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("sim.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return made


def page(
    title: str,
    about: str,
    sections: Sequence[Section],
    made: Mapping[str, object],
    conf: Mapping[str, Any] | None = None,
    verdict: Verdict | None = None,
) -> str:
    """The page as a file has it.

    `made`: how it was made, by name. `conf`: `lines` to copy and a `title`. `verdict`: what it opens with.
    """
    folder = files("sim.report") / "templates"
    style, script, explore = (
        Markup((folder / name).read_text("utf-8")) for name in ("report.css", "report.js", "explore.js")
    )
    told = {"title": title, "about": about, "sections": sections, "made": made, "conf": conf}
    template = _environment().get_template("report.html.j2")
    return template.render(told, verdict=verdict, style=style, script=script, explore=explore)
