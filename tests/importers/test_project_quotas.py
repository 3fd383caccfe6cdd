"""Quotas of users' projects: out of Cinder's tables, and never less than what the history shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cinder import exception
from sqlalchemy.engine import URL

import sim
from sim.cinder.release import db_api
from sim.importers import database
from sim.inputs.problems import BadInput, Problems
from sim.inputs.scenario import Case
from tests.importers.reading import text
from tests.importers.rows import INTERNAL, Rows, writing
from tests.importers.test_accepted import imported

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other


def limit(rows: Rows, project: str, **limits: int) -> None:
    for resource, value in limits.items():
        db_api.quota_create(rows.context, project, resource, value)


def default(rows: Rows, **limits: int) -> None:
    for resource, value in limits.items():
        try:
            db_api.quota_class_update(rows.context, "default", resource, value)
        except exception.QuotaClassNotFound:
            db_api.quota_class_create(rows.context, "default", resource, value)


def case(url: URL, folder: Path, *more: object) -> tuple[str, Case]:
    said = imported(folder / "out", "--db", text(url), *more)
    return said, sim.load(folder / "out" / "scenario.yaml")


def test_quotas_are_read(sqlite: URL, tmp_path: Path) -> None:
    with writing(sqlite) as rows:
        default(rows, volumes=20, gigabytes_gold=300)
        limit(rows, "alice", gigabytes=500, volumes_gold=-1, volumes=20, volumes_gone=3, snapshots=1)
        limit(rows, "bob", volumes=-1, per_volume_gigabytes=50)
        limit(rows, "absent", volumes=2)
        limit(rows, INTERNAL, volumes=30, gigabytes_gold=40)
        for number, project in enumerate(("alice", "bob", "carol")):
            rows.from_image(number + 1, "golden", project_id=project)
        rows.fill(1.5, "golden")
    said, found = case(sqlite, tmp_path)
    options = found.scenario.cinder
    # `QuotaClass` rows of Cinder's own first migration: 10 volumes, 1000 GiB, volumes of any size.
    assert options.quotas == {
        "default": {"gigabytes": 1000, "gigabytes_gold": 300, "volumes": 20},
        "alice": {"gigabytes": 500},
        "bob": {"volumes": None, "per_volume_gigabytes": 50},
    }
    assert (options.internal_tenant_quota_volumes, options.internal_tenant_quota_gigabytes) == (30, 1000)
    assert options.internal_tenant_quotas == {"gigabytes_gold": 40}
    assert "users' quotas: the default class, and 2 projects with others" in said
    assert "more than their quotas" not in said


def test_what_the_history_has_is_never_refused(sqlite: URL, tmp_path: Path) -> None:
    """Quotas that were lowered; volumes that exist at the start, of another type too."""
    with writing(sqlite) as rows:
        default(rows, volumes=3)
        limit(rows, "bob", gigabytes=11, per_volume_gigabytes=4, volumes_gold=1, gigabytes_gold=9)
        for number in range(4):  # exist at the start
            rows.from_image(1 + number, "golden", project_id="bob")
        old = rows.from_image(6, "golden", project_id="alice")
        for number in range(4):
            rows.from_image(30 + number, "golden", project_id="bob", size=6 + number)
        rows.delete(34, old)
        for number in range(2):
            rows.from_image(34.5 + number, "golden", project_id="alice")
        for number in range(3):
            made = rows.from_image(40 + 2 * number, "golden", project_id="carol")
            rows.delete(41 + 2 * number, made)
    said, found = case(sqlite, tmp_path, "--since", "2026-03-02T02:00:00+00:00")
    assert found.initial is not None and len(found.initial) == 5
    total, most = 4 * 5 + 6 + 7 + 8 + 9, 8
    assert found.scenario.cinder.quotas == {
        "default": {"volumes": 3, "gigabytes": 1000},
        "bob": {
            **{"volumes": most, "gigabytes": total, "per_volume_gigabytes": 9},
            **{"volumes_gold": most, "gigabytes_gold": total},
        },
    }
    assert "1 projects had more than their quotas of today allow" in said and ": bob" in said
    for strategy in ("none", "cache-only"):
        requests = sim.run(found, strategy, "cinder").requests
        assert set(requests["status"]) == {"available"}


def test_a_deleted_volume_counts_until_its_simulated_delete_ends(sqlite: URL, tmp_path: Path) -> None:
    """At the limit, a new volume comes at once after each delete: the simulated delete is still under way."""
    with writing(sqlite) as rows:
        limit(rows, "alice", volumes=1)
        made = None
        for number in range(4):
            if made is not None:
                rows.delete(10 * number, made, took=0.0001)
            made = rows.from_image(10 * number + 0.0002, "golden")
    _, found = case(sqlite, tmp_path)
    assert found.scenario.cinder.quotas["alice"] == {"volumes": 2}
    assert set(sim.run(found, "none", "cinder").requests["status"]) == {"available"}


@pytest.mark.parametrize(
    ("conf", "limits"),
    [
        ("", {"volumes": 10, "gigabytes": 1000}),
        ("quota_volumes = 7\nper_volume_size_limit = 90\n", {"volumes": 10, "gigabytes": 1000}),
        (
            "quota_volumes = 7\nper_volume_size_limit = 90\nuse_default_quota_class = false\n",
            {"volumes": 7, "gigabytes": 1000, "per_volume_gigabytes": 90},
        ),
    ],
)
def test_the_class_comes_before_the_options(
    conf: str, limits: dict[str, int], sqlite: URL, tmp_path: Path
) -> None:
    """`quota.DbQuotaDriver.get_defaults`; the options' defaults are 10 volumes and 1000 GiB."""
    with writing(sqlite) as rows:
        rows.from_image(1, "golden")
    path = tmp_path / "cinder.conf"
    path.write_text(f"[DEFAULT]\nenabled_backends = a\n{conf}[a]\n")
    _, found = case(sqlite, tmp_path, "--conf", path)
    assert found.scenario.cinder.quotas == {"default": limits}


@pytest.mark.parametrize("conf", ["", "quota_gigabytes = -1\n"])
def test_a_class_without_rows_leaves_the_options(conf: str, sqlite: URL, tmp_path: Path) -> None:
    with writing(sqlite) as rows:
        db_api.quota_class_destroy_all_by_name(rows.context, "default")
        rows.from_image(1, "golden")
    assert case(sqlite, tmp_path)[1].scenario.cinder.quotas == {}  # nobody knows
    path = tmp_path / "cinder.conf"
    path.write_text(f"[DEFAULT]\nenabled_backends = a\n{conf}[a]\n")
    (tmp_path / "two").mkdir()
    _, found = case(sqlite, tmp_path / "two", "--conf", path)
    whole: dict[str, Any] = {"volumes": 10, "gigabytes": 1000}
    assert found.scenario.cinder.quotas == {"default": whole if not conf else {"volumes": 10}}


def test_a_generated_workload_has_no_quotas(sqlite: URL, tmp_path: Path) -> None:
    """Its projects are not the cloud's."""
    with writing(sqlite) as rows:
        rows.volume(1)
    said, found = case(sqlite, tmp_path)
    assert found.scenario.cinder.quotas == {}
    assert "workload: generated" in said and "users' quotas" not in said


def test_a_database_that_is_gone_meanwhile(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.from_image(1, "golden")
    history = database.read(text(sqlite), None, None, None, Problems())
    assert history is not None and sqlite.database is not None
    Path(sqlite.database).unlink()
    with pytest.raises(BadInput, match="unable to open"):
        history.usage()
