"""Named scenarios of uploads: volumes that become images."""

from __future__ import annotations

from typing import Any

from .build import TIER, Builder, image
from .registry import ALL, scenario, small

NO_OP = {"upload": "no-op"}


def uploaded(*formats: str, gib: float = 1, **more: Any) -> list[dict[str, Any]]:
    """Images `n0`, `n1`, … of those formats, to be made of volumes."""
    return [image(f"n{number}", gib, fmt, **more) for number, fmt in enumerate(formats)]


# Copies


@scenario("none", "cache-only", streams=(None, 1, 2))
def upload_copies(streams: int | None) -> Builder:
    """Raw and converted ones wait for the streams of Glance and of the array; so do downloads."""
    b = Builder(
        *small(2),
        *uploaded("raw", "qcow2", "qcow2", "raw", gib=4),
        glance={"streams": streams, "stream_mib_s": 75},
    )
    b.backend("a", write_streams=streams, read_mib_s=60).backend("b", read_mib_s=900)
    b.storm(0, 4, "i0", size=4).storm(0.3, 2, "i1", "b#p0", size=4).upload(60.1, "v0", "n0")
    b.upload(60.2, "v1", "n1").upload(60.3, "v2", "n2").upload(60.4, "v4", "n3").create(61.1, "i1")
    b.create(63.3, "i0", "b#p0")
    for number in range(4):
        b.create(500.1 + number, f"n{number}").create(500.1 + number, f"n{number}", "b#p0")
    return b.creates("n0 n1 n2 n3", 40.37, start=800.1)


@scenario("none", "store-only")
def upload_without_rates() -> Builder:
    """Steps that take no time still wait for their streams."""
    b = Builder(
        *small(1),
        *uploaded("raw", "qcow2", "raw"),
        glance={"streams": 1, "stream_mib_s": None},
        store={"home": "a#p0"},
    )
    b.backend("a", write_streams=1, write_mib_s=50, convert_mib_s=None).create(0, "i0").create(0, "i0")
    b.create(60, "i0").upload(65.1, "v0", "n0").upload(65.2, "v1", "n1").create(66.3, "n0")
    return b.create(120.1, "n1").upload(121.3, "v3", "n2").create(150.3, "n2")


