"""Traces and initial states: read, written, and every bad cell told with where it stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.inputs.images import read_images
from sim.inputs.problems import BadInput, Problems
from sim.inputs.trace import (
    EVENTS,
    GIVEN,
    MAX_GIB,
    Known,
    Trace,
    check_volumes,
    empty_initial,
    parse_initial,
    parse_trace,
    read_batches,
    read_trace,
    write_trace,
)

HEADER = "time,event,volume_id,image_id,size_gib,volume_type,host"
INITIAL = "kind,volume_id,image_id,size_gib,host,last_used"
KNOWN = Known(
    images=frozenset({"i1", "i2"}),
    tiers=frozenset({"flash", "disk", "tape"}),
    hosts={"f#p": frozenset({"flash"}), "d#p": frozenset({"disk"})},
)


def csv(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{row}\n" for row in (header, *rows)), newline="")
    return path


def problems(path: Path, known: Known = KNOWN, initial: pd.DataFrame | None = None) -> list[str]:
    """The problems of a trace, the file's name left out."""
    found = Problems()
    parsed = parse_trace(path, known, found)
    if parsed:
        check_volumes(*parsed, empty_initial() if initial is None else initial)
    return [line.removeprefix(f"{path}: ") for line in found.lines()]


def initial_problems(path: Path, start: datetime | None = None) -> list[str]:
    found = Problems()
    parse_initial(path, KNOWN, start, found)
    return [line.removeprefix(f"{path}: ") for line in found.lines()]


# What is read


def test_columns_have_the_types_that_are_promised(tmp_path: Path) -> None:
    rows = ["0,create,v1,i1,10,flash,", "1.5,delete,v1,,,,", "2,update_image,,i1,,,"]
    trace = read_trace(csv(tmp_path, *rows))
    events = trace.events
    assert trace.start is None
    assert trace.path == tmp_path / "t.csv"
    assert events["time"].tolist() == [0, 1.5, 2]
    assert events["time"].dtype == np.float64
    assert events["size_gib"].tolist() == [10, 0, 0]
    assert events["size_gib"].dtype == np.int64
    assert events["event"].cat.categories.tolist() == list(EVENTS)
    assert events["image_id"].tolist() == ["i1", "", "i1"]
    assert events["host"].tolist() == ["", "", ""]
    assert events["project"].tolist() == ["", "", ""]
    assert events["encrypted"].tolist() == [False] * 3


def test_columns_in_any_order_with_the_optional_ones(tmp_path: Path) -> None:
    header = "encrypted,host,project,volume_type,size_gib,image_id,volume_id,event,time"
    row = "Yes,f#p,p1,flash,10,i1,v1,create,7"
    event = read_trace(csv(tmp_path, row, header=header)).events.iloc[0]
    assert event["time"] == 7
    assert (event["host"], event["project"], event["encrypted"]) == ("f#p", "p1", True)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("true", True), ("TRUE", True), ("1", True), ("yes", True), ("false", False), ("No", False),
     ("0", False), ("", False)],
)  # fmt: skip
def test_encrypted_is_read_in_any_case(tmp_path: Path, cell: str, value: bool) -> None:
    path = csv(tmp_path, f"0,create,v,,1,flash,,{cell}", header=f"{HEADER},encrypted")
    assert read_trace(path).events["encrypted"].tolist() == [value]


@pytest.mark.parametrize("cell", ["maybe", "2", "t", " true"])
def test_encrypted_is_nothing_else(tmp_path: Path, cell: str) -> None:
    path = csv(tmp_path, f"0,create,v,,1,flash,,{cell}", header=f"{HEADER},encrypted")
    assert problems(path) == [f"line 2: encrypted: {cell!r} is not true or false"]


@pytest.mark.parametrize(
    "data",
    [
        f"\ufeff{HEADER}\n0,create,v,i1,1,flash,\n",
        f"{HEADER}\r\n0,create,v,i1,1,flash,\r\n",
        f"{HEADER}\r0,create,v,i1,1,flash,\r",
        f"{HEADER}\n0,create,v,i1,1,flash,",
        f"\n\n{HEADER}\n\n0,create,v,i1,1,flash,\n\n",
        f'"{HEADER.replace(",", chr(34) + "," + chr(34))}"\n"0","create","v","i1","1","flash",""\n',
        f"\ufeff{HEADER}\r\n0,create,v,i1,1,\"flash\",\r\n",
    ],
)  # fmt: skip
def test_bom_line_ends_blank_lines_and_quotes_make_no_difference(tmp_path: Path, data: str) -> None:
    (tmp_path / "t.csv").write_bytes(data.encode())
    event = read_trace(tmp_path / "t.csv").events.iloc[0]
    assert event.tolist() == [0.0, "create", "v", "i1", 1, "flash", "", "", False, "", "", ""]


