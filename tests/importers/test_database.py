"""Reading Cinder's database: what Cinder's own code wrote has to come back."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from sim.cinder.release import db_api
from tests.importers import workload
from tests.importers.reading import events, hours, noted, read, refused, text
from tests.importers.rows import HOST, INTERNAL, at, everything, image_id, writing
from tests.importers.workload import EVENT

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other


def resolution(url: URL) -> pd.Timedelta:
    """How exactly the database keeps a time: Cinder's columns have whole seconds in MariaDB."""
    return pd.Timedelta("1s" if url.get_backend_name() == "mysql" else "1us")


def ordered(known: pd.DataFrame, url: URL) -> pd.DataFrame:
    """The events in the order in which the database has them, their times as it keeps them."""
    return (
        known.assign(time=known["time"].dt.floor(resolution(url)), late=known["event"] == "delete")
        .sort_values(["time", "late", "volume_id"], ignore_index=True)
        .drop(columns="late")
    )


def test_what_cinder_wrote_comes_back(empty_database: URL, tmp_path: Path) -> None:
    known = workload.run(tmp_path, text(empty_database))
    history = read(empty_database)
    found, expected = events(history), ordered(known.events, empty_database)
    assert found[EVENT].astype(str).to_dict("records") == expected[EVENT].astype(str).to_dict("records")
    # Each reading of the simulated clock takes a microsecond.
    slack = pd.Timedelta("5ms")
    assert (found["time"] - expected["time"]).between(pd.Timedelta(0), slack).all()
    took, truth = found["create_s"], expected["create_s"]
    assert (took.isna() == truth.isna()).all()
    within = resolution(empty_database) / pd.Timedelta("1s") + 5e-3
    assert ((took - truth).dropna().abs() <= within).all()


def test_a_download_that_failed_before_a_clone_elsewhere_is_a_clone(empty_database: URL) -> None:
    with writing(empty_database) as rows:
        downloads = [rows.download(1, "golden"), rows.download(2, "golden")]
        rows.delete(3, downloads[1])
        clones = [rows.from_image(4, "golden"), rows.cloned_after_a_failed_download(5, "golden")]
    found = events(read(empty_database)).query("event == 'create'").set_index("volume_id")["downloaded"]
    assert found.to_dict() == {volume.id: 1.0 for volume in downloads} | {one.id: 0.0 for one in clones}


def test_every_kind_of_rows(empty_database: URL) -> None:
    with writing(empty_database) as rows:
        made = everything(rows)
    history = read(empty_database)
    found = events(history, 5)
    found["name"] = found["volume_id"].map({volume.id: name for name, volume in made.items()})
    assert not found["name"].isna().any()
    assert found["event"].isin(["create", "delete"]).all()
    creates = found[found["event"] == "create"].set_index("name")
    assert sorted(creates.index) == sorted(made)
    assert creates["time"].is_monotonic_increasing
    golden = {"image0", "image1", "encrypted", "moved", "reimaged"}
    assert set(creates.index[creates["image_id"] == image_id("golden")]) == golden
    assert set(creates.index[creates["image_id"] == ""]) == set(made) - golden
    assert set(creates.index[creates["encrypted"]]) == {"encrypted"}
    assert (creates["volume_type"] == "gold").all()
    assert creates.loc[["image0", "blank", "no pool"], "host"].to_list() == [HOST, "c2@b#p0", "c3"]
    assert creates.loc[["image0", "blank"], "project"].to_list() == ["alice", "bob"]
    assert creates.loc[["image0", "image1"], "size_gib"].to_list() == [10, 11]
    assert creates["create_s"].to_list() == pytest.approx([36.0] * len(creates), abs=1e-3)
    # Migrated twice: as it was made, not as it was copied.
    assert hours(creates["time"])[list(creates.index).index("moved")] == 13
    assert creates.loc["moved", "host"] == HOST
    deletes = found[found["event"] == "delete"]
    assert dict(zip(deletes["name"], hours(deletes["time"]), strict=True)) == {
        "image1": 21,
        "blank": 22,  # asked for then, gone half an hour later
        "moved": 23,
    }


