"""The names behind the numbers of engine `fast`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from sim.fast import state
from sim.fast.state import NONE
from sim.fast.tenants import Tenants, codes_of
from sim.inputs.backend import Backend
from sim.inputs.quotas import PROJECT
from sim.inputs.scenario import Case
from sim.inputs.texts import texts
from sim.inputs.trace import EVENTS
from sim.inputs.units import GIB, MIB
from sim.model.arrays import content_of, file_of
from sim.model.rules import bound_of, moved_s

TERMS = ("volume_type", "host", "first_host", "availability_zone", "project", "encrypted")
MOST_KEYS = 2**62


class Names:
    """The names behind a run's numbers: hosts, tiers, images and projects by position.

    `rows` are the images' own, as far as they are the same in every run; `size_mib`, `virtual_mib` and
    `data_mib` (without holes) their sizes.
    """

    def __init__(self, case: Case) -> None:
        self.hosts = list(case.scenario.pools())
        self.tiers = list(case.scenario.tiers)
        self.images = list(case.images)
        self.backends = list(case.scenario.backends)
        taken = case.trace.events
        self.snapshots = taken.loc[taken["event"] == "snapshot", "snapshot_id"].tolist()
        self.zones = list(case.scenario.zones())
        self.default_zone = _position(self.zones, case.scenario.cinder.default_availability_zone)
        named = (project for image in case.images.values() for project in (image.owner, *image.members))
        projects = {project: None for project in named if project}
        projects.pop(PROJECT, None)
        self.projects = [PROJECT, *projects]  # others may use no private image: which they are is no matter
        self.tenants = Tenants()
        self.tenants.of(case.initial["project"])
        self._images = images = list(case.images.values())
        self._contents: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]] = {}
        self.nodes = list(
            dict.fromkeys(node for backend in case.scenario.backends.values() for node in backend.node_names)
        )
        self.size_mib = np.array([image.size_bytes for image in images], np.float64) / MIB
        self.virtual_mib = np.array([image.virtual_size_bytes for image in images], np.float64) / MIB
        self.data_mib = np.array([image.data_bytes for image in images], np.float64) / MIB
        # A column for each project, and one for all others.
        self.may_use = np.array(
            [[image.usable_by(project) for project in (*self.projects, "")] for image in images], np.bool_
        )
        self.rows = rows = np.zeros(len(images), state.IMAGE)
        rows["raw"] = [image.disk_format == "raw" for image in images]
        rows["bare"] = [image.container_format == "bare" for image in images]
        rows["known"] = [not image.virtual_size_unknown for image in images]
        rows["size_bytes"] = [image.size_bytes for image in images]
        rows["data_bytes"] = [image.data_bytes for image in images]
        rows["owner"] = [self.projects.index(image.owner) if image.owner else NONE for image in images]
        rows["size_gib"] = [image.size_gib for image in images]
        rows["min_gib"] = [image.min_disk for image in images]
        rows["virtual_gib"] = [image.virtual_gib for image in images]
        rows["file_gib"] = [image.size_bytes / GIB for image in images]
        rows["size_mib"] = self.size_mib
        rows["chosen"] = [bool(image.store_hosts) for image in images]
        rows["first_location"] = NONE
        rows["foreign"] = [image.image_owner not in ("", image.owner) for image in images]

    def content(self, backend: Backend) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """GiB of the content of a volume of each image, and whether the image's file is that content
        (images,)."""
        how = backend.write_zeroes  # all of a backend that it depends on
        if how not in self._contents:
            contents = [content_of(image, 0, backend) for image in self._images]
            files = [file_of(image, 0, backend) for image in self._images]
            self._contents[how] = (
                np.array([content.gib for content in contents], np.float64),
                np.array([content == file for content, file in zip(contents, files, strict=True)], np.bool_),
            )
        return self._contents[how]

    def write_s(self, backend: Backend, mib: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Seconds to convert each image and write `mib` to a volume; without the write, if writes share a
        rate (images,)."""
        return self._moved_s(
            backend, mib, self.data_mib, None if backend.array_mib_s else backend.write_mib_s
        )

    def read_s(self, backend: Backend) -> npt.NDArray[np.float64]:
        """Seconds to read each image off a volume and convert it (images,)."""
        return self._moved_s(backend, self.virtual_mib, self.virtual_mib, backend.read_mib_s)

    def _moved_s(
        self,
        backend: Backend,
        mib: npt.NDArray[np.float64],
        converted_mib: npt.NDArray[np.float64],
        mib_s: float | None,
    ) -> npt.NDArray[np.float64]:
        converted_mib = np.where(self.rows["raw"], 0.0, converted_mib)
        return moved_s(mib, converted_mib, bound_of(mib_s), bound_of(backend.convert_mib_s))

    def events(self, events: pd.DataFrame, codes: npt.NDArray[np.integer[Any]]) -> dict[str, state.Array]:
        """A stretch of a trace as numbers; `codes` tell its volumes apart."""
        columns = self._columns(events, codes)
        return {name: column.astype(state.TYPES[name], copy=False) for name, column in columns}

    def _columns(
        self, events: pd.DataFrame, codes: npt.NDArray[np.integer[Any]]
    ) -> Iterator[tuple[str, state.Array]]:
        """The arrays by name, one at a time: each may still be larger than it needs to be."""
        numbers, rows = numbers_of_terms(events)
        yield "trace_time", events["time"].to_numpy(np.float64)
        yield "trace_event", positions(events["event"], EVENTS)
        yield "trace_code", codes
        yield "trace_image", positions(events["image_id"], self.images)
        yield "trace_size_gib", events["size_gib"].to_numpy(np.int64)
        yield "trace_terms", numbers
        yield "terms", self._terms(events.iloc[rows])
        taken = events["snapshot_id"] if self.snapshots else events["snapshot_id"].iloc[:0]
        yield "trace_snapshot", positions(taken, self.snapshots)

    def _terms(self, events: pd.DataFrame) -> state.Array:
        """What each event asks for besides an image and a size, as `state.TERMS`."""
        project = positions(events["project"], ["", *self.projects])
        zone = positions(events["availability_zone"], ["", *self.zones])
        terms = np.zeros(len(events), state.TERMS)
        terms["tier"] = positions(events["volume_type"], self.tiers)
        terms["pool"] = positions(events["host"], self.hosts)
        terms["first"] = positions(events["first_host"], self.hosts)
        terms["zone"] = np.where(zone == 0, self.default_zone, np.where(zone > 0, zone - 1, NONE))
        terms["project"] = np.where(project > 0, project - 1, project)  # '' is PROJECT
        terms["tenant"] = self.tenants.of(events["project"])
        terms["encrypted"] = events["encrypted"]
        return terms