def test_quoted_cells_may_hold_commas_quotes_and_lines(tmp_path: Path) -> None:
    rows = ['0,create,"a,""b""\nc",i1,1,flash,', "1,create,w,i9,1,flash,"]
    path = csv(tmp_path, *rows)
    assert read_trace(path).events["volume_id"].tolist() == ['a,"b"\nc', "w"]
    assert problems(path) == ["line 4: unknown image 'i9'"]


@pytest.mark.parametrize("text", ["5", "5.0", "5.", "+5", "05", "5e0", "0.5E1", "50e-1"])
def test_seconds_may_be_written_as_numbers_are(tmp_path: Path, text: str) -> None:
    times = read_trace(csv(tmp_path, f"{text},create,v,,1,flash,")).events["time"]
    assert times.tolist() == [5.0]


def test_sizes_may_be_whole_floats(tmp_path: Path) -> None:
    trace = read_trace(csv(tmp_path, "0,create,v,,12.0,flash,"))
    assert trace.events["size_gib"].tolist() == [12]


def test_dates_become_seconds_from_the_first_event(tmp_path: Path) -> None:
    rows = [
        "2026-01-31T23:59:59.5Z,create,a,,1,flash,",
        "2026-02-01,create,b,,1,flash,",
        "2026-02-01T02:00:01+02:00,create,c,,1,flash,",
        "2026-02-01 00:00:02.000001,create,d,,1,flash,",
    ]
    trace = read_trace(csv(tmp_path, *rows))
    assert trace.start == datetime(2026, 1, 31, 23, 59, 59, 500000, tzinfo=UTC)
    assert trace.events["time"].tolist() == [0, 0.5, 1.5, 2.500001]


def test_seconds_need_not_begin_at_zero(tmp_path: Path) -> None:
    rows = ["475.00000000000006,create,a,,1,flash,", "1000,delete,a,,,,"]
    assert read_trace(csv(tmp_path, *rows)).events["time"].tolist() == [475.00000000000006, 1000]


def test_ties_keep_the_files_order(tmp_path: Path) -> None:
    rows = [f"3,create,v{n},,1,flash," for n in (5, 1, 9, 2)]
    ids = read_trace(csv(tmp_path, *rows)).events["volume_id"]
    assert ids.tolist() == ["v5", "v1", "v9", "v2"]


# Bad cells

