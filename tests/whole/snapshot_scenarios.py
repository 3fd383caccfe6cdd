"""Named scenarios of users' snapshots."""

from __future__ import annotations

from .build import Builder
from .registry import scenario, small


@scenario("combined", kept=("volumes", "apart"))
def snapshots_take_places(kept: str) -> Builder:
    """Five volumes at most, snapshots among them or not; volumes with snapshots cannot be deleted."""
    b = Builder(*small(2)).backend("a", pools={"p0": {"max_volumes": 5}}, snapshots=kept)
    b.create(0, "i0").snapshot(30.1, "v0", "s0").snapshot(31.3, "v0", "s1").create(40.1, "i1")
    b.delete(60.1, "v0").create(61.3, "i0").drop(70.1, "v0", "s0").create(80.1, "i0")
    return b.drop(90.1, "v0", "s1").create(100.3, "i0").create(110.1, "i1")


@scenario("cache-only", delete=("allowed", "busy"), copies=(None, 400))
def snapshots_are_clones(delete: str, copies: int | None) -> Builder:
    """They count against the clone limit, of the volume that fills the cache, too; a refused one stays."""
    b = Builder(*small(1)).backend(
        "a", max_clones_per_volume=2, delete_with_clones=delete, clone_mib_s=copies
    )
    b.create(0, "i0").snapshot(30.1, "v0", "s0").snapshot(31.3, "v0", "s1").snapshot(32.1, "v0", "s2")
    b.delete(40.1, "v0").drop(50.1, "v0", "s0").drop(51.3, "v0", "s1").drop(52.1, "v0", "s2")
    return b.creates("i0 i0 i0 i0", 20.37, start=80.1)


@scenario("combined")
def snapshots_and_waits() -> Builder:
    """Deletes wait for snapshots that are made or deleted, and for an upload beside them; refusals."""
    b = Builder(*small(1), *small(2)[1:], upload="no-op").backend(
        "a", pools={"p0": {"max_volumes": 6}}, clone_s=6, delete_s=4
    )
    b.images[1]["image_id"] = "n0"
    b.snapshot(1.1, "v0", "early").create(0, "i0").create(40.1, "i0")
    b.snapshot(60.1, "v0", "s0").drop(62.3, "v0", "s0").delete(63.1, "v0").create(80.1, "i0")
    b.snapshot(100.1, "v1", "s1").upload(101.3, "v1", "n0").snapshot(102.1, "v1", "during")
    b.drop(103.1, "v1", "s1").delete(104.3, "v1").create(130.1, "n0").create(140.3, "i0")
    return b.snapshot(200.1, "v2", "s2").delete(201.3, "v2").create(230.1, "i0").create(231.3, "i0")


@scenario("none", thin=(True, False))
def snapshots_of_what_exists(thin: bool) -> Builder:
    """Of volumes of the start and blank ones; their sizes count; no snapshots where there is no volume."""
    b = Builder(*small(1)).backend(
        "a", pools={"p0": {"capacity_gib": 40}}, thin=thin, max_over_subscription_ratio=1.0
    )
    b.initial = [{"kind": "volume", "volume_id": "u0", "image_id": "i0", "size_gib": 9, "host": "a#p0"}]
    b.snapshot(0, "u0", "s0").create(1.1, "", size=8).snapshot(10.1, "v0", "s1").create(20.1, "i0", size=9)
    b.snapshot(21.3, "v1", "of-an-error").drop(30.1, "u0", "s0").create(40.1, "i0", size=9)
    return b.delete(60.1, "u0").delete(61.3, "v0").create(80.1, "i0", size=9)
