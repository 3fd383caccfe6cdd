"""What sources tell becomes one scenario: names of hosts, volume types, limits, images."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import sim
from sim.importers.assembly import NO_SERVICES, assemble
from sim.importers.cloud import Placement, Sources
from sim.importers.configuration import read
from sim.importers.names import places
from sim.importers.settings import Configuration
from sim.importers.writing import write
from sim.inputs.problems import Problems
from sim.workload.loading import load

SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
GIB = 2**30
IMAGE = {"name": "i", "disk_format": "qcow2", "container_format": "bare", "store_hosts": [], "creates": 1}


def conf(path: Path, text: str) -> Configuration:
    path.write_text(text)
    found = read([path], Problems())
    assert found is not None
    return found


def history(events: list[dict[str, Any]], images: list[dict[str, Any]], **tables: Any) -> Any:
    """A history as the database's reader gives it, of events with few columns."""
    columns = ["time", "event", "volume_id", "image_id", "size_gib", "volume_type", "host", "project"]
    blank = {"image_id": "", "size_gib": 0, "volume_type": "", "host": "", "project": "p", "encrypted": False}
    blank["availability_zone"] = ""
    rows = pd.DataFrame([{**blank, "create_s": 3.0, **event} for event in events])
    rows["time"] = pd.to_datetime(rows["time"], unit="s", utc=True, origin="2026-01-01")
    made = rows[rows["event"] == "create"]
    gone = rows[rows["event"] == "delete"].set_index("volume_id")["time"]
    used = made[["project", "host", "volume_type", "size_gib"]].assign(
        made=made["time"], gone=gone.reindex(made["volume_id"]).array
    )
    given = {
        "since": SINCE,
        "until": UNTIL,
        "images": pd.DataFrame([{**IMAGE, **image} for image in images]),
        "volume_types": pd.DataFrame(columns=["volume_type", "volume_backend_name", "encrypted", "thick"]),
        "placements": made.groupby(["host", "volume_type"]).size().rename("volumes").reset_index(),
        "clusters": pd.DataFrame(columns=["host", "cluster"]),
        "services": NO_SERVICES,
        "initial": pd.DataFrame(
            columns=["kind", "volume_id", "image_id", "size_gib", "host", "last_used", "project"]
        ),
        "quotas": {},
        "default_quotas": {},
        "user_quotas": {},
        "zones": {},
        "stored": pd.DataFrame(columns=["image_id", "host", "volume_type"]),
        "fills": pd.DataFrame(columns=["host", "image_id"]),
        "entries": pd.DataFrame(columns=["host", "image_id"]),
        "notes": [],
        "usage": lambda: used,
        "batches": lambda _rows: iter([rows[[*columns, "encrypted", "availability_zone", "create_s"]]]),
    }
    return SimpleNamespace(**{**given, **tables})


def create(volume_id: str, host: str, image_id: str = "i", **more: Any) -> dict[str, Any]:
    event = {"time": 60, "event": "create", "volume_id": volume_id, "image_id": image_id, "size_gib": 5}
    return {**event, "host": host, "volume_type": "flash", **more}


