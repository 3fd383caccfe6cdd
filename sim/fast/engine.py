"""Engine `fast`: runs a case in compiled code and makes its tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numba import types

from sim.fast import state
from sim.fast.build import NO_EDGES, build, exists, fill_caches, records_of
from sim.fast.errors import error_texts, over_quota
from sim.fast.jit import table_of
from sim.fast.keeping import is_kept
from sim.fast.kernel import AHEAD, MARGIN, MORE_ROOM, OVER, advance, put_all
from sim.fast.names import Names
from sim.fast.spare import GROWING, again, longer
from sim.fast.state import ACCOUNTS, FIELDS, NONE, Array, State
from sim.fast.steps import STEPS_MARGIN
from sim.inputs.limits import OF_CACHE
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES, Strategy
from sim.inputs.texts import column, few, in_texts, joined, named, texts
from sim.model import links
from sim.model.initial import Placed, initial_volumes, place
from sim.model.prefetch import with_prefetches
from sim.model.records import (
    ASKED,
    FILL_FAILED,
    MAKES_PLACE,
    MAKES_ROOM,
    OUTDATED,
    TOO_LARGE,
    WAITS,
    Records,
    cache_events_table,
    cache_table,
    directories_table,
    links_table,
    named_column,
    nodes_table,
    tables_of_creates,
    uploads_table,
    volumes_table,
)
from sim.model.rules import CLONE_LIMIT, FAMILY_LIMIT, NO_SPACE, PAYERS
from sim.model.usage import ALL, KINDS, OWNERS, UsageMeter, instants, space_table

BUDGET = 1_000_000  # events between two looks at Python's signals and progress
NO_LENGTHS: Mapping[str, int] = MappingProxyType({})
NO_LIMITS = dict.fromkeys(OF_CACHE)
# Events of the cache, and their reasons; a skip tells its own.
CACHE_EVENTS = {
    state.MADE: ("create", ""),
    state.EVICTED: ("evict", MAKES_ROOM),
    state.SKIPPED: ("skip", ""),
    state.STALE: ("stale", OUTDATED),
    state.AT_CLONE_LIMIT: ("clone_limit", "SnapshotLimitReached"),
    state.FOR_USER: ("evict", MAKES_PLACE),
}
SKIP_REASONS = {
    state.REFUSED: TOO_LARGE,
    state.OVER_QUOTA: FILL_FAILED + "OverQuota",
    CLONE_LIMIT: FILL_FAILED + "SnapshotLimitReached",
    FAMILY_LIMIT: FILL_FAILED + "SnapshotLimitReached",
}
UPLOAD_ERRORS = {
    state.NO_VOLUME: "VolumeNotFound",
    state.NOT_AVAILABLE: "InvalidVolume",
    state.NOT_RAW: "HTTPBadRequest",
    state.NO_STORE: "HTTPInternalServerError",
    state.STORE_FULL: "HTTPOverLimit",
    state.NO_KEY: "ManagedObjectNotFoundError",
    state.OVER_QUOTA: "OverQuota",
    NO_SPACE: "VolumeBackendAPIException",
    state.NO_CONVERSION: "ImageConversionNotAllowed",
    state.DISK_FULL: "ProcessExecutionError",
    **{error: over_quota(error, "")[0] for error in state.OVER_ANY},
}
# What a run calls, with the types that Numba finds then.
TABLE = types.int64[::1]
ENTRIES: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (advance, (TABLE, types.boolean, types.int64, types.int64)),
    (put_all, (TABLE,)),
)
ARRAY_FAILED = FILL_FAILED + "VolumeBackendAPIException"


def run(
    case: Case, strategy: str, progress: Callable[[int], None] | None = None, compact: bool = False
) -> Records:
    """Run one strategy on a case and return its tables, as `sim.cinder.engine.run` does.

    `progress` is told the number of the trace's events that have happened. `compact`: see `sim.run.run`.
    Raises `BadInput` if what exists at the start does not fit.
    """
    prepared = Prepared(case)
    times = instants(float(case.trace.events["time"].iloc[-1]))
    s, placed, engine_s = prepared.play(case.scenario, strategy, progress, times)
    names, asked = prepared.names, prepared.asked
    rows, queued = s.rows[: len(asked)], s.queued[: len(asked)]
    noted = s.cache_events[: int(s.world[0]["cache_events"])]
    until = float(rows["end"].max(initial=case.trace.events["time"].iloc[-1]))
    beside = tables_beside(s, case, prepared, placed, until)
    # The state and the trace as numbers take as much memory as the long tables, which need little of them.
    prepared.trace.clear()
    del s
    requests, others = tables_of(rows, queued, case, names, asked)
    volume_ids = asked["volume_id"]
    del rows, queued, asked, prepared
    cache_events = cache_events_of(noted, names, volume_ids, 0)
    if not compact:
        requests, others, cache_events = map(in_texts, (requests, others, cache_events))
    return Records(requests=requests, others=others, cache_events=cache_events, engine_s=engine_s, **beside)


class Start(NamedTuple):
    """The state at time 0, with which runs begin that differ in the limits of caches alone."""

    about: object
    edges: Array
    state: State
    placed: list[Placed]


class Prepared:
    """A case that can run often, with other options and limits but the same tiers and pools.

    `starts`: so many states at time 0 it keeps, those that were used last, to begin later runs with.
    `asked` are all creates of the trace, of which `State.rows` has the results.
    """

    def __init__(self, case: Case, starts: int = 0) -> None:
        self.case = case = with_prefetches(case)
        self.names = Names(case)
        events = case.trace.events
        # The initial volumes are the same under every strategy. What else is placed has no id of the trace:
        # its codes follow those of the ids, of which the last are the snapshots'.
        self._initial = initial_volumes(case)
        before = [volume.volume_id for volume in self._initial if volume.kind == "user"]
        codes, ids = case.trace.volumes()
        self._before, self.ids = _codes_of(before, ids)
        self.ids = joined(self.ids, texts(self.names.snapshots))
        self.trace = self.names.events(events, codes)
        stretch = self.trace["trace_event"], self.trace["trace_image"]
        self._locations = most_locations(len(self.names.hosts), *stretch)
        creates = self.trace["trace_event"] == state.CREATE
        asked = {name: events.loc[creates, name].reset_index(drop=True) for name in ASKED[1:]}
        # Most often the ids of creates follow one another in `ids`, so that these columns share their memory.
        asked = {ASKED[0]: column(named(codes[creates], ids))} | asked
        self.asked = pd.DataFrame(asked, copy=False)
        self._placed: tuple[object, list[Placed], Array] | None = None  # of the run before
        self._starts: list[Start] = []  # the last used first
        self._most = starts
        self._lengths: dict[str, int] = {}  # of the arrays that grew in the runs before

    def play(
        self,
        scenario: Scenario,
        strategy: str,
        progress: Callable[[int], None] | None = None,
        edges: Array = NO_EDGES,
        noted: bool = False,
    ) -> tuple[State, list[Placed], float]:
        """Run once. Returns the state at the end, the volumes of the start, and the seconds in compiled code.

        `edges`: times, ascending, at which the accounts are noted. `noted`: whether the steps of creates are.
        """
        begun, table, placed = self._begin(scenario, STRATEGIES[strategy], edges)
        begun.options["noted"] = noted
        s, engine_s = play(begun, table, progress, self._locations)
        if s is not begun:
            self._lengths = {name: len(getattr(s, name)) for name in GROWING}
        return s, placed, engine_s

    def _begin(self, scenario: Scenario, strategy: Strategy, edges: Array) -> tuple[State, Any, list[Placed]]:
        """The state at time 0, its table, and the volumes that are placed there."""
        if not self._most:
            s, placed = self._build(scenario, strategy, edges, self._lengths)
            return s, table_of(s), placed
        about = strategy, _without_limits(scenario)
        starts = self._starts
        found = (at for at, each in enumerate(starts) if each.edges is edges and each.about == about)
        at = next(found, None)
        if at is None:
            start = Start(about, edges, *self._build(scenario, strategy, edges, NO_LENGTHS))
        else:
            start = starts.pop(at)
        self._starts = [start, *starts][: self._most]
        s, table = again(start.state, self._lengths)
        fill_caches(s, scenario, strategy)
        return s, table, start.placed

    def _build(
        self, scenario: Scenario, strategy: Strategy, edges: Array, lengths: Mapping[str, int]
    ) -> tuple[State, list[Placed]]:
        case = replace(self.case, scenario=scenario)
        placed, as_records = self._place(case, strategy)
        s = build(case, strategy, self.names, self.trace, len(self.ids), len(self.asked), edges)
        s = room_for(s, len(placed), lengths)
        exists(s, as_records)
        return s, placed

    def _place(self, case: Case, strategy: Strategy) -> tuple[list[Placed], Array]:
        """Place what is there at the start, or give what the run before had, if it is the same."""
        owns_store = case.scenario.cinder.internal_tenant_owns_store
        specs = _without_limits(case.scenario)["backends"]
        about = strategy, case.scenario.store, specs, owns_store
        if self._placed is None or self._placed[0] != about:
            _, placed = place(case, strategy, UsageMeter(lambda: 0.0, [], []), 0, self._initial)
            codes = [
                self._before.get(volume.volume_id, NONE) if volume.kind == "user" else code
                for code, volume in enumerate(placed, len(self.ids))
            ]
            self._placed = about, placed, records_of(self.names, placed, codes, owns_store)
        return self._placed[1:]


def _without_limits(scenario: Scenario) -> dict[str, Any]:
    """A scenario without the limits of its caches."""
    backends = {name: vars(backend) | NO_LIMITS for name, backend in scenario.backends.items()}
    return vars(scenario) | {"backends": backends}


def _codes_of(placed: list[str], ids: pa.Array) -> tuple[dict[str, int], pa.Array]:
    """The number of each volume that is placed, and the ids behind all numbers: `ids`, then the new ones."""
    found = pc.index_in(texts(placed), value_set=ids).to_pylist() if placed else []
    codes = dict(zip(placed, found, strict=True))
    new = [volume_id for volume_id, code in codes.items() if code is None]
    codes |= {volume_id: code for code, volume_id in enumerate(new, len(ids))}
    return codes, joined(ids, texts(new))


# -- the run -------------------------------------------------------------------------------------------


def room_for(s: State, volumes: int, lengths: Mapping[str, int] = NO_LENGTHS) -> State:
    """Make room in the state at time 0 for `volumes` at the start, and for arrays as long as `lengths`."""
    taken = ("volumes", "slots", "families", "lineages", "members", "member_since", "entries")
    wanted = {
        name: max(len(getattr(s, name)) + volumes * (name in taken), lengths.get(name, 0)) for name in GROWING
    }
    longer = {
        name: np.zeros((length, *getattr(s, name).shape[1:]), getattr(s, name).dtype)
        for name, length in wanted.items()
        if length > len(getattr(s, name))
    }
    return s._replace(**longer)


def compiled() -> None:
    """Compile what a run calls, unless that is kept from an earlier one.

    Before processes begin that would all compile it, each with so much memory that joblib ends it.
    """
    for entry, signature in ENTRIES:
        if not is_kept(entry):
            entry.compile(signature)


def play(s: State, table: Any, progress: Callable[[int], None] | None, locations: int) -> tuple[State, float]:
    """Run the trace to its end. Returns the state then, and the seconds in compiled code.

    `locations`: see `most_locations`.
    """
    advance(table, False, 0, locations)  # compiles, or loads what is compiled
    engine_s = 0.0
    why = None
    while why != OVER:
        if why == MORE_ROOM:
            s = room(s, locations)
            table = table_of(s)
        since = time.perf_counter()
        why = advance(table, False, BUDGET, locations)
        engine_s += time.perf_counter() - since
        if progress:
            progress(int(s.world[0]["happened"]))
    if s.world[0]["under_way"]:
        raise RuntimeError(f"{s.world[0]['under_way']} creates never ended")
    return s, engine_s


def most_locations(pools: int, events: Array, images: Array) -> int:
    """The most image-volumes of one image in the store, with a trace of these events and images.

    On each pool one of the start and one on demand; and those that events `store_image` bring.
    """
    later = images[events == state.STORE_IMAGE]
    return 2 * pools + int(np.bincount(later, minlength=1).max())


def room(s: State, locations: int) -> State:
    """The same state with twice the room in every array that is more than half full."""
    w = s.world[0]
    few, some = AHEAD * MARGIN, AHEAD * (locations + MARGIN)
    most = int(w["entries"]) + some
    lineages = w["used_lineages"] + some  # an upload may put one on every pool
    used = {
        "events": w["events"] + few, "volumes": w["used_volumes"] + few, "slots": w["used_slots"] + some,
        "lineages": lineages, "members": lineages, "member_since": lineages,
        "messages": w["used_messages"] + few, "turns": w["used_turns"] + few,
        "families": w["used_families"] + some, "flows": w["flows"] + few,
        "steps": w["steps"] + AHEAD * STEPS_MARGIN, "entries": w["used_entries"] + few,
        "cache_events": w["cache_events"] + most,
    }  # fmt: skip
    grown = {
        name: longer(array, 2 * len(array))
        for name, array in zip(State._fields, s, strict=True)
        if name in used and 2 * used[name] > len(array)
    }
    if 2 * (w["casts"] + most) > len(s.casts):
        ring = np.roll(s.casts, -int(w["first_cast"]))
        grown["casts"] = np.concatenate([ring, np.zeros_like(ring)])
        w["first_cast"] = 0
    return s._replace(**grown)


# -- tables --------------------------------------------------------------------------------------------


def tables_beside(
    s: State, case: Case, prepared: Prepared, placed: list[Placed], until: float
) -> dict[str, Any]:
    """The tables of `Records` that do not grow with each create. `until`: see `usage_of`."""
    names = prepared.names
    return {
        "cache": cache_of(s, names),
        "uploads": uploads_of(s, names, prepared.ids),
        "usage": usage_of(s, names, until),
        "space": space_of(s, names),
        "volumes": _volumes(s, names, prepared.ids, placed),
        "nodes": nodes_of(s, names, case, until),
        "directories": directories_of(s, names, case),
        "links": links_of(s, case, until),
    }


def tables_of(
    rows: Array, queued: Array, case: Case, names: Names, asked: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`Records.requests` and `Records.others` of creates: rows of `State.rows` and, with queues, `queued`."""
    failed = np.flatnonzero(~rows["available"])
    told = np.full(len(rows), NONE)
    told[failed] = np.arange(len(failed))
    return tables_of_creates(
        asked,
        host=few(rows["host"], names.hosts),
        end=rows["end"],
        source=rows["source"],
        available=rows["available"],
        error=named_column(told, error_texts(case, names, rows[failed], asked.iloc[failed])),
        attempts=rows["attempts"],
        lock_wait_s=rows["lock_wait_s"],
        stream_wait_s=rows["stream_wait_s"],
        cache_held=rows["cache_held"].astype(np.int64),
        **{name: queued[name] for name in WAITS if case.scenario.queues},
    )


