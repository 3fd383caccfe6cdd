"""Reading a database of which the history was purged, or half of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from sim.cinder.release import models
from tests.importers.reading import events, hours, noted, read, refused
from tests.importers.rows import Rows, at, writing

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other

DAY = 24


def long_ago(rows: Rows, days: int = 40) -> list[Any]:
    """A volume a day from an image; each is deleted ten days later."""
    made = []
    for day in range(days):
        if day >= 10:
            rows.delete(DAY * day - 1, made[day - 10])
        made.append(rows.from_image(DAY * day, f"image {day}"))
    return made


def test_nothing_purged_is_all_there(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        long_ago(rows)
    history = read(sqlite)
    assert history.since == at(0)
    assert not [note for note in history.notes if "purged" in note.text]
    assert len(events(history)) == 40 + 30


@pytest.mark.parametrize("empty_database", ["sqlite", "mariadb"], indirect=True)
def test_a_purge_moves_the_start(empty_database: URL) -> None:
    """Cinder's purge fails on PostgreSQL: of some tables `deleted` is a number there."""
    with writing(empty_database) as rows:
        made = long_ago(rows)
        rows.purge(DAY * 40, 20)  # what was deleted before day 20: the first ten
    history = read(empty_database)
    assert hours(pd.Series([history.since])) == [DAY * 21 - 1 + 0.02]  # the eleventh is the oldest there
    assert noted(history, "the period begins at")[0] == "assumed"
    initial = set(history.initial["volume_id"])
    assert initial == {volume.id for volume in made[12:21]}
    found = events(history)
    assert len(found[found["event"] == "create"]) == 40 - 21
    assert len(found[found["event"] == "delete"]) == 30 - 12
    # Earlier than that is possible, and told.
    survivors = read(empty_database, since=at(0))
    assert noted(survivors, "still exist")[0] == "unknown"
    assert len(survivors.initial) == 0
    late = read(empty_database, since=at(DAY * 30))
    assert not [note for note in late.notes if "purged" in note.text]


def test_all_deleted_purged(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        made = long_ago(rows)
        rows.purge(DAY * 40, 0)
    history = read(sqlite)
    assert noted(history, "all deleted volumes were purged")[0] == "unknown"
    assert set(events(history)["volume_id"]) == {volume.id for volume in made[30:]}


def test_unused_numbers_everywhere_are_no_purge(sqlite: URL) -> None:
    """A cluster of databases hands out every third number; a transaction that failed leaves some out."""
    with writing(sqlite) as rows:
        long_ago(rows)
    with sa.create_engine(sqlite).begin() as connection:
        connection.exec_driver_sql("UPDATE volume_glance_metadata SET id = -3 * id")
        connection.exec_driver_sql("UPDATE volume_glance_metadata SET id = -id")
    assert read(sqlite).since == at(0)


def test_a_few_unused_numbers_are_no_purge(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        long_ago(rows)
    with sa.create_engine(sqlite).begin() as connection:
        connection.exec_driver_sql("UPDATE volume_glance_metadata SET id = id + 3000 WHERE id > 20")
        connection.exec_driver_sql("UPDATE volume_glance_metadata SET id = id - 2999 WHERE id > 20")
    assert read(sqlite).since == at(0)


def half_purged(url: URL) -> None:
    """The purge stopped after the metadata: the first ten volumes deleted have lost theirs."""
    with writing(url) as rows:
        long_ago(rows)
        rows.volume(DAY * 5 + 1, bootable=True, status="in-use")  # by its user: not from an image, alive
        mine = rows.volume(DAY * 35, bootable=True)
        rows.delete(DAY * 36, mine)  # after the first whole one: it never had any
    cutoff = at(DAY * 20).replace(tzinfo=None)
    with sa.create_engine(url).begin() as connection:
        table = models.VolumeGlanceMetadata.__table__
        connection.execute(sa.delete(table).where(table.c.deleted_at < cutoff))


def test_half_a_purge_is_told(empty_database: URL) -> None:
    half_purged(empty_database)
    (problem,) = refused(empty_database)
    assert "11 deleted ones were bootable and have lost their image metadata" in problem
    whole = (at(DAY * 20 - 1 + 0.02) + timedelta(seconds=1)).replace(microsecond=0, tzinfo=None)
    assert f"--since {whole.isoformat()}Z" in problem
    assert len(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", problem)) == 3
    history = read(empty_database, since=whole)
    found = events(history)
    assert set(found["event"]) == {"create", "delete"}


def test_damage_before_the_period_is_none(sqlite: URL) -> None:
    half_purged(sqlite)
    assert refused(sqlite, since=at(DAY * 19 - 1))
    assert len(read(sqlite, since=at(DAY * 25)).initial) == 9 + 1


def test_half_a_purge_with_no_way_out(sqlite: URL) -> None:
    half_purged(sqlite)
    (problem,) = refused(sqlite, until=at(DAY * 15))
    assert "halfway" in problem
    assert "--since" not in problem


def test_metadata_without_volumes_is_told(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        made = long_ago(rows)
    with sa.create_engine(sqlite).begin() as connection:
        table = models.Volume.__table__
        connection.execute(sa.delete(table).where(table.c.id.in_([made[2].id, made[5].id])))
    (problem,) = refused(sqlite)
    assert "2 rows belong to volumes that are not in the database" in problem
    assert made[5].id in problem
    assert made[2].id in problem
    assert read(sqlite, since=at(DAY * 16)) is not None


def test_users_own_bootable_volumes_are_no_damage(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.delete(2, rows.volume(1, bootable=True))
        long_ago(rows)
    assert len(events(read(sqlite))) == 2 + 40 + 30
