"""Generated workloads: draws events by their parameters (`sim.inputs.generator`), a stream for each kind.

Sessions begin by a Poisson process. Each request of a session causes others for the same image, generation by
generation. This happens on a time scale with an even rate; the hours of the week then stretch and compress
it. A session has its line of images, its project and its distance behind the line's newest version. A request
has its tier, size, encryption and number of creates. A create has its lifetime.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special

from sim.inputs.generator import (
    DAY,
    HOUR,
    MOST_AT_ONCE,
    WEEK,
    Generate,
    Repeats,
    mean_creates,
    weekly_shape,
)
from sim.inputs.images import Image
from sim.inputs.problems import BadInput
from sim.inputs.texts import blanks, column, joined, texts
from sim.inputs.trace import EVENTS, OPTIONAL, REQUIRED, Trace
from sim.inputs.units import GIB
from sim.workload.releases import Dated, Even, Releases, image_ids, least_gib, versions
from sim.workload.streams import Streams, ranked, weighted

MOST_BEFORE = 3_000_000  # creates
GRID = 2_000  # time slots in which following requests are counted
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Generated:
    """Events, and all images that exist in their time: lines, released versions, uploads."""

    trace: Trace
    images: dict[str, Image]


@dataclass(frozen=True)
class Requests:
    """Requests, sorted by time: seconds (R,), session (R,), and the number of sessions."""

    time: Floats
    session: Whole
    sessions: int


def generate(
    spec: Generate, images: Sequence[Image], tiers: Sequence[str], seed: int, replication: int, path: Path
) -> Generated:
    """Draw the workload.

    `images` are the lines by falling popularity (none: the catalogue's), `tiers` those that backends serve.
    `path` is the scenario's path for messages. Raises BadInput if there are no creates, or if a released
    image has the id of another.
    """
    streams = Streams(seed, replication)
    released = _releases(spec, images, streams)
    requests = arrivals(spec, streams)
    creates = _creates(spec, released, tiers, requests, streams)
    known, releases = versions(released, spec.duration, path)
    updates = _updates(spec, released, streams)
    uploads, uploaded = _uploads(spec, creates, streams)
    # In the order in which they happen within one instant.
    parts = {"release": releases, "update_image": updates, "create": creates, "upload": uploads}
    if not len(creates):
        what = "makes no creates: make it longer, or give more creates_per_day"
        raise BadInput([f"{path}: workload.generate: {what}"])
    events = _events(spec.duration, parts)
    start, events = _dated(spec.start, events)
    return Generated(Trace(events, start, path), known | uploaded)


def _releases(spec: Generate, images: Sequence[Image], streams: Streams) -> Releases:
    if spec.start is not None and any(image.released is not None for image in images):
        return Dated(images, spec.start, spec.duration)
    return Even(list(images) or catalogue(spec, streams), spec.popularity.release_every, streams)


def arrivals(spec: Generate, streams: Streams) -> Requests:
    """The times of requests, and their sessions."""
    again, until = spec.repeats, _stretched(spec)[1][-1]
    per_s = spec.creates_per_day / mean_creates(spec.storms) / DAY
    before = _before(spec)
    begin, follow = streams("arrivals"), streams("repeats")
    each = _requests_each(again, spec.storms.spread_s, before, float(until))
    sessions = int(begin.poisson(per_s / each * (before + until)))
    time = begin.uniform(-before, until, sessions)
    session = np.arange(sessions)
    times, of = [time], [session]
    while len(time):
        more = follow.poisson(again.share, len(time))
        time, session = np.repeat(time, more), np.repeat(session, more)
        delays = follow.lognormal(math.log(again.after_median_s), again.after_sigma, len(time))
        time = time + spec.storms.spread_s + delays
        time, session = time[time < until], session[time < until]
        times.append(time)
        of.append(session)
    time, session = np.concatenate(times), np.concatenate(of)
    order = np.argsort(time, kind="stable")
    order = order[time[order] >= 0]
    real, even = _stretched(spec)
    return Requests(np.interp(time[order], even, real), session[order], sessions)


def _before(spec: Generate) -> float:
    """Seconds to draw before the start, because sessions that began then continue after it."""
    again = spec.repeats
    delay = again.after_median_s * math.exp(again.after_sigma**2 / 2) + spec.storms.spread_s
    longest = min(spec.duration + 30 * DAY, MOST_BEFORE / spec.creates_per_day * DAY)
    return min(10 * delay / (1 - again.share), longest) if again.share else 0.0


@lru_cache
def _requests_each(again: Repeats, spread_s: float, before: float, until: float) -> float:
    """Requests after the start per session that began (there or before), if sessions begin evenly.

    It is 1 / (1 - share) without the requests that would follow sessions of even earlier times: the renewal
    equation, on a grid.
    """
    share = again.share
    if not share:
        return 1.0
    step = (before + until) / GRID
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(np.arange(GRID + 1) * step - spread_s, 0.0))
    spread = max(again.after_sigma, 1e-6)
    follow = share * np.diff(special.ndtr((logs - math.log(again.after_median_s)) / spread))
    each = np.zeros(GRID)
    for slot in range(GRID):
        each[slot] = (1 + follow[slot:0:-1] @ each[:slot]) / (1 - follow[0])
    return float(each[int(before / step) :].mean())


def _stretched(spec: Generate) -> tuple[Floats, Floats]:
    """Instants of the duration, an hour apart, and the same on a time scale with an even rate."""
    begin = 0.0
    if spec.start is not None:
        begin = spec.start.weekday() * DAY + (spec.start - _midnight(spec.start)).total_seconds()
    first, last = math.floor(begin / HOUR), math.ceil((begin + spec.duration) / HOUR)
    edges = np.clip(np.arange(first, last + 1) * HOUR, begin, begin + spec.duration)
    rate = weekly_shape(spec)[np.arange(first, last) % int(WEEK / HOUR)]
    return edges - begin, np.concatenate([[0.0], np.cumsum(np.diff(edges) * rate)])


def _midnight(date: datetime) -> datetime:
    return date.replace(hour=0, minute=0, second=0, microsecond=0)


def _creates(
    spec: Generate, released: Releases, tiers: Sequence[str], requests: Requests, streams: Streams
) -> pd.DataFrame:
    """A row per create: time, request parameters, and lifetime in seconds (inf: kept)."""
    session, count, popularity = requests.session, len(requests.time), spec.popularity
    lines = released.lines
    line = ranked(streams("images"), popularity.zipf, len(lines), requests.sessions)[session]
    behind = streams("takeover").exponential(popularity.takeover / math.log(2), requests.sessions)[session]
    blank = (streams("blank").random(requests.sessions) < spec.blank_share)[session]
    project = ranked(streams("projects"), spec.projects.zipf, spec.projects.count, requests.sessions)[session]
    version = released.newest(line, requests.time - behind)
    weights = spec.tiers if spec.tiers is not None else dict.fromkeys(tiers, 1.0)
    tier = weighted(streams("tiers"), list(weights.values()), count)
    sizes = weighted(streams("sizes"), list(spec.volume_gib.values()), count)
    least = least_gib(released, line, version)
    size = np.maximum(np.array(list(spec.volume_gib))[sizes], np.where(blank, 1, least))
    encrypted = streams("encrypted").random(count) < spec.encrypted_share
    row, time = _storms(spec, requests.time, streams)
    lifetime = streams("lifetimes").lognormal(
        math.log(spec.lifetime_s.median), spec.lifetime_s.sigma, len(row)
    )
    kept = streams("kept").random(len(row)) < spec.kept_share
    owner = np.array([image.owner for image in lines], dtype=object)[line]
    names = np.array([f"project-{number + 1}" for number in range(spec.projects.count)], dtype=object)
    owned = (owner != "") & ~blank
    frame = pd.DataFrame(
        {
            "time": time,
            "line": np.where(blank, -1, line)[row],
            "version": version[row],
            "size_gib": size[row],
            "volume_type": pd.Categorical.from_codes(tier, pd.Index(list(weights)))[row],
            "project": pd.Categorical(np.where(owned, owner, names[project]))[row],
            "encrypted": encrypted[row],
            "lifetime": np.where(kept, math.inf, np.maximum(lifetime, 1e-3)),
        }
    )
    frame = frame[frame["time"] < spec.duration].sort_values("time", kind="stable", ignore_index=True)
    numbers = pc.cast(pa.array(np.arange(1, len(frame) + 1)), pa.large_string())
    before, between = pa.scalar("volume-", pa.large_string()), pa.scalar("", pa.large_string())
    named = pc.binary_join_element_wise(before, pc.utf8_lpad(numbers, 7, "0"), between)
    frame["volume_id"] = column(named)
    frame["image_id"] = image_ids(released, frame["line"].to_numpy(), frame["version"].to_numpy())
    return frame


def _storms(spec: Generate, time: Floats, streams: Streams) -> tuple[Whole, Floats]:
    """The request of each create, and its time; times are whole milliseconds."""
    storms, draw, spread = spec.storms, streams("storms"), streams("spread")
    storm = draw.random(len(time)) < storms.share
    many = np.ceil(draw.lognormal(math.log(storms.creates_median), storms.creates_sigma, len(time)))
    row = np.repeat(np.arange(len(time)), np.where(storm, np.clip(many, 2, MOST_AT_ONCE), 1).astype(np.int64))
    later = np.diff(row, prepend=-1) == 0
    return row, np.round(time[row] + np.where(later, spread.uniform(0, storms.spread_s, len(row)), 0), 3)


def _updates(spec: Generate, released: Releases, streams: Streams) -> pd.DataFrame:
    """Updates of images' metadata: each takes a random line and its newest version at that time."""
    stream = streams("updates")
    count = int(stream.poisson(spec.updates_per_day * spec.duration / DAY))
    time = np.sort(stream.uniform(0, spec.duration, count)).round(3)
    line = stream.integers(len(released.lines), size=count)
    return pd.DataFrame({"time": time, "image_id": image_ids(released, line, released.newest(line, time))})


def _uploads(
    spec: Generate, creates: pd.DataFrame, streams: Streams
) -> tuple[pd.DataFrame, dict[str, Image]]:
    """Volumes that become new, private, raw images: each is a random one of the existing volumes."""
    stream = streams("uploads")
    count = int(stream.poisson(spec.uploads_per_day * spec.duration / DAY))
    time = np.round(np.sort(stream.uniform(0, spec.duration, count)), 3)
    luck = stream.random(count)
    begin, end = creates["time"].to_numpy(), (creates["time"] + creates["lifetime"]).to_numpy()
    rows: list[dict[str, object]] = []
    found: dict[str, Image] = {}
    for at, chance in zip(time.tolist(), luck.tolist(), strict=True):
        live = np.flatnonzero(
            (begin[: np.searchsorted(begin, at)] < at) & (end[: np.searchsorted(begin, at)] > at)
        )
        if not len(live):
            continue
        volume = creates.iloc[live[int(chance * len(live))]]
        size = int(volume["size_gib"]) * GIB
        name = f"upload-{len(rows) + 1}"
        found[name] = Image(
            image_id=name,
            name=name,
            disk_format="raw",
            container_format="bare",
            size_bytes=size,
            virtual_size_bytes=size,
            owner=volume["project"],
        )
        rows.append({"time": at, "volume_id": volume["volume_id"], "image_id": name})
    return pd.DataFrame(rows, columns=["time", "volume_id", "image_id"]), found


def _events(duration: float, parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All events by time, in the columns and types of a trace."""
    creates = parts["create"]
    gone = creates[["time", "lifetime", "volume_id"]]
    gone = gone.assign(time=(gone["time"] + gone["lifetime"]).round(3))
    # Deletes come last at an instant: only existing volumes can be deleted.
    parts = {**parts, "delete": gone[gone["time"] < duration]}
    time = np.concatenate([part["time"].to_numpy(np.float64) for part in parts.values()])
    order = np.argsort(time, kind="stable")
    kind = np.repeat([EVENTS.index(event) for event in parts], [len(part) for part in parts.values()])
    columns: dict[str, Any] = {
        "time": time[order],
        "event": pd.Categorical.from_codes(kind[order], pd.Index(EVENTS)),
    }
    for name in ("volume_id", "image_id"):
        columns[name] = _names(parts.values(), name, order)
    for name in ("size_gib", "encrypted"):
        columns[name] = _of_creates(parts, creates[name].to_numpy())[order]
    for name in ("volume_type", "project"):
        known = sorted({"", *creates[name].cat.categories})
        codes = _of_creates(
            parts, creates[name].cat.set_categories(known).cat.codes.to_numpy(), known.index("")
        )
        of = pd.Categorical.from_codes(codes[order], pd.Index(known))
        columns[name] = of.remove_unused_categories()
    for name in ("host", "first_host", "availability_zone"):
        columns[name] = pd.Categorical.from_codes(np.zeros(len(order), np.int8), pd.Index([""]))
    columns["snapshot_id"] = blanks(len(order))
    return pd.DataFrame(columns)[[*REQUIRED, *OPTIONAL]]


def _of_creates(parts: Mapping[str, pd.DataFrame], values: Values, blank: int = 0) -> Values:
    """A column of all events from that of the creates; the others have `blank`."""
    return np.concatenate(
        [
            values if event == "create" else np.full(len(part), blank, values.dtype)
            for event, part in parts.items()
        ]
    )


def _names(parts: Iterable[pd.DataFrame], name: str, order: npt.NDArray[np.intp]) -> pd.Series[str]:
    """A column of texts of all events, in order; blank where a part has none."""
    columns = [texts(part[name] if name in part else blanks(len(part))) for part in parts]
    return column(joined(*columns).take(pa.array(order)))


def _dated(start: datetime | None, events: pd.DataFrame) -> tuple[datetime | None, pd.DataFrame]:
    """Let a trace with dates start with its first event."""
    if start is None:
        return None, events
    first = float(events["time"].iloc[0])
    since = (events["time"] - first).round(3)
    return start + timedelta(seconds=first), events.assign(time=since)


def catalogue(spec: Generate, streams: Streams) -> list[Image]:
    """Lines from the repository's catalogue of cloud images, in an order that each stream draws.

    Compressed raw images there count as qcow2. The images of `raw_share` are raw, with their virtual size.
    """
    with resources.files("sim").joinpath("data/cloud_images.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    count = len(rows) if spec.popularity.images is None else spec.popularity.images
    stream, private = streams("catalogue"), streams("private")
    order = np.concatenate([stream.permutation(len(rows)) for _ in range(0, count, len(rows))])[:count]
    raw = streams("raw").random(count) < spec.raw_share
    owned = private.random(count) < spec.popularity.private_share
    owner = ranked(private, spec.projects.zipf, spec.projects.count, count)
    lines = []
    for number, row in enumerate(rows[at] for at in order):
        name, again = row["image"].partition(" (")[0], number // len(rows)
        virtual = int(row["virtual_bytes"])
        lines.append(
            Image(
                image_id=name.replace(" ", "-") + (f"~{again + 1}" if again else ""),
                name=name + (f" ~{again + 1}" if again else ""),
                disk_format="raw" if raw[number] else "qcow2",
                container_format="bare",
                size_bytes=virtual if raw[number] else int(row["download_bytes"]),
                virtual_size_bytes=virtual,
                owner=f"project-{owner[number] + 1}" if owned[number] else "",
            )
        )
    return lines
