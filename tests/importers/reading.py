"""Reading a database in tests: what is read, what is refused."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy.engine import URL

from sim.importers import database
from sim.importers.database import History
from sim.inputs.problems import Problems
from tests.importers.rows import at


def text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def read(
    url: URL | str, since: datetime | None = None, until: datetime | None = None, tenant: str | None = None
) -> History:
    problems = Problems()
    with _no_warnings():
        history = database.read(url if isinstance(url, str) else text(url), since, until, tenant, problems)
    assert problems.lines() == []
    assert history is not None
    return history


def events(history: History, rows: int = 17) -> pd.DataFrame:
    with _no_warnings():
        return pd.concat(list(history.batches(rows)), ignore_index=True)


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Of Cinder's code, which writes the rows, tests bear warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def refused(url: URL | str, **period: Any) -> list[str]:
    problems = Problems()
    given = {"since": None, "until": None, "internal_tenant": None, **period}
    assert database.read(url if isinstance(url, str) else text(url), **given, problems=problems) is None
    lines = problems.lines()
    assert lines
    assert all("\n" not in line for line in lines)
    return lines


def hours(times: pd.Series) -> list[float]:
    """Hours from the start of the rows, to what a database keeps."""
    return list(((times - pd.Timestamp(at(0))) / pd.Timedelta("1h")).round(3))


def noted(history: History, part: str) -> tuple[str, int]:
    """The kind of the one note that has this part, and the count it begins with (0: with none)."""
    (note,) = [note for note in history.notes if part in note.text]
    count = note.text.split()[0]
    return note.kind, int(count) if count.isdigit() else 0