def cache_events_of(noted: Array, names: Names, volume_ids: pd.Series[str], first: int) -> pd.DataFrame:
    """The events noted; `volume_ids` are those of the creates from row `first` on."""
    skipped = noted["event"] == state.SKIPPED
    event, reason = ({number: told[part] for number, told in CACHE_EVENTS.items()} for part in (0, 1))
    # A skip's reason stands behind those of the others.
    reason |= {len(reason) + number: told for number, told in SKIP_REASONS.items()}
    columns = {
        "time": noted["time"],
        "host": few(noted["pool"], names.hosts),
        "event": _by_number(event, noted["event"]),
        "image_id": named_column(noted["image"], names.images),
        "size_gib": noted["size_gib"].astype(np.int64),
        "reason": _by_number(
            reason,
            np.where(skipped, len(CACHE_EVENTS) + noted["reason"], noted["event"]),
            ARRAY_FAILED,
        ),
        "volume_id": named_column(np.where(noted["row"] == NONE, NONE, noted["row"] - first), volume_ids),
    }
    return cache_events_table(columns)


def _by_number(texts: dict[int, str], numbers: Array, other: str = "") -> pd.Series[Any]:
    """The text of each number; `other` of those without one."""
    places, found = pd.factorize(numbers)
    return few(places, [texts.get(number, other) for number in found.tolist()])


