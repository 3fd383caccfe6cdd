"""Findings on space, on clones of the store that arrays refuse, on volumes and entries nobody wants."""

from __future__ import annotations

from typing import Any

import pytest
from handmade import findings
from properties.cases import case_of, create, image, one_pool

import sim
from sim.inputs.scenario import Case

ARRAY = {"create_s": 1, "clone_s": 2, "write_mib_s": 100}


def case(
    images: list[dict[str, Any]], events: list[dict[str, Any]], store: bool = False, **backend: Any
) -> Case:
    scenario = one_pool(**ARRAY, **backend) | {"glance": {"stream_mib_s": 100}}
    return case_of(scenario | ({"store": {"home": "a#p0"}} if store else {}), images, events)


def delete(time: float, volume_id: str) -> dict[str, Any]:
    return {"event": "delete", "time": time, "volume_id": volume_id}


def lines(case: Case, strategy: str) -> list[str]:
    return findings(sim.run(case, strategy), case, strategy)


THICK: dict[str, Any] = {"thin": False, "pools": {"p0": {"capacity_gib": 30}}}


class TestSpace:
    """A thick pool of 30 GiB; an image of 10 GiB as a volume, and one create of 25 GiB."""

    HELD = "1 create failed for lack of space, while image-volumes held some of it"

    def test_a_create_that_fails_after_its_download(self) -> None:
        """The volume takes 10 GiB, its clone in the cache 10 more; then it cannot grow to 25."""
        full = case([image("i", 10, "qcow2")], [create(0, "v", "i", size_gib=25)], **THICK)
        assert list(sim.run(full, "none").requests["status"]) == ["available"]
        assert list(sim.run(full, "cache-only").requests["status"]) == ["error"]
        assert lines(full, "none") == []
        assert (
            "a#p0: 1 create failed for lack of space, 1 of them after their whole download, while"
            " image-volumes held some of it (the cache up to 10 GiB):"
            " lower image_volume_cache_max_size_gb or raise capacity_gib"
        ) in lines(full, "cache-only")

    def test_a_create_without_an_image(self) -> None:
        events = [create(0, "v", "i", size_gib=10), create(1000, "w", "", size_gib=15)]
        full = case([image("i", 10)], events, **THICK)
        assert list(sim.run(full, "cache-only").others["status"]) == ["error"]
        assert f"a#p0: {self.HELD} (the cache up to 10 GiB)" in "\n".join(lines(full, "cache-only"))

    def test_the_store_holds_space_too(self) -> None:
        full = case([image("i", 10)], [create(0, "v", "i", size_gib=25)], store=True, **THICK)
        assert f"a#p0: {self.HELD} (the Cinder store 10 GiB)" in "\n".join(lines(full, "store-only"))

    def test_what_the_scheduler_sees(self) -> None:
        events = [create(0, "v", "i", size_gib=10), create(1000, "w", "i", "", size_gib=15)]
        full = case([image("i", 10)], events, **THICK)
        (line,) = (line for line in lines(full, "cache-only") if line.startswith("flash: "))
        assert "1 create found no pool with enough space, while the caches" in line
        assert "up to 10 GiB" in line


@pytest.mark.parametrize("strategy", ["store-only", "combined"])
def test_the_clone_limit_of_the_store(strategy: str) -> None:
    """At most three clones of a volume, eight creates: `_clone_image_volume` catches what arrays raise."""
    events = [create(100 * n, f"v{n}", "i") for n in range(8)]
    limited = case([image("i")], events, store=True, max_clones_per_volume=3)
    downloads = (sim.run(limited, strategy).requests["source"] == "download").sum()
    line = "downloaded although the store had the image there: clone limit (max_clones_per_volume 3)"
    creates = "create" if downloads == 1 else "creates"
    assert f"a#p0: {downloads} {creates} {line}" in lines(limited, strategy)
    if strategy == "store-only":
        assert downloads == 5


def test_encrypted_creates_are_no_refused_clones() -> None:
    events = [create(0, "v", "i", encrypted=True)]
    assert lines(case([image("i")], events, store=True), "store-only") == []


BUSY = (
    "stayed after the delete, {} GiB: the array refuses to delete a volume that has clones"
    " (delete_with_clones busy), and it is not tried again"
)


def test_deletes_of_volumes_with_snapshots() -> None:
    """One snapshot is gone when its volume is deleted, the other is not."""
    events = [
        create(0, "u1", "i1"),
        create(0, "u2", "i1"),
        *(
            {"event": event, "time": time, "volume_id": f"u{n}", "snapshot_id": f"s{n}"}
            for event, time, n in (("snapshot", 50, 1), ("snapshot", 50, 2), ("delete_snapshot", 60, 2))
        ),
        delete(100, "u1"),
        delete(100, "u2"),
    ]
    found = case([image("i1")], events, delete_with_clones="busy")
    told = "Cinder refuses to delete a volume that has snapshots, and it is not tried again"
    assert f"a#p0: 1 volume of a user stayed after the delete, 8 GiB: {told}" in lines(found, "none")


def test_users_deletes_that_a_busy_array_refuses() -> None:
    """The cache's entries are clones of u1 and u3; u2 is a clone of the first entry."""
    events = [
        create(0, "u1", "i1"),
        delete(100, "u1"),
        create(200, "u2", "i1"),
        create(300, "u3", "i2"),
        delete(400, "u2"),
        delete(400, "u3"),
    ]
    busy = {"delete_with_clones": "busy", "image_volume_cache_max_count": 1}
    found = case([image("i1"), image("i2")], events, **busy)
    left = sim.run(found, "cache-only").volumes
    assert set(left.loc[left["kind"] == "user", "volume_id"]) == {"u1", "u3"}
    assert f"a#p0: 2 volumes of users {BUSY.format(16)}" in lines(found, "cache-only")


def test_what_deleted_images_leave() -> None:
    gone = {"event": "delete_image", "time": 500.0, "image_id": "i"}
    events = [create(0, "v", "i"), gone]
    cached = case([image("i")], events)
    assert lines(cached, "cache-only") == [
        "a#p0: 1 cache entry of deleted images, 1 GiB, stay until they are the least recently used"
    ]
    stored = case([image("i")], events, store=True, delete_with_clones="busy")
    assert lines(stored, "store-only") == [f"a#p0: 1 image-volume of a deleted image {BUSY.format(1)}"]


def test_the_store_is_not_empty_after_a_no_op_upload() -> None:
    """A raw image is made of a volume; the store has it from then on, as a clone."""
    upload = {"event": "upload", "time": 100.0, "volume_id": "v", "image_id": "new"}
    events = [create(0, "v", "i"), upload, create(200, "w", "new")]
    found = case_of(one_pool(**ARRAY) | {"upload": "no-op"}, [image("i"), image("new")], events)
    assert list(sim.run(found, "store-only").requests["source"]) == ["download", "store"]
    assert lines(found, "store-only") == []


def test_image_owner_is_told_only_if_it_costs_clones() -> None:
    lent = image("i", store_hosts="a#p0", owner="alice", visibility="public", image_owner="admin")
    asked = case([lent], [create(0, "v", "i", project="bob")])
    assert "(image_owner)" in "\n".join(lines(asked, "store-only"))
    unasked = case([lent, image("j")], [create(0, "v", "j", project="bob")])
    assert lines(unasked, "store-only") == []
