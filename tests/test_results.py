from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from handmade import FAILED, case_of, records_of

from sim.analysis.metrics import pools_table, summary
from sim.analysis.results import TABLES, manifest_of, read, write
from sim.inputs.files import hashes
from sim.inputs.scenario import Case
from sim.model.records import directories_table, links_table, nodes_table, uploads_table

FORMATS: tuple[Literal["csv", "parquet"], ...] = ("csv", "parquet")


def tables_of(case: Case) -> dict[str, pd.DataFrame]:
    """What a run gives, with values that files like to spoil."""
    rows: list[dict[str, Any]] = [
        {"volume_id": "0010", "end": 0.1 + 0.2, "source": "cache"},
        FAILED | {"volume_id": "none", "host": "", "error": 'Odd: "a, b"\nnan'},
    ]
    events = [{"reason": "larger than image_volume_cache_max_size_gb", "event": "skip"}, {}]
    records = records_of(rows, events, others=rows)
    return {
        "requests": records.requests,
        "others": records.others,
        "pools": pools_table(records, case),
        "cache_events": records.cache_events,
        "cache": records.cache,
        "uploads": uploads_table([("0010", "none", "a#p", 0.1, 0.3, ""), ("0011", "x", "", 0.2, 0.2, "Odd")]),
        "summary": summary(records, case, "none"),
        "space": records.space,
        "nodes": nodes_table({"007": 10.0, "none": None}, [(0.1, 0.3, 3e9, 1), (0.0, 0.0, 0.0, 0)]),
        "directories": directories_table(["007"], np.array([0.1]), np.array([[1e9]]), np.array([[3e9]])),
        "links": links_table(
            [("glance", ""), ("node", "007")],
            0.7,
            total_mib_s=[0.1, 9.0],
            transfers=[3, 0],
            asked_mib=[0.3, 0.0],
            carried_mib=[0.1 + 0.2, 0.0],
        ),
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("fmt", FORMATS)
def test_what_is_written_is_read_back(tmp_path: Path, fmt: Literal["csv", "parquet"]) -> None:
    tables = tables_of(case_of(tmp_path))
    write(tables, {"engine": "cinder"}, tmp_path / "out", fmt)
    found, manifest = read(tmp_path / "out")
    assert manifest == {"engine": "cinder"}
    assert tuple(found) == TABLES
    for name in TABLES:
        pd.testing.assert_frame_equal(found[name], tables[name], check_exact=True)


def test_an_empty_table_is_read_back_as_one(tmp_path: Path) -> None:
    tables = tables_of(case_of(tmp_path))
    tables["cache"] = tables["cache"].iloc[:0]
    write(tables, {}, tmp_path / "out")
    found, _ = read(tmp_path / "out")
    assert list(found["cache"].columns) == ["host", "image_id", "size_gib", "last_used"]
    assert found["cache"].empty


def test_tables_that_an_earlier_version_did_not_know_are_empty(tmp_path: Path) -> None:
    """A folder says which tables it has since it can have lost one."""
    tables = tables_of(case_of(tmp_path))
    later = ("nodes", "directories", "links")
    old = {name: table for name, table in tables.items() if name not in later}
    write(old, {"engine": "cinder"}, tmp_path / "old")
    found, _ = read(tmp_path / "old")
    assert all(found[name].empty for name in later)
    assert all(list(found[name]) == list(tables[name]) for name in later)
    pd.testing.assert_frame_equal(found["summary"], tables["summary"], check_exact=True)
    write(old, {"tables": list(TABLES)}, tmp_path / "lost")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "lost")


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_same_run_gives_the_same_bytes(tmp_path: Path, fmt: Literal["csv", "parquet"]) -> None:
    case = case_of(tmp_path)
    for name in ("a", "b"):
        write(tables_of(case), {}, tmp_path / name, fmt)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_new_run_replaces_all_of_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    tables, folder = tables_of(case_of(tmp_path)), tmp_path / "out"
    write(tables, {}, folder)
    (folder / "notes.csv").write_text("mine")
    write(tables, {}, folder, "parquet")
    expected = {f"{name}.parquet" for name in TABLES} | {"manifest.json", "notes.csv"}
    assert set(contents(folder)) == expected


def test_a_run_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    tables, folder = tables_of(case_of(tmp_path)), tmp_path / "out"
    write(tables, {}, folder)
    before = contents(folder)
    with pytest.raises(ValueError, match="JSON"):
        write(tables, {"wall_s": float("nan")}, folder)
    assert contents(folder) == before


def test_a_folder_without_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path)


def test_pools_has_every_pool_in_the_scenarios_order(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"host": "slow#p0", "source": "store"},
        {"host": "slow#p0", "source": "cache"},
        {"host": "slow#p0", "source": "driver"},
        {"host": "slow#p0"},
        FAILED | {"host": "fast#p1"},
        FAILED | {"host": ""},
    ]
    usage = [
        ("pool", "slow#p0", "cache", 1.5, 2.0, 15.0, 20.0, 0.5, 4.0, 1),
        ("pool", "slow#p0", "orphan", 0.5, 1.0, 5.0, 10.0, 0.0, 0.0, 1),
        ("tier", "disk", "cache", 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9),
    ]
    table = pools_table(records_of(rows, usage=usage), case_of(tmp_path))
    assert list(table["host"]) == ["fast#p0", "fast#p1", "slow#p0"]
    assert list(table["volume_type"]) == ["flash", "flash", "disk;flash"]
    slow = table.set_index("host").loc["slow#p0"]
    counts = ["requests", "store_clones", "cache_clones", "driver_clones", "downloads", "errors"]
    assert list(slow[counts]) == [4, 1, 1, 1, 1, 0]
    assert list(table["requests"]) == [0, 1, 4]
    assert list(table["errors"]) == [0, 1, 0]
    assert slow["cache_volumes_mean"] == 1.5
    assert slow["cache_physical_gib_peak"] == 4
    assert slow["user_volumes_peak"] == 0
    assert list(table["orphans"]) == [0, 0, 1]


def test_the_manifest_says_what_was_run(tmp_path: Path) -> None:
    case = case_of(tmp_path, initial="kind,volume_id,image_id,size_gib,host,last_used\n", seed=3)
    found = manifest_of(case, "none", "cinder", 2, 0.25, 1.5, hashes(case))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    files = ("scenario.yaml", "trace.csv", "images.csv", "initial.csv")
    assert list(found["sha256"].values()) == [
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in files
    ]
    expected = {
        "scenario": "hand [b]made",
        "strategy": "none",
        "engine": "cinder",
        "seed": 3,
        "creates": 2,
        "engine_s": 0.25,
        "wall_s": 1.5,
        "trace_start": None,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["settings"]["seed"] == 3 and "name" not in found["settings"]
    assert found["versions"]["cinder"] and found["versions"]["python"]