WRONG_SIZE = f"is not a whole number, 1 to {MAX_GIB}"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("x,create,v,,1,flash,", "time 'x' is neither seconds nor ISO 8601"),
        (",create,v,,1,flash,", "time '' is neither seconds nor ISO 8601"),
        ("1_000,create,v,,1,flash,", "time '1_000' is neither seconds nor ISO 8601"),
        ("now,create,v,,1,flash,", "time 'now' is neither seconds nor ISO 8601"),
        ("2026-13-01,create,v,,1,flash,", "time '2026-13-01' is neither seconds nor ISO 8601"),
        ("nan,create,v,,1,flash,", "time 'nan' is not finite"),
        ("inf,create,v,,1,flash,", "time 'inf' is not finite"),
        ("1e400,create,v,,1,flash,", "time '1e400' is not finite"),
        ("5e9,create,v,,1,flash,", "time '5e9' is too far from the start"),
        ("1,creat,v,,1,flash,", "unknown event 'creat': must be one of " + ", ".join(GIVEN)),
        ("1,,v,,1,flash,", "unknown event '': must be one of " + ", ".join(GIVEN)),
        ("1,upload,v0,,1,,", "an event of an image needs an image_id"),
        ("1,create,,,1,flash,", "a create, delete or upload needs a volume_id"),
        ("1,delete,,,,,", "a create, delete or upload needs a volume_id"),
        ("1,update_image,v,,,,", "an event of an image needs an image_id"),
        ("1,release,v,,,,", "an event of an image needs an image_id"),
        ("1,store_image,,,,,f#p", "an event of an image needs an image_id"),
        (
            "1,store_image,,i1,,,",
            "a store_image needs a host, or a volume_type in which the scheduler places it",
        ),
        ("1,prefetch,v,i1,,,", f"unknown event 'prefetch': must be one of {', '.join(GIVEN)}"),
        ("1,delete_image,,,,,", "an event of an image needs an image_id"),
        ("1,delete_image,,i9,,,", "unknown image 'i9'"),
        ("1,create,v,i9,1,flash,", "unknown image 'i9'"),
        ("1,create,v,,,flash,", f"size_gib '' {WRONG_SIZE}"),
        ("1,create,v,,0,flash,", f"size_gib '0' {WRONG_SIZE}"),
        ("1,create,v,,-3,flash,", f"size_gib '-3' {WRONG_SIZE}"),
        ("1,create,v,,1.5,flash,", f"size_gib '1.5' {WRONG_SIZE}"),
        ("1,create,v,,nan,flash,", f"size_gib 'nan' {WRONG_SIZE}"),
        ("1,create,v,,inf,flash,", f"size_gib 'inf' {WRONG_SIZE}"),
        ("1,create,v,,1e30,flash,", f"size_gib '1e30' {WRONG_SIZE}"),
        ("1,create,v,,ten,flash,", f"size_gib 'ten' {WRONG_SIZE}"),
        ("1,create,v,,1,gold,", "unknown volume type 'gold'"),
        ("1,create,v,,1,,", "unknown volume type ''"),
        ("1,create,v,,1,tape,", "no backend serves volume type 'tape'"),
        ("1,create,v,,1,flash,f", "unknown host 'f'"),
        ("1,create,v,,1,flash,f#q", "unknown host 'f#q'"),
        ("1,create,v,,1,flash,d#p", "host does not serve the volume type: 'd#p for flash'"),
        ("1,create,v,,1,tape,f#p", "host does not serve the volume type: 'f#p for tape'"),
        ("1,create,v0,,1,flash,", "volume 'v0' is created a second time"),
        ("1,delete,v9,,,,", "delete of volume 'v9', which does not exist yet"),
        ("1,create,v,,1,flash", "6 cells where the header has 7"),
        ("1,create,v,,1,flash,,", "8 cells where the header has 7"),
        (" ", "1 cells where the header has 7"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, row: str, problem: str) -> None:
    path = csv(tmp_path, "0,create,v0,i1,10,flash,f#p", row, "7,delete,v0,,,,")
    assert problems(path) == [f"line 3: {problem}"]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("flash,,f#q", "unknown first_host 'f#q'"),
        ("flash,,d#p", "first_host does not serve the volume type: 'd#p for flash'"),
        ("flash,f#p,f#p", "first_host 'f#p' beside a host, which pins the request: give one of them"),
    ],
)
def test_a_bad_first_host_is_told_with_its_line(tmp_path: Path, cells: str, problem: str) -> None:
    rows = ("0,create,v,i1,1,flash,,f#p", f"1,create,w,i1,1,{cells}")
    path = tmp_path / "t.csv"
    path.write_text("\n".join([f"{HEADER},first_host", *rows]))
    assert problems(path) == [f"line 3: {problem}"]


def test_time_may_not_go_back_nor_below_zero(tmp_path: Path) -> None:
    rows = [f"{time},create,v{time},,1,flash," for time in ("-2", "-1", "4", "3.5", "9", "8")]
    assert problems(csv(tmp_path, *rows)) == [
        "line 2: time '-2' is negative",
        "line 3: time '-1' is negative",
        "line 5: time '3.5' is before that of the event above it",
        "line 7: time '8' is before that of the event above it",
    ]


def test_order_is_seen_across_a_row_without_time(tmp_path: Path) -> None:
    rows = [f"{time},create,v{time},,1,flash," for time in ("5", "x", "4")]
    assert problems(csv(tmp_path, *rows)) == [
        "line 3: time 'x' is neither seconds nor ISO 8601",
        "line 4: time '4' is before that of the event above it",
    ]


def test_seconds_and_dates_do_not_mix(tmp_path: Path) -> None:
    dated, timed = "2026-01-01,create,a,,1,flash,", "3,create,b,,1,flash,"
    assert problems(csv(tmp_path, dated, timed)) == [
        "line 3: time '3': the trace began with ISO 8601, use one kind only"
    ]
    assert problems(csv(tmp_path, timed, dated)) == [
        "line 3: time '2026-01-01': the trace began with seconds, use one kind only"
    ]


def test_dates_are_in_order_too(tmp_path: Path) -> None:
    rows = ["2026-01-02,create,a,,1,flash,", "2026-01-01T23:59:59Z,create,b,,1,flash,"]
    assert problems(csv(tmp_path, *rows)) == [
        "line 3: time '2026-01-01T23:59:59Z' is before that of the event above it"
    ]


