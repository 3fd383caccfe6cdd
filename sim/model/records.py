"""The tables of a run: what an engine records, and the files written and read."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

Format = Literal["csv", "parquet"]
Numbers = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

TABLES = ("requests", "pools", "cache_events", "cache", "uploads", "summary", "space")
MANIFEST = "manifest.json"
VERSIONED = ("cinder-cache-planner", "cinder", "simpy", "greenlet", "numba", "numpy", "pandas", "pyarrow")
SOURCES = ("none", "download", "cache", "store", "driver")
EVENT_COLUMNS = ("time", "host", "event", "image_id", "size_gib", "reason", "volume_id")
QUANTITIES = ("volumes", "provisioned_gib", "physical_gib")
# Columns of text, read back as written: an id of digits or the word `none` stays what it is.
UPLOAD_TEXT = ("volume_id", "image_id", "host", "error")
TEXT = (
    *("volume_id", "image_id", "volume_type", "host", "source", "status", "error"),
    *("event", "reason", "tier", "strategy"),
)


@dataclass(frozen=True)
class Records:
    """What an engine gives: tidy tables, times in seconds from the trace's start, sizes in GiB.

    - requests: one row per create from an image, in trace order: `volume_id`, `image_id`, `volume_type`,
      `host` (the last tried, '' if none), `size_gib`, `time`, `end`, `source` (driver | store | cache |
      download | none), `status` (available | error), `error` ('' or "ExceptionName: text"), `attempts`;
      and `lock_wait_s`, `stream_wait_s` (seconds waited for the image's lock and for Glance),
      `cache_held` (cached image-volumes on the array when its volume limit refused the last attempt,
      else 0).
    - cache_events: `time`, `host`, `event` (create | evict | skip | stale | clone_limit), `image_id`,
      `size_gib`, `reason`, `volume_id` (the create during which it happened, '' if none), by time.
    - cache: the entries at the end: `host`, `image_id`, `size_gib`, `last_used`.
    - uploads: a row per upload of the trace, in its order: `volume_id`, `image_id`, `host` ('' if there is
      no such volume), `time`, `end`, `status` (active | error) and `error` ('' or the exception's name).
    - usage: per `scope` (pool | tier | all), `name` (host, volume type or '') and `kind` (user | cache |
      store | image = cache + store | orphan = image-volumes that lost their entry):
      `{quantity}_mean` (time-weighted over the run) and `{quantity}_peak` of volumes,
      provisioned_gib and physical_gib; and each as it is at the end, `{quantity}_end`.
    - space: what was there at up to 200 instants of the trace: `host`, `time`, then of volumes of user,
      cache and store each `{kind}_volumes`, `{kind}_provisioned_gib` and `{kind}_physical_gib`.
    - volumes: what is on the arrays at the end: `host`, `kind` (user | store | cache), `volume_id` ('' of
      the cache and of what the run put into the store: Cinder draws those), `size_gib`, `clones` (live
      copy-on-write clones of it), in the order of these columns.
    - engine_s: wall seconds inside the engine.
    """

    requests: pd.DataFrame
    cache_events: pd.DataFrame
    cache: pd.DataFrame
    uploads: pd.DataFrame
    usage: pd.DataFrame
    space: pd.DataFrame
    volumes: pd.DataFrame
    engine_s: float


def requests_table(asked: pd.DataFrame, source: Numbers, available: Mask, **columns: object) -> pd.DataFrame:
    """`Records.requests` of creates that were asked for (volume_id, image_id, volume_type, size_gib, time).

    `source` are positions in SOURCES; `columns` the others, but for the status, each of as many rows.
    """
    table = pd.DataFrame(
        {
            **{name: asked[name].astype(str) for name in ("volume_id", "image_id", "volume_type")},
            "host": columns["host"],
            **{name: asked[name] for name in ("size_gib", "time")},
            "end": columns["end"],
            "source": np.array(SOURCES, dtype=object)[source],
            "status": np.where(available, "available", "error"),
            **columns,
        }
    )
    return table.astype({"host": "str", "source": "str", "error": "str"})


def cache_events_table(columns: Mapping[str, object]) -> pd.DataFrame:
    """`Records.cache_events` of its columns."""
    text = ("host", "event", "image_id", "reason", "volume_id")
    table = pd.DataFrame(columns, columns=list(EVENT_COLUMNS))
    return table.astype(dict.fromkeys(text, "str")).astype({"time": "float64", "size_gib": "int64"})


def cache_table(rows: Sequence[tuple[str, str, int, float]]) -> pd.DataFrame:
    """`Records.cache` of a host, image_id, size_gib and last_used for each entry."""
    table = pd.DataFrame(rows, columns=["host", "image_id", "size_gib", "last_used"])
    return table.astype({"host": "str", "image_id": "str", "size_gib": "int64", "last_used": "float64"})


def uploads_table(rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    """`Records.uploads` of a volume_id, image_id, host, time, end and error for each."""
    table = pd.DataFrame(rows, columns=["volume_id", "image_id", "host", "time", "end", "error"])
    table = table.astype({"time": "float64", "end": "float64"} | dict.fromkeys(UPLOAD_TEXT, "str"))
    table.insert(5, "status", np.where(table["error"] == "", "active", "error"))
    return table.astype({"status": "str"})


def volumes_table(**columns: object) -> pd.DataFrame:
    """`Records.volumes`: host, kind, volume_id, size_gib and clones of each volume, in any order."""
    table = pd.DataFrame(columns).astype({"host": "str", "kind": "str", "volume_id": "str"})
    table.loc[table["kind"] == "cache", "volume_id"] = ""
    return table.astype({"size_gib": "int64", "clones": "int64"}).sort_values(
        list(table.columns), ignore_index=True
    )


def usage_columns(
    usage: pd.DataFrame, scope: str, names: Iterable[str], kinds: Iterable[str]
) -> pd.DataFrame:
    """`{kind}_{quantity}_{mean|peak}` of one scope, a row per name (the index); 0 if none."""
    index = pd.Index(list(names))
    rows = usage[usage["scope"] == scope]
    columns = {}
    for kind in kinds:
        of_kind = rows[rows["kind"] == kind].set_index("name")
        for quantity in QUANTITIES:
            for stat in ("mean", "peak"):
                column = of_kind[f"{quantity}_{stat}"].reindex(index, fill_value=0.0)
                columns[f"{kind}_{quantity}_{stat}"] = column.astype(float)
    return pd.DataFrame(columns, index=index)


def pools_table(records: Records, case: Case) -> pd.DataFrame:
    """One row per pool, in scenario order, also of those that nothing used.

    Columns: host, volume_type (several joined by ';'), requests, store_clones, cache_clones,
    driver_clones, downloads, errors (creates by the pool that they ended on; those that no pool
    took count nowhere), then {user,cache,store}_{volumes,provisioned_gib,physical_gib}_{mean,peak},
    and orphans at the end of the run.
    """
    return pools_table_of(pool_counts(records.requests, case), records.usage, case)


def pool_counts(requests: pd.DataFrame, case: Case) -> pd.DataFrame:
    """The columns of `pools_table` that count creates, by host (the index)."""
    hosts = pd.Index(list(case.scenario.pools()))
    counted = {
        "requests": requests["host"],
        "store_clones": requests.loc[requests["source"] == "store", "host"],
        "cache_clones": requests.loc[requests["source"] == "cache", "host"],
        "driver_clones": requests.loc[requests["source"] == "driver", "host"],
        "downloads": requests.loc[requests["source"] == "download", "host"],
        "errors": requests.loc[requests["status"] == "error", "host"],
    }
    return pd.DataFrame({name: _count_by(column, hosts) for name, column in counted.items()}, index=hosts)


def pools_table_of(counts: pd.DataFrame, usage: pd.DataFrame, case: Case) -> pd.DataFrame:
    """`pools_table` of what has been counted."""
    types = {
        f"{name}#{pool}": ";".join(backend.volume_types)
        for name, backend in case.scenario.backends.items()
        for pool in backend.pools
    }
    hosts = counts.index
    table = counts.join(usage_columns(usage, "pool", hosts, ("user", "cache", "store")))
    table.insert(0, "volume_type", list(types.values()))
    of_pools = usage[usage["scope"] == "pool"]
    orphans = of_pools[of_pools["kind"] == "orphan"].set_index("name")["volumes_end"]
    table["orphans"] = orphans.reindex(hosts, fill_value=0).astype("int64")
    return table.rename_axis("host").reset_index()


def _count_by(column: pd.Series[Any], names: pd.Index[Any]) -> list[int]:
    """How often each of `names` is in `column`."""
    counts = column.astype(object).value_counts()
    return [int(counts.get(name, 0)) for name in names]


def files_of(case: Case) -> dict[str, Path]:
    """The files that a case was read from: scenario, trace (unless generated), images and initial."""
    folder, scenario = case.path.parent, case.scenario
    files = {"scenario": case.path}
    if scenario.workload.trace is not None:
        files["trace"] = case.trace.path
    if isinstance(scenario.images, str):
        files["images"] = folder / scenario.images
    if scenario.workload.initial is not None:
        files["initial"] = folder / scenario.workload.initial
    return files


def hashes(case: Case) -> dict[str, str]:
    """SHA-256 of the files that a case was read from."""
    return {name: _sha256(path) for name, path in files_of(case).items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_of(
    case: Case,
    strategy: str,
    engine: str,
    creates: int,
    engine_s: float,
    wall_s: float,
    sha256: dict[str, str],
) -> dict[str, Any]:
    """What was run, by what and on what, to run it again. Only `engine_s` and `wall_s` vary."""
    start = case.trace.start
    return {
        "scenario": case.scenario.name,
        "strategy": strategy,
        "engine": engine,
        "seed": case.scenario.seed,
        "replication": case.replication,
        "trace_start": None if start is None else start.isoformat(),
        "versions": versions(),
        "sha256": sha256,
        "creates": creates,
        "engine_s": engine_s,
        "wall_s": wall_s,
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of all whose version may matter (None: not installed)."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def write(
    tables: Mapping[str, pd.DataFrame | Path],
    manifest: Mapping[str, Any],
    directory: Path,
    fmt: Format = "csv",
) -> None:
    """Write tables as `{name}.{fmt}` and the manifest into `directory`, over an earlier run's.

    A table that is a path is a file in that directory which is written already.

    Files are written beside and moved in whole; the old manifest goes first and the new one comes
    last, so a folder that has one is complete. Other files there are left alone. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=directory) as beside:
        for name, table in tables.items():
            if isinstance(table, pd.DataFrame):
                _write_table(table, Path(beside) / f"{name}.{fmt}", fmt)
            else:
                table.replace(Path(beside) / f"{name}.{fmt}")
        text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
        Path(beside, MANIFEST).write_text(text, encoding="utf-8")
        (directory / MANIFEST).unlink(missing_ok=True)
        for name in tables:
            for old in (directory / f"{name}.csv", directory / f"{name}.parquet"):
                old.unlink(missing_ok=True)
            os.replace(Path(beside) / f"{name}.{fmt}", directory / f"{name}.{fmt}")
        os.replace(Path(beside, MANIFEST), directory / MANIFEST)


def _write_table(table: pd.DataFrame, path: Path, fmt: Format) -> None:
    if fmt == "csv":
        # Floats as Python's repr: the shortest text that reads back as the same number.
        table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")
    else:
        table.to_parquet(path, index=False, engine="pyarrow")


def read(directory: str | Path) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The tables by name and the manifest of a folder that `write` left, whichever the format.

    Raises FileNotFoundError if there is no manifest, that is, no complete run.
    """
    folder = Path(directory)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return {name: _read_table(folder, name) for name in TABLES}, manifest


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.csv"
    if not path.exists():
        return pd.read_parquet(path.with_suffix(".parquet"))
    columns = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXT, str),
        keep_default_na=False,
        na_values={name: [""] for name in columns if name not in TEXT},
    )