@scenario(*ALL)
def upload_to_the_store() -> Builder:
    """The image-volume at home: later creates clone it there, if it is raw, and download elsewhere."""
    b = Builder(*small(2), *uploaded("raw", "qcow2", gib=1.6), store={"home": "a#p1"})
    b.backend("a", pools={"p0": {}, "p1": {}}, read_mib_s=500, image_volume_cache_max_count=2)
    b.create(0, "i0").create(0.3, "i1", "a#p1").upload(40.1, "v0", "n0").upload(40.7, "v1", "n1")
    for number, name in enumerate(("n0", "n1", "n0", "n1")):
        for pool in range(2):
            b.create(150.1 + 60.37 * number + pool, name, f"a#p{pool}", size=(10, 15)[number // 2])
    return b.delete(420.3, "v0").event(421.3, "delete_image", image_id="n0").create(422.3, "n0", "a#p1")


@scenario("store-only", "combined", "replicated-store", limit=("volumes", "space"))
def upload_does_not_fit(limit: str) -> Builder:
    """Home is full: the image goes, and so do its volumes elsewhere."""
    full = {"max_volumes": 2} if limit == "volumes" else {"capacity_gib": 6}
    images = [
        image("n0", 2, store_hosts="a#p0;b#p0"),
        image("n1", 2, "qcow2"),
        image("n2", 2, store_hosts="a#p0"),
    ]
    b = Builder(image("i0", 2, store_hosts="a#p0"), *images, store={"home": "b#p0"})
    b.backend("a", max_over_subscription_ratio=1.0).backend(
        "b", pools={"p0": full}, max_over_subscription_ratio=1.0
    )
    b.create(0, "i0").create(0.3, "i0", "b#p0", size=5).create(50.1, "", "b#p0", size=1)
    b.upload(60.1, "v0", "n0").upload(61.3, "v1", "n1").create(80.1, "n0").create(81.3, "n1")
    b.upload(82.1, "v0", "n2").create(150.1, "n2").create(151.3, "n2", "b#p0")
    return b.delete(200.1, "v1")


@scenario("none", "store-only", "combined")
def upload_of_a_cached_image() -> Builder:
    """A user's create meets the full array while the store keeps the new image's volume."""
    b = Builder(*small(2), *uploaded("raw", "raw"), store={"home": "a#p0"})
    b.backend("a", pools={"p0": {"max_volumes": 6}}, delete_s=9)
    b.creates("i0 i0", 30.37).upload(70.1, "v0", "n0").create(71.3, "i1").create(120.1, "n0")
    b.upload(130.1, "v1", "n1").event(160.3, "delete_image", image_id="n0").create(161.1, "i1")
    return b.create(175.3, "n1").create(176.3, "n1")


# No-op uploads


@scenario(*ALL, tenant=(False, True))
def no_op(tenant: bool) -> Builder:
    """Later creates clone on the same pool, also larger ones, and download on others."""
    b = Builder(*small(1), *uploaded("raw", "raw"), **NO_OP)
    b.scenario["cinder"] = {"image_upload_use_internal_tenant": tenant}
    b.backend("a", pools={"p0": {}, "p1": {}}, read_mib_s=200, image_volume_cache_max_count=1)
    b.backend("b").create(0, "i0", size=5).upload(20.1, "v0", "n0").create(21.3, "n0")
    b.create(40.1, "n0", size=5).create(41.3, "n0", size=12).create(42.7, "n0", "a#p1", size=5)
    b.create(43.1, "n0", "b#p0").create(80.3, "n0", size=3).create(81.1, "n0", "a#p1")
    b.upload(100.1, "v1", "n1").delete(110.3, "v0").create(120.1, "n0").create(121.1, "i0")
    b.event(150.1, "update_image", image_id="n0").create(151.3, "n0").create(152.1, "n0", "b#p0")
    return b.event(200.1, "delete_image", image_id="n0").create(201.3, "n0").create(220.3, "i0")


@scenario("none", "store-only", "combined")
def no_op_of_other_formats() -> Builder:
    """Cinder copies them."""
    images = [*uploaded("raw", "qcow2", "vmdk"), image("n3", container_format="ovf")]
    b = Builder(*small(1), *images, store={"home": "a#p0"}, **NO_OP)
    b.backend("a", read_mib_s=300).backend("b").create(0, "i0")
    for number in range(4):
        b.upload(30.1 + 60.37 * number, "v0", f"n{number}")
    for number in range(8):
        b.create(300.1 + 30.37 * number, f"n{number % 4}", "ab"[number // 4] + "#p0")
    return b


@scenario("none", "store-only", "cache-only", "combined", quota=(1, 2, 4))
def no_op_quota_volumes(quota: int) -> Builder:
    """The internal tenant's quota fails an upload; the cache's fills and image-volumes share it."""
    b = Builder(*small(3), *uploaded("raw", "raw", "raw"), **NO_OP)
    b.scenario["cinder"] = {
        "image_upload_use_internal_tenant": True,
        "internal_tenant_quota_volumes": quota,
    }
    b.backend("a").creates("i0 i1", 30.37).upload(70.1, "v0", "n0").upload(71.3, "v1", "n1")
    b.create(90.1, "i2").create(91.3, "n0").create(92.1, "n1")
    b.event(120.1, "delete_image", image_id="n0").upload(140.1, "v2", "n2").create(150.3, "n2")
    return b.create(180.1, "i2")


@scenario("store-only", "combined", tenant=(False, True))
def no_op_quota_gigabytes(tenant: bool) -> Builder:
    b = Builder(*small(1), *uploaded("raw", "raw", "raw"), **NO_OP)
    b.scenario["cinder"] = {
        "image_upload_use_internal_tenant": tenant,
        "internal_tenant_quota_gigabytes": 16,
    }
    b.backend("a").create(0, "i0", size=15).create(0.3, "i0", size=5).create(30.1, "i0", size=11)
    b.upload(60.1, "v0", "n0").upload(70.1, "v1", "n1").upload(80.1, "v2", "n2")
    return b.create(90.1, "n0", size=20).create(91.3, "n1").create(92.3, "n2", size=11)


@scenario("none", "store-only", "cache-only", "combined")
def no_op_without_room() -> Builder:
    """The array is at its volume limit: Cinder copies, into the store if there is room at home."""
    b = Builder(*small(1), *uploaded("raw", "raw", "raw"), store={"home": "b#p0"}, **NO_OP)
    b.backend("a", pools={"p0": {"max_volumes": 4}}, read_mib_s=300)
    b.backend("b", pools={"p0": {"max_volumes": 4}})
    b.storm(0, 3, "i0").upload(60.1, "v0", "n0").upload(60.2, "v1", "n1").delete(100.1, "v1")
    b.create(120.1, "n0", "b#p0").upload(121.3, "v2", "n2").delete(150.1, "v0")
    return b.create(160.1, "n0").create(161.1, "n1", "b#p0").create(190.1, "n2")


@scenario("none", "store-only", "combined")
def no_op_thick() -> Builder:
    """Room for the image-volume: the whole of the source's size."""
    b = Builder(*small(1), *uploaded("raw", "raw", "raw"), **NO_OP)
    b.backend("a", pools={"p0": {"capacity_gib": 40}}, thin=False, clone_mib_s=400)
    b.create(0, "i0", size=8).create(30.1, "i0", size=12).upload(70.1, "v1", "n0")
    b.upload(71.3, "v0", "n1").create(150.1, "n0", size=3).create(151.1, "n1", size=12)
    return b.delete(200.1, "v0").delete(201.3, "v1").upload(260.1, "v2", "n2").create(300.3, "n2")


@scenario("none", "store-only", "cache-only", "combined", delete=("allowed", "busy"))
def no_op_clone_limit(delete: str) -> Builder:
    """Of a source (Cinder copies) and of an image-volume (creates fall through)."""
    b = Builder(*small(1), *uploaded("raw", "raw", "raw", "raw"), **NO_OP)
    b.backend("a", max_clones_per_volume=2, delete_with_clones=delete, read_mib_s=300).create(0, "i0")
    for number in range(4):
        b.upload(30.1 + 30.37 * number, "v0", f"n{number}")
    b.creates("n0 n0 n0 n0 n3 n3", 25.37, start=160.1)
    b.event(330.1, "delete_image", image_id="n1").event(331.3, "delete_image", image_id="n0")
    return b.delete(340.1, "v0").delete(341.3, "v1").create(360.1, "n2").create(361.3, "i0")


@scenario(*ALL)
def no_op_busy() -> Builder:
    """A volume with an image cannot go, nor can an image-volume with clones."""
    b = Builder(*small(1), *uploaded("raw", "raw"), **NO_OP)
    b.backend("a", delete_with_clones="busy", image_volume_cache_max_count=1).create(0, "i0")
    b.upload(30.1, "v0", "n0").delete(50.1, "v0").create(60.1, "n0").upload(80.1, "v1", "n1")
    b.event(90.1, "delete_image", image_id="n0").event(110.1, "delete_image", image_id="n1")
    return b.create(120.3, "n0").create(121.3, "i0").delete(150.1, "v1")


# Encrypted volumes


@scenario("none", "store-only", "combined", upload=("copy", "no-op"))
def encrypted_uploads(upload: str) -> Builder:
    """Raw images only. A no-op's clone gets another key, and the volume's own is gone: no second upload."""
    b = Builder(*small(1), *uploaded("raw", "raw", "qcow2", "raw"), upload=upload)
    b.backend("a", read_mib_s=150).backend("b").creates("i0 i0", 10.37)
    b.create(20.1, "", encrypted=True).create(21.3, "i0", encrypted=True)
    b.upload(60.1, "v2", "n0").upload(60.3, "v2", "n1").upload(61.1, "v3", "n2")
    b.upload(100.1, "v2", "n3").upload(101.3, "v3", "n4")
    b.images.append(image("n4", container_format="ovf"))
    for number, name in enumerate(("n0", "n0", "n1", "n2", "n3", "n4")):
        b.create(150.1 + 30.37 * number, name, "ab"[number % 2] + "#p0", encrypted=number % 3 == 0)
        b.create(151.1 + 30.37 * number, name)
    b.upload(400.1, "v4", "n5").event(410.1, "delete_image", image_id="n0").delete(411.3, "v2")
    b.images.append(image("n5"))
    return b.create(440.1, "n5").create(441.3, "n5", encrypted=True)


# Events around an upload


@scenario(*ALL, upload=("copy", "no-op"))
def events_during_an_upload(upload: str) -> Builder:
    """Creates before, during (not active) and after; deletes and a second upload during it."""
    b = Builder(*small(1), *uploaded("raw", "raw", "qcow2"), store={"home": "a#p0"}, upload=upload)
    b.backend("a", clone_s=6, read_mib_s=80)
    b.create(0, "i0").create(0.3, "i0").create(20.1, "n0").upload(30.1, "v0", "n0").create(30.1, "n0")
    b.create(31.3, "n0").upload(32.1, "v0", "n1").delete(33.1, "v0").create(34.1, "n1")
    b.event(35.3, "update_image", image_id="n0").create(60.1, "n0")
    b.upload(80.1, "v1", "n2").event(81.3, "delete_image", image_id="n2").create(82.1, "n2")
    return b.create(140.1, "n2").create(141.3, "n0").delete(142.1, "v1")


@scenario("store-only", "combined", upload=("copy", "no-op"))
def uploads_that_wait(upload: str) -> Builder:
    """For the create of their volume; with the delete of it behind them, and the image's."""
    b = Builder(*small(1), *uploaded(*["raw"] * 5), store={"home": "a#p0"}, upload=upload)
    b.backend("a", read_mib_s=150, delete_s=3.3)
    b.create(0, "i0").upload(0, "v0", "n0").upload(1.1, "v0", "n1").delete(2.3, "v0").create(3.1, "n0")
    b.event(5.3, "delete_image", image_id="n0").create(6.1, "n1").create(40.1, "n0").create(41.1, "i0")
    b.upload(41.1, "v4", "n2").upload(50.1, "v4", "n3").create(80.1, "n2").create(81.3, "n3")
    b.delete(82.1, "v4").create(100.1, "i0").upload(100.1, "v7", "n4")
    return b.event(100.3, "delete_image", image_id="n4").create(130.1, "n4")


@scenario("store-only", "combined", upload=("copy", "no-op"))
def uploads_refused(upload: str) -> Builder:
    """Of volumes whose create failed or was refused: the images never exist."""
    b = Builder(*small(1), *uploaded("raw", "raw", "raw"), store={"home": "b#p0"}, upload=upload)
    b.backend("a", pools={"p0": {"max_volumes": 1}}).backend("b")
    b.create(0, "i0").create(1.1, "i0").create(2.1, "n1").create(15.1, "", "a#p0", size=3)
    b.upload(20.1, "v1", "n0").upload(21.3, "v2", "n1").upload(22.1, "v3", "n2")
    for number in range(3):
        b.create(60.1 + number, f"n{number}").event(70.1, "delete_image", image_id=f"n{number}")
    return b


@scenario(*ALL, how=("copy", "no-op", "tenant"))
def private_uploads(how: str) -> Builder:
    """Whose the image is, whose the volume: other projects do not see it, or do not clone it."""
    images = [image("n0", owner="alice"), image("n1"), image("n2", owner="bob")]
    b = Builder(*small(1), *images, store={"home": "a#p0"}, upload="copy" if how == "copy" else "no-op")
    b.scenario["cinder"] = {"image_upload_use_internal_tenant": how == "tenant"}
    b.backend("a").backend("b")
    b.storm(0, 2, "i0", project="alice").create(0.3, "i0", project="bob")
    b.upload(40.1, "v0", "n0").upload(41.3, "v1", "n1").upload(42.1, "v2", "n2")
    for number in range(9):
        project = ("alice", "bob", "carol")[number // 3]
        b.create(90.1 + 20.37 * number, f"n{number % 3}", project=project)
        b.create(91.1 + 20.37 * number, f"n{number % 3}", "b#p0", project=project)
    return b


@scenario("none", "store-only", "combined", upload=("copy", "no-op"))
def uploads_of_what_exists(upload: str) -> Builder:
    """Volumes of the start, blank ones, and an upload of a volume made of an uploaded image."""
    b = Builder(*small(1), *uploaded("raw", "raw", "raw"), store={"home": "a#p0"}, upload=upload)
    b.backend("a", dedupe=True, read_mib_s=150)
    b.initial = [
        {"kind": "volume", "volume_id": "u0", "image_id": "i0", "size_gib": 5, "host": "a#p0"},
        {"kind": "volume", "volume_id": "u1", "image_id": "", "size_gib": 7, "host": "a#p0"},
    ]
    b.upload(0, "u0", "n0").upload(1.1, "u1", "n1").create(40.1, "n0").create(41.3, "n1")
    b.upload(80.1, "v0", "n2").delete(90.1, "u0").delete(91.3, "v0")
    return b.create(120.1, "n2").create(121.3, "n0").event(140.1, "delete_image", image_id="n2")


@scenario("combined", upload=("copy", "no-op"))
def uploads_and_placement(upload: str) -> Builder:
    """The scheduler's picture counts what uploads leave on the pools."""
    b = Builder(
        *small(2),
        *uploaded("raw", "raw", "raw", gib=6),
        store={"home": "b#p0"},
        tiers={"flash": TIER},
        upload=upload,
    )
    b.backend("a", pools={"p0": {"capacity_gib": 100}, "p1": {"capacity_gib": 95}}, thin=False)
    b.backend("b", pools={"p0": {"capacity_gib": 90}}, thin=False)
    b.creates("i0 i1 i0", 20.37, "").upload(80.1, "v0", "n0").upload(81.3, "v1", "n1")
    b.upload(82.1, "v2", "n2").creates("n0 n1 n2 n0 i1", 33.37, "", start=200.1).delete(300.3, "v0")
    return b.delete(301.3, "v1").storm(400.1, 3, "n0", "")


# The hash of a no-op upload


@scenario("cache-only", "combined", multiattach=(True, False))
def hashed_upload(multiattach: bool) -> Builder:
    """`updated_at` changes when Glance has read the image: entries made before are stale then."""
    b = Builder(
        *small(1),
        *uploaded("raw", "raw", "raw", "raw", gib=3),
        **NO_OP,
        glance={"streams": 1, "stream_mib_s": 100, "do_secure_hash": True},
        tiers={"flash": {**TIER, "multiattach": multiattach}},
        cinder={"lock_scope": "node"},
    )
    b.backend("a").backend("b", node="c2").create(0, "i0").create(0.1, "i0", "b#p0")
    b.upload(40.1, "v0", "n0").create(43.3, "n0").create(44.1, "n0", "b#p0").create(60.3, "n0", "b#p0")
    b.create(90.1, "n0", "b#p0").create(140.1, "n0", "b#p0").create(190.3, "n0", "b#p0")
    b.upload(300.1, "v1", "n1").event(309.3, "delete_image", image_id="n1").create(310.1, "n1")
    b.upload(400.1, "v1", "n2").event(401.1, "delete_image", image_id="n2").create(403.1, "n2")
    return b.upload(500.1, "v0", "n3").storm(503.3, 3, "n3", "b#p0").create(580.1, "n3", "b#p0")


@scenario("none", "store-only", upload=("copy", "no-op"))
def uploaded_twice_at_once(upload: str) -> Builder:
    """The second is refused, though no step takes time; a delete of that instant waits for the first."""
    b = Builder(*small(1), *uploaded("raw", "raw", "qcow2", "raw"), glance={"streams": 1}, upload=upload)
    b.backend("a", clone_s=0, delete_s=0, convert_mib_s=None).create(0, "i0").create(0, "")
    b.upload(60, "v0", "n0").upload(60, "v0", "n1").delete(60, "v0").create(60, "n0").create(60.3, "n0")
    return b.upload(90, "v1", "n2").upload(90, "v1", "n3").create(90, "n2").create(90.3, "n2")


# Copies into a store whose image-volumes the scheduler places


@scenario("store-only", "combined", streams=(1,))
def upload_placed(streams: int | None) -> Builder:
    """Glance asks Cinder for a volume, sees it at one of its looks, and sends; creates clone it there."""
    b = Builder(
        *small(2),
        *uploaded("raw", "qcow2", "raw", "raw", gib=1.6),
        glance={"streams": streams, "stream_mib_s": 75},
        tiers={"flash": TIER, "disk": TIER},
        store={"volume_type": "disk"},
    )
    b.backend("a", read_mib_s=500).backend("b", "disk", pools={"p0": {}, "p1": {}}, create_s=3.3)
    b.create(0, "i0").create(0.3, "i1").upload(40.1, "v0", "n0").upload(40.7, "v1", "n1")
    b.upload(90.1, "v0", "n2").event(92.3, "delete_image", image_id="n2").delete(93.3, "v0")
    for number, name in enumerate(("n0", "n1", "n0", "n1")):
        for pool in range(2):
            b.create(150.1 + 60.37 * number + pool, name, f"b#p{pool}", volume_type="disk")
    return b.upload(400.1, "v1", "n3").create(450.1, "n3", "")


@scenario("combined", full=("volumes", "gib", "space", "quota"))
def upload_not_placed(full: str) -> Builder:
    """Cinder refuses the image-volume, or its create fails, or the file does not fit: no image."""
    pool = {"volumes": {"max_volumes": 1}, "gib": {"capacity_gib": 6}, "space": {"capacity_gib": 4}}
    quota = {"internal_tenant_owns_store": True, "internal_tenant_quota_gigabytes": 2}
    b = Builder(
        *small(1),
        *uploaded("raw", "qcow2", "raw", gib=3),
        tiers={"flash": TIER, "disk": TIER},
        store={"volume_type": "disk"},
        cinder=quota if full == "quota" else {},
    )
    b.backend("a", read_mib_s=500).backend(
        "b",
        "disk",
        pools={"p0": pool.get(full, {})},
        max_over_subscription_ratio=20 if full == "space" else 1,
    )
    b.create(0, "i0").create(0.4, "i0", "b#p0", size=4, volume_type="disk").upload(400.1, "v0", "n0")
    b.upload(400.3, "v0", "n2").upload(450.3, "v0", "n1").create(900.1, "n0", "", volume_type="disk")
    return b.create(910.3, "n1", "", volume_type="disk")


@scenario("combined", create_s=(0, 1.5, 299.7, 300.5, 330))
def upload_waits(create_s: float) -> Builder:
    """Glance looks first when nothing can be done yet, and gives up after 300 s; the volume stays."""
    b = Builder(
        *small(1),
        *uploaded("raw", "qcow2", gib=3),
        tiers={"flash": TIER, "disk": TIER},
        store={"volume_type": "disk"},
    )
    b.backend("a", read_mib_s=500).backend("b", "disk", create_s=create_s, max_volumes=2)
    b.create(0, "i0").upload(400.1, "v0", "n0").upload(1400.1, "v0", "n1")
    return b.create(1900.1, "n0", "", volume_type="disk").create(2500.1, "n1", "", volume_type="disk")


@scenario("combined", default=("home", "disk", "none"))
def upload_to_several_stores(default: str) -> Builder:
    """The volume's type says to which of Glance's stores its data go, and the store's type where they lie."""
    stores = {"home": {"store": {"home": "b#p1"}}, "disk": {"store": {"volume_type": "disk"}}, "none": {}}
    b = Builder(
        *small(2),
        *uploaded("raw", "qcow2", "raw", "raw", "raw", "raw", gib=1.6),
        tiers={
            "flash": {**TIER, "image_service_store_id": "fast"},
            "disk": TIER,
            "cold": {**TIER, "image_service_store_id": "slow"},
        },
        stores={"fast": {"volume_type": "flash"}, "slow": {"volume_type": "cold"}},
        upload="no-op" if default == "home" else "copy",
        **stores[default],
    )
    b.images[-1]["store_hosts"] = "c#p0"
    b.backend("a", pools={"p0": {}, "p1": {}}).backend("b", "disk", pools={"p0": {}, "p1": {}})
    b.backend("c", "cold", create_s=4.7)
    for number, (host, tier) in enumerate((("a#p1", "flash"), ("b#p0", "disk"), ("c#p0", "cold"))):
        b.create(0.3 * number, "i0", host, volume_type=tier)
    b.upload(60.1, "v0", "n0").upload(100.7, "v0", "n1").upload(140.1, "v1", "n2").upload(140.3, "v2", "n3")
    b.create(150.1, "", "a#p0", encrypted=True).upload(190.7, "v3", "n4").upload(230.1, "v0", "n5")
    places = (("a#p0", "flash"), ("", "flash"), ("b#p0", "disk"), ("b#p1", "disk"), ("", "cold"))
    for number in range(6):
        for place, tier in places:
            b.create(300.1 + 60.37 * number, f"n{number}", place, volume_type=tier)
    return b
