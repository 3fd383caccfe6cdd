"""The simulated arrays, compiled: the same checks, in the same order, as `sim.model.arrays.Array`.

What takes time returns a `Step`: why the array refuses, or 0, and the seconds that it takes.
"""

from __future__ import annotations

from sim.fast.jit import compiled, inlined
from sim.fast.reports import keep_report
from sim.fast.rules import (
    clone_s,
    delete_refusal,
    new_data_of,
    new_refusal,
    payer_rank,
    place_refusal,
    space_refusal,
)
from sim.fast.state import CACHE, KIND_BITS, NONE, USER, State, Step
from sim.fast.usage import meter
from sim.inputs.units import MIB_PER_GIB
from sim.model.rules import MISSING, POOL_FULL

KIND = (1 << KIND_BITS) - 1  # what a member's number has of its kind


@compiled
def find(s: State, v: int, backend: int) -> int:
    """The slot of a user's volume on a backend's array, or NONE."""
    slot = s.volumes[v].first_slot
    while slot != NONE:
        if s.pools[s.slots[slot].pool].backend == backend:
            return slot
        slot = s.slots[slot].next
    return NONE


@compiled
def create(s: State, v: int, pool: int, size_gib: int, kind: int, tier: int) -> Step:
    """Create an empty volume for the user's volume `v`, or for none (NONE). Its slot is `world.made`."""
    error = check_new(s, v, pool, size_gib, 0.0, NONE, False)
    if error != 0:
        return error, 0.0
    book_new(s, add(s, v, pool, size_gib, kind, tier, NONE), NONE)
    return 0, s.backends[s.pools[pool].backend].create_s


@compiled
def write(s: State, slot: int, image: int, file: bool, version: int) -> Step:
    """Take the physical space of an image's content (or of its file) that is about to be written."""
    if slot == NONE:
        return MISSING, 0.0
    pool = s.slots[slot].pool
    file = file and not s.file_is_content[image, s.pools[pool].backend]
    if not s.backends[s.pools[pool].backend].thin:
        return 0, 0.0
    error = check_space(s, pool, 0, new_data_gib(s, pool, image, file, version))
    if error != 0:
        return error, 0.0
    lineage = lineage_for(s, pool, image, file, version)
    if hold(s, slot, lineage):
        change(s, pool, member_of(s, slot), 0, 0, s.lineages[lineage].gib)
    return 0, 0.0


@compiled
def clone(s: State, source: int, v: int, pool: int, size_gib: int, kind: int, tier: int) -> Step:
    """Clone the volume in slot `source`: copy-on-write, or a full copy. The clone's slot is `world.made`."""
    backend = s.pools[pool].backend
    if source == NONE or s.pools[s.slots[source].pool].backend != backend:
        return MISSING, 0.0
    b = s.backends[backend]
    lineage = s.slots[source].lineage
    copied = b.copies and lineage != NONE
    data = 0.0
    if copied:
        d = s.lineages[lineage]
        data = new_data_gib(s, pool, d.image, d.file, d.version)
    error = check_new(s, v, pool, size_gib, data, source, not b.copies)
    if error != 0:
        return error, 0.0
    slot = add(s, v, pool, size_gib, kind, tier, NONE if b.copies else s.slots[source].family)
    if not b.copies:
        s.slots[slot].source = source
        s.slots[source].clones += 1
    if copied:
        d = s.lineages[lineage]
        lineage = lineage_for(s, pool, d.image, d.file, d.version)
    book_new(s, slot, lineage)
    return 0, copies(s, backend, s.slots[source].size_gib)


@compiled
def copies(s: State, backend: int, gib: float) -> float:
    """Seconds of a clone. What it copies after them is `world.copy_mib`."""
    b = s.backends[backend]
    s.world[0].copy_mib = gib * MIB_PER_GIB if b.copies_apart else 0.0
    return clone_s(gib, b.clone_s, b.clone_mib_s)


@compiled
def snapshot(s: State, source: int) -> Step:
    """Take a snapshot of the volume in slot `source`. Its slot is `world.made`; NONE: it takes nothing."""
    if source == NONE:
        return MISSING, 0.0
    d = s.slots[source]
    b = s.backends[s.pools[d.pool].backend]
    s.world[0].made = NONE
    if b.snapshots:
        error = check_new(s, NONE, d.pool, d.size_gib, 0.0, source, True)
        if error != 0:
            return error, 0.0
        slot = add(s, NONE, d.pool, d.size_gib, USER, d.tier, d.family)
        s.slots[slot].source = source
        s.slots[source].clones += 1
        book_new(s, slot, d.lineage)
    return 0, b.clone_s


