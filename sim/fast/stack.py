"""The stack of a least-recently-used cache: how deep each look-up finds its image (Mattson and others 1970).

The stack lies in slots, the last used on top; a look-up takes its image from its slot and lays it into the
first free one above. Its depth is all that lies from its slot up: the sum of everything, less what lies
below. Sums are kept in a tree of nodes with FAN children (as Olken 1981 keeps them in a balanced one): by
child, what its sisters before it hold together. So a look-up reads and changes one node on each level, each
with a few instructions for all its children at once, and nothing that depends on chance is a branch.

Where the slots end, what is left moves down. M images have SLOTS_PER_IMAGE times as many slots, so the tree
is no larger for more look-ups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sim.fast.jit import INTERPRETED, compiled, threaded_entry
from sim.model.repeats import repeats

Whole = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Groups = npt.NDArray[np.int16]
Bytes = npt.NDArray[np.float64]
Sums = npt.NDArray[np.int32] | npt.NDArray[np.int64]

BITS = 3
FAN = 1 << BITS  # children of a node
SLOTS_PER_IMAGE = 4
LINE = 64  # bytes of a line of the processor's caches
STEPS_PER_LIMIT = 16  # of the table that finds limits by depths


def hits_by_limit(
    image: Codes,
    group: Groups,
    groups: int,
    size: Whole,
    size_bytes: Bytes,
    limit: Whole,
    refused: int,
) -> tuple[Whole, Bytes]:
    """Hits and their images' bytes (groups, L) of caches with each limit (L,), which rise.

    image, group (N,): the look-ups, of which all groups but those of 0..groups-1 are left out of the results;
    size, size_bytes (M,). Images of size `refused` or more are in no cache; each other one is no larger
    than each limit.
    """
    images, places = len(size), len(limit) + 1
    slots = SLOTS_PER_IMAGE * max(images, 1)
    weight: Sums = size.astype(np.int32) if size.sum() < 2**31 else size  # half as wide, half the time
    first, tree = _empty_tree(slots, weight.itemsize)
    deepest = int(size.sum())
    bits = (deepest // (STEPS_PER_LIMIT * places)).bit_length()
    steps = np.arange((deepest >> bits) + 1) << bits
    found = np.zeros((groups + 1, places, 2))  # beside each other, as they are counted together
    _tally(
        image,
        group,
        weight,
        size_bytes,
        refused,
        np.append(limit, np.iinfo(np.int64).max),
        np.searchsorted(limit, steps).astype(np.int32),
        bits,
        np.full(images, -1, np.int32),
        np.zeros(slots, np.int32),
        first,
        tree,
        found,
    )
    hits, saved = np.moveaxis(np.cumsum(found[:groups, :-1], axis=1), 2, 0)
    return hits.astype(np.int64), saved


def _empty_tree(slots: int, itemsize: int) -> tuple[Whole, Sums]:
    """Where each level of the tree begins, the leaves first, and its sums. Each node lies in one line."""
    nodes = []
    children = slots + 1  # one more is written when the last is taken
    while True:
        nodes.append(-(-children // FAN))
        if nodes[-1] == 1:
            break
        children = nodes[-1] + 1
    ends = np.cumsum(nodes, dtype=np.int64) * FAN
    memory = np.zeros(int(ends[-1]) * itemsize + LINE, np.uint8)
    aligned = -memory.ctypes.data % LINE
    lines = memory[aligned : aligned + int(ends[-1]) * itemsize]
    tree: Sums = lines.view(np.int32) if itemsize == 4 else lines.view(np.int64)
    return ends - np.array(nodes) * FAN, tree


# -- compiled ------------------------------------------------------------------------------------------


def _take_plain(tree: Sums, at: int, weight: int) -> int:
    """Give `tree[at]`, and take `weight` from each sum after it in its node."""
    tree[at + 1 : (at | (FAN - 1)) + 1] -= weight
    return int(tree[at])


@intrinsic
def _take_at_once(typing_context: Any, tree: Any, at: Any, weight: Any) -> Any:
    """As `_take_plain`, with vectors of the processor: Numba makes eight operations of a loop over eight."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, at, weight = context.make_array(tree)(context, builder, args[0]).data, args[1], args[2]
        size = ir.IntType(tree.dtype.bitwidth)
        vector = ir.VectorType(size, FAN)

        def spread(value: Any) -> Any:
            some = ir.Constant(vector, ir.Undefined)
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), FAN), [0] * FAN)
            one = builder.insert_element(some, value, ir.IntType(32)(0))
            return builder.shuffle_vector(one, some, lanes)

        word = ir.IntType(64)
        child = builder.and_(at, word(FAN - 1))
        node = builder.bitcast(builder.gep(data, [builder.sub(at, child)]), vector.as_pointer())
        found = builder.load(builder.gep(data, [at]))
        if size.width < word.width:
            child, weight = builder.trunc(child, size), builder.trunc(weight, size)
        later = builder.icmp_signed(">", ir.Constant(vector, list(range(FAN))), spread(child))
        taken = builder.select(later, spread(weight), ir.Constant(vector, [0] * FAN))
        before = builder.load(node, align=FAN * size.width // 8)
        builder.store(builder.sub(before, taken), node, align=FAN * size.width // 8)
        return builder.sext(found, word) if size.width < word.width else found

    return types.int64(tree, types.int64, types.int64), code


take = _take_plain if INTERPRETED else _take_at_once


@compiled
def _lay(weight: int, top: int, first: Whole, tree: Sums) -> None:
    """Lay a weight into the first free slot."""
    level, before = 0, weight + tree[top]
    while (top + 1) & (FAN - 1) == 0:
        tree[first[level] + top + 1] = 0
        level += 1
        top >>= BITS
        before += tree[first[level] + top]
    tree[first[level] + top + 1] = before


@compiled
def _close_up(size: Sums, where: Codes, owner: Codes, first: Whole, tree: Sums) -> int:
    """Move the stack to the lowest slots; gives the first free one."""
    top = 0
    for slot in range(owner.size):
        x = owner[slot]
        there = where[x]
        live = there == slot
        owner[top] = x
        where[x] = top if live else there
        top += int(live)
    for level in range(first.size):
        tree[first[level]] = 0
    for slot in range(top):
        _lay(size[owner[slot]], slot, first, tree)
    return top


@repeats("cinder.image.cache:ImageVolumeCache", "get_entry", "ensure_space")
@threaded_entry
def _tally(
    image: Codes,
    group: Groups,
    size: Sums,
    size_bytes: Bytes,
    refused: int,
    limit: Whole,
    place_of: Codes,
    bits: int,
    where: Codes,
    owner: Codes,
    first: Whole,
    tree: Sums,
    found: Bytes,
) -> None:
    """Count hits and bytes by group and place: that of the smallest limit that holds an image so deep.

    `place_of` has by depth, without its last `bits` bits, a place that is not too large. `where` (M,) is an
    image's slot (-1: none), `owner` whose slot it is or was.
    """
    top, total = 0, 0
    for k in range(image.size):
        x = np.uint64(image[k])  # unsigned, here and below: Numba need not look for negative positions
        weight = size[x]
        if weight >= refused:
            continue
        if top == owner.size:
            top = _close_up(size, where, owner, first, tree)
        at = where[x]
        owner[top] = x
        where[x] = top
        if at < 0:
            total += weight
        else:
            depth = total
            for level in range(first.size):
                depth -= take(tree, first[level] + at, weight)
                at >>= BITS
            place = place_of[depth >> bits]
            while bits > 0 and limit[place] < depth:
                place += 1
            g, p = np.uint64(group[k]), np.uint64(place)
            found[g, p, 0] += 1
            found[g, p, 1] += size_bytes[x]
        _lay(weight, top, first, tree)
        top += 1