def cache_of(s: State, names: Names) -> pd.DataFrame:
    """`Records.cache`: host by host in the order of their first entries, the least recently used first."""
    rows = []
    for pool in np.argsort(s.pools["first_entry"]).tolist():
        entry = int(s.pools[pool]["least_used"])
        while entry != NONE:
            e = s.entries[entry]
            used_s = int(e["last_used_us"]) / 1_000_000
            rows.append((names.hosts[pool], names.images[e["image"]], int(e["size_gib"]), used_s))
            entry = int(e["more_used"])
    return cache_table(rows)


def usage_of(s: State, names: Names, until: float) -> pd.DataFrame:
    """`Records.usage`, with means to the end of the run: `until`, or the last change."""
    end = max(until, float(s.world[0]["last_change"]))
    scopes = [("pool", host) for host in names.hosts] + [("tier", tier) for tier in names.tiers] + [(ALL, "")]
    rows = []
    for number, (scope, name) in enumerate(scopes):
        for kind, account in zip(KINDS, s.accounts[number * ACCOUNTS :], strict=False):
            row: dict[str, object] = {"scope": scope, "name": name, "kind": kind}
            for quantity, field in FIELDS.items():
                level, area = float(account[field]), float(account[f"{field}_area"])
                mean = (area + (end - float(account["since"])) * level) / end if end > 0 else level
                row |= {f"{quantity}_mean": mean, f"{quantity}_peak": float(account[f"{field}_peak"])}
            row["volumes_end"] = int(account["volumes"])
            row["provisioned_gib_end"] = float(account["provisioned"])
            row["physical_gib_end"] = float(account["physical"])
            rows.append(row)
    return pd.DataFrame(rows)