def test_what_is_around_the_events(empty_database: URL) -> None:
    with writing(empty_database) as rows:
        made = everything(rows)
    history = read(empty_database)
    assert history.since == at(0).replace(microsecond=0) + timedelta(hours=1)
    assert history.until == at(23.5) + timedelta(seconds=37)
    golden = history.images.set_index("image_id").loc[image_id("golden")]
    assert list(history.images["image_id"]) == [image_id("golden")]
    expected = {
        "name": "An image",
        "disk_format": "qcow2",
        "container_format": "bare",
        "size_bytes": 2**30,
        "virtual_gib": 2.0,
        "smallest_gib": 5.0,
        "store_hosts": ["c1@s#p0"],
        "creates": 5,
    }
    assert golden[list(expected)].to_dict() == expected
    gold = history.volume_types.set_index("volume_type").loc["gold"]
    assert gold.to_list() == ["gold", False, False, True, "fast"]
    assert history.quotas == {"volumes": 40}
    assert {name: history.default_quotas[name] for name in ("volumes", "gigabytes")} == {
        "volumes": 10,
        "gigabytes": 1000,
    }
    fills = history.fills
    assert [list(fills["image_id"]), hours(fills["created_at"]), list(fills["size_gib"])] == [
        [image_id("golden"), image_id("short-lived")],
        [1.05, 12],
        [2, 2],
    ]
    assert fills["deleted_at"].isna().tolist() == [True, False]
    assert hours(fills["deleted_at"])[1] == 12.5
    assert history.entries[["host", "image_id"]].to_numpy().tolist() == [[HOST, image_id("golden")]]
    hosts = history.placements.set_index("host")["volumes"].to_dict()
    assert hosts == {HOST: len(made) - 2, "c2@b#p0": 1, "c3": 1}
    assert set(history.placements["volume_type"]) == {"gold"}
    for part, expected_note in {
        "owns the cached image-volumes": ("read", 0),
        "creates failed": ("unknown", 2),
        "had not ended": ("unknown", 1),
        "error_deleting": ("read", 1),
        "the rows that it kept": ("read", 1),
        "their host of today": ("unknown", 1),
        "do not belong to the cache": ("read", 1),
        "got another image": ("read", 2),
        "extend or a retype": ("unknown", 0),
    }.items():
        assert noted(history, part) == expected_note
    assert len(history.notes) == 9


def test_the_start_of_a_period(empty_database: URL) -> None:
    with writing(empty_database) as rows:
        early = rows.from_image(1, "golden", size=7)
        gone = rows.volume(2)
        rows.delete(3, gone)
        late = rows.volume(4, host="c2@b#p0")
        rows.fill(1.05, "golden")
        rows.fill(1.5, "unused since")
        kept_until_6 = rows.fill(2.5, "evicted")
        orphan = rows.fill(2.6, "orphan")
        rows.ask_to_delete(2.7, orphan)  # the array is busy: it stays
        orphan.status = "available"
        orphan.save()
        double = [rows.fill(hour, "twice") for hour in (2.8, 2.9)]
        rows.from_image(3.5, "evicted")
        rows.from_image(3.6, "evicted", encryption_key_id=str(uuid.uuid4()))  # uses no cache
        rows.use(4.5, "unused since")
        rows.delete(6, kept_until_6)
        rows.use(7, "golden")
        rows.delete(8, early)
        rows.fill(9, "new")
    history = read(empty_database, since=at(5), until=at(8.5))
    initial = history.initial
    users = initial[initial["kind"] == "volume"]
    assert set(users["volume_id"]) >= {early.id, late.id, orphan.id}
    assert gone.id not in set(users["volume_id"])
    one = users.set_index("volume_id").loc[early.id]
    assert one[["image_id", "size_gib", "host", "project"]].to_list() == [
        image_id("golden"),
        7,
        HOST,
        "alice",
    ]
    assert users.set_index("volume_id").loc[orphan.id, "image_id"] == ""
    cached = initial[initial["kind"] == "cache"].set_index("image_id")
    assert dict(zip(cached.index, hours(cached["last_used"]), strict=True)) == {
        image_id("golden"): 1.05,  # used in the period: when it was made
        image_id("unused since"): 4.5,
        image_id("evicted"): 3.5,  # the last volume made of it
        image_id("twice"): pytest.approx(2.91, abs=1e-3),
    }
    assert cached.loc[image_id("twice"), "volume_id"] == double[1].id
    assert set(history.images["image_id"]) == {
        image_id(name) for name in ("golden", "evicted", *("unused since", "twice"))
    }
    found = events(history)
    assert found[["event", "volume_id"]].to_numpy().tolist() == [["delete", early.id]]
    assert history.fills.empty
    assert noted(history, "remain on their arrays") == ("read", 1)


