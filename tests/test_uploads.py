"""Uploads: what each way costs, what becomes of the image, and how what is wrong is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from properties.cases import case_of, create, image, one_pool

from sim.analysis.metrics import uploads_of
from sim.analysis.verification import difference
from sim.cinder import engine as cinder
from sim.cinder import uploads as cinder_uploads
from sim.fast import engine as fast
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.model.records import Records
from sim.workload.loading import load

ENGINES = [cinder.run, fast.run]
IMAGES = [image("base", 1), image("raw", 8), image("packed", 8, "qcow2")]
TIMES = {"clone_s": 2, "read_mib_s": 1024, "convert_mib_s": 512, "write_mib_s": 1024}

Run = Callable[[Case, str], Records]


def upload(time: float, image_id: str, volume_id: str = "v") -> dict[str, Any]:
    return {"time": time, "event": "upload", "volume_id": volume_id, "image_id": image_id}


def delete(time: float, volume_id: str = "v") -> dict[str, Any]:
    return {"time": time, "event": "delete", "volume_id": volume_id}


def case(how: str, *events: dict[str, Any], image_id: str = "base", **more: Any) -> Case:
    """A volume made at 0, then events, on one pool; Glance takes one image at a time, 1 GiB a second."""
    backend = {**TIMES, **more.pop("backend", {})}
    scenario = one_pool(**backend) | {"glance": {"streams": 1, "stream_mib_s": 1024}, "upload": how, **more}
    return case_of(scenario, IMAGES, [create(0, "v", image_id), *events])


def sources(records: Records) -> dict[str, str]:
    return dict(zip(records.requests["volume_id"], records.requests["source"], strict=True))


@pytest.mark.parametrize("run", ENGINES)
def test_a_copy_is_read_converted_and_sent(run: Run) -> None:
    """8 GiB: raw ones are read as they are sent, others read and converted first; one stream for both."""
    records = run(case("copy", create(0, "w", ""), upload(100, "raw"), upload(100, "packed", "w")), "none")
    assert (records.uploads["end"] - 100).tolist() == [8, 8 + 16 + 4]
    slow = case("copy", upload(100, "raw"), backend={"read_mib_s": 512})
    assert run(slow, "none").uploads["end"].tolist() == [100 + 16]


@pytest.mark.parametrize("run", ENGINES)
@pytest.mark.parametrize("strategy", ["none", "combined"])
def test_a_no_op_is_a_clone_that_the_store_clones_on(run: Run, strategy: str) -> None:
    records = run(case("no-op", upload(100, "raw"), create(200, "w", "raw")), strategy)
    assert records.uploads["end"].tolist() == [102]
    assert sources(records)["w"] == ("store" if strategy == "combined" else "download")
    stored = records.volumes[records.volumes["kind"] == "store"]
    assert stored["size_gib"].tolist() == [8]


@pytest.mark.parametrize("run", ENGINES)
@pytest.mark.parametrize(
    ("how", "strategy", "source"),
    [
        ("copy", "combined", "download"),
        ("no-op", "combined", "download"),
        ("raw-twin-location", "combined", "store"),
        ("raw-twin-location", "cache-only", "download"),
        ("raw-twin-cache", "combined", "cache"),
        ("raw-twin-cache", "store-only", "download"),
    ],
)
def test_twins_turn_creates_of_other_formats_into_clones(
    run: Run, how: str, strategy: str, source: str
) -> None:
    records = run(case(how, upload(100, "packed"), create(200, "w", "packed")), strategy)
    assert sources(records)["w"] == source
    row = uploads_of(records, strategy).iloc[0]
    assert (row["later_creates"], row["later_clones"]) == (1, int(source != "download"))


@pytest.mark.parametrize("run", ENGINES)
@pytest.mark.parametrize("how", ["raw-twin-location", "raw-twin-cache"])
def test_while_its_twin_is_made_a_volume_is_not_uploaded_again(run: Run, how: str) -> None:
    """A copy of 8 + 16 + 4 s, then a clone of 2 s."""
    records = run(case(how, upload(100, "packed"), upload(129, "raw")), "combined")
    assert records.uploads["error"].tolist() == ["", "InvalidVolume"]
    assert records.uploads["end"].tolist() == [100 + 8 + 16 + 4 + 2, 129]


def test_a_twin_in_the_cache_must_not_be_bootable() -> None:
    """Else what is cloned from it gets the metadata of the image that the volume was made from, and fails."""
    made_from_image = case("raw-twin-cache", upload(100, "packed"), create(200, "w", "packed"))

    def as_a_fill_makes_it(manager: Any, volume: Any, image_id: str, image_meta: dict[str, Any]) -> None:
        context = cinder_uploads.cinder.context.get_internal_tenant_context()
        manager._create_image_cache_volume_entry(context, volume, image_id, image_meta)

    with patch.object(cinder_uploads, "_fill", as_a_fill_makes_it):
        error = cinder.run(made_from_image, "cache-only").requests["error"].iloc[-1]
    assert error.startswith("MetadataCopyFailure")
    assert cinder.run(made_from_image, "cache-only").requests["source"].iloc[-1] == "cache"


@pytest.mark.parametrize("run", ENGINES)
def test_a_full_quota_of_the_tenant_fails_a_no_op(run: Run) -> None:
    """`_clone_image_volume` asks for it outside of what it catches: nothing falls back to a copy."""
    options = {"image_upload_use_internal_tenant": True, "internal_tenant_quota_volumes": 0}
    records = run(case("no-op", upload(100, "raw"), create(200, "w", "raw"), cinder=options), "combined")
    assert records.uploads[["status", "error"]].values.tolist() == [["error", "OverQuota"]]
    assert records.requests["error"].iloc[-1].startswith("ImageNotFound")


@pytest.mark.parametrize("run", ENGINES)
def test_a_no_op_without_a_place_falls_back_to_a_copy(run: Run) -> None:
    records = run(case("no-op", upload(100, "raw"), backend={"max_volumes": 1}), "combined")
    assert records.uploads["end"].tolist() == [108]
    assert (records.volumes["kind"] == "user").all()


@pytest.mark.parametrize("run", ENGINES)
def test_an_image_is_there_when_its_upload_is_over(run: Run) -> None:
    events = [create(99, "early", "raw"), upload(100, "raw"), create(104, "saving", "raw")]
    records = run(case("copy", *events, create(109, "late", "raw")), "none")
    assert list(sources(records).values()) == ["download", "none", "none", "download"]
    assert records.requests["error"].str.partition(":")[0].tolist()[1:3] == ["ImageNotFound", "InvalidInput"]


@pytest.mark.parametrize("run", ENGINES)
def test_what_comes_during_an_upload_waits_or_is_refused(run: Run) -> None:
    """Deletes wait for its end, an upload for the create's; a second one is refused."""
    gone = {"time": 102, "event": "delete_image", "image_id": "raw"}
    records = run(case("copy", upload(0, "raw"), upload(1, "packed"), delete(1), gone | {"time": 2}), "none")
    assert records.uploads["error"].tolist() == ["", "InvalidVolume"]
    assert records.uploads["end"].tolist() == [2 + 8, 1]  # the create takes two seconds
    assert records.volumes.empty
    for begun, unwanted in (
        (100, 102),
        (0, 1),
        (0, 2),
    ):  # under way; its volume not there yet, and just there
        events = [upload(begun, "raw"), gone | {"time": unwanted}]
        late = run(case("copy", *events, create(200, "w", "raw")), "none")
        assert late.uploads["error"].tolist() == [""]
        assert late.requests["error"].iloc[-1].startswith("ImageNotFound")