def glance(**image: Any) -> pd.DataFrame:
    row = {
        **{
            "image_id": "i",
            "name": "i",
            "status": "active",
            "disk_format": "qcow2",
            "container_format": "bare",
        },
        **{"size_bytes": GIB // 2, "virtual_size_bytes": 3 * GIB, "visibility": "public", "owner": "o"},
        **{"created_at": pd.Timestamp(SINCE), "updated_at": pd.Timestamp(SINCE), "store_volumes": []},
    }
    return pd.DataFrame([{**row, **image}])


def test_hosts_get_names_that_a_scenario_may_have() -> None:
    found = places(["c1@lvm#lvm", "c2@lvm#lvm", "c1@nfs#nas:/vol/a", "c1@nfs#nas:_vol/a", "c1@x"])
    assert [place.host for place in found.values()] == [
        *("lvm.c1#lvm", "lvm.c2#lvm", "nfs#nas:_vol_a", "nfs#nas:_vol_a_2", "x#_pool0"),
    ]


def test_types_are_served_where_cinder_would_put_them(tmp_path: Path) -> None:
    name = "volume_backend_name"
    text = f"[DEFAULT]\nenabled_backends = a, b\n[a]\n{name} = fast\n[b]\n{name} = slow\n"
    types = pd.DataFrame(
        {
            "volume_type": ["flash", "disk", "both", "any", "unused"],
            "volume_backend_name": ["fast", "slow", "<or> fast <or> slow", "", ""],
            "encrypted": False,
            "thick": [False, True, False, False, False],
        }
    )
    events = [create("1", "n@a#p"), create("2", "n@old#p", volume_type="any")]
    cloud = assemble(
        Sources(conf(tmp_path / "c", text), history(events, [{"image_id": "i"}], volume_types=types))
    )
    served = {name: set(backend.volume_types) for name, backend in cloud.backends.items()}
    assert served == {"a": {"flash", "both", "any"}, "b": {"disk", "both", "any"}, "old": {"any"}}
    assert "image_volume_cache_enabled" not in cloud.backends["old"].keys  # nobody has a cache today
    assert list(cloud.backends) == ["a", "b", "old"]


def test_a_backend_of_thick_types_is_thick(tmp_path: Path) -> None:
    """Cinder's scheduler then looks at the free space alone, as if the array were not thin."""
    name = "volume_backend_name"
    text = f"[DEFAULT]\nenabled_backends = a, b, c\n[a]\n{name} = x\n[b]\n{name} = y\n[c]\n{name} = z\n"
    rows = [
        ("thick", "<or> x <or> y", False, True),
        ("thin", "y", False, False),
        ("plain", "z", False, False),
    ]
    types = pd.DataFrame(rows, columns=["volume_type", name, "encrypted", "thick"])
    events = [create("1", "n@a#p", volume_type="thick")]
    cloud = assemble(
        Sources(conf(tmp_path / "c", text), history(events, [{"image_id": "i"}], volume_types=types))
    )
    assert {backend: one.keys.get("thin") for backend, one in cloud.backends.items()} == {
        "a": False,
        "b": None,
        "c": None,
    }
    said = [note.text for note in cloud.notes if "provisioning:type" in note.text]
    assert len(said) == 1 and said[0].startswith("backend b: volume types thick are thick")


def test_a_limit_that_is_exceeded_already_is_not_taken(tmp_path: Path) -> None:
    driver = "cinder.volume.drivers.netapp.common.NetAppDriver\nnetapp_storage_protocol = iscsi"
    text = f"[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = {driver}\n"
    there = pd.DataFrame(
        [
            {
                "kind": "volume",
                "volume_id": str(n),
                "image_id": "",
                "size_gib": 1,
                "host": "n@a#p",
                "project": "",
            }
            for n in range(1024)
        ]
    ).assign(last_used=pd.Series([pd.NaT] * 1024, dtype="datetime64[us, UTC]"))
    events = [create("x", "n@a#p")]
    cloud = assemble(Sources(conf(tmp_path / "c", text), history(events, [{"image_id": "i"}], initial=there)))
    assert cloud.backends["a"].pools["p"] == {}
    cloud = assemble(
        Sources(conf(tmp_path / "c", text), history(events, [{"image_id": "i"}], initial=there[1:]))
    )
    assert cloud.backends["a"].pools["p"]["max_volumes"].value == 1024


@pytest.mark.parametrize(
    ("image", "shown", "virtual_gib", "assumed"),
    [
        ({"size_bytes": GIB, "virtual_gib": 4.0, "smallest_gib": 9.0}, None, 4, ""),  # a cache fill tells
        ({"size_bytes": GIB, "smallest_gib": 9.0}, None, 9, "virtual size"),
        ({"size_bytes": 2 * GIB, "smallest_gib": 9.0, "disk_format": "raw"}, None, 2, ""),
        ({"smallest_gib": 9.0, "disk_format": "raw"}, None, 9, "size"),
        ({"size_bytes": GIB, "virtual_gib": 4.0}, glance(), 3, ""),  # Glance knows best
        ({"smallest_gib": 9.0}, glance(), 3, ""),
    ],
)
def test_sizes_of_images(
    image: dict[str, Any], shown: pd.DataFrame | None, virtual_gib: int, assumed: str
) -> None:
    events = [create("1", "n@a#p")]
    cloud = assemble(Sources(None, history(events, [{"image_id": "i", **image}]), shown))
    (row,) = cloud.images.to_dict("records")
    assert row["virtual_size_bytes"] == virtual_gib * GIB and row["why"] == assumed
    told = [note.text for note in cloud.notes if note.text.startswith(f"{assumed} of 1 of 1")]
    assert bool(told) == bool(assumed)


def test_private_images(tmp_path: Path) -> None:
    shown = glance(visibility="private", owner="p")
    own, other = create("1", "n@a#p", project="p"), create("2", "n@a#p", project="q", time=70)
    for events, owner in (([own], "p"), ([own, other], "")):
        cloud = assemble(Sources(None, history(events, [{"image_id": "i"}]), shown))
        out = tmp_path / f"out{len(events)}"
        document = write(cloud, out, "csv")
        assert load(out / "scenario.yaml").images["i"].owner == owner
        assert ("do not own them" in str(document["notes"])) == (owner == "")


def test_updates_of_images_are_events_among_the_others(tmp_path: Path) -> None:
    events = [create("1", "n@a#p"), create("2", "n@a#p", time=7300)]
    shown = glance(updated_at=pd.Timestamp(SINCE) + pd.Timedelta(hours=2))
    write(assemble(Sources(None, history(events, [{"image_id": "i"}]), shown)), tmp_path / "out", "csv")
    found = load(tmp_path / "out" / "scenario.yaml").trace.events
    assert found["event"].tolist() == ["create", "update_image", "create"]
    assert found["time"].tolist() == [0, 7140, 7240]
    late = glance(updated_at=pd.Timestamp(SINCE) + pd.Timedelta(hours=3))
    write(assemble(Sources(None, history(events, [{"image_id": "i"}]), late)), tmp_path / "late", "csv")
    found = load(tmp_path / "late" / "scenario.yaml").trace.events
    assert found["event"].tolist() == ["create", "create"]  # after the last event it changes nothing


def test_glance_alone(tmp_path: Path) -> None:
    write(assemble(Sources(glance=glance())), tmp_path / "out", "csv")
    case = load(tmp_path / "out" / "scenario.yaml")
    assert {image.split("@")[0] for image in case.images} == {"i"} and len(case.trace.events)


@pytest.mark.parametrize("placement", ["first-host", "scheduler"])
def test_creates_are_not_pinned(tmp_path: Path, placement: Placement) -> None:
    """A pool of three clones a volume, nine creates of one image 100 s apart: `SnapshotLimitReached` ends no
    create in Cinder, for `OnFailureRescheduleTask` sends it to the scheduler again, and it downloads.
    """
    text = "[DEFAULT]\nenabled_backends = a\nhost = n\n[a]\nimage_volume_cache_enabled = true\n"
    tenant = "cinder_internal_tenant_project_id = t\ncinder_internal_tenant_user_id = u\n"
    events = [create(str(n), "n@a#p", time=100 * n) for n in range(9)]
    image = {"image_id": "i", "disk_format": "raw", "size_bytes": GIB}
    found = conf(tmp_path / "c", text.replace("[a]", f"{tenant}[a]"))
    write(assemble(Sources(found, history(events, [image])), placement), tmp_path / "out", "csv")
    path = tmp_path / "out" / "scenario.yaml"
    path.write_text(path.read_text().replace("    pools:", "    max_clones_per_volume: 3\n    pools:"))
    case = load(path)
    assert (case.trace.events["host"] == "").all()
    assert set(case.trace.events["first_host"]) == ({"a#p"} if placement == "first-host" else {""})
    requests = sim.run(case, "cache-only").requests
    assert requests["status"].tolist() == ["available"] * 9
    # The user's volume of a fill counts for nothing: three clones of the entry, then the limit drops it.
    assert requests["attempts"].max() == 2 and requests["source"].value_counts()["download"] > 1


def test_zones_of_the_database_are_those_of_backends_and_creates(tmp_path: Path) -> None:
    """The default one is not in the database: the first backend's is assumed. One without a backend: none."""
    zones = {"n@a#p": "z1", "n@b#p": "z2"}
    events = [
        create("1", "n@a#p", availability_zone="z1"),
        create("2", "n@b#p", availability_zone="z2", time=70),
        create("3", "n@b#p", availability_zone="gone", time=80),
    ]
    image = {"image_id": "i", "disk_format": "raw", "size_bytes": GIB}
    write(assemble(Sources(None, history(events, [image], zones=zones))), tmp_path / "out", "csv")
    case = load(tmp_path / "out" / "scenario.yaml")
    found = {name: backend.availability_zone for name, backend in case.scenario.backends.items()}
    assert found == {"a": "z1", "b": "z2"}
    assert case.scenario.cinder.default_availability_zone == "z1"
    assert list(case.trace.events["availability_zone"]) == ["", "z2", ""]
    assert set(sim.run(case, "none").requests["status"]) == {"available"}