def test_volumes_are_created_once_and_deleted_once_after(tmp_path: Path) -> None:
    rows = [
        "0,delete,a,,,,",
        "1,create,a,,1,flash,",
        "2,delete,a,,,,",
        "3,delete,a,,,,",
        "4,create,a,,1,flash,",
        "5,delete,old,,,,",
        "6,create,old,,1,flash,",
        "7,create,cached,,1,flash,",
        "8,delete,image,,,,",
        "9,delete,old,,,,",
    ]
    initial = empty_initial(4)
    initial["kind"] = pd.Categorical(["volume", "cache", "cache", "cache"])
    initial["volume_id"] = ["old", "cached", "image", ""]
    assert problems(csv(tmp_path, *rows), initial=initial) == [
        "line 6: volume 'a' is created a second time",
        "line 8: volume 'old' is in the initial state already",
        "line 9: volume 'cached' is in the initial state already",
        "line 2: delete of volume 'a', which does not exist yet",
        "line 10: delete of volume 'image', which does not exist yet",
        "line 5: volume 'a' is deleted a second time",
        "line 11: volume 'old' is deleted a second time",
    ]


def test_a_volume_of_the_initial_state_may_be_deleted_first(tmp_path: Path) -> None:
    initial = empty_initial(1)
    initial["kind"], initial["volume_id"] = pd.Categorical(["volume"]), ["old"]
    assert problems(csv(tmp_path, "0,delete,old,,,,"), initial=initial) == []


def test_lines_are_counted_past_bad_ones(tmp_path: Path) -> None:
    rows = ["", "0,create,a", "0,create,b,i9,1,flash,", "", "", "0,create,c,i8,1,flash,"]
    assert problems(csv(tmp_path, *rows)) == [
        "line 3: 3 cells where the header has 7",
        "line 4: unknown image 'i9'",
        "line 7: unknown image 'i8'",
    ]


def test_a_long_or_strange_cell_is_shown_shortened_and_escaped(tmp_path: Path) -> None:
    path = csv(tmp_path, f"0,create,v,{'x' * 500},1,flash,", "1,create,w,\x1b[31m,1,flash,")
    long, strange = problems(path)
    assert len(long) < 120
    assert strange == "line 3: unknown image '\\x1b[31m'"


def test_names_that_are_not_known_cannot_be_wrong(tmp_path: Path) -> None:
    path = csv(tmp_path, "0,create,v,i9,1,gold,x#y")
    assert problems(path, Known()) == []
    assert read_trace(path).events["image_id"].tolist() == ["i9"]


