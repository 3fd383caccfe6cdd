"""Versions of lines of images, and when each is released: at even times, or by the dates of an image list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sim.inputs.images import Image
from sim.inputs.problems import BadInput, quoted
from sim.inputs.texts import column, texts
from sim.workload.streams import Streams

MOST_IMAGES = 1_000_000
WHERE = "workload.generate.popularity.release_every"
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


class Releases(Protocol):
    """Lines of images, by falling popularity, and their versions; the first version counts as 1."""

    lines: Sequence[Image]
    """The first version of each line, (L,)."""

    def newest(self, line: Whole, time: Floats) -> Whole:
        """The newest version of lines at instants in seconds, both (N,)."""

    def seconds(self, line: Whole, version: Whole) -> Floats:
        """When versions are released, in seconds from the start; before 0 for those that exist there."""

    def image(self, line: int, version: int) -> Image:
        """A version of a line."""


class Even:
    """A new version of each line after each `every` seconds, with a phase of the line's own."""

    def __init__(self, lines: Sequence[Image], every: float | None, streams: Streams) -> None:
        self.lines = lines
        self.every = every or math.inf
        phase = streams("releases").random(len(lines))
        self.first = phase * self.every if every else np.full(len(lines), math.inf)

    def newest(self, line: Whole, time: Floats) -> Whole:
        if math.isinf(self.every):
            return np.ones(len(line), np.int64)
        return np.maximum(np.floor((time - self.first[line]) / self.every).astype(np.int64) + 2, 1)

    def seconds(self, line: Whole, version: Whole) -> Floats:
        if math.isinf(self.every):
            return np.full(len(line), -math.inf)
        return np.where(version > 1, self.first[line] + (version - 2) * self.every, -math.inf)

    def image(self, line: int, version: int) -> Image:
        first = self.lines[line]
        if version == 1:
            return first
        return first.model_copy(update={"image_id": f"{first.image_id}@{version}"})


class Dated:
    """The images of one name are the versions of one line, each released at its date (none: long before).

    The first version of a line is there from the start, unless the line comes after the end.
    """

    def __init__(self, images: Sequence[Image], start: datetime, duration: float) -> None:
        by_name: dict[str, list[Image]] = {}
        for image in images:
            by_name.setdefault(image.name or image.image_id, []).append(image)

        def since(image: Image) -> float:
            return -math.inf if image.released is None else (image.released - start).total_seconds()

        lines = [sorted(each, key=since) for each in by_name.values()]
        self.versions = [each for each in lines if since(each[0]) < duration]
        self.lines: Sequence[Image] = [each[0] for each in self.versions]
        self.begin = np.cumsum([0, *map(len, self.versions)])
        times = [[-math.inf, *map(since, each[1:])] for each in self.versions]
        self.time = np.array([time for each in times for time in each])

    def newest(self, line: Whole, time: Floats) -> Whole:
        found = np.ones(len(line), np.int64)
        for number, (first, after) in enumerate(zip(self.begin[:-1], self.begin[1:], strict=True)):
            of = np.flatnonzero(line == number)
            found[of] = np.searchsorted(self.time[first:after], time[of], side="right")
        return found

    def seconds(self, line: Whole, version: Whole) -> Floats:
        found: Floats = self.time[self.begin[line] + version - 1]
        return found

    def image(self, line: int, version: int) -> Image:
        return self.versions[line][version - 1]


def image_ids(released: Releases, line: Whole, version: Whole) -> pd.Series[str]:
    """IDs of versions of lines (-1: no image), (N,)."""
    number, pairs = _pairs(line, version)
    ids = ["" if of < 0 else released.image(of, which).image_id for of, which in pairs]
    return column(texts(ids).take(pa.array(number)))


def _pairs(line: Whole, version: Whole) -> tuple[npt.NDArray[np.intp], list[tuple[int, int]]]:
    """Which of the different pairs each line with its version is, (N,); and these pairs."""
    width = int(version.max(initial=0)) + 1
    number, keys = pd.factorize(line * width + version)
    lines, versions = np.divmod(keys, width)
    return number, list(zip(lines.tolist(), versions.tolist(), strict=True))


def least_gib(released: Releases, line: Whole, version: Whole) -> Whole:
    """GiB of the content of versions of lines, (N,)."""
    number, pairs = _pairs(line, version)
    found: Whole = np.array([released.image(*pair).virtual_gib for pair in pairs], np.int64)[number]
    return found


def versions(released: Releases, duration: float, path: Path) -> tuple[dict[str, Image], pd.DataFrame]:
    """All images until the end of the workload, by ID, and the events of those released within it.

    Raises BadInput if they are too many, or if two have one ID.
    """
    every = np.arange(len(released.lines))
    last = released.newest(every, np.full(len(every), duration))
    if last.sum() > MOST_IMAGES:
        what = f"{int(last.sum()):,} releases are too many: at most {MOST_IMAGES:,}"
        raise BadInput([f"{path}: {WHERE}: {what}"])
    line = np.repeat(every, last)
    version = np.concatenate([np.arange(1, each + 1) for each in last.tolist()])
    known = {image.image_id: image for image in released.lines}
    for of, number in zip(line.tolist(), version.tolist(), strict=True):
        image = released.image(of, number)
        if number > 1 and image.image_id in known:
            what = f"image {quoted(image.image_id)} exists already and would also be released"
            raise BadInput([f"{path}: {WHERE}: {what}"])
        known[image.image_id] = image
    time = released.seconds(line, version)
    later = time >= 0
    ids = image_ids(released, line[later], version[later])
    return known, pd.DataFrame({"time": time[later].round(3), "image_id": ids})
