"""What import leaves with exit code 0 is what validate accepts, however little the sources tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy.engine import URL
from typer.testing import CliRunner

from sim.cli import app
from tests.importers import rows
from tests.importers.test_notification_files import HOST, IMAGE, VOLUME, notification

UNPLACED = {
    "volume_id": "u",
    "request_spec": {"image_id": IMAGE, "snapshot_id": None},
    "volume_properties": {"size": 7, "volume_type_id": None, "project_id": "p"},
}
LITTLE = {
    "only the cache": [notification("image_volume_cache.miss", 2, {"image_id": IMAGE, "host": HOST})],
    "only a start": [notification("volume.create.start", 1, VOLUME)],
    "only deletes": [notification("volume.delete.start", 9, VOLUME)],
    "without an image": [notification("volume.create.end", 5, {**VOLUME, "glance_metadata": []})],
}


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def imported(out: Path, *arguments: object) -> str:
    """What import prints, as one line; validate accepts what it wrote."""
    result = run("import", "--out", out, *arguments)
    assert result.exit_code == 0, result.output
    assert run("validate", out / "scenario.yaml").exit_code == 0
    return " ".join(result.stdout.split())


def sent(path: Path, messages: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(messages))
    return path


@pytest.mark.parametrize("case", LITTLE)
def test_notifications_without_a_history(case: str, tmp_path: Path) -> None:
    text = imported(tmp_path / "out", "--notifications", sent(tmp_path / "n", LITTLE[case]))
    assert "workload: generated with parameters from" in text and "no create from an image" in text
    assert not list((tmp_path / "out").glob("trace*")) and not list((tmp_path / "out").glob("observed*"))


def test_a_create_that_no_backend_took(tmp_path: Path) -> None:
    """Its volume type is on no backend, or it has none."""
    for volume_type in (None, "gold-id"):
        properties = {**UNPLACED["volume_properties"], "volume_type_id": volume_type}  # type: ignore[dict-item]
        messages = [notification("scheduler.create_volume", 5, {**UNPLACED, "volume_properties": properties})]
        out = tmp_path / str(volume_type)
        text = imported(out, "--notifications", sent(tmp_path / "n", messages))
        assert f"{volume_type or '__DEFAULT__'}: no source shows a volume" in text
        assert "1 creates from images" in text


def test_after_the_last_event(tmp_path: Path) -> None:
    messages = [notification("volume.create.start", 1, VOLUME), notification("volume.create.end", 5, VOLUME)]
    notified = sent(tmp_path / "n", messages)
    text = imported(tmp_path / "out", "--notifications", notified, "--since", "2027-01-01")
    assert "workload: generated" in text


@pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other
def test_a_database_without_metadata_of_images(sqlite: URL, tmp_path: Path) -> None:
    with rows.writing(sqlite) as written:
        written.delete(2, written.volume(1))
        written.volume(3)
    url = sqlite.render_as_string(hide_password=False)
    text = imported(tmp_path / "out", "--db", url)
    assert "no create from an image in the period, but 2 creates without an image and 1 deletes" in text
    late = run("import", "--out", tmp_path / "late", "--db", url, "--since", "2027-01-01")
    assert late.exit_code == 2 and "--since" in late.stderr


def test_small_pools(tmp_path: Path) -> None:
    """The images of the workload that is drawn do not fit: no Cinder store is made up."""
    told = {"total_capacity_gb": 5, "thin_provisioning_support": True}
    pools = tmp_path / "pools"
    pools.write_text(json.dumps({"pools": [{"name": "c1@a#p", "capabilities": told}]}))
    assert "has no Cinder store" in imported(tmp_path / "out", "--pools", pools)