# Bad files


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty: no header line"),
        (b"\n\n", "is empty: no header line"),
        (f"{HEADER}\n".encode(), "has no events"),
        (f"{HEADER}".encode(), "has no events"),
        (f"{HEADER}\n0,create,\xff,,1,flash,\n".encode("latin-1"), "line 2: invalid UTF-8"),
        (f"{HEADER}\n\n0,create,\0,,1,flash,\n".encode(), "line 3: NUL byte"),
        (f"{HEADER},time\n0,create,v,,1,flash,,0\n".encode(), "column 'time' is given 2 times"),
        (f"{HEADER},colour\n0,create,v,,1,flash,,x\n".encode(), "unknown column 'colour'"),
        (f'{HEADER}\n0,create,"v,,1,flash,\n'.encode(), "line 2: is not CSV: "
         "unexpected end of data"),
        (f'{HEADER}\n0,create,"v"w,,1,flash,\n'.encode(), "line 2: is not CSV: "
         "',' expected after '\"'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    assert problems(path) == [problem]


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_lacking_column_is_told_once_and_the_others_are_checked(tmp_path: Path, column: str) -> None:
    good = pd.DataFrame([["0", "create", "v", "i1", "1", "flash", "f#p"]], columns=HEADER.split(","))
    path = tmp_path / "t.csv"
    good.assign(project="p", encrypted="x").drop(columns=column).to_csv(path, index=False)
    assert problems(path) == [
        f"column '{column}' is missing",
        "line 2: encrypted: 'x' is not true or false",
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "dir.parquet").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 this is not one PAR1")
    assert problems(tmp_path / "no.csv") == ["cannot be read: No such file or directory"]
    assert problems(tmp_path / "no.parquet") == ["cannot be read: No such file or directory"]
    assert problems(tmp_path) == ["is not a file"]
    assert problems(tmp_path / "dir.parquet") == ["is not a file"]
    (found,) = problems(tmp_path / "bad.parquet")
    assert found.startswith("cannot be read as Parquet: ")


def test_read_trace_raises_every_problem(tmp_path: Path) -> None:
    path = csv(tmp_path, "x,creat,v,,1,flash,", "0,create,w,,0,flash,")
    with pytest.raises(BadInput) as caught:
        read_trace(path)
    assert caught.value.problems == [
        f"{path}: line 2: time 'x' is neither seconds nor ISO 8601",
        f"{path}: line 3: size_gib '0' {WRONG_SIZE}",
        f"{path}: line 2: unknown event 'creat': must be one of {', '.join(GIVEN)}",
    ]


# Parquet


def frame(**columns: list[object]) -> pd.DataFrame:
    """Two events with native types: a create and its delete, with some columns replaced."""
    return pd.DataFrame(
        {
            "time": [0.0, 5.0],
            "event": ["create", "delete"],
            "volume_id": ["v", "v"],
            "image_id": ["i1", None],
            "size_gib": [10, None],
            "volume_type": ["flash", None],
            "host": [None, None],
            **columns,
        }
    )


def parquet(tmp_path: Path, events: pd.DataFrame) -> Path:
    path = tmp_path / "t.parquet"
    events.to_parquet(path)
    return path


def test_parquet_with_native_types_and_nulls(tmp_path: Path) -> None:
    events = frame(encrypted=[True, None], project=["p", None])
    events["event"] = events["event"].astype("category")
    read = read_trace(parquet(tmp_path, events)).events
    assert read["size_gib"].tolist() == [10, 0]
    assert read["image_id"].tolist() == ["i1", ""]
    assert read["host"].tolist() == ["", ""]
    assert read["encrypted"].tolist() == [True, False]
    assert read["project"].tolist() == ["p", ""]


NO_VALUES = (
    *(pa.null(), pa.float64(), pa.int32(), pa.bool_(), pa.date32(), pa.timestamp("us", "UTC"), pa.binary()),
    *(pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.decimal128(5, 2), pa.list_(pa.int64())),
)


@pytest.mark.parametrize(
    "column", ["image_id", "host", "project", "availability_zone", "first_host", "encrypted"]
)
@pytest.mark.parametrize("kind", NO_VALUES, ids=str)
def test_a_column_without_a_value_is_empty_whatever_its_type(
    tmp_path: Path, kind: pa.DataType, column: str
) -> None:
    more: dict[str, list[object]] = {"project": ["p", "p"], "encrypted": [False, True]}
    plain = pa.Table.from_pandas(frame(availability_zone=["", ""], first_host=["f#p", ""], **more))
    empty = plain.set_column(plain.column_names.index(column), column, pa.nulls(2, kind))
    pq.write_table(empty, tmp_path / "t.parquet")
    assert problems(tmp_path / "t.parquet") == []
    (part,) = read_batches(tmp_path / "t.parquet", KNOWN, 2)
    for events in (read_trace(tmp_path / "t.parquet").events, part.events):
        assert events[column].tolist() == ([False, False] if column == "encrypted" else ["", ""])
        assert events["time"].tolist() == [0, 5]


def test_nan_is_empty_and_whole_floats_and_decimals_are_whole(tmp_path: Path) -> None:
    cells = pa.table(
        {
            "time": pa.array([Decimal("0.0"), Decimal("1.5"), Decimal("2.0")]),
            "event": pa.array(["create", "create", "delete"]).dictionary_encode(),
            "volume_id": pa.array([7.0, 8.0, 7.0]),
            "image_id": pa.array([1.0, float("nan"), None]),
            "size_gib": pa.array([Decimal(10), Decimal("11.0"), None]),
            "volume_type": pa.array(["flash", "flash", None], pa.large_string()),
            "host": pa.array([float("nan")] * 3),
            "project": pa.array([Decimal("3.0"), None, None]),
            "encrypted": pa.array([1.0, 0.0, None]),
        }
    )
    pq.write_table(cells, tmp_path / "t.parquet")
    events = read_trace(tmp_path / "t.parquet").events
    assert events["time"].tolist() == [0, 1.5, 2]
    assert events["volume_id"].tolist() == ["7", "8", "7"]
    assert events["image_id"].tolist() == ["1", "", ""]
    assert events["size_gib"].tolist() == [10, 11, 0]
    assert events["host"].tolist() == ["", "", ""]
    assert events["project"].tolist() == ["3", "", ""]
    assert events["encrypted"].tolist() == [True, False, False]


def test_a_float_that_is_not_whole_is_no_name(tmp_path: Path) -> None:
    assert problems(parquet(tmp_path, frame(host=[1.5, None])))[0] == (
        "column 'host': cannot use values of type double"
    )


def test_an_image_list_and_an_initial_state_in_parquet(tmp_path: Path) -> None:
    """Their optional columns may be empty, too, and whole numbers come as floats."""
    path, found = tmp_path / "i.parquet", Problems()
    image = {"image_id": "i1", "name": None, "disk_format": "raw", "container_format": "bare"}
    sizes = {"size_bytes": 1024.0, "virtual_size_bytes": Decimal("2048.00")}
    pd.DataFrame([image | sizes | {"store_hosts": None, "owner": float("nan")}]).to_parquet(path)
    images, _ = read_images(path, frozenset(), found)
    assert (images["i1"].size_bytes, images["i1"].virtual_size_bytes) == (1024, 2048)
    assert (images["i1"].owner, images["i1"].store_hosts, images["i1"].name) == ("", (), "")
    entry = {"kind": "cache", "volume_id": None, "image_id": "i1", "size_gib": 3.0, "host": "f#p"}
    pd.DataFrame([entry | {"last_used": 0, "project": float("nan")}]).to_parquet(path)
    state = parse_initial(path, KNOWN, None, found)
    assert state is not None and state[1]["size_gib"].tolist() == [3]
    assert not found


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", None])
def test_parquet_with_instants(tmp_path: Path, zone: str | None) -> None:
    times = list(pd.to_datetime(["2026-01-01 12:00:00.00", "2026-01-01 12:00:05.25"]).tz_localize(zone))
    trace = read_trace(parquet(tmp_path, frame(time=times)))
    assert trace.events["time"].tolist() == [0, 5.25]
    assert trace.start == datetime(2026, 1, 1, 11 if zone == "Europe/Berlin" else 12, tzinfo=UTC)


def test_parquet_of_part_of_a_frame_and_with_number_ids(tmp_path: Path) -> None:
    events = pd.concat([frame(), frame()]).iloc[2:].assign(volume_id=[7, 7])
    events.index = pd.Index([4, 9])
    assert read_trace(parquet(tmp_path, events)).events["volume_id"].tolist() == ["7", "7"]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"time": [None, 5.0]}, "row 1: time '' is neither seconds nor ISO 8601"),
        ({"time": [0.0, float("inf")]}, "row 2: time inf is not finite"),
        ({"time": [7, 5]}, "row 2: time 5 is before that of the event above it"),
        ({"size_gib": [0, None]}, f"row 1: size_gib 0.0 {WRONG_SIZE}"),
        ({"size_gib": ["x", None]}, f"row 1: size_gib 'x' {WRONG_SIZE}"),
        ({"image_id": ["i9", None]}, "row 1: unknown image 'i9'"),
        ({"encrypted": ["x", None]}, "row 1: encrypted: 'x' is not true or false"),
        ({"colour": [1, 2]}, "unknown column 'colour'"),
        ({"host": [1.5, None]}, "column 'host': cannot use values of type double"),
        ({"project": [[1], [2]]}, "column 'project': cannot use values of type list<"),
    ],
)
def test_a_bad_row_of_parquet(tmp_path: Path, columns: dict[str, list[object]], problem: str) -> None:
    (found,) = problems(parquet(tmp_path, frame(**columns)))
    assert found.startswith(problem)


