"""The simulated arrays: what they refuse, in which order, and whom they charge for space."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sim.inputs.backend import Backend
from sim.inputs.images import Image
from sim.inputs.units import GIB
from sim.model.arrays import Array, AtCloneLimit, Busy, Content, Refusal, content_of, file_of

TWO = Content(("image", 1), 2.0)  # two GiB of data


class Spent:
    """A meter: physical GiB by kind, volumes by kind."""

    def __init__(self) -> None:
        self.physical: Counter[str] = Counter()
        self.volumes: Counter[str] = Counter()

    def add(self, host: str, tier: str, kind: str, volumes: int, provisioned: float, physical: float) -> None:
        self.physical[kind] += physical
        self.volumes[kind] += volumes


def array_of(pools: dict[str, Any] | None = None, **spec: Any) -> Array:
    backend = {"volume_type": "flash", "pools": pools or {"p0": {}}, **spec}
    return Array("a", Backend.model_validate(backend), Spent())


def create(array: Array, name: str, size: int = 10, kind: Any = "user", host: str = "a#p0") -> float:
    return array.create(name, host, size, kind, "flash")


def clone(array: Array, name: str, source: str, kind: Any = "user", size: int = 10) -> float:
    return array.clone(name, source, "a#p0", size, kind, "flash")


def delete(array: Array, name: str) -> None:
    assert array.begin_delete(name) is not None
    array.end_delete(name)


def physical(array: Array) -> dict[str, float]:
    """What is charged, by kind."""
    assert isinstance(array.meter, Spent)
    charged = dict(+array.meter.physical)
    assert sum(charged.values()) == sum(pool.physical_gib for pool in array.pools.values())
    return charged


def refused(text: str) -> Any:
    return pytest.raises(Refusal, match=text)


# -- what is refused ---------------------------------------------------------------------------------


def test_checks_come_in_the_order_of_a_real_array() -> None:
    """All limits are reached; each check is passed in turn, and the next one speaks."""
    array = array_of(
        {"p0": {"capacity_gib": 4, "max_volumes": 2}, "p1": {}},
        max_volumes=3,
        max_clones_per_volume=1,
        clone_family_limit=2,
        thin=False,
    )
    create(array, "source", 2)
    clone(array, "first", "source", size=2)
    create(array, "other", 2, host="a#p1")
    with refused("first is still on a"):
        clone(array, "first", "source")
    with pytest.raises(AtCloneLimit):
        clone(array, "v", "source")
    with pytest.raises(AtCloneLimit, match="the family"):
        clone(array, "v", "first")
    delete(array, "first")
    create(array, "filler", 2)
    with refused("a#p0 is at its limit of 2 volumes"):
        clone(array, "v", "source")
    delete(array, "filler")
    create(array, "elsewhere", 2, host="a#p1")
    with refused("a is at its limit of 3 volumes"):
        clone(array, "v", "source")
    delete(array, "elsewhere")
    with refused("a#p0 has no 10 GiB left to provision"):
        clone(array, "v", "source")
    clone(array, "v", "source", size=2)


def test_a_thin_pool_provisions_its_capacity_times_the_ratio() -> None:
    array = array_of({"p0": {"capacity_gib": 10}}, max_over_subscription_ratio=2.0)
    create(array, "v0", 15)
    with refused("6 GiB left to provision"):
        create(array, "v1", 6)
    create(array, "v1", 5)
    with refused("1 GiB left to provision"):
        array.extend("v1", 6)


def test_a_thick_pool_provisions_its_capacity() -> None:
    array = array_of({"p0": {"capacity_gib": 10}}, thin=False)
    create(array, "v0", 9)
    with refused("2 GiB left to provision"):
        create(array, "v1", 2)
    create(array, "v1", 1)
    assert physical(array) == {"user": 10}


def test_data_that_do_not_fit_are_refused_when_they_are_written() -> None:
    array = array_of({"p0": {"capacity_gib": 5}})
    for name in ("v0", "v1", "v2"):
        create(array, name)
    array.write("v0", TWO)
    array.write("v1", TWO)
    with refused("no 2 GiB of physical space left"):
        array.write("v2", TWO)
    assert physical(array) == {"user": 4}


def test_what_is_refused_takes_nothing() -> None:
    array = array_of({"p0": {"max_volumes": 1}})
    create(array, "v0")
    with refused("limit of 1 volumes"):
        create(array, "v1")
    pool = array.pools["a#p0"]
    assert (pool.volumes, pool.provisioned_gib, list(array.volumes)) == (1, 10, ["v0"])


@pytest.mark.parametrize("operation", ["write", "clone", "extend"])
def test_what_the_array_has_not_is_refused(operation: str) -> None:
    array = array_of()
    create(array, "v0")
    args = {"write": ("v", TWO), "clone": ("w", "v", "a#p0", 1, "user", "flash"), "extend": ("v", 5)}
    with refused("volume v is not on a"):
        getattr(array, operation)(*args[operation])
    assert array.begin_delete("v") is None


def test_cached_volumes_in_the_way_are_counted_where_the_limit_is() -> None:
    array = array_of({"p0": {"max_volumes": 2}, "p1": {}}, max_volumes=4)
    create(array, "c0", kind="cache")
    create(array, "c1", kind="cache", host="a#p1")
    create(array, "c2", kind="cache", host="a#p1")
    assert (array.has_place("a#p0"), array.has_place("a#p1")) == (True, True)
    create(array, "v0")
    assert (array.has_place("a#p0"), array.cached("a#p0")) == (False, 1)  # the pool is full
    assert (array.has_place("a#p1"), array.cached("a#p1")) == (False, 3)  # so is the array


# -- clones ------------------------------------------------------------------------------------------


def test_clones_count_from_their_start_to_the_end_of_their_delete() -> None:
    array = array_of(max_clones_per_volume=1)
    create(array, "source")
    clone(array, "v0", "source")
    array.begin_delete("v0")
    with pytest.raises(AtCloneLimit):
        clone(array, "v1", "source")
    array.end_delete("v0")
    clone(array, "v1", "source")


def test_all_that_lives_of_a_family_counts_whoever_it_descends_from() -> None:
    """A source, its clone, a clone of that and a snapshot; it stays a family when the source is gone."""
    array = array_of(clone_family_limit=4)
    create(array, "source")
    clone(array, "v1", "source")
    clone(array, "v2", "v1", kind="cache")
    array.snapshot("s", "v2")
    for member in ("source", "v1", "v2"):
        with pytest.raises(AtCloneLimit, match="limit of 4"):
            clone(array, "v3", member)
    with pytest.raises(AtCloneLimit):
        array.snapshot("t", "source")
    delete(array, "source")
    clone(array, "v3", "v2")
    with pytest.raises(AtCloneLimit):
        clone(array, "v4", "v1")
    for gone in ("v1", "v2", "s"):
        delete(array, gone)
    clone(array, "v4", "v3")
    create(array, "other")
    clone(array, "v5", "other")


def test_a_full_copy_founds_a_family() -> None:
    array = array_of(clone_family_limit=1, clone_mib_s=100)
    create(array, "source")
    clone(array, "v1", "source")
    clone(array, "v2", "v1")
    with pytest.raises(AtCloneLimit):
        array.snapshot("s", "source")


def test_a_clone_of_a_clone_counts_on_its_own_source() -> None:
    array = array_of(max_clones_per_volume=1)
    create(array, "v0")
    clone(array, "v1", "v0")
    clone(array, "v2", "v1")
    assert [array.volumes[name].clones for name in ("v0", "v1", "v2")] == [1, 1, 0]


def test_busy_arrays_keep_what_has_clones() -> None:
    array = array_of(delete_with_clones="busy", delete_s=2.0)
    create(array, "source")
    clone(array, "v0", "source")
    with pytest.raises(Busy):
        array.begin_delete("source")
    delete(array, "v0")
    assert array.begin_delete("source") == 2.0


def test_a_full_copy_is_no_clone_and_holds_data_of_its_own() -> None:
    array = array_of(clone_s=1.0, clone_mib_s=512, max_clones_per_volume=1, delete_with_clones="busy")
    create(array, "source", 4)
    array.write("source", TWO)
    for name in ("v0", "v1"):
        assert clone(array, name, "source") == 1.0 + 4 * 1024 / 512
    assert physical(array) == {"user": 6}
    delete(array, "source")
    assert physical(array) == {"user": 4}


def test_a_clone_from_glance_shares_glances_data() -> None:
    array = array_of(clone_s=1.0)
    assert array.clone_from_glance("v0", "a#p0", 10, "flash", TWO) == 1.0
    assert physical(array) == {}
    copies = array_of(clone_s=1.0, clone_mib_s=512)
    assert copies.clone_from_glance("v0", "a#p0", 10, "flash", TWO) == 1.0 + 2 * 1024 / 512
    assert physical(copies) == {"user": 2}


# -- space -------------------------------------------------------------------------------------------


def test_users_pay_for_shared_data_then_the_store_then_the_cache() -> None:
    array = array_of()
    create(array, "store", kind="store")
    array.write("store", TWO)
    assert physical(array) == {"store": 2}
    clone(array, "v0", "store")
    assert physical(array) == {"user": 2}  # the same data, and nothing for the clone
    clone(array, "cached", "v0", kind="cache")
    clone(array, "v1", "cached")
    delete(array, "v0")
    assert physical(array) == {"user": 2}  # v1 holds them still
    delete(array, "v1")
    assert physical(array) == {"store": 2}
    delete(array, "store")
    assert physical(array) == {"cache": 2}  # what the cache alone holds
    delete(array, "cached")
    assert physical(array) == {}


def test_every_download_holds_its_own_data() -> None:
    array = array_of()
    for name in ("v0", "v1"):
        create(array, name)
        array.write(name, TWO)
    assert physical(array) == {"user": 4}


def test_deduplication_holds_each_version_once_in_a_pool() -> None:
    array = array_of({"p0": {"capacity_gib": 3.5}, "p1": {}}, dedupe=True)
    for name, content in (("v0", TWO), ("v1", TWO), ("v2", Content(("image", 2), 1.0))):
        create(array, name)
        array.write(name, content)
    assert array.pools["a#p0"].physical_gib == 3  # no room for a second copy, and none is made
    create(array, "v3", host="a#p1")
    array.write("v3", TWO)
    assert array.pools["a#p1"].physical_gib == 2
    delete(array, "v0")
    assert array.pools["a#p0"].physical_gib == 3
    delete(array, "v1")
    assert array.pools["a#p0"].physical_gib == 1


def test_thick_volumes_hold_their_size() -> None:
    array = array_of(thin=False, dedupe=True)
    create(array, "v0", 4)
    array.write("v0", TWO)
    clone(array, "cached", "v0", kind="cache", size=4)
    assert physical(array) == {"user": 4, "cache": 4}
    array.extend("v0", 7)
    assert physical(array) == {"user": 7, "cache": 4}
    delete(array, "v0")
    assert physical(array) == {"cache": 4}


def test_a_delete_gives_back_when_it_ends() -> None:
    array = array_of(delete_s=5.0)
    create(array, "v0")
    array.write("v0", TWO)
    assert array.begin_delete("v0") == 5.0
    assert physical(array) == {"user": 2}
    array.end_delete("v0")
    pool = array.pools["a#p0"]
    assert (pool.volumes, pool.provisioned_gib, pool.physical_gib) == (0, 0, 0)


def test_a_second_delete_of_the_same_volume_finds_nothing_left() -> None:
    array = array_of(delete_s=5.0)
    create(array, "v0")
    assert (array.begin_delete("v0"), array.begin_delete("v0")) == (5.0, 5.0)
    array.end_delete("v0")
    create(array, "v1")
    array.end_delete("v0")
    pool = array.pools["a#p0"]
    assert (pool.volumes, pool.provisioned_gib, list(array.volumes)) == (1, 10, ["v1"])


# -- time and contents -------------------------------------------------------------------------------


def image(fmt: str) -> Image:
    sizes = {"size_bytes": GIB // 2, "virtual_size_bytes": 2 * GIB}
    return Image(image_id="i", name="i", disk_format=fmt, container_format="bare", **sizes)


@pytest.mark.parametrize(
    ("fmt", "rates", "seconds"),
    [
        ("raw", {}, 0.0),
        ("raw", {"write_mib_s": 256, "convert_mib_s": 512}, 8.0),
        ("qcow2", {"write_mib_s": 256, "convert_mib_s": 512}, 12.0),
        ("qcow2", {"convert_mib_s": 512}, 4.0),
    ],
)
def test_converting_and_writing_go_by_the_virtual_size(
    fmt: str, rates: dict[str, int], seconds: float
) -> None:
    assert array_of(**rates).write_s(image(fmt)) == seconds


def test_the_array_says_how_long_steps_last() -> None:
    array = array_of(create_s=1.0, clone_s=2.0, delete_s=3.0, extend_s=4.0)
    steps = [create(array, "v0"), clone(array, "v1", "v0"), array.extend("v0", 12), array.begin_delete("v1")]
    assert steps == [1.0, 2.0, 4.0, 3.0]


def test_the_store_holds_the_files_bytes() -> None:
    """Of a raw image they are its content; of another they are nothing that a download writes."""
    raw = image("raw").model_copy(update={"size_bytes": 2 * GIB})
    spec = array_of().spec
    assert file_of(raw, 1, spec) == content_of(raw, 1, spec) == Content(("i", 1), 2)
    for other in (image("raw"), image("qcow2")):  # sizes that differ are data that differ
        assert file_of(other, 1, spec).key != content_of(other, 1, spec).key
        assert file_of(other, 1, spec).gib == 0.5