def numbers_of_terms(events: pd.DataFrame) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.intp]]:
    """Number the combinations that the columns TERMS have: that of each event, and a row with each."""
    key, known = np.zeros(len(events), np.int64), 1
    for name in TERMS:
        codes, names = codes_of(events[name])
        if known * (len(names) + 1) > MOST_KEYS:
            key, found = pd.factorize(key)
            known = len(found)
        key *= len(names) + 1
        key += codes
        key += 1  # the code of no name is -1
        known *= len(names) + 1
    numbers, found = pd.factorize(key)
    rows = np.zeros(len(found), np.intp)
    rows[numbers] = np.arange(len(numbers))
    return numbers.astype(np.int32), rows


def _position(known: Sequence[str], name: str) -> int:
    return known.index(name) if name in known else NONE


def positions(names: pd.Series[Any], known: Sequence[str]) -> npt.NDArray[np.int64]:
    """The position of each name among those known; NONE for others."""
    if isinstance(names.dtype, pd.CategoricalDtype):
        of_category = pd.Index(list(known), dtype="str").get_indexer(names.cat.categories.astype("str"))
        # The code of no name is -1: the last one.
        return np.append(of_category, NONE).astype(np.int64)[names.cat.codes.to_numpy()]
    found = pc.index_in(texts(names.astype("str")), value_set=texts(list(known)))
    return pc.fill_null(found, NONE).to_numpy(zero_copy_only=False).astype(np.int64)