def test_sizes_and_times_of_a_useless_type(tmp_path: Path) -> None:
    size, _ = problems(parquet(tmp_path, frame(size_gib=[True, True])))
    assert size == "column 'size_gib': cannot use values of type bool"
    time, *_ = problems(parquet(tmp_path, frame(time=[timedelta(0), timedelta(1)])))
    assert time.startswith("column 'time': cannot use values of type duration")


# Writing


def a_trace(start: datetime | None = None, **columns: list[object]) -> Trace:
    events = pd.DataFrame(
        {
            "time": [0.0, 0.1, 1 / 3, 1e6],
            "event": pd.Categorical(["create", "create", "update_image", "delete"], EVENTS),
            "volume_id": ["v,1", 'v"2', "", "v,1"],
            "image_id": ["i1", "", "i1", ""],
            "size_gib": np.array([10, 20, 0, 0]),
            "volume_type": pd.Categorical(["flash", "disk", "", ""]),
            "host": pd.Categorical(["f#p", "", "", ""]),
            "project": pd.Categorical([""] * 4),
            "encrypted": [False] * 4,
            "first_host": pd.Categorical([""] * 4),
            "availability_zone": pd.Categorical([""] * 4),
            "snapshot_id": [""] * 4,
            **columns,
        }
    )
    return Trace(events, start, Path("made"))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("optional", [{}, {"project": ["p", "", "", "p"]},
                                      {"encrypted": [True, False, False, False]},
                                      {"first_host": ["", "d#p", "", ""]},
                                      {"availability_zone": ["az1", "", "", ""]}])  # fmt: skip
