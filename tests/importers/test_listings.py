"""Images, pools and volumes out of files that clients and APIs write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

import sim
from sim.cli import app
from sim.importers import image_files, pool_files, volume_files
from sim.inputs.problems import Problems

CACHED = "0b5bd8b1-5a8a-4c0e-8a0e-000000000001"
STORED = "0b5bd8b1-5a8a-4c0e-8a0e-000000000002"
IMAGE = {
    "image_id": "im1",
    "image_name": "deb",
    "size": "1073741824",
    "disk_format": "qcow2",
    "container_format": "bare",
}
CONF = """
[DEFAULT]
enabled_backends = a, b
host = c1
cinder_internal_tenant_project_id = internal
cinder_internal_tenant_user_id = internal
[a]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_backend_name = other
[b]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_backend_name = disk
"""


def volume(number: int, **values: Any) -> dict[str, Any]:
    return {
        "id": f"v{number}", "name": "", "status": "in-use", "size": 10, "volume_type": "gold",
        "created_at": f"2026-03-01T00:0{number}:00.000000", "source_volid": None, "snapshot_id": None,
        "os-vol-host-attr:host": "c1@a#real", "os-vol-tenant-attr:tenant_id": "p", "encrypted": False,
        "metadata": {}, "bootable": "true", "volume_image_metadata": IMAGE, **values,
    }  # fmt: skip


VOLUMES = [
    volume(1),
    volume(2, source_volid="v1"),
    volume(3, volume_image_metadata={}, volume_type=None, encrypted=True),
    volume(4, status="creating"),
    volume(5, name=f"image-{CACHED}", size=3, **{"os-vol-tenant-attr:tenant_id": "internal"}),
    volume(6, name=f"image-{STORED}", metadata={"glance_image_id": STORED, "image_owner": "p"}),
    volume(7, **{"os-vol-host-attr:host": "c1@b"}),
]


def pool(host: str, **values: Any) -> dict[str, Any]:
    told = {
        "total_capacity_gb": 1000.5, "free_capacity_gb": "600", "max_over_subscription_ratio": "10.0",
        "reserved_percentage": 5, "thin_provisioning_support": True, "volume_backend_name": "flash", **values,
    }  # fmt: skip
    return {"name": host, "capabilities": told}


POOLS = [
    pool("c1@a#real"),
    pool("c1@b#disk", total_capacity_gb="infinite", thin_provisioning_support="False"),
]
KEYS = [("c1@a#real", 1000.5, True, 10.0, 5, "flash"), ("c1@b#disk", float("inf"), False, 10.0, 5, "flash")]


def properties(pools: list[dict[str, Any]]) -> str:
    """As `cinder get-pools --detail` prints them."""
    rule, text = f"+{'-' * 32}+{'-' * 20}+\n", ""
    for one in pools:
        rows = sorted({"name": one["name"], **one["capabilities"]}.items())
        lines = "".join(f"| {key:<30} | {value!s:<18} |\n" for key, value in [("Property", "Value"), *rows])
        text += rule + lines.replace("Value              |\n", "Value              |\n" + rule, 1) + rule
    return text


def written(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def lines(reader: Any, path: Path, *more: Any) -> list[str]:
    problems = Problems()
    assert reader.read(path, *more, problems) is None
    return problems.lines()


@pytest.mark.parametrize("form", [{"pools": POOLS}, POOLS, properties(POOLS)])
def test_pools(form: Any, tmp_path: Path) -> None:
    found = pool_files.read(written(tmp_path / "pools", form), Problems())
    assert found is not None
    assert [
        (one.host, one.capacity_gib, one.thin, one.max_over_subscription_ratio, one.reserved_percentage,
         one.volume_backend_name) for one in found.pools
    ] == KEYS  # fmt: skip


def test_pools_of_the_other_client(tmp_path: Path) -> None:
    titles = ["Name", "Protocol", "Thick", "Thin", "Volumes", "Capacity", "Allocated", "Max Over Ratio"]
    values = ["c1@a#real", "iSCSI", False, True, 3, 100.0, 30, "10.0"]
    rows = [" | ".join(map(str, row)) for row in (titles, values)]
    for form in (
        [dict(zip(titles, values, strict=True))],
        f"+--+\n| {rows[0]} |\n+--+\n| {rows[1]} |\n+--+\n",
    ):
        found = pool_files.read(written(tmp_path / "pools", form), Problems())
        assert found is not None
        (one,) = found.pools
        assert (one.capacity_gib, one.thin, one.max_over_subscription_ratio) == (100, True, 10)


def test_images(tmp_path: Path) -> None:
    """Two clients' titles of one column, and the API's answer on two pages."""
    row = {
        "ID": "i",
        "Name": "deb",
        "Disk Format": "qcow2",
        "Container Format": "bare",
        "Size": 5,
        "Status": "active",
    }
    queued = {**row, "ID": "j", "Size": None, "Disk Format": None, "Status": "queued"}
    for owner in ("Project", "Owner"):
        client = written(tmp_path / "images", [{**row, "Visibility": "private", owner: "p"}, queued])
        found = image_files.read(client, Problems())
        assert found is not None
        table, notes = found
        assert table[["image_id", "size_bytes", "owner"]].to_numpy().tolist() == [["i", 5, "p"]]
        assert table["virtual_size_bytes"].isna().all() and "no virtual sizes" in notes[2].text
        assert not table["virtual_size_unknown"].any()  # Glance may know it
    api = {
        "id": "i", "name": None, "disk_format": "raw", "container_format": "bare", "size": 5,
        "virtual_size": 7, "status": "active", "owner": "p", "visibility": "public",
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:01Z",
        "locations": [{"url": "cinder://store/vol", "metadata": {}}],
    }  # fmt: skip
    pages = f"{json.dumps({'images': [api], 'next': '/v2'})}\n{json.dumps({'images': [{**api, 'id': 'k'}]})}"
    found = image_files.read(written(tmp_path / "images", pages), Problems())
    assert found is not None
    table = found[0]
    assert list(table["image_id"]) == ["i", "k"] and list(table["virtual_size_bytes"]) == [7, 7]
    assert not table["virtual_size_unknown"].any()
    assert table["min_disk"].isna().all()
    null = {**api, "virtual_size": None, "min_disk": 9}
    found = image_files.read(written(tmp_path / "images", {"images": [null]}), Problems())
    assert found is not None
    assert found[0][["virtual_size_unknown", "min_disk"]].to_numpy().tolist() == [[True, 9]]
    assert table["store_volumes"].tolist() == [["vol"], ["vol"]]
    assert table["updated_at"][0] == pd.Timestamp("2026-01-01T00:00:01Z")


def test_volumes(tmp_path: Path) -> None:
    listing = volume_files.read(written(tmp_path / "v", {"volumes": VOLUMES}), "internal", Problems())
    assert listing is not None
    told = listing.joined(None, None, None)
    assert told is not None
    columns = ["volume_id", "image_id", "volume_type", "host", "encrypted"]
    assert told.events[columns].to_numpy().tolist() == [
        ["v1", "im1", "gold", "c1@a#real", False],
        ["v2", "", "gold", "c1@a#real", False],
        ["v3", "", "__DEFAULT__", "c1@a#real", True],
        ["v7", "im1", "gold", "c1@b#_pool0", False],
    ]
    later = listing.joined(None, pd.Timestamp("2026-03-01T00:02:30Z"), None)
    assert later is not None and later.initial is not None
    assert list(later.events["volume_id"]) == ["v3", "v7"] and list(later.initial["volume_id"]) == [
        "v1",
        "v2",
    ]


def test_all_of_a_cloud(tmp_path: Path) -> None:
    """Pools have their real names, capacities and kinds; what they report matches them with types."""
    out = tmp_path / "out"
    result = run(
        "import", "--out", out, "--conf", written(tmp_path / "cinder.conf", CONF),
        "--volumes", written(tmp_path / "volumes", VOLUMES),
        "--pools", written(tmp_path / "pools", {"pools": POOLS}),
        "--images", written(tmp_path / "images", [{**IMAGE, "id": "im1", "name": "deb", "status": "active"}]),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    case = sim.load(out / "scenario.yaml")
    a, b = case.scenario.backends["a"], case.scenario.backends["b"]
    assert [*a.pools, *b.pools] == ["real", "disk"]
    assert (a.pools["real"].capacity_gib, b.pools["disk"].capacity_gib) == (1000.5, None)
    assert (a.thin, b.thin, a.max_over_subscription_ratio, a.reserved_percentage) == (True, False, 10, 5)
    assert "volumes deleted since" in " ".join(result.stdout.split())
    assert run("validate", out / "scenario.yaml").exit_code == 0


def test_a_list_without_times_is_no_history(tmp_path: Path) -> None:
    row = {"ID": "v1", "Name": "a", "Status": "available", "Size": 10, "Type": "gold", "Bootable": "true",
           "Attached to": [], "Properties": {}}  # fmt: skip
    result = run("import", "--out", tmp_path / "out", "--volumes", written(tmp_path / "v", [row]))
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert (
        "1 volumes of 10 GiB (1 gold)" in text
        and "so they make no history" in text
        and "workload: generated" in text
    )
    assert run("validate", tmp_path / "out" / "scenario.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("reader", "content", "told"),
    [
        (pool_files, {"pools": [{"name": "c1@a#p"}]}, "has no capacity: list pools with --detail"),
        (pool_files, {"volumes": []}, "not a list of pools; accepted: cinder get-pools --detail"),
        (pool_files, {"pools": []}, "has no pool; accepted"),
        (pool_files, [pool("p", total_capacity_gb=1)], "must be host@backend#pool"),
        (
            pool_files,
            [pool("c1@a#p", total_capacity_gb="much")],
            "entry 1, pool 'c1@a#p': has a value that cannot be used: 'much'",
        ),
        (image_files, [{"ID": "i", "Name": "n", "Status": "active"}], "list images with --long"),
        (image_files, "id,name\n", "is not valid JSON; accepted: openstack image list --long"),
        (
            image_files,
            [{"ID": "i", "Disk Format": "raw", "Size": "big"}],
            "entry 1, image 'i': has a value that cannot be used: 'big'",
        ),
        (volume_files, {"images": []}, "not a list of volumes; accepted: JSON of the volumes API"),
        (volume_files, [{"ID": "v", "Size": "big"}], "is not a volume in the form of Cinder's API"),
        (volume_files, [volume(1, status="error")], "has no volume that exists"),
    ],
)
def test_what_is_refused(reader: Any, content: Any, told: str, tmp_path: Path) -> None:
    path = written(tmp_path / "file", content)
    more = ["internal"] if reader is volume_files else []
    (line,) = lines(reader, path, *more)
    assert line.startswith(str(path)) and told in line
    assert lines(reader, tmp_path / "missing", *more) == [
        f"{tmp_path / 'missing'}: No such file or directory"
    ]
