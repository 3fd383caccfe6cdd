"""What a sweep reads: `--vary`, `--list`, and the cells that an earlier one left."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import sim
from sim.inputs.scenario import Case
from sim.sweep import varying
from sim.sweep.results import Result
from sim.sweep.sweep import Cell, Counted, _cells, _kept, sweep
from sim.sweep.varying import Point
from tests.fuzz import seeds
from tests.fuzz.damage import json_of, texts, trees
from tests.fuzz.frame import Target
from tests.fuzz.tables import csvs

VARIED = (
    "backends.*.image_volume_cache_max_count=1,2,0..10:5",
    "backends.flash-*.pools.p0.max_volumes=null,5",
    "glance.streams=1,null",
    "seed=1,2",
    "strategy=none,combined",
    "what_if.eviction=lru,belady",
    "workload.until=1d,30d",
    "tiers.flash.price_gib_month=1e-3,2.5",
)
OF_GENERATED = (
    "workload.generate.start=2024-01-01,null",
    "workload.generate.duration=1d,12h,3600",
    "workload.generate.creates_per_day=1e2,40",
    "workload.generate.storms.share=0,1",
    "workload.generate.popularity.release_every=7d,null",
    "workload.growth=1,2.5",
)
KEYS = [
    b"..",
    b"0..99999999999",
    b"workload.generate.start=",
    b"seed=",
    b"images=",
    b"backends.*.node=",
    b"{}=",
]


@functools.cache
def _case(generated: bool = False) -> Case:
    with tempfile.TemporaryDirectory() as name:
        seeds.beside(Path(name))
        if generated:
            seeds.scenario_beside(Path(name), seeds.generated())
        return sim.load(Path(name) / "scenario.yaml")


def _vary(path: Path, generated: bool = False) -> None:
    """`--vary` as the command reads it; arguments are text without NUL, undecodable bytes as surrogates."""
    arguments = path.read_bytes().replace(b"\0", b"").decode("utf-8", "surrogateescape").split("\n")
    points = varying.grid(varying.parse(arguments[:3]), ["none", "combined"])
    varying.check(_case(generated).scenario, points[:20])


def _list(path: Path) -> None:
    varying.check(_case().scenario, varying.listed(path, ["none"]), path)


def _rows() -> list[dict[str, object]]:
    return [
        {"strategy": "none", "seed": 7, "glance.streams": "null", "workload.until": "1d"},
        {"strategy": "combined", "seed": 8, "glance.streams": 3, "workload.until": "2d"},
    ]


POINT = Point((("glance.streams", 3),), "combined")


@functools.cache
def _cell() -> tuple[Cell, bytes]:
    """A cell, and its file as a sweep keeps it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds.beside(folder)
        case = sim.load(folder / "scenario.yaml")
        (cell,) = _cells(case, [POINT], [None], 1, Counted(0.0, ()))
        sweep(case, [POINT], folder=folder, workers=1)
        return cell, (folder / "cells" / f"{cell.digest}.json").read_bytes()


def _resumed(path: Path) -> None:
    """A cell is read as it was written, or not at all."""
    cell, written = _cell()
    kept = path.parent / "cells" / f"{cell.digest}.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(path.read_bytes())
    found = list(_kept(path.parent, [cell]).values())
    if found and path.read_bytes() != written:
        assert found[0].to_json() == Result.of_json(written.decode()).to_json()


def _json() -> SearchStrategy[bytes]:
    head, body = _cell()[1].split(b"\n", 1)
    return st.one_of(
        texts([_cell()[1]]), trees([yaml.safe_load(body)]).map(lambda tree: head + b"\n" + json_of(tree))
    )


VARY = Target(
    "--vary",
    lambda: texts([*map(str.encode, VARIED), "\n".join(VARIED[:3]).encode()], KEYS),
    "vary.txt",
    _vary,
    named=["--vary"],
)
GENERATED = Target(
    "--vary of a generated workload",
    lambda: texts([*map(str.encode, OF_GENERATED), "\n".join(OF_GENERATED[:3]).encode()], KEYS),
    "vary.txt",
    lambda path: _vary(path, generated=True),
    named=["--vary"],
)
LIST = Target("--list", lambda: csvs(_rows()), "list.csv", _list)
CELLS = Target("sweep cells", _json, "cell.json", _resumed)


def test_vary() -> None:
    VARY.check(60, 1)


def test_vary_of_a_generated_workload() -> None:
    GENERATED.check(60, 1)


def test_list() -> None:
    LIST.check(60, 1)


def test_cells() -> None:
    CELLS.check(60, 1)