@pytest.mark.parametrize("run", ENGINES)
def test_a_delete_of_an_image_that_never_came_is_over_with_its_upload(run: Run) -> None:
    """The volume does not fit, which it shows after a second."""
    gone = {"time": 0.5, "event": "delete_image", "image_id": "raw"}
    full = {"backend": {"pools": {"p0": {"capacity_gib": 0.5}}}}
    records = run(case("copy", upload(0, "raw"), gone, create(200, "w", "raw"), **full), "none")
    assert records.uploads["error"].tolist() == ["InvalidVolume"]
    assert records.requests["error"].iloc[-1].startswith("ImageNotFound")


@pytest.mark.parametrize("run", ENGINES)
def test_the_store_keeps_what_is_copied_or_refuses_it(run: Run) -> None:
    store = {"store": {"home": "a#p0"}}
    kept = run(case("copy", upload(100, "raw"), create(200, "w", "raw"), **store), "store-only")
    assert sources(kept)["w"] == "store"
    full = run(case("copy", upload(100, "raw"), backend={"max_volumes": 3}, **store), "store-only")
    assert full.uploads["error"].tolist() == ["VolumeBackendAPIException"]
    assert full.uploads["end"].tolist() == [100]


@pytest.mark.parametrize("run", ENGINES)
@pytest.mark.parametrize(("how", "second"), [("copy", ""), ("no-op", "ManagedObjectNotFoundError")])
def test_an_encrypted_volume_becomes_raw_images_and_after_a_no_op_no_other(
    run: Run, how: str, second: str
) -> None:
    """`_volume_upload_image` refuses other formats; `_rekey_volume` deletes the key of the clone's source."""
    events = [create(1, "w", "base", encrypted=True), upload(100, "packed", "w"), upload(101, "raw", "w")]
    again = [image("other", 8), *IMAGES]
    scenario = one_pool(**TIMES) | {"upload": how}
    records = run(case_of(scenario, again, [*events, upload(200, "other", "w")]), "combined")
    assert records.uploads["error"].tolist() == ["HTTPBadRequest", "", second]


