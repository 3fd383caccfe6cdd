"""Longer arrays of a state, copies of a state, and the memory of a run for the next one."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress

import numpy as np

from sim.fast.state import Array, State

GROWING = (
    *("volumes", "slots", "lineages", "members", "member_since"),
    *("entries", "events", "casts", "cache_events", "flows", "families", "turns", "messages", "steps"),
)

_spare: list[State] = []  # what `give_back` got last


def longer(array: Array, length: int) -> Array:
    """A copy at the beginning of an array of that length. The rest takes no memory until it is used."""
    found = np.zeros((length, *array.shape[1:]), array.dtype)
    bytes_of(found)[: array.nbytes] = bytes_of(array)
    return found


def again(s: State, same: Container[str], lengths: Mapping[str, int]) -> State:
    """A copy of a state at time 0, with arrays at least as long as `lengths`; the arrays `same` are shared.

    It takes the memory that was given back, where that fits.
    """
    spare = s
    with suppress(IndexError):  # there may be none, or another thread may be faster
        spare = _spare.pop()
    made = {}
    for name, array in zip(State._fields, s, strict=True):
        if name in same:
            continue
        over, length = getattr(spare, name), max(len(array), lengths.get(name, 0))
        fits = len(over) >= length if name in GROWING else len(over) == length
        if over is not array and fits and over.shape[1:] == array.shape[1:]:
            bytes_of(over)[: array.nbytes] = bytes_of(array)
            made[name] = over
        else:
            made[name] = longer(array, length)
    return s._replace(**made)


def give_back(s: State) -> None:
    """Give the memory of a state that nobody reads any more to the next run. What grew is zeros again.

    Else the system takes large arrays and clears new ones, which takes longer than to clear what was used.
    """
    w = s.world[0]
    used = {
        "volumes": w["used_volumes"], "slots": w["used_slots"], "entries": w["used_entries"],
        "lineages": w["used_lineages"], "members": w["used_lineages"], "member_since": w["used_lineages"],
        "cache_events": w["cache_events"], "steps": w["steps"],
    }  # fmt: skip
    for name in GROWING:
        bytes_of(getattr(s, name)[: used.get(name)])[:] = 0
    _spare[:] = [s]


def bytes_of(array: Array) -> Array:
    """The memory of an array: NumPy would copy records field by field."""
    return array.reshape(-1).view(np.uint8)
