"""What once broke a reader, by name: now each is read, or refused with problems that say why."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from sim.importers.database_values import _tell
from sim.inputs.problems import BadInput, Problems
from tests.fuzz import seeds
from tests.fuzz.damage import json_of
from tests.fuzz.frame import Target
from tests.fuzz.test_images import LIST as IMAGES
from tests.fuzz.test_import_databases import BYTES, whole
from tests.fuzz.test_import_files import API, ASKED, CLOUDS_YAML, asked
from tests.fuzz.test_sweep_inputs import GENERATED, LIST, VARY
from tests.fuzz.test_trace import CSV, PARQUET, PARTS

HEAD = "time,event,volume_id,image_id,size_gib,volume_type,host"


def trace(**columns: pa.Array) -> bytes:
    """A trace of as many blank creates as the columns have cells, as Parquet."""
    rows = len(next(iter(columns.values())))
    cells: dict[str, Any] = {
        "time": pa.array([float(row) for row in range(rows)]),
        "event": pa.array(["create"] * rows),
        "volume_id": pa.array([f"v{row}" for row in range(rows)]),
        "image_id": pa.array([""] * rows),
        "size_gib": pa.array([1] * rows),
        "volume_type": pa.array(["flash"] * rows),
        "host": pa.nulls(rows),
    }
    file = io.BytesIO()
    pq.write_table(pa.table(cells | columns), file, compression="NONE", use_dictionary=False)
    return file.getvalue()


def not_utf8(*words: bytes) -> pa.Array:
    binary = pa.array(words, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())


def corrupt_page() -> bytes:
    """The first page of the last column chunk does not begin as pages do; the footer is whole."""
    data = trace(volume_id=pa.array(["v0"]))
    at = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(6).data_page_offset
    return data[:at] + b"\xff" * 8 + data[at + 8 :]


FOUND: dict[str, tuple[Target, Callable[[], bytes], str]] = {
    "a type of a column that is not UTF-8": (
        BYTES,
        lambda: whole().replace(b"description VARCHAR(255)", b"description VARCHAR(\xb255)"),
        "cannot be read: has text that is not UTF-8",
    ),
    "a cell of 140,000 characters beside a row of another length": (
        CSV,
        lambda: f"{HEAD}\n0,create,{'x' * 140_000},,1,flash,\n1,create\n".encode(),
        "line 3: 2 cells where the header has 7",
    ),
    "a cell of 140,000 characters beside a bad cell": (
        CSV,
        lambda: f"{HEAD}\n0,create,{'x' * 140_000},,1,flash,\nsoon,create,v,,1,flash,\n".encode(),
        "line 3: time 'soon' is neither seconds nor ISO 8601",
    ),
    "a cell of 140,000 characters in an image list": (
        IMAGES,
        lambda: seeds.written("images.csv") + b"x" * 140_000 + b",a\n",
        "line 4: 2 cells where the header has",
    ),
    "a date that Python does not have": (
        PARQUET,
        lambda: trace(time=pa.array([0, 2**31 - 1], pa.date32())),
        "row 2: time of type date32[day], out of range is neither seconds nor ISO 8601",
    ),
    "instants that Python does not have": (
        PARTS,
        lambda: trace(time=pa.array([0, -(2**62)], pa.timestamp("ms"))),
        "row 2: time of type timestamp[ms], out of range is neither seconds nor ISO 8601",
    ),
    "a zone that is none": (
        PARQUET,
        lambda: trace(time=pa.array([1, 0], pa.timestamp("us", "No/Where"))),
        "row 2: time of type timestamp[us, tz=No/Where], out of range is before that of the event above it",
    ),
    "a text that is not UTF-8": (
        PARQUET,
        lambda: trace(image_id=not_utf8(b"\xff", b"")),
        "column 'image_id': has text that is not UTF-8",
    ),
    "a text that is not UTF-8, in parts": (
        PARTS,
        lambda: trace(image_id=not_utf8(b"\xff", b"")),
        "column 'image_id': has text that is not UTF-8",
    ),
    "a column whose name is not UTF-8": (
        PARQUET,
        lambda: trace(zzzz=pa.array([1])).replace(b"zzzz", b"zz\xffz"),
        "is not UTF-8",
    ),
    "a column whose name is not UTF-8, in parts": (
        PARTS,
        lambda: trace(zzzz=pa.array([1])).replace(b"zzzz", b"zz\xffz"),
        "is not UTF-8",
    ),
    "a corrupt page": (PARQUET, corrupt_page, "cannot be read as Parquet: "),
    "a corrupt page, in parts": (PARTS, corrupt_page, "cannot be read as Parquet: "),
    "a date in --vary": (
        VARY,
        lambda: b"seed=2024-13-45",
        "seed: '2024-13-45': Input should be",
    ),
    "5,000 digits in --vary": (VARY, lambda: b"seed=" + b"9" * 5000, "seed: inf: Input should be"),
    "a range of 5,000 digits in --vary": (
        VARY,
        lambda: b"seed=0.." + b"9" * 5000,
        "Input should be a valid integer",
    ),
    "3,000 brackets in --vary": (VARY, lambda: b"seed=" + b"[" * 3000, "is not YAML: too deeply nested"),
    "bytes that are no text in --vary": (VARY, lambda: b"se\xffd=1", "is no key of the scenario"),
    "a key of 90,000 characters in --vary": (
        VARY,
        lambda: b"x" * 90_000 + b"=1",
        "is no key of the scenario",
    ),
    "too many combinations in --vary": (
        VARY,
        lambda: b"seed=0..99999\nglance.streams=1..100000",
        "20,000,000,000 combinations are too many: at most 1,000,000",
    ),
    "a start in year 1 in --vary": (
        GENERATED,
        lambda: b"workload.generate.start=0001-01-01T00:00:00+23:00",
        "is too far away: the years 1000 to 9000 are known",
    ),
    "a row of another length in --list": (
        LIST,
        lambda: b"seed,glance.streams\n1,2\n3\n4,5,6\n",
        "line 4: 3 cells where the header has 2",
    ),
    "a date in --list": (LIST, lambda: b"seed\n2024-13-45\n", "seed: '2024-13-45': Input should be"),
    "a tag in --list": (
        LIST,
        lambda: b"seed\n!!binary x\n",
        "seed: '!!binary x' is not YAML: tags are",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, tmp_path: Path) -> None:
    target, data, problem = FOUND[name]
    target.beside(tmp_path)
    path = tmp_path / target.file
    path.write_bytes(data())
    with pytest.raises(BadInput) as caught:
        target.read(path)
    assert problem in str(caught.value)
    target.one(path)


@pytest.mark.parametrize("status", [[], {"a": 1}, 7, "\ud800", "\x1b[31m"])
def test_a_status_that_glance_does_not_have_is_told(status: object, tmp_path: Path) -> None:
    whole = API | {"id": "other"}
    answer = {"images": [whole, API | {"status": status, "locations": None, "stores": 7}]}
    ASKED["images"] = json_of(answer)
    (tmp_path / "clouds.yaml").write_bytes(CLOUDS_YAML)
    table, notes = asked(tmp_path / "clouds.yaml")
    assert list(table["image_id"]) == ["other"]
    assert "Glance's images without data are left out: 1 of an unknown status" in [
        note.text for note in notes
    ]


def test_bad_values_that_only_a_damaged_index_has_are_told() -> None:
    """sqlite counts in an index; the table has no such row. The file was taken for one without a history."""
    table, problems = sa.Table("volumes", sa.MetaData(), sa.Column("id", sa.String)), Problems()
    _tell([], table.c.id, 1, "cinder.sqlite", problems)
    assert problems.lines() == ["cinder.sqlite: table volumes: id is not text: 1 rows"]


def test_a_damaged_cell_is_not_read() -> None:
    """Of a sweep's cell, whatever has changed: other figures that are as good as any are no result."""
    from sim.sweep.results import Result

    text = Result("d", {"seed": 1}, "none", 0, requests=3).to_json()
    assert Result.of_json(text).requests == 3
    for other in ("{}", "null", text.replace('"requests":3', '"requests":4'), text.replace("none", "both")):
        with pytest.raises(ValueError, match="damaged or changed"):
            Result.of_json(other)