def nodes_of(s: State, names: Names, case: Case, until: float) -> pd.DataFrame:
    """`Records.nodes`, with means as in `usage_of`."""
    end = max(until, float(s.world[0]["last_change"]))
    limits = case.scenario.conversion_limits()
    rows = []
    for node in limits:
        d = s.directories[names.nodes.index(node)]
        used = float(d["used"])
        mean = (float(d["area"]) + (end - float(d["since"])) * used) / end if end > 0 else used
        rows.append((mean, float(d["peak"]), float(d["needed"]), int(d["refused"])))
    return nodes_table(limits, rows)


def directories_of(s: State, names: Names, case: Case) -> pd.DataFrame:
    """`Records.directories`, of what was noted at the edges."""
    nodes = list(case.scenario.conversion_limits())
    noted = s.edge_directories[:, [names.nodes.index(node) for node in nodes]].T
    return directories_table(nodes, s.edges, noted["used"], noted["peak"])


def links_of(s: State, case: Case, until: float) -> pd.DataFrame:
    """`Records.links`, with means to the end of the run, as in `usage_of`."""
    columns = {name: s.links[name] for name in ("total_mib_s", "transfers", "asked_mib", "carried_mib")}
    end = max(until, float(s.world[0]["last_change"]), float(s.components["since"].max(initial=0.0)))
    return links_table(links.links_of(case.scenario).names, **columns, end=end)