def test_what_is_written_is_read_again(
    tmp_path: Path, suffix: str, optional: dict[str, list[object]]
) -> None:
    trace = a_trace(**optional)
    path = tmp_path / f"t.{suffix}"
    write_trace(trace, path)
    again = read_trace(path)
    pd.testing.assert_frame_equal(
        again.events.astype({"event": "str"}).astype(object),
        trace.events.astype({"event": "str"}).astype(object),
    )
    assert again.start is None
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_dates_are_written_as_dates(tmp_path: Path, suffix: str) -> None:
    start = datetime(2026, 3, 29, 1, 59, 59, 999999, tzinfo=UTC)
    trace = a_trace(start)
    write_trace(trace, tmp_path / f"t.{suffix}")
    again = read_trace(tmp_path / f"t.{suffix}")
    assert again.start == start
    assert np.abs(again.events["time"] - trace.events["time"]).max() < 1e-6


def test_a_trace_without_uses_for_them_has_no_optional_columns(tmp_path: Path) -> None:
    write_trace(a_trace(), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == (
        f'{HEADER}\n0.0,create,"v,1",i1,10,flash,f#p\n0.1,create,"v""2",,20,disk,\n'
        '0.3333333333333333,update_image,,i1,,,\n1000000.0,delete,"v,1",,,,\n'
    )


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_text("old")
    broken = a_trace(host=[1, "x", None, object()])
    with pytest.raises(Exception, match=r"host|object"):
        write_trace(broken, path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.floats(0, 4e9), TEXT.filter(bool), TEXT, st.integers(1, MAX_GIB), TEXT, TEXT),
        min_size=1,
        max_size=6,
    ),
    suffix=st.sampled_from(["csv", "parquet"]),
)
def test_any_text_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, str, str, int, str, str]],
    suffix: str,
) -> None:
    times, *columns = (list(column) for column in zip(*rows, strict=True))
    volume, image, size, tier, project = columns
    events = pd.DataFrame(
        {
            "time": np.sort(np.array(times, dtype=float)),
            "event": pd.Categorical(["create"] * len(rows), EVENTS),
            "volume_id": volume,
            "image_id": image,
            "size_gib": np.array(size, dtype=np.int64),
            "volume_type": tier,
            "host": "",
            "project": project,
            "encrypted": False,
            "first_host": "",
            "availability_zone": "",
            "snapshot_id": "",
        }
    )
    path = tmp_path_factory.mktemp("any") / f"t.{suffix}"
    write_trace(Trace(events, None, path), path)
    again = read_trace(path).events
    for name in events:
        assert again[name].tolist() == events[name].tolist()


def test_of_a_file_only_the_ids_stay_beside_the_events(tmp_path: Path) -> None:
    parsed = parse_trace(csv(tmp_path, "1,create,v1,i1,10,flash,f#p"), KNOWN, Problems())
    assert parsed is not None
    assert set(parsed[0].columns) == {"volume_id", "image_id"}


# The initial state


def test_an_initial_state_is_read(tmp_path: Path) -> None:
    rows = ["volume,v1,,10,f#p,,p1", "cache,,i1,3,f#p,-50.5,", "cache,c2,i1,3,d#p,-1,"]
    found = Problems()
    parsed = parse_initial(csv(tmp_path, *rows, header=f"{INITIAL},project"), KNOWN, None, found)
    assert found.lines() == []
    assert parsed is not None
    state = parsed[1]
    assert state["kind"].tolist() == ["volume", "cache", "cache"]
    assert state["volume_id"].tolist() == ["v1", "", "c2"]
    assert state["size_gib"].tolist() == [10, 3, 3]
    assert state["project"].tolist() == ["p1", "", ""]
    assert np.isnan(state["last_used"][0])
    assert state["last_used"].tolist()[1:] == [-50.5, -1]
    assert list(state) == list(empty_initial())
    assert state.dtypes.drop(["host", "project"]).equals(empty_initial().dtypes.drop(["host", "project"]))


