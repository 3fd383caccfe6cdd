"""What happened since a promise: creates from images, and the settings of today beside those promised."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pandas as pd

from sim.importers.cloud import Sources
from sim.importers.importing import Given, read_sources
from sim.inputs.problems import BadInput, Problems
from sim.live.promise import Promise
from sim.live.reader import place_of
from sim.live.settings import Difference, Settings
from sim.live.state import State

COLUMNS = ["time", "backend", "host", "image_id", "create_s", "downloaded"]
NOTHING = "give what happened since: --db, --dump or --notifications"

_NO_CREATES = pd.DataFrame(
    {
        "time": pd.Series(dtype="datetime64[us, UTC]"),
        **{name: pd.Series(dtype="str") for name in ("host", "image_id")},
        **{name: pd.Series(dtype=float) for name in ("create_s", "downloaded")},
    }
)


@dataclass(frozen=True)
class Observed:
    """Creates from images that succeeded, from the begin of the history on.

    `creates`: time (seconds from `since`, below 0 before), backend (the promise's name, or Cinder's where the
    promise has none), host, image_id, create_s (NaN: not known), downloaded (1.0, else 0.0; NaN: not known).
    `settings`: those that were promised, beside what they are; None without cinder.conf.
    """

    creates: pd.DataFrame
    since: datetime
    until: datetime
    settings: list[Difference] | None


def observe(given: Given, promise: Promise) -> Observed:
    """Read what happened since `given.since`, or since the end of the history that the promise comes from.

    Raises BadInput.
    """
    if given.db is None and given.dump is None and not given.notifications:
        raise BadInput([NOTHING])
    problems = Problems()
    with ExitStack() as stack:
        # Creates before the promise tell which images are not new.
        sources = read_sources(replace(given, since=None), problems, stack)
        parts = [_creates(batch) for batch in _batches(sources)]
    creates = pd.concat([part for part in parts if len(part)] or [_NO_CREATES], ignore_index=True)
    history = sources.history
    times = creates["time"]
    begin = times.min().to_pydatetime() if history is None and len(times) else None
    end = times.max().to_pydatetime() if history is None and len(times) else None
    if history is not None:
        begin, end = history.since, history.until
    until = given.until or end or datetime.now(UTC)
    since = max(filter(None, (given.since or promise.until, begin)), default=until)
    creates["time"] = (times - pd.Timestamp(since)) / pd.Timedelta(seconds=1)
    creates["backend"] = creates["host"].map(_names(sources, promise, creates["host"].unique()))
    return Observed(creates[COLUMNS], since, until, _settings(given, sources, promise))


def _batches(sources: Sources) -> list[pd.DataFrame]:
    if sources.history is not None:
        return list(sources.history.batches())
    assert sources.telemetry is not None
    return [sources.telemetry.events]


def _creates(events: pd.DataFrame) -> pd.DataFrame:
    """The creates from images, of a batch of events."""
    mine = events[(events["event"] == "create") & (events["image_id"] != "")]
    mine = mine.reindex(columns=["time", "host", "image_id", "create_s", "downloaded"])
    return mine.astype({"host": "str", "image_id": "str", "create_s": float, "downloaded": float})


def _names(sources: Sources, promise: Promise, hosts: object) -> dict[str, str]:
    """The promise's name for the backend of each of Cinder's hosts, or the name of its section."""
    found = {}
    for host in map(str, hosts):  # type: ignore[call-overload]
        place = place_of(host)
        names = [f"{place.backend}.{place.host}", place.backend]
        if sources.configuration is not None:
            section = sources.configuration.section(place.host, place.backend)
            labels = [label for label, one in sources.configuration.sections.items() if one is section]
            names = labels + names
        found[host] = next((name for name in names if name in promise.backends), place.backend)
    return found


def _settings(given: Given, sources: Sources, promise: Promise) -> list[Difference] | None:
    """The promised settings beside those of cinder.conf and the quotas of the database."""
    if sources.configuration is None:
        return None
    settings = Settings(given.conf, given.services, promise)
    settings.configuration = sources.configuration
    history = sources.history
    known = (
        State() if history is None else State(quotas=history.quotas, default_quotas=history.default_quotas)
    )
    return settings.differences(known if history is not None else None)
