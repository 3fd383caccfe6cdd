"""A copy of the lab's database in which some seconds of the lab are a day.

A promise holds for weeks, and nobody wants to play weeks. Cinder writes its rows in real time. The copy has
the same rows, and all dates are moved: the first second of each day of the lab is the first second of a day.
A create takes as long as it took.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lab import cloud, conf

DAY_S = 86_400
BACK = timedelta(days=60)  # the days of the copy lie in the past, as those of a history do
COPY = "cinder_days"


@dataclass(frozen=True)
class Days:
    """`begin`: when the first day began, in whole seconds of Unix time. `seconds`: of each day."""

    begin: int
    seconds: int

    def of(self, at: float) -> float:
        """How many days after the begin a time is."""
        return (at - self.begin) / self.seconds

    def date(self, day: int) -> str:
        """When this day begins in the copy, as the options of commands take it."""
        begin = datetime.fromtimestamp(self.begin, UTC) - BACK
        return (begin + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%S")

    def copy(self, lab: cloud.Lab) -> str:
        """Make the copy anew, and return its URL."""
        lab.query(f"drop database if exists {COPY}")
        lab.query(f"create database {COPY}")
        columns = lab.query(
            "select table_name as t, column_name as c, data_type as type from information_schema.columns"
            " where table_schema = 'cinder' order by t, ordinal_position"
        )
        for table in sorted({row["t"] for row in columns}):
            own = [row for row in columns if row["t"] == table]
            values = [
                self._moved(table, row["c"]) if row["type"] == "datetime" else f"`{row['c']}`" for row in own
            ]
            lab.query(f"create table {COPY}.`{table}` like cinder.`{table}`")
            lab.query(f"insert into {COPY}.`{table}` select {', '.join(values)} from cinder.`{table}`")
        return conf.database(lab.ports, COPY)

    def _moved(self, table: str, column: str) -> str:
        """The date in the copy. What ends a create moves as its begin does."""
        begun = {
            ("volumes", "launched_at"): "created_at",
            ("volume_glance_metadata", "created_at"): "(select created_at from cinder.volumes"
            " where volumes.id = volume_glance_metadata.volume_id)",
        }
        of = begun.get((table, column), f"`{column}`")
        begin = f"'{datetime.fromtimestamp(self.begin, UTC):%Y-%m-%d %H:%M:%S}'"
        day = f"greatest(0, floor(timestampdiff(second, {begin}, {of}) / {self.seconds}))"
        more_s = f"{day} * {DAY_S - self.seconds} - {round(BACK.total_seconds())}"
        return f"`{column}` + interval ({more_s}) second"