def test_an_initial_state_may_have_dates_if_the_trace_has(tmp_path: Path) -> None:
    path = csv(tmp_path, "cache,,i1,3,f#p,2026-01-01T00:00:00Z", header=INITIAL)
    found = Problems()
    parsed = parse_initial(path, KNOWN, datetime(2026, 1, 1, 0, 1, tzinfo=UTC), found)
    assert parsed is not None
    assert parsed[1]["last_used"].tolist() == [-60]
    assert found.lines() == []
    assert initial_problems(path) == [
        "line 2: last_used '2026-01-01T00:00:00Z' is a date, but the trace has seconds"
    ]


def test_an_empty_initial_state_is_no_problem(tmp_path: Path) -> None:
    assert initial_problems(csv(tmp_path, header=INITIAL)) == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("entry,v,,1,f#p,", "unknown kind 'entry': must be volume or cache"),
        ("volume,,,1,f#p,", "a volume needs a volume_id"),
        ("volume,v0,,1,f#p,", "volume 'v0' exists already"),
        ("cache,v0,i2,1,f#p,0", "volume 'v0' exists already"),
        ("volume,v,i9,1,f#p,", "unknown image 'i9'"),
        ("volume,v,,0,f#p,", f"size_gib '0' {WRONG_SIZE}"),
        ("volume,v,,1,,", "unknown host ''"),
        ("volume,v,,1,f#q,", "unknown host 'f#q'"),
        ("volume,v,,1,f#p,x", "last_used 'x' is neither seconds nor ISO 8601"),
        ("cache,,,1,f#p,0", "a cache entry needs an image_id"),
        ("cache,,i2,1,f#p,", "a cache entry needs last_used"),
        ("cache,,i2,1,f#p,nan", "last_used 'nan' is not finite or too far from the start"),
        ("cache,,i2,1,f#p,-5e9", "last_used '-5e9' is not finite or too far from the start"),
        ("cache,,i1,1,f#p,0", "a second cache entry of image 'i1' on this host"),
    ],
)
def test_a_bad_row_of_the_initial_state(tmp_path: Path, row: str, problem: str) -> None:
    path = csv(tmp_path, "volume,v0,,1,f#p,", "cache,,i1,1,f#p,-1", row, header=INITIAL)
    assert initial_problems(path) == [f"line 4: {problem}"]


# Snapshots


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1,snapshot,v0,,,,,", "a snapshot needs a snapshot_id"),
        ("1,snapshot,,,,,,s1", "a snapshot needs a volume_id"),
        ("1,snapshot,v9,,,,,s1", "snapshot 's1' of a volume that does not exist at that time"),
        ("8,snapshot,v0,,,,,s1", "snapshot 's1' of a volume that does not exist at that time"),
        ("1,snapshot,v0,,,,,s0", "ID 's0' is another snapshot's or a volume's"),
        ("1,snapshot,v0,,,,,v0", "ID 'v0' is another snapshot's or a volume's"),
        ("1,delete_snapshot,v0,,,,,s1", "delete of snapshot 's1', which this volume does not have"),
        ("5,delete_snapshot,v0,,,,,s0", "delete of snapshot 's0', which this volume does not have"),
    ],
)
def test_a_bad_snapshot_is_told(tmp_path: Path, row: str, problem: str) -> None:
    rows = [
        "0,create,v0,i1,10,flash,f#p,",
        "0,snapshot,v0,,,,,s0",
        *(["4,delete_snapshot,v0,,,,,s0"] if row.startswith("5") else []),
        "7,delete,v0,,,,,",
    ]
    rows = sorted([*rows, row], key=lambda each: float(each.split(",")[0]))
    found = problems(csv(tmp_path, *rows, header=f"{HEADER},snapshot_id"))
    assert [line.partition(": ")[2] for line in found][:1] == [problem]
    assert found[0].startswith(f"line {rows.index(row) + 2}: ")


def test_snapshots_are_read_and_written(tmp_path: Path) -> None:
    rows = ["0,create,v0,i1,10,flash,f#p,", "1,snapshot,v0,,,,,s0", "2,delete_snapshot,v0,,,,,s0"]
    path = csv(tmp_path, *rows, header=f"{HEADER},snapshot_id")
    assert problems(path) == []
    write_trace(read_trace(path), tmp_path / "again.csv")
    assert read_trace(tmp_path / "again.csv").events["snapshot_id"].tolist() == ["", "s0", "s0"]
