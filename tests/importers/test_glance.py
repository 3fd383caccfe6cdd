"""Reading images out of a real Glance, through openstacksdk."""

from __future__ import annotations

import gzip
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sim.importers import glance
from sim.importers.notes import Note
from sim.inputs.problems import Problems
from tests.importers.glance_server import Server, running

PAGE = 5  # images that Glance lists at once, at most
KIB = 2**10
GIB = 2**30


def qcow2(virtual_bytes: int) -> bytes:
    """An empty qcow2 file (version 2): a header, an L1 table, a refcount table and one refcount block."""
    cluster = 2**16
    header = struct.pack(
        ">4sIQIIQIIQQIIQ",
        *(b"QFI\xfb", 2, 0, 0, 16, virtual_bytes, 0, 1, cluster, 2 * cluster, 1, 0, 0),
    )
    blocks = [header, b"", struct.pack(">Q", 3 * cluster), struct.pack(">4H", 1, 1, 1, 1)]
    return b"".join(block.ljust(cluster, b"\0") for block in blocks)


RAW = os.urandom(3 * KIB)
QCOW2 = qcow2(5 * GIB)
# Name: data, what is said of it, its virtual size.
IMAGES: dict[str, tuple[bytes, dict[str, Any], int | None]] = {
    "public": (RAW, {"visibility": "public"}, len(RAW)),
    "mine": (RAW * 2, {"visibility": "private", "owner": "p1"}, 2 * len(RAW)),
    "theirs": (QCOW2, {"visibility": "private", "owner": "p2", "disk_format": "qcow2"}, 5 * GIB),
    "shared": (QCOW2, {"visibility": "shared", "owner": "p2", "disk_format": "qcow2"}, 5 * GIB),
    "community": (RAW, {"visibility": "community", "owner": "p2"}, len(RAW)),
    "hidden": (RAW, {"visibility": "public", "os_hidden": True}, len(RAW)),
    "deactivated": (RAW, {"visibility": "public"}, len(RAW)),
    "compressed": (
        gzip.compress(QCOW2),
        {"visibility": "public", "disk_format": "qcow2", "container_format": "compressed"},
        None,
    ),
    "in cinder": (RAW, {"visibility": "public"}, len(RAW)),
    "in two stores": (RAW, {"visibility": "public"}, len(RAW)),
    "nameless": (RAW, {"visibility": "public", "name": None}, len(RAW)),
}
STORED = {
    "in cinder": ["cinder://9d5e0f6c-0001"],
    "in two stores": ["file:///x", "cinder://fast/9d5e0f6c-0002", "cinder://slow/9d5e0f6c-0003"],
}
VOLUMES = {"in cinder": ["9d5e0f6c-0001"], "in two stores": ["9d5e0f6c-0002", "9d5e0f6c-0003"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("glance") / "server", api_limit_max=PAGE) as server:
        yield server


@pytest.fixture(scope="module")
def images(server: Server) -> dict[str, str]:
    """Puts the images into Glance; their ids by name."""
    ids = {name: server.image(data, **{"name": name, **fields}) for name, (data, fields, _) in IMAGES.items()}
    server.ask("POST", f"/images/{ids['deactivated']}/actions/deactivate")
    server.ask("POST", f"/images/{ids['shared']}/members", {"member": "p1"})
    for name, urls in STORED.items():
        server.locate(ids[name], *urls, store="fast")
    ids["queued"] = server.image(name="queued", visibility="public")
    return ids


@pytest.fixture
def clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes clouds.yaml, and has the SDK find it."""
    path = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    def write(text: str = "", **entries: Any) -> Path:
        path.write_text(text or yaml.safe_dump({"clouds": entries}))
        return path

    return write


def entry(url: str, token: str = "admin:ops") -> dict[str, Any]:
    return {"auth_type": "admin_token", "auth": {"endpoint": f"{url}/v2", "token": token}}


def read(cloud: str) -> tuple[pd.DataFrame, list[Note]]:
    problems = Problems()
    result = glance.read(cloud, problems)
    assert problems.lines() == []
    assert result is not None
    return result


def refused(cloud: str) -> str:
    """What is wrong, in one line."""
    problems = Problems()
    assert glance.read(cloud, problems) is None
    (line,) = problems.lines()
    assert "\n" not in line
    return line


def noted(notes: list[Note], kind: str) -> str:
    return "\n".join(note.text for note in notes if note.kind == kind)


class TestWhatIsRead:
    def test_exactly_what_was_put_in(self, server: Server, images: dict[str, str], clouds: Any) -> None:
        clouds(mine=entry(server.url))
        table, _ = read("mine")
        table = table.set_index("image_id")
        assert sorted(table.index) == sorted(images[name] for name in IMAGES)
        for name, (data, fields, virtual_bytes) in IMAGES.items():
            row = table.loc[images[name]]
            shown = server.ask("GET", f"/images/{images[name]}")
            assert row["name"] == ("" if name == "nameless" else name)
            assert row["status"] == ("deactivated" if name == "deactivated" else "active")
            assert row["disk_format"] == fields.get("disk_format", "raw")
            assert row["container_format"] == fields.get("container_format", "bare")
            assert row["size_bytes"] == len(data)
            assert pd.isna(row["virtual_size_bytes"]) == (virtual_bytes is None)
            assert virtual_bytes is None or row["virtual_size_bytes"] == virtual_bytes
            assert row["visibility"] == fields["visibility"]
            assert row["owner"] == fields.get("owner", "ops")
            assert row["created_at"] == pd.Timestamp(shown["created_at"])
            assert row["updated_at"] == pd.Timestamp(shown["updated_at"])

    def test_types(self, server: Server, images: dict[str, str], clouds: Any) -> None:
        clouds(mine=entry(server.url))
        table, _ = read("mine")
        assert table.dtypes.astype(str).to_dict() == glance.COLUMNS

    def test_more_images_than_a_page_has(self, server: Server, images: dict[str, str], clouds: Any) -> None:
        assert len(IMAGES) > 2 * PAGE
        clouds(mine=entry(server.url))
        table, _ = read("mine")
        assert table["image_id"].is_unique
        assert len(table) == len(IMAGES)

    def test_no_images(self, tmp_path: Path, clouds: Any) -> None:
        with running(tmp_path / "server") as empty:
            clouds(empty=entry(empty.url))
            table, notes = read("empty")
        assert len(table) == 0
        assert table.dtypes.astype(str).to_dict() == glance.COLUMNS
        assert "0 images" in noted(notes, "read")


class TestNotes:
    def test_what_was_read_and_what_is_left_out(
        self, server: Server, images: dict[str, str], clouds: Any
    ) -> None:
        clouds(mine=entry(server.url))
        _, notes = read("mine")
        assert "11 images (8 raw, 3 qcow2)" in noted(notes, "read")
        assert "1 queued" in noted(notes, "read")

    def test_virtual_sizes_that_are_missing(
        self, server: Server, images: dict[str, str], clouds: Any
    ) -> None:
        clouds(mine=entry(server.url))
        _, notes = read("mine")
        (missing,) = [note.text for note in notes if "virtual size" in note.text]
        assert "of compressed (" in missing
        assert "qemu-img info" in missing

    def test_images_of_others_are_shown_to_admins_only(
        self, server: Server, images: dict[str, str], clouds: Any
    ) -> None:
        members = {name: entry(server.url, f"member:{name}") for name in ("p1", "p3")}
        clouds(admin=entry(server.url), **members)
        everything, notes = read("admin")
        assert "only admins" not in noted(notes, "unknown")
        some, notes = read("p1")
        assert set(everything["image_id"]) - set(some["image_id"]) == {images["theirs"]}
        assert "only project p1 has private images" in noted(notes, "unknown")
        _, notes = read("p3")
        assert "no project has private images" in noted(notes, "unknown")


class TestPlaces:
    """Volumes that hold images, out of every way in which Glance may tell them."""

    def volumes(self, cloud: str, images: dict[str, str]) -> dict[str, list[str]]:
        table, _ = read(cloud)
        names = {image_id: name for name, image_id in images.items()}
        volumes = zip(table["image_id"], table["store_volumes"], strict=True)
        return {names[image_id]: found for image_id, found in volumes if found}

    @pytest.mark.parametrize(
        ("options", "token", "expected", "unknown"),
        [
            ({"show_multiple_locations": True}, "member:p1", VOLUMES, []),
            ({"enabled_backends": ""}, "admin:ops", VOLUMES, []),
            ({}, "member:p1", {}, ["9 images (their stores: fast, files)"]),
            (
                {"show_image_direct_url": True},
                "member:p1",
                {"in cinder": VOLUMES["in cinder"]},
                ["1 images (their stores: fast)"],
            ),
            ({}, "admin:ops", {}, []),
        ],
        ids=["listed", "asked for", "may not be asked for", "the first only", "no Cinder store"],
    )
    def test_as_far_as_glance_says(
        self,
        server: Server,
        images: dict[str, str],
        clouds: Any,
        options: dict[str, Any],
        token: str,
        expected: dict[str, list[str]],
        unknown: list[str],
    ) -> None:
        with running(server.folder, **options) as other:
            clouds(other=entry(other.url, token))
            assert self.volumes("other", images) == expected
            _, notes = read("other")
        silent = [note.text for note in notes if "does not show all locations" in note.text]
        assert [text.partition(": if")[0] for text in silent] == [
            f"Glance does not show all locations of {text}" for text in unknown
        ]


class TestProblems:
    def test_openstacksdk_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openstack", None)
        assert "pip install 'cinder-cache-planner[openstack]'" in refused("mine")

    def test_unknown_cloud(self, clouds: Any) -> None:
        clouds(mine=entry("http://127.0.0.1:1"))
        assert "Glance of cloud yours: is not in clouds.yaml" in refused("yours")

    def test_no_server(self, clouds: Any) -> None:
        clouds(mine=entry("http://127.0.0.1:1"))
        assert "http://127.0.0.1:1" in refused("mine")

    @pytest.mark.parametrize(
        ("token", "expected"), [("nobody", "(401)"), ("guest:p1", "(403)")], ids=["401", "403"]
    )
    def test_refused(self, server: Server, clouds: Any, token: str, expected: str) -> None:
        clouds(mine=entry(server.url, token))
        line = refused("mine")
        assert expected in line
        assert token not in line

    def test_something_else_answers(self, server: Server, clouds: Any) -> None:
        clouds(mine=entry(server.url + "/nosuch"))
        assert "Glance" in refused("mine")

    @pytest.mark.parametrize(
        "text",
        [
            "clouds: {mine: {auth: {password: *hunter2}}}",
            "clouds: {mine: {auth: {password: !hunter2 x}}}",
            "clouds: {mine: {auth: {password: hunter2",
            "clouds: [hunter2]",
            "- hunter2",
            "hunter2",
            "clouds: {mine: hunter2}",
            "clouds: {mine: {auth: hunter2}}",
            "clouds: {mine: {auth_type: hunter, auth: {password: hunter2}}}",
            "clouds: {mine: {auth_type: password, auth: {password: hunter2}}}",
            "clouds: {mine: {auth_type: password, auth: {auth_url: 'http://u:hunter2@127.0.0.1:1'}}}",
            "clouds: {mine: {auth: {auth_url: 'http://127.0.0.1:1/{hunter2}', password: x}}}",
            "clouds: {mine: {region_name: '{hunter2}', auth: {auth_url: 'http://127.0.0.1:1'}}}",
        ],
    )
    def test_bad_clouds_yaml_and_no_password_shown(
        self, clouds: Any, text: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        clouds(text)
        shown = refused("mine") + "".join(capfd.readouterr()) + caplog.text
        assert "hunter2" not in shown

    def test_where_clouds_yaml_is_broken(self, clouds: Any) -> None:
        path = clouds("clouds:\n  mine: {auth: {password: *hunter2}}\n")
        assert refused("mine") == f"{path}: line 2, column 27: is not valid YAML"

    def test_a_password_in_what_the_sdk_says(self, clouds: Any) -> None:
        url = "http://127.0.0.1:1/hunter2"
        auth = {"auth_url": url, "username": "u", "password": "hunter2", "project_name": "p"}
        clouds(mine={"auth_type": "password", "auth": auth})
        assert "hunter2" not in refused("mine")
        clouds(mine={"auth_type": "password", "auth": {**auth, "password": "other"}})
        assert "hunter2" in refused("mine")
