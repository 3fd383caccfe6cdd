"""Longer arrays of a state, copies of a state, and the memory of a run for the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from sim.fast.jit import table_of
from sim.fast.state import Array, State

# Arrays that grow, and what tells in the world how many of their records are in use.
IN_USE = {
    "volumes": "used_volumes", "slots": "used_slots", "lineages": "used_lineages",
    "members": "used_lineages", "member_since": "used_lineages", "entries": "used_entries",
    "cache_events": "cache_events", "families": "used_families", "turns": "used_turns",
    "messages": "used_messages", "steps": "steps", "events": "events", "casts": "casts", "flows": "flows",
}  # fmt: skip
GROWING = tuple(IN_USE)
LEFT = ("events", "casts")  # as they are: a record that comes in use is written as a whole
# What no event changes: runs share it with the state that they are copies of.
FIXED = frozenset((
    "lock_rows", "fill_lock_rows", "directory_of", "write_s", "content_gib", "file_is_content", "tier_start",
    "tier_pools", "serves", "one_at_a_time", "may_use", "zone_breaks", "weighers", "use_start", "uses",
    "quota_limits", "convert_s", "send_s", "send_mib_s", "glance_routes", "store_start", "store_pools",
    "asked_tiers", "placed", "edges", "terms", "trace_time", "trace_event", "trace_code", "trace_image",
    "trace_size_gib", "trace_terms", "trace_snapshot",
))  # fmt: skip
# Each create writes the whole of its own, and each edge all that is read of it.
WRITTEN = ("rows", "queued", "edge_accounts", "edge_directories")


class Spare(NamedTuple):
    """The memory of a run, its table (see `table_of`), and the state of which it was a copy at first.

    `pairs`: the bytes there and those here, of what a run leaves otherwise than it was at first. `grown`: see
    `_grown`.
    """

    state: State
    table: Any = None
    of: State | None = None
    pairs: Sequence[tuple[memoryview, memoryview]] = ()
    grown: Mapping[str, Array] = MappingProxyType({})


_last: list[Spare] = []  # what `again` made last
_spare: list[Spare] = []  # what `give_back` got last


def longer(array: Array, length: int) -> Array:
    """A copy at the beginning of an array of that length. The rest takes no memory until it is used."""
    found = np.zeros((length, *array.shape[1:]), array.dtype)
    bytes_of(found)[: array.nbytes] = bytes_of(array)
    return found


def again(s: State, lengths: Mapping[str, int]) -> tuple[State, Any]:
    """A copy of a state at time 0, and its table.

    It takes the memory that was given back, where that fits. Else its arrays are at least as long as
    `lengths`.
    """
    spare = Spare(s)
    with suppress(IndexError):  # there may be none, or another thread may be faster
        spare = _spare.pop()
    if spare.of is not s:
        # As many tiers: else arrays that are as long as one another would not all come from there.
        alike = spare.state.members.shape[1:] == s.members.shape[1:]
        spare = _fitted(spare.state if alike else s, s, lengths)
    for source, target in spare.pairs:
        target[:] = source
    _last[:] = [spare]
    return spare.state, spare.table


def _fitted(over: State, s: State, lengths: Mapping[str, int]) -> Spare:
    """Memory for a copy of `s`: the arrays of `over` that are as long as they must be, and new ones."""
    made, pairs, w = {}, [], s.world[0]
    for name, array in zip(State._fields, s, strict=True):
        if name in FIXED:
            continue
        there, length = getattr(over, name), max(len(array), lengths.get(name, 0))
        fits = len(there) >= length if name in GROWING else len(there) == length
        if there is array or not fits or there.shape[1:] != array.shape[1:]:
            there = np.zeros((length, *array.shape[1:]), array.dtype)
        made[name] = there
        if name in WRITTEN:
            bytes_of(there)[:] = bytes_of(array)
            continue
        begun = array[: w[IN_USE[name]]] if name in GROWING else array  # what grows has zeros behind
        if begun.nbytes:
            pairs.append((bytes_of(begun).data, bytes_of(there)[: begun.nbytes].data))
    state = s._replace(**made)
    return Spare(state, table_of(state), s, pairs, _grown(state))


def _grown(s: State) -> dict[str, Array]:
    """The bytes of each record of the arrays that grow, by name, but for those that are LEFT."""
    arrays = {name: getattr(s, name) for name in GROWING if name not in LEFT}
    return {name: bytes_of(array).reshape(len(array), -1) for name, array in arrays.items()}


def give_back(s: State) -> None:
    """Give the memory of a state that nobody reads any more to the next run. What grew is zeros again, but
    for what is LEFT.

    Else the system takes large arrays and clears new ones, which takes longer than to clear what was used.
    """
    spare, w = Spare(s), s.world[0]
    with suppress(IndexError):
        spare = _last.pop()
    if spare.state is not s:
        spare = Spare(s, grown=_grown(s))
    for name, records in spare.grown.items():
        records[: None if name == "flows" else w[IN_USE[name]]] = 0  # more flows were in use before
    _spare[:] = [spare]


def bytes_of(array: Array) -> Array:
    """The memory of an array: NumPy would copy records field by field."""
    return array.reshape(-1).view(np.uint8)
