"""The files of a run: tables and a manifest, written and read."""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from sim.inputs.beside import scratch
from sim.inputs.cells import plain_series, write_csv
from sim.inputs.kept import kept
from sim.inputs.texts import in_texts
from sim.model.records import DIRECTORIES, LINKS, NODES
from sim.run import engine_of

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

Format = Literal["csv", "parquet"]
TABLES = (
    *("requests", "others", "pools", "cache_events", "cache", "uploads", "summary", "space", "nodes"),
    *("directories", "links"),
)
# Tables that folders of earlier versions do not have, with their columns.
LATER = {"nodes": NODES, "directories": DIRECTORIES, "links": LINKS}
MANIFEST = "manifest.json"
EACH = "summaries.csv"  # of a comparison: the summary of each replication
VERSIONED = ("cinder-cache-planner", "cinder", "simpy", "greenlet", "numba", "numpy", "pandas", "pyarrow")
TEXT = (
    *("volume_id", "image_id", "volume_type", "host", "source", "status", "error"),
    *("event", "reason", "tier", "strategy", "node", "link", "name"),
)


def manifest_of(
    case: Case,
    strategy: str,
    engine: str,
    creates: int,
    engine_s: float,
    wall_s: float,
    sha256: dict[str, str],
) -> dict[str, Any]:
    """The input and the versions needed to repeat a run. Only `engine_s` and `wall_s` vary.

    `engine` is the one that was asked for; the manifest names the one that runs such a scenario.
    """
    start = case.trace.start
    return {
        "scenario": case.scenario.name,
        "strategy": strategy,
        "engine": engine_of(case.scenario, engine),
        "seed": case.scenario.seed,
        "replication": case.replication,
        "trace_start": None if start is None else start.isoformat(),
        "versions": versions(),
        "sha256": sha256,
        "settings": kept(case.scenario),
        "tables": list(TABLES),
        "creates": creates,
        "engine_s": engine_s,
        "wall_s": wall_s,
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that may matter (None: not installed)."""
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

    A table given as a path is a file of that directory or below it. See `together`. Raises OSError.
    """
    with together(directory) as new:
        put(tables, manifest, new, fmt)


def put(
    tables: Mapping[str, pd.DataFrame | Path], manifest: Mapping[str, Any], folder: Path, fmt: Format
) -> None:
    """Write a run's files into a folder without any. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        if isinstance(table, pd.DataFrame):
            _write_table(table, folder / f"{name}.{fmt}", fmt)
        else:
            table.replace(folder / f"{name}.{fmt}")
    text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def no_folders(places: Iterable[Path]) -> None:
    """Raise IsADirectoryError if a file's place is taken by a folder."""
    for place in places:
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))


@contextmanager
def together(directory: Path) -> Iterator[Path]:
    """A folder for results. At the end its files take their places in `directory`, all in one go.

    A process that is killed before leaves the earlier results. The earlier manifests go first and the new
    ones come last, so a folder with a manifest is complete. A table replaces its earlier one in any format.
    Other files there stay, and what is in a hidden folder of the new ones is dropped. Raises OSError.
    """
    with scratch(directory) as new:
        yield new
        within = sorted(path.relative_to(new) for path in new.rglob("*") if path.is_file())
        within = [path for path in within if not path.parts[0].startswith(".")]
        within.sort(key=lambda path: path.name == MANIFEST)
        files = [new / path for path in within]
        places = [directory / path for path in within]
        no_folders(places)
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.name == MANIFEST:
                place.unlink(missing_ok=True)
        for path, place in zip(files, places, strict=True):
            path.replace(place)
            for suffix in {".csv": [".parquet"], ".parquet": [".csv"]}.get(place.suffix, []):
                place.with_suffix(suffix).unlink(missing_ok=True)


def _write_table(table: pd.DataFrame, path: Path, fmt: Format) -> None:
    if fmt == "csv":
        # Floats as Python's repr: the shortest text that reads back as the same number.
        write_csv(table, path)
    else:
        in_texts(table).to_parquet(path, index=False, engine="pyarrow")


def read(directory: str | Path) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The tables by name and the manifest of a folder that `write` made, in any format.

    A table that the version which wrote the folder did not know is empty. Raises FileNotFoundError if there
    is no manifest, that is, no complete run, or if a table is lost.
    """
    folder = Path(directory)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return {name: read_table(folder, name, manifest) for name in TABLES}, manifest


def read_table(
    folder: Path, name: str, manifest: Mapping[str, Any], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """One of the tables that `read` reads, or some of its columns."""
    path = folder / f"{name}.csv"
    if not path.exists():
        path = path.with_suffix(".parquet")
        unknown = name in LATER and name not in manifest.get("tables", ())
        if unknown and not path.exists():
            return pd.DataFrame(columns=list(columns or LATER[name]))
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    there = pd.read_csv(path, nrows=0).columns
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXT, str),
        keep_default_na=False,
        na_values={name: [""] for name in there if name not in TEXT},
        usecols=None if columns is None else list(columns),
    )
    return table.assign(**{name: plain_series(table[name]) for name in table if name in TEXT})