@pytest.mark.parametrize("kind", ["trace.csv", "images.csv", "initial.csv", "trace.parquet", "scenario.yaml"])
@pytest.mark.parametrize("device", ["/dev/full", "/dev/zero", "pipe"])
def test_what_never_ends_is_not_read(kind: str, device: str, tmp_path: Path) -> None:
    import os

    import yaml

    import sim

    seeds.beside(tmp_path)
    tree = seeds.smallest()
    if kind.startswith("trace"):
        tree = tree | {"workload": tree["workload"] | {"trace": kind}}
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / kind).unlink(missing_ok=True)
    if device == "pipe":
        os.mkfifo(tmp_path / kind)
    else:
        (tmp_path / kind).symlink_to(device)
    with pytest.raises(BadInput, match=rf"{kind}: is not a file"):
        sim.load(tmp_path / "scenario.yaml")


def test_a_list_that_never_ends_is_not_read() -> None:
    from sim.sweep.varying import listed

    for device in ("/dev/full", "/dev/zero"):
        with pytest.raises(BadInput, match=f"{device}: is not a file"):
            listed(Path(device), ["none"])


def test_a_file_that_is_too_large_is_not_read() -> None:
    from sim.inputs.trace import read_trace

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv"
        with path.open("wb") as file:
            file.truncate(2**40)  # a hole
        with pytest.raises(BadInput, match="is larger than 4 GiB"):
            read_trace(path)