@pytest.mark.parametrize("run", ENGINES)
def test_of_an_encrypted_volume_the_cache_gets_no_twin(run: Run) -> None:
    events = [create(1, "w", "base", encrypted=True), upload(100, "raw", "w"), create(200, "x", "raw")]
    records = run(case("raw-twin-cache", *events), "cache-only")
    assert sources(records)["x"] == "download"


@pytest.mark.parametrize("how", ["copy", "no-op", "raw-twin-location", "raw-twin-cache"])
def test_generated_uploads_of_encrypted_volumes(tmp_path: Path, how: str) -> None:
    generate = "duration: 2d, creates_per_day: 200, raw_share: 1, encrypted_share: 0.3, uploads_per_day: 40"
    path = tmp_path / "s.yaml"
    backend = "{volume_type: t, pools: {p: {}}}"
    workload = f"workload: {{generate: {{{generate}}}}}\nupload: {how}"
    path.write_text(f"tiers: {{t: {{}}}}\nbackends: {{a: {backend}}}\n{workload}\n")
    generated = load(path)
    light, compiled = (run(generated, "combined") for run in ENGINES)
    assert difference(light, compiled) is None
    events = generated.trace.events
    secret = set(events.loc[events["encrypted"], "volume_id"])
    assert light.uploads["volume_id"].isin(secret).sum() > 10
    lost = light.uploads["error"] == "ManagedObjectNotFoundError"
    assert lost.any() == (how in ("no-op", "raw-twin-location"))
    assert set(light.uploads.loc[lost, "volume_id"]) <= secret


def test_an_upload_may_go_to_many_pools() -> None:
    """More than one event of engine `fast` had room for: it wrote beyond its arrays."""
    many = {"backends": {"a": {"volume_type": "flash", "pools": {f"p{n}": {} for n in range(300)}}}}
    images = [image("base"), *(image(f"new{n}") for n in range(20))]
    events = [create(0, "v", "base"), *(upload(1.0 + n, f"new{n}") for n in range(20))]
    case = case_of(many, images, events)
    records = fast.run(case, "replicated-store")
    assert (records.volumes["kind"] == "store").sum() == 300 * len(images)
    assert difference(cinder.run(case, "replicated-store"), records) is None


def scenario(folder: Path, trace: str) -> Path:
    """A scenario with a private image of project alice, and a trace."""
    rows = "image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes,owner\n"
    folder.joinpath("images.csv").write_text(rows + "i,i,raw,bare,1,1,\nj,j,raw,bare,1,1,alice\n")
    columns = "time,event,volume_id,image_id,size_gib,volume_type,host,project,encrypted\n"
    folder.joinpath("trace.csv").write_text(columns + trace)
    path = folder / "s.yaml"
    backend = "{volume_type: t, pools: {p: {}}}"
    workload = "workload: {trace: trace.csv}"
    path.write_text(f"tiers: {{t: {{}}}}\nbackends: {{a: {backend}}}\nimages: images.csv\n{workload}\n")
    return path


def test_every_wrong_upload_is_told(tmp_path: Path) -> None:
    trace = (
        "0,upload,v,i,,,,,\n0,create,v,,1,t,,,\n0,create,s,,1,t,,,true\n1,upload,s,i,,,,,\n1,upload,,j,,,,,\n"
        "1,upload,v,,,,,,\n2,delete,v,,,,,,\n3,upload,v,j,,,,,\n4,upload,v,k,,,,,\n"
    )
    with pytest.raises(BadInput) as raised:
        load(scenario(tmp_path, trace))
    text = "\n".join(raised.value.problems)
    for told in (
        "upload of volume 'v', which does not exist yet",
        "upload of volume 'v', which is deleted",
        "image 'i' is uploaded a second time",
        "image 'j' is uploaded a second time",
        "a create, delete or upload needs a volume_id",
        "an event of an image needs an image_id",
        "unknown image 'k'",
    ):
        assert told in text, text


def test_what_is_uploaded_is_not_cached_before(tmp_path: Path) -> None:
    path = scenario(tmp_path, "0,create,v,i,1,t,,alice,\n1,upload,v,j,,,,,\n")
    columns = "kind,volume_id,image_id,size_gib,host,last_used\n"
    tmp_path.joinpath("initial.csv").write_text(f"{columns}volume,w,j,1,a#p,\ncache,,i,1,a#p,-1\n")
    path.write_text(path.read_text().replace("trace.csv}", "trace.csv, initial: initial.csv}"))
    load(path)
    tmp_path.joinpath("initial.csv").write_text(f"{columns}cache,,j,1,a#p,-1\n")
    with pytest.raises(BadInput, match="upload of image 'j', which is cached at the start"):
        load(path)


def test_private_images_are_uploaded_by_their_owner(tmp_path: Path) -> None:
    good = "0,create,v,,1,t,,alice,\n1,upload,v,j,,,,,\n"
    load(scenario(tmp_path, good))
    with pytest.raises(BadInput, match="image 'j' belongs to 'alice'"):
        load(scenario(tmp_path, good.replace("alice", "bob")))