@compiled
def clone_from_glance(
    s: State, v: int, pool: int, size_gib: int, tier: int, image: int, version: int
) -> Step:
    """Clone a raw image that lies beside the pool, as the driver does by itself (RBD)."""
    b = s.backends[s.pools[pool].backend]
    data = new_data_gib(s, pool, image, False, version) if b.copies else 0.0
    error = check_new(s, v, pool, size_gib, data, NONE, False)
    if error != 0:
        return error, 0.0
    slot = add(s, v, pool, size_gib, 0, tier, NONE)
    lineage = lineage_for(s, pool, image, False, version) if b.copies and b.thin else NONE
    book_new(s, slot, lineage)
    return 0, copies(s, s.pools[pool].backend, data_gib(s, pool, image, False))


@compiled
def extend(s: State, slot: int, size_gib: int) -> Step:
    """Grow (or give back) a volume to `size_gib`."""
    if slot == NONE:
        return MISSING, 0.0
    grown = size_gib - s.slots[slot].size_gib
    error = check_space(s, s.slots[slot].pool, grown, 0.0)
    if error != 0:
        return error, 0.0
    s.slots[slot].size_gib = size_gib
    change(s, s.slots[slot].pool, member_of(s, slot), 0, grown, 0.0)
    return 0, s.backends[s.pools[s.slots[slot].pool].backend].extend_s


@compiled
def begin_delete(s: State, slot: int) -> Step:
    """Start a delete, which `end_delete` ends."""
    if slot == NONE:
        return MISSING, 0.0
    b = s.backends[s.pools[s.slots[slot].pool].backend]
    error = delete_refusal(s.slots[slot].clones, b.busy)
    return error, (b.delete_s if error == 0 else 0.0)


@compiled
def end_delete(s: State, slot: int) -> None:
    """Give back the space and the place of a volume, if it is still there."""
    if slot == NONE:
        return
    d = s.slots[slot]
    d.there = False
    s.backends[s.pools[d.pool].backend].volumes -= 1
    if d.source != NONE:
        source = s.slots[d.source]
        source.clones -= 1
        if source.clones == 0 and not source.there:
            free_slot(s, d.source)
    if d.family != NONE:
        left_family(s, d.family)
    if d.lineage == NONE:
        change(s, d.pool, member_of(s, slot), -1, -d.size_gib, 0.0)
    else:
        release(s, slot)
    if d.owner != NONE:
        unlink(s, slot, d.owner)
    if d.clones == 0:
        free_slot(s, slot)


@compiled
def has_place(s: State, pool: int) -> bool:
    """Whether the pool's and the array's volume limits let one more volume in."""
    return check_count(s, pool) == 0


@compiled
def cached(s: State, pool: int) -> int:
    """Count the cache's image-volumes that take a place which a volume for the pool would need."""
    if check_count(s, pool) == POOL_FULL:
        return s.pools[pool].cached
    b = s.backends[s.pools[pool].backend]
    count = 0
    for each in range(b.first_pool, b.first_pool + b.pools):
        count += s.pools[each].cached
    return count


# -- checks --------------------------------------------------------------------------------------------


@inlined
def check_new(s: State, v: int, pool: int, size_gib: int, data_gib: float, source: int, joins: bool) -> int:
    """Why an array refuses a new volume, or 0. `joins`: it is to be of the source's family."""
    backend = s.pools[pool].backend
    family = NONE if source == NONE or not joins else s.slots[source].family
    return new_refusal(
        v != NONE and find(s, v, backend) != NONE,
        0 if source == NONE else s.slots[source].clones,
        s.backends[backend].max_clones,
        0 if family == NONE else s.families[family].volumes,
        s.backends[backend].max_family,
        check_count(s, pool),
        check_space(s, pool, size_gib, data_gib),
    )


@compiled
def check_count(s: State, pool: int) -> int:
    p = s.pools[pool]
    b = s.backends[p.backend]
    return place_refusal(p.volumes, p.max_volumes, b.volumes, b.max_volumes)