def uploads_of(s: State, names: Names, ids: pa.Array) -> pd.DataFrame:
    asked = s.trace_event == state.UPLOAD_VOLUME
    columns = (
        column(named(s.trace_code[asked], ids)),
        named_column(s.uploads["image"], names.images),
        named_column(s.uploads["pool"], names.hosts),
        s.trace_time[asked],
        s.uploads["end"],
        _by_number(UPLOAD_ERRORS, s.uploads["error"]),
    )
    return uploads_table(list(zip(*columns, strict=True)))


def space_of(s: State, names: Names) -> pd.DataFrame:
    """`Records.space` of the accounts noted at the edges."""
    accounts = s.edge_accounts.reshape(len(s.edges), -1, ACCOUNTS)[:, : len(names.hosts)]
    kinds = [accounts[:, :, KINDS.index(kind)] for kind in OWNERS]
    levels = [[of[field] for field in FIELDS.values()] for of in kinds]
    return space_table(s.edges, names.hosts, np.array(levels).transpose(3, 2, 0, 1))


def _volumes(s: State, names: Names, ids: pa.Array, placed: list[Placed]) -> pd.DataFrame:
    used = s.slots[: int(s.world[0]["used_slots"])]
    slots = used[used["there"]]
    return volumes_table(
        host=named_column(slots["pool"], names.hosts),
        kind=named_column(slots["kind"], PAYERS),
        volume_id=column(named(slots["code"], joined(ids, texts([volume.volume_id for volume in placed])))),
        size_gib=slots["size_gib"],
        clones=slots["clones"],
    )