def test_two_periods_are_the_whole(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        everything(rows)
    whole = events(read(sqlite))
    cut = whole["time"].iloc[len(whole) // 2].to_pydatetime()
    parts = [events(read(sqlite, until=cut)), events(read(sqlite, since=cut))]
    both = pd.concat(parts, ignore_index=True)
    assert both.astype(str).equals(whole.astype(str))


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_batches_are_the_same_events(sqlite: URL, rows: int) -> None:
    with writing(sqlite) as writer:
        everything(writer)
    history = read(sqlite)
    batches = list(history.batches(rows))
    assert all(len(batch) == rows for batch in batches[:-1])
    assert (
        pd.concat(batches).astype(str).to_numpy().tolist() == events(history).astype(str).to_numpy().tolist()
    )


# Other schemas


def test_columns_that_an_older_release_has_not(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        made = everything(rows)
        temporary = rows.volume(26, admin_metadata={"temporary": "True"})
    # Before Yoga there was no use_quota; a target told by its status and what is left of a move by its text.
    with sa.create_engine(sqlite).begin() as connection:
        connection.exec_driver_sql("DELETE FROM volumes WHERE display_name = 'backup-vol-x'")
        connection.exec_driver_sql("DROP INDEX IF EXISTS volumes_service_uuid_idx")
        for column in ("use_quota", "cluster_name", "previous_status", "multiattach", "provider_id"):
            connection.exec_driver_sql(f"ALTER TABLE volumes DROP COLUMN {column}")
    found = events(read(sqlite))
    assert set(found["volume_id"]) == {volume.id for volume in made.values()}
    assert temporary.id not in set(found["volume_id"])


def test_a_type_for_those_without(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        made = rows.volume(1)
        kept = rows.volume(2)
    with sa.create_engine(sqlite).begin() as connection:
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql(
            "UPDATE sqlite_schema SET sql = replace(sql, 'volume_type_id VARCHAR(36) NOT NULL', "
            "'volume_type_id VARCHAR(36)') WHERE name = 'volumes'"
        )
        connection.exec_driver_sql("PRAGMA schema_version = 9999")
    with sa.create_engine(sqlite).begin() as connection:
        connection.exec_driver_sql(f"UPDATE volumes SET volume_type_id = NULL WHERE id = '{made.id}'")
    history = read(sqlite)
    assert list(events(history)["volume_type"]) == ["__DEFAULT__", "gold"]
    assert list(events(history)["volume_id"]) == [made.id, kept.id]
    assert noted(history, "have no type") == ("assumed", 1)


def test_names_of_types_that_are_gone(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.volume(1, volume_type_id=(purged := str(uuid.uuid4())))
        rows.delete(3, rows.volume(2))
        db_api.volume_type_destroy(rows.context, rows.type_id)
    history = read(sqlite)
    assert list(events(history)["volume_type"]) == [purged, "gold", ""]
    assert history.volume_types.set_index("volume_type").loc["gold", "volume_backend_name"] == "gold"


def test_thick_types_say_so(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.volume(1)
        db_api.volume_type_extra_specs_update_or_create(
            rows.context, rows.type_id, {"provisioning:type": "thick"}
        )
    assert read(sqlite).volume_types.set_index("volume_type")["thick"].to_dict()["gold"]


# Notes of their own


def test_no_cache_and_no_tenant(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        filled = rows.fill(1, "golden")
        rows.delete(2, filled)
    history = read(sqlite)
    assert noted(history, "the cache's tenant") == ("unknown", 0)
    assert history.quotas == {}
    assert list(events(history)["volume_id"]) == [filled.id, filled.id]
    # Who knows it tells it.
    known = refused(sqlite, internal_tenant=INTERNAL)
    assert "no volume existed" in known[0]


def test_volumes_given_to_another_project(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        given = rows.volume(1)
        rows.now(2)
        transfer = {
            "volume_id": given.id,
            "display_name": "",
            "salt": "",
            "crypt_hash": "",
            "expires_at": None,
        }
        made = db_api.transfer_create(rows.context, dict(transfer))
        db_api.transfer_accept(rows.context, made["id"], "bob", "bob")
        kept = rows.volume(3)
        db_api.transfer_create(rows.context, {**transfer, "volume_id": kept.id})
    history = read(sqlite)
    assert noted(history, "another project") == ("unknown", 1)
    assert list(events(history)["project"]) == ["bob", "alice"]


def test_moved_volumes_whose_old_rows_were_purged(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        moved = rows.from_image(1, "golden")
        rows.migrate(2, moved, "c2@b#p0")
        rows.purge(24, 0)
    history = read(sqlite)
    assert noted(history, "old rows purged") == ("unknown", 1)
    (found,) = events(history).to_dict("records")
    assert [found["image_id"], found["host"]] == [image_id("golden"), "c2@b#p0"]