@compiled
def check_space(s: State, pool: int, size_gib: int, data_gib: float) -> int:
    p = s.pools[pool]
    return space_refusal(size_gib, p.provisioned, p.provision_limit, data_gib, p.physical, p.capacity)


# -- space and counts ------------------------------------------------------------------------------


@compiled
def add(s: State, v: int, pool: int, size_gib: int, kind: int, tier: int, family: int) -> int:
    """Add a volume to a family, or let it found one (NONE). Returns its slot, which is still to be booked."""
    w = s.world[0]
    slot = w.free_slot
    if slot == NONE:
        slot = w.used_slots
        w.used_slots += 1
    else:
        w.free_slot = s.slots[slot].next
    d = s.slots[slot]
    d.pool, d.size_gib, d.kind, d.tier = pool, size_gib, kind, tier
    d.source = d.lineage = NONE
    d.clone_lock = NONE
    d.family = joined(s, family) if s.options[0].families else NONE
    d.clones = 0
    d.there, d.tenant, d.marked, d.foreign = True, NONE, False, False
    d.serial += 1
    d.deleting = d.attached = False
    d.extension = 0
    d.owner, d.next, d.code = v, NONE, NONE
    w.stamp += 1
    d.node, d.made = 0, w.stamp
    if v != NONE:
        d.node, d.made = s.volumes[v].node, s.volumes[v].made
        d.next = s.volumes[v].first_slot
        d.code = s.volumes[v].code
        s.volumes[v].first_slot = slot
    w.made = slot
    b = s.backends[s.pools[pool].backend]
    b.volumes += 1
    b.volumes_peak = max(b.volumes_peak, b.volumes)
    return slot


@compiled
def joined(s: State, family: int) -> int:
    """A family (NONE: a new one) that has one volume more."""
    w = s.world[0]
    if family == NONE:
        family = w.free_family
        if family == NONE:
            family = w.used_families
            w.used_families += 1
        else:
            w.free_family = s.families[family].next
        s.families[family].volumes = 0
    s.families[family].volumes += 1
    return family


@compiled
def left_family(s: State, family: int) -> None:
    """One volume of a family is gone; the last one ends it."""
    f = s.families[family]
    f.volumes -= 1
    if f.volumes == 0:
        f.next = s.world[0].free_family
        s.world[0].free_family = family


@compiled
def free_slot(s: State, slot: int) -> None:
    s.slots[slot].next = s.world[0].free_slot
    s.world[0].free_slot = slot


@compiled
def unlink(s: State, slot: int, v: int) -> None:
    """Take a slot off its owner's list."""
    r = s.volumes[v]
    if r.first_slot == slot:
        r.first_slot = s.slots[slot].next
        return
    before = r.first_slot
    while s.slots[before].next != slot:
        before = s.slots[before].next
    s.slots[before].next = s.slots[slot].next


@compiled
def change(s: State, pool: int, member: int, count: int, size_gib: int, physical: float) -> None:
    """Book a change of a tier's and kind's volumes.

    An array that is not thin shares no data: what its volumes take is their size.
    """
    keep_report(s, pool)
    p = s.pools[pool]
    p.volumes += count
    p.volumes_peak = max(p.volumes_peak, p.volumes)
    kind = member & KIND
    if kind == CACHE:
        p.cached += count
    p.provisioned += size_gib
    if not s.backends[p.backend].thin:
        physical = float(size_gib)
    p.physical += physical
    meter(s, pool, member >> KIND_BITS, kind, count, size_gib, physical)


@inlined
def member_of(s: State, slot: int) -> int:
    """The number of a volume's tier and kind."""
    d = s.slots[slot]
    return d.tier << KIND_BITS | d.kind


@compiled
def new_data_gib(s: State, pool: int, image: int, file: bool, version: int) -> float:
    """GiB that a copy of an image's data would add to a pool."""
    b = s.backends[s.pools[pool].backend]
    there = b.dedupe and same_data(s, pool, image, file, version) != NONE
    return new_data_of(data_gib(s, pool, image, file), b.thin, there)


@compiled
def data_gib(s: State, pool: int, image: int, file: bool) -> float:
    """GiB of an image's content as it is written to a pool, or of its file."""
    return s.images[image].file_gib if file else s.content_gib[image, s.pools[pool].backend]


@compiled
def same_data(s: State, pool: int, image: int, file: bool, version: int) -> int:
    """The lineage of one version of an image in a pool that deduplicates, or NONE."""
    lineage = s.same_data[pool, image, int(file)]
    while lineage != NONE and s.lineages[lineage].version != version:
        lineage = s.lineages[lineage].next
    return lineage


