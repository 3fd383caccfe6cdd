"""The page and the picture of a storm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sim.inputs.beside import beside
from sim.planner.storm_answer import StormAnswer, tables_of
from sim.plots.storms import band_count, storm, storm_bands, storm_states
from sim.report.display_storm import advice, asked, conclusions
from sim.report.figures import SIZE, Pictures
from sim.report.numbers import numbers
from sim.report.page import page
from sim.report.parts import Section

PICTURE = "storm.png"


def write_picture(found: StormAnswer, folder: Path) -> None:
    """Write `storm.png` into a folder, if it is known what creates share. Raises OSError."""
    if found.shares is None or found.states is None:
        return
    figure = storm(found.states, found.shares.bands, within_s=found.within_s)
    with beside(folder / PICTURE) as (new,):
        figure.savefig(new, format="png", dpi=110, metadata={"Software": None})


def storm_page(found: StormAnswer, made: Mapping[str, object]) -> str:
    """The page of a storm."""
    tables = tables_of(found)
    lines = conclusions(found) + advice(found)
    times = numbers(tables["times"], "When servers are up", "times.csv")
    sections = [Section("answer", "The answer", lines, tables=[times])]
    if found.shares is not None and found.states is not None:
        draw, bands = Pictures(), found.shares.bands
        pictures = [
            draw(
                storm_states,
                found.states,
                label="creates over time by what they do",
                size=(SIZE[0], 3.6),
                within_s=found.within_s,
            ),
        ]
        if len(bands):
            height = 0.9 + 0.5 * band_count(bands)
            pictures.append(
                draw(storm_bands, bands, label="what is shared over time", size=(SIZE[0], height))
            )
        shared = numbers(tables["shares"], "What the creates share", "shares.csv", labels=2)
        about = f"Under {found.strategy}. Grey: what there is; blue: in use; red: creates wait for it."
        sections.append(Section("shared", "What is shared", [about], pictures, tables=[shared]))
    levers = numbers(tables["levers"], "Each lever alone, the best first", "levers.csv", labels=2)
    sections.append(Section("levers", "What helps", tables=[levers]))
    return page(f"{found.case.scenario.name}: a storm", asked(found), sections, made)
