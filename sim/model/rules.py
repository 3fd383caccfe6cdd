"""Our own rules, not Cinder's: refusals of arrays and caches, the payer of shared data, durations.

These are scalar functions without state. The arrays of engine `cinder` call them, engine `fast` compiles them
(sim/fast/rules.py). Space is GiB, times are seconds, rates are MiB/s. Something without a bound is infinite.
"""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from sim.inputs.units import GIB, MIB_PER_GIB

Kind = Literal["user", "store", "cache"]
# Payers of shared data: users first, then the store; the cache pays only for data that it alone holds.
PAYERS: tuple[Kind, ...] = ("user", "store", "cache")
Amount = TypeVar("Amount", float, npt.NDArray[np.float64])

CLOCK_S = 1e-6  # what happens within it is at once
# Of glance_store's Cinder driver.
STATE_TIMEOUT_S, LONGEST_POLL_S = 300.0, 15.0
ATTACH_TRIES = 5

# Reasons of an array to refuse; 0: it accepts.
POOL_FULL, ARRAY_FULL, NO_PROVISION, NO_SPACE, MISSING, STILL_THERE, CLONE_LIMIT, BUSY = range(1, 9)
FAMILY_LIMIT = 16  # what lies between is engine `fast`'s


def bound_of(limit: float | None) -> float:
    """A limit or a rate as a number: infinity for None."""
    return math.inf if limit is None else limit


def new_refusal(
    still_there: bool, clones: int, max_clones: float, family: int, max_family: float, place: int, space: int
) -> int:
    """Why an array refuses a new volume, in the order of its checks.

    `clones` are those of its source, `family` the volumes of its source's family (0: it has no source).
    """
    if still_there:
        return STILL_THERE
    if clones >= max_clones:
        return CLONE_LIMIT
    if family >= max_family:
        return FAMILY_LIMIT
    return place or space


def place_refusal(pool_volumes: int, pool_max: float, array_volumes: int, array_max: float) -> int:
    """Whether there is a place for one more volume."""
    if pool_volumes >= pool_max:
        return POOL_FULL
    return ARRAY_FULL if array_volumes >= array_max else 0


def space_refusal(
    size: int, provisioned: int, limit: float, data: float, physical: float, capacity: float
) -> int:
    """Whether a pool can promise `size` GiB more, up to `limit`, and hold `data` more, up to `capacity`."""
    if size > 0 and provisioned + size > limit:
        return NO_PROVISION
    return NO_SPACE if data > 0 and physical + data > capacity else 0


def delete_refusal(clones: int, keeps_cloned: bool) -> int:
    """Whether an array deletes a volume that has clones."""
    return BUSY if clones > 0 and keeps_cloned else 0


def cache_refuses(size_gib: int, max_size_gb: int) -> bool:
    """Whether an image is too large for a cache (0: of any size): the first check of `ensure_space`."""
    return max_size_gb != 0 and size_gib > max_size_gb


def provision_limit_gib(capacity_gib: float, ratio: float, thin: bool) -> float:
    """The largest provisioned space of a pool."""
    return capacity_gib * ratio if thin else capacity_gib


def new_data_gib(gib: float, thin: bool, there: bool) -> float:
    """The space that a copy of data adds to a pool; `there`: the array holds the same data, once for all."""
    return gib if thin and not there else 0.0


def payer_rank(kind: int, since: int) -> tuple[int, int]:
    """The rank for paying shared data: the order of PAYERS, then of arrival. The lowest rank pays."""
    return kind, since


def clone_s(gib: float, least_s: float, copy_mib_s: float) -> float:
    """Seconds of a clone: a full copy at this rate, or copy-on-write if the rate is infinite."""
    return least_s + gib * MIB_PER_GIB / copy_mib_s


def polled_s(elapsed_s: float) -> float:
    """Seconds from a create or an extension of an image-volume until Glance sees its end, after `elapsed_s`.

    glance_store asks Cinder at once, then after waits of 0.5, 1, 2, 4, 8, 15, 15, ... seconds, and gives up
    after `cinder_state_transition_timeout` (300 s): infinity (`Store._wait_volume_status` in
    glance_store/_drivers/cinder/store.py).
    """
    asked_s, wait_s = 0.0, 0.5
    while asked_s + CLOCK_S < elapsed_s:
        if asked_s >= STATE_TIMEOUT_S:
            return math.inf
        asked_s += min(wait_s, LONGEST_POLL_S)
        wait_s *= 2
    return asked_s


def part_of(mib: float, step: int) -> float:
    """The part of a file that glance_store writes in one step, of 1 GiB: the first is 0."""
    return min(MIB_PER_GIB, mib - step * MIB_PER_GIB) / mib if mib > MIB_PER_GIB else 1.0


def rate_over(mib: float, mib_s: float, least_s: float) -> float:
    """The rate that moves data at `mib_s`, but in no less than `least_s`."""
    return min(mib_s, mib / least_s) if least_s > 0 else mib_s


def attach_wait_s(refused: int) -> float:
    """Seconds that glance_store waits before it tries again to attach an image-volume, refused so often.

    They are 2, 4, 8 and 10 s, and none before the first try (`API.attachment_create` in
    glance_store/common/cinder_utils.py).
    """
    return min(2.0**refused, 10.0) if refused > 0 else 0.0


def directory_bytes(gib: float | None) -> float:
    """Bytes of a conversion directory."""
    return math.inf if gib is None else float(math.floor(gib * GIB))


def file_fits(used_bytes: float, size_bytes: float, capacity_bytes: float) -> bool:
    """Whether a conversion directory has room for one more file."""
    return used_bytes + size_bytes <= capacity_bytes


def moved_s(mib: Amount, converted_mib: Amount, mib_s: float, convert_mib_s: float) -> Amount:
    """Seconds to write or read content and to convert the part that is not raw."""
    return converted_mib / convert_mib_s + mib / mib_s
