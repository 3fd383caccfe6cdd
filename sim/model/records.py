"""The tables that an engine records of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.inputs.texts import blanks, column, few, in_few, named, plain, texts
from sim.inputs.units import GIB

Numbers = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# Columns of a create, as in the trace.
ASKED = ("volume_id", "image_id", "volume_type", "size_gib", "time", "availability_zone")
# Sources of a create's data, the slowest first; CLONES are those without a download.
SOURCES = ("none", "download", "cache", "store", "driver")
CLONES = SOURCES[2:]
EVENT_COLUMNS = ("time", "host", "event", "image_id", "size_gib", "reason", "volume_id")
OTHERS = (
    *("volume_id", "volume_type", "host", "size_gib", "time", "end"),
    *("status", "error", "attempts", "cache_held"),
)
# Reasons why an entry is gone or was not made; an exception's name follows FILL_FAILED.
OUTDATED, MAKES_ROOM = "the image was updated", "room for another image"
MAKES_PLACE = "place for a user's volume"
TOO_LARGE, FILL_FAILED = "larger than image_volume_cache_max_size_gb", "fill failed: "
NODES = (
    *("node", "image_conversion_gib", "image_conversion_mean_gib", "image_conversion_peak_gib"),
    *("image_conversion_needed_gib", "image_conversion_refused"),
)
DIRECTORIES = ("node", "time", "image_conversion_gib", "image_conversion_peak_gib")
LINKS = ("link", "name", "total_mib_s", "transfers", "asked_mib", "carried_mib", "busy")
# Columns of a create where the scenario has queues besides Glance's streams and the locks of images.
WAITS = ("thread_wait_s", "clone_wait_s", "write_wait_s")
UPLOAD_TEXT = ("volume_id", "image_id", "host", "error")


@dataclass(frozen=True)
class Records:
    """The tables of a run. Times are in seconds from the start of the trace, sizes in GiB.

    - requests: one row per create from an image, in trace order: `volume_id`, `image_id`, `volume_type`,
      `host` (the last tried, '' if none), `size_gib`, `time`, `end`, `source` (driver | store | cache |
      download | none), `status` (available | error), `error` ('' or "ExceptionName: text"), `attempts`; and
      `lock_wait_s`, `stream_wait_s` (seconds waited for the image's lock and for Glance), `cache_held`
      (cached image-volumes on the array when its volume limit refused the last attempt, else 0). With
      `Scenario.queues` also WAITS: seconds waited for a thread, for the turns of clones (its fill's too), and
      for a write stream.
    - others: one row per create without an image, in trace order: OTHERS, as in requests.
    - cache_events: events of the cache, sorted by time: `time`, `host`, `event` (create | evict | skip |
      stale | clone_limit), `image_id`, `size_gib`, `reason`, `volume_id` (the create during which it
      happened, '' if none).
    - cache: the entries at the end: `host`, `image_id`, `size_gib`, `last_used`.
    - uploads: one row per upload, in trace order: `volume_id`, `image_id`, `host` ('' if there is no such
      volume), `time`, `end`, `status` (active | error) and `error` ('' or the exception's name).
    - usage: per `scope` (pool | tier | all), `name` (host, volume type or '') and `kind` (user | cache |
      store | image = cache + store | orphan = image-volumes that lost their entry): `{quantity}_mean`
      (time-weighted over the run), `{quantity}_peak` and `{quantity}_end` (at the end), each for volumes,
      provisioned_gib and physical_gib.
    - space: contents of each pool at up to 200 instants of the trace: `host`, `time`, then `{kind}_volumes`,
      `{kind}_provisioned_gib` and `{kind}_physical_gib` for each of user, cache and store.
    - volumes: the volumes on the arrays at the end: `host`, `kind` (user | store | cache), `volume_id` (''
      where Cinder draws it: for the cache, and for image-volumes that the run put into the store),
      `size_gib`, `clones` (its live copy-on-write clones). Sorted by these columns.
    - nodes: one row per node of the scenario's `nodes`: `node`, `image_conversion_gib` (NaN: no limit), what
      lies in its conversion directory (`image_conversion_mean_gib`, time-weighted over the run, and
      `image_conversion_peak_gib`), `image_conversion_needed_gib` (the most that lay there with the file that
      a create or upload wanted to add: a larger directory refuses none of them) and
      `image_conversion_refused` (creates and uploads that found no room).
    - directories: what lies in the conversion directories of these nodes at up to 200 instants of the trace:
      `node`, `time`, `image_conversion_gib` and `image_conversion_peak_gib` (the most since the instant
      before).
    - links: one row per shared link: `link` (glance | node | array), `name` (of the node or backend, else
      ''), `total_mib_s`, `transfers` and `asked_mib` (how many crossed it, and their sizes), `carried_mib`
      (the rates of all of them over time: the same, as no transfer is given up) and `busy` (the mean share of
      its rate that was in use, over the run).
    - engine_s: wall seconds inside the engine.
    - broken: of a watched run, a line for each invariant that did not hold; else None.
    """

    requests: pd.DataFrame
    others: pd.DataFrame
    cache_events: pd.DataFrame
    cache: pd.DataFrame
    uploads: pd.DataFrame
    usage: pd.DataFrame
    space: pd.DataFrame
    volumes: pd.DataFrame
    nodes: pd.DataFrame
    directories: pd.DataFrame
    links: pd.DataFrame
    engine_s: float
    broken: tuple[str, ...] | None = None


def named_column(codes: Numbers, names: Iterable[str]) -> pd.Series[str]:
    """The name of each code, '' of those below 0, as a column."""
    if (codes < 0).all():
        return blanks(len(codes))
    return column(named(codes, texts(names)))


def tables_of_creates(
    asked: pd.DataFrame, source: Numbers, available: Mask, **columns: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`Records.requests` and `Records.others` of the given creates: ASKED, '' without an image.

    `source` are positions in SOURCES; `columns` are the other columns except the status, with one value per
    create. Columns of few names are categories: see `sim.inputs.texts.in_texts`.
    """
    columns = {
        name: np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values
        for name, values in columns.items()
    }
    table = pd.DataFrame(
        {
            **{name: plain(asked[name]) for name in ("volume_id", "image_id")},
            "volume_type": in_few(asked["volume_type"]),
            "host": columns["host"],
            **{name: asked[name] for name in ("size_gib", "time")},
            "end": columns["end"],
            "source": few(source, SOURCES),
            "status": few((~available).astype(np.int8), ("available", "error")),
            **columns,
        },
        copy=False,
    )
    table = table.astype({"error": "str"})
    blank = (table["image_id"] == "").to_numpy()
    others = table.loc[blank, list(OTHERS)].reset_index(drop=True)
    return (table[~blank].reset_index(drop=True) if blank.any() else table), others


def cache_events_table(columns: Mapping[str, object]) -> pd.DataFrame:
    """`Records.cache_events` from its columns."""
    table = pd.DataFrame(columns, columns=list(EVENT_COLUMNS))
    types = dict.fromkeys(EVENT_COLUMNS, "str") | {"time": "float64", "size_gib": "int64"}
    return table.astype({name: of for name, of in types.items() if table[name].dtype != "category"})


def cache_table(rows: Sequence[tuple[str, str, int, float]]) -> pd.DataFrame:
    """`Records.cache` from a host, image_id, size_gib and last_used for each entry."""
    table = pd.DataFrame(rows, columns=["host", "image_id", "size_gib", "last_used"])
    return table.astype({"host": "str", "image_id": "str", "size_gib": "int64", "last_used": "float64"})


def uploads_table(rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    """`Records.uploads` from a volume_id, image_id, host, time, end and error for each upload."""
    table = pd.DataFrame(rows, columns=["volume_id", "image_id", "host", "time", "end", "error"])
    table = table.astype({"time": "float64", "end": "float64"} | dict.fromkeys(UPLOAD_TEXT, "str"))
    table.insert(5, "status", np.where(table["error"] == "", "active", "error"))
    return table.astype({"status": "str"})


def nodes_table(
    limits: Mapping[str, float | None], directories: Sequence[tuple[float, float, float, int]]
) -> pd.DataFrame:
    """`Records.nodes` of the GiB that conversion directories have by node, and of the mean, peak and needed
    bytes and the refusals of each."""
    rows = [
        (node, gib, *(size / GIB for size in sizes), refused)
        for (node, gib), (*sizes, refused) in zip(limits.items(), directories, strict=True)
    ]
    table = pd.DataFrame(rows, columns=list(NODES))
    return table.astype(dict.fromkeys(NODES, "float64") | {NODES[0]: "str", NODES[-1]: "int64"})


def directories_table(nodes: Sequence[str], times: Floats, used: Floats, peaks: Floats) -> pd.DataFrame:
    """`Records.directories` of bytes (nodes, times)."""
    columns = np.repeat(np.array(nodes, object), len(times)), np.tile(times, len(nodes))
    gib = (np.asarray(each, float).ravel() / GIB for each in (used, peaks))
    table = pd.DataFrame(dict(zip(DIRECTORIES, (*columns, *gib), strict=True)))
    return table.astype(dict.fromkeys(DIRECTORIES, "float64") | {DIRECTORIES[0]: "str"})


def links_table(names: Sequence[tuple[str, str]], end: float, **columns: Any) -> pd.DataFrame:
    """`Records.links` of a run over [0, `end`] seconds: of each a kind and a name, and a value per column."""
    table = pd.DataFrame(names, columns=list(LINKS[:2]), dtype="str").assign(**columns)
    table = table.astype({"transfers": "int64"} | dict.fromkeys(("asked_mib", "carried_mib"), "float64"))
    return table.assign(busy=table["carried_mib"] / (table["total_mib_s"] * end) if end > 0 else 0.0)


def volumes_table(**columns: object) -> pd.DataFrame:
    """`Records.volumes`: host, kind, volume_id, size_gib and clones of each volume, in any order."""
    table = pd.DataFrame(columns).astype({"host": "str", "kind": "str", "volume_id": "str"})
    table.loc[table["kind"] == "cache", "volume_id"] = ""
    return table.astype({"size_gib": "int64", "clones": "int64"}).sort_values(
        list(table.columns), ignore_index=True
    )


# Text columns that are read back as written: an id of digits or the word `none` stays text.
