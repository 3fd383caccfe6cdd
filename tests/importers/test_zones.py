"""Availability zones of backends and creates, out of notifications and of lists of volumes."""

from __future__ import annotations

from pathlib import Path

import sim
from tests.importers.test_accepted import UNPLACED, imported, run, sent
from tests.importers.test_listings import volume, written
from tests.importers.test_notification_files import IMAGE, VOLUME, event, notification


def made(number: int, host: str, zone: str | None) -> dict[str, object]:
    named = {"volume_id": f"v{number}", "host": host, "availability_zone": zone}
    return {**VOLUME, **named, "created_at": f"2026-03-01T00:00:{number:02}"}


def zones(folder: Path) -> tuple[dict[str, str], str, list[str]]:
    """Of the backends, of creates that ask for none, and those of the trace."""
    case = sim.load(folder / "scenario.yaml")
    found = {name: backend.availability_zone for name, backend in case.scenario.backends.items()}
    asked = case.trace.events.query("event == 'create'")["availability_zone"]
    return found, case.scenario.cinder.default_availability_zone, list(asked.astype("str"))


def test_of_notifications(tmp_path: Path) -> None:
    """`notify_about_volume_usage` tells the volume's zone; at the end of a create, the backend's."""
    started = {**made(3, "", "elsewhere"), "host": None}
    messages = [
        notification("volume.create.start", 3, started),
        *(
            notification("volume.create.end", 10 + number, made(number, host, zone))
            for number, host, zone in (
                (1, "c1@a#p", "z1"),
                (2, "c2@b#p", "z2"),
                (3, "c2@b#p", "z2"),
                (4, "c2@b#p", "moved"),
                (5, "c3@c#p", None),
            )
        ),
        notification(
            "scheduler.create_volume",
            20,
            {**UNPLACED, "volume_properties": {**UNPLACED["volume_properties"], "availability_zone": "z2"}},
        ),
    ]
    imported(tmp_path / "out", "--notifications", sent(tmp_path / "n", messages))
    backends, default, asked = zones(tmp_path / "out")
    assert backends == {"a": "z1", "b": "z2", "c": "nova"}
    assert default == "nova"
    assert asked == ["z1", "z2", "z2", "", "", "z2"]


def test_ceilometer_has_none(tmp_path: Path) -> None:
    message = event(notification("volume.create.end", 5, made(1, "c1@a#p", "z1")))
    imported(tmp_path / "out", "--notifications", sent(tmp_path / "n", [message]))
    assert zones(tmp_path / "out") == ({"a": "nova"}, "nova", [""])


def test_of_a_list_of_volumes(tmp_path: Path) -> None:
    """`GET /volumes/detail` tells it of each volume."""
    host = "os-vol-host-attr:host"
    volumes = [
        volume(1, availability_zone="z1"),
        volume(2, availability_zone="z2", **{host: "c1@b#p"}),
        volume(3, availability_zone="z2", **{host: "c1@b#p"}),
    ]
    imported(tmp_path / "out", "--volumes", written(tmp_path / "v", {"volumes": volumes}))
    # No source tells the zone of creates that ask for none: the first backend's is assumed.
    assert zones(tmp_path / "out") == ({"a": "z1", "b": "z2"}, "z1", ["", "z2", "z2"])


def test_a_list_beside_notifications(tmp_path: Path) -> None:
    """A backend that only older volumes are on; notifications come first."""
    host = "os-vol-host-attr:host"
    volumes = [
        volume(1, availability_zone="old", **{host: "c1@a#p"}, created_at="2026-02-01T00:00:00"),
        volume(2, availability_zone="z2", **{host: "c1@b#p"}, created_at="2026-02-01T00:00:00"),
    ]
    messages = [notification("volume.create.end", 5, {**made(7, "c1@a#p", "z1"), "image_id": IMAGE})]
    sources = ["--volumes", written(tmp_path / "v", {"volumes": volumes})]
    imported(tmp_path / "out", "--notifications", sent(tmp_path / "n", messages), *sources)
    assert zones(tmp_path / "out")[0] == {"a": "z1", "b": "z2"}


def test_a_zone_that_is_not_text(tmp_path: Path) -> None:
    path = sent(tmp_path / "n", [notification("volume.create.end", 5, {**VOLUME, "availability_zone": 7})])
    result = run("import", "--out", tmp_path / "out", "--notifications", path)
    assert result.exit_code == 2
    assert "7 is not text" in " ".join(result.output.split())
