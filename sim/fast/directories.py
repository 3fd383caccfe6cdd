"""The nodes' conversion directories: Cinder's check, and the files in them (see sim/model/directories.py)."""

from __future__ import annotations

from typing import Any

from sim.fast.jit import compiled
from sim.fast.rules import file_fits
from sim.fast.state import State
from sim.model.repeats import repeats


@compiled
def directory_row(s: State, v: int) -> int:
    """The row in `State.directories` of a request's node."""
    r = s.volumes[v]
    return s.directory_of[r.pool, r.node]


@repeats("cinder.image.image_utils", "check_available_space")
@compiled
def has_space(s: State, v: int) -> bool:
    """`check_available_space`: whether the directory has more free space than the image's size."""
    return not s.options[0].directories or has_space_of(s, v)


@compiled
def has_space_of(s: State, v: int) -> bool:
    """The same where directories are measured."""
    d, size = s.directories[directory_row(s, v)], s.images[s.volumes[v].image].size_bytes
    d.needed = max(d.needed, d.used + size)
    if d.capacity - d.used > size:
        return True
    d.refused += 1
    return False


@compiled
def keep_file(s: State, v: int) -> bool:
    """Lay the file of a request's image in the directory. False: it does not fit."""
    return keep_bytes(s, v, s.images[s.volumes[v].image].size_bytes)


@compiled
def keep_raw_file(s: State, v: int) -> bool:
    """Lay the raw file there that the driver imports, without holes. False: it does not fit."""
    return keep_bytes(s, v, s.images[s.volumes[v].image].data_bytes)


@compiled
def keep_bytes(s: State, v: int, size: float) -> bool:
    """Lay a file in the directory of a request's node, unless it is empty. False: it does not fit."""
    if size == 0 or not s.options[0].directories:
        return True
    d = s.directories[directory_row(s, v)]
    d.needed = max(d.needed, d.used + size)
    if not file_fits(d.used, size, d.capacity):
        d.refused += 1
        return False
    change(s, d, size)
    return True


@compiled
def drop_file(s: State, v: int) -> None:
    """Remove the file of a request's image."""
    drop_bytes(s, v, s.images[s.volumes[v].image].size_bytes)


@compiled
def drop_raw_file(s: State, v: int) -> None:
    """Remove the raw file of a request's image, which the driver has imported."""
    drop_bytes(s, v, s.images[s.volumes[v].image].data_bytes)


@compiled
def drop_bytes(s: State, v: int, size: float) -> None:
    """Remove a file from the directory of a request's node."""
    if s.options[0].directories:
        change(s, s.directories[directory_row(s, v)], -size)


@compiled
def change(s: State, d: Any, size: float) -> None:
    """Add bytes to a directory, a record of `DIRECTORIES`."""
    now = s.world[0].now
    d.area += (now - d.since) * d.used
    d.since = now
    d.used += size
    d.peak = max(d.peak, d.used)
    d.edge_peak = max(d.edge_peak, d.used)