@compiled
def lineage_for(s: State, pool: int, image: int, file: bool, version: int) -> int:
    """The lineage that new data join: the version's where the array deduplicates, else one of its own."""
    w = s.world[0]
    dedupe = s.backends[s.pools[pool].backend].dedupe
    if dedupe:
        lineage = same_data(s, pool, image, file, version)
        if lineage != NONE:
            return lineage
    lineage = w.free_lineage
    if lineage == NONE:
        lineage = w.used_lineages
        w.used_lineages += 1
    else:
        w.free_lineage = s.lineages[lineage].next
    d = s.lineages[lineage]
    d.pool, d.image, d.file, d.version = pool, image, file, version
    d.gib = data_gib(s, pool, image, file)
    d.payer, d.members, d.next = NONE, 0, NONE
    if dedupe:
        d.next = s.same_data[pool, image, int(file)]
        s.same_data[pool, image, int(file)] = lineage
    return lineage


@compiled
def book_new(s: State, slot: int, lineage: int) -> None:
    """Book a new volume, which shares a lineage's data, if any (NONE)."""
    pays = lineage != NONE and hold(s, slot, lineage)
    d = s.slots[slot]
    change(s, d.pool, member_of(s, slot), 1, d.size_gib, s.lineages[lineage].gib if pays else 0.0)


@compiled
def hold(s: State, slot: int, lineage: int) -> bool:
    """Let a volume share a lineage's data. Whether it pays for them, which is still to be booked.

    What it pays in another pool than its own is booked here.
    """
    d = s.slots[slot]
    d.lineage = lineage
    data, member = s.lineages[lineage], member_of(s, slot)
    data.members += 1
    s.members[lineage, member] += 1
    if s.members[lineage, member] == 1:  # else the payer stays the same
        s.world[0].stamp += 1
        s.member_since[lineage, member] = s.world[0].stamp
        if data.payer == NONE or pays_before(s, lineage, member, data.payer):
            if data.payer != NONE:
                change(s, data.pool, data.payer, 0, 0, -data.gib)
            data.payer = member
            if data.pool == d.pool:
                return True
            change(s, data.pool, member, 0, 0, data.gib)
    return False


@compiled
def release(s: State, slot: int) -> None:
    """End a volume, and its share in a lineage's data; the last one gives the space back."""
    d = s.slots[slot]
    lineage = d.lineage
    data = s.lineages[lineage]
    member = member_of(s, slot)
    data.members -= 1
    s.members[lineage, member] -= 1
    paid = s.members[lineage, member] == 0 and data.payer == member
    here = paid and data.pool == d.pool
    change(s, d.pool, member, -1, -d.size_gib, -data.gib if here else 0.0)
    if paid:
        if not here:
            change(s, data.pool, member, 0, 0, -data.gib)
        data.payer = first_payer(s, lineage) if data.members > 0 else NONE
        if data.payer != NONE:
            change(s, data.pool, data.payer, 0, 0, data.gib)
    if data.members == 0:
        if s.backends[s.pools[data.pool].backend].dedupe:
            forget_data(s, lineage)
        data.next = s.world[0].free_lineage
        s.world[0].free_lineage = lineage


@compiled
def forget_data(s: State, lineage: int) -> None:
    """Take a lineage off the list of its image's lineages."""
    data = s.lineages[lineage]
    before = s.same_data[data.pool, data.image, int(data.file)]
    if before == lineage:
        s.same_data[data.pool, data.image, int(data.file)] = data.next
        return
    while s.lineages[before].next != lineage:
        before = s.lineages[before].next
    s.lineages[before].next = data.next


@compiled
def first_payer(s: State, lineage: int) -> int:
    """Who of a lineage's members is to pay, or NONE: see `payer_rank`."""
    payer = NONE
    for member in range(s.options[0].tiers << KIND_BITS):
        if s.members[lineage, member] > 0 and (payer == NONE or pays_before(s, lineage, member, payer)):
            payer = member
    return payer


@compiled
def pays_before(s: State, lineage: int, member: int, other: int) -> bool:
    since = s.member_since[lineage, member], s.member_since[lineage, other]
    return payer_rank(member & KIND, since[0]) < payer_rank(other & KIND, since[1])
