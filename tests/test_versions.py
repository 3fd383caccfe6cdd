"""The time at which an image was updated, as Cinder gets it, beside Python's own."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from sim.cinder.glance import Version

TIMES = [datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2000, 2, 29), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)]


@pytest.mark.parametrize("time", TIMES, ids=str)
def test_it_reads_as_any_other_time(time: datetime) -> None:
    version = Version.combine(time.date(), time.timetz())
    for _ in range(2):  # made, then kept
        assert (str(version), repr(version)) == (str(time), repr(time))
        for zone in (None, UTC, ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")):
            assert version.replace(tzinfo=zone) == time.replace(tzinfo=zone)
            assert str(version.replace(tzinfo=zone)) == str(time.replace(tzinfo=zone))
    assert version.replace(year=2001, day=3) == time.replace(year=2001, day=3)


def test_equal_times_of_different_zones_keep_their_own_texts() -> None:
    berlin = Version(2026, 1, 2, 4, tzinfo=ZoneInfo("Europe/Berlin"))
    utc = Version(2026, 1, 2, 3, tzinfo=ZoneInfo("UTC"))
    assert berlin == utc
    assert (str(utc), str(berlin)) == ("2026-01-02 03:00:00+00:00", "2026-01-02 04:00:00+01:00")
