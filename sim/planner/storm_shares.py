"""What the creates of a storm share: who holds each thing, and who waits for it.

It is read from the steps that engine `fast` notes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.fast import phases, state
from sim.fast.clone_turns import LOCKED, TAKEN
from sim.fast.state import ACCOUNTS, COPY, NO_LIMIT, OVER_ANY
from sim.inputs.hosts import backend_of
from sim.inputs.units import GIB
from sim.model.links import divide, links_of
from sim.model.rules import ARRAY_FULL, NO_PROVISION, NO_SPACE, POOL_FULL
from sim.planner.storm import Outcome

# What a create does, in the order of the picture.
STATES = (
    *("waiting for a thread", "waiting for the lock", "waiting for Glance", "downloading"),
    *("waiting to write", "converting", "writing", "waiting to clone", "cloning"),
    *("up", "failed"),
)
THREAD, LOCK, GLANCE, DOWNLOADING, TO_WRITE, CONVERTING, WRITING, TO_CLONE, CLONING, UP, FAILED = range(
    len(STATES)
)
_BY_NEXT = {
    phases.HANDLE: THREAD,
    phases.LOCKED: LOCK,
    phases.FILLING: LOCK,
    phases.FETCHING: GLANCE,
    phases.ATTACHING: DOWNLOADING,
    phases.FETCHED: DOWNLOADING,
    phases.CREATED: WRITING,
    phases.WRITING: TO_WRITE,
    phases.CONVERTED: CONVERTING,
    phases.WRITTEN: WRITING,
    phases.EXTENDED: WRITING,
    phases.TO_COPY: CLONING,
    phases.COPYING: CLONING,
    phases.COPIED: CLONING,
    phases.CACHE_CLONED: CLONING,
    phases.STORE_CLONED: CLONING,
    phases.DRIVER_CLONED: CLONING,
    phases.FILLED: CLONING,
}
_CLONES = (phases.CLONE_BESIDE, phases.CLONE_STORED, phases.CLONE_CACHED, phases.CLONE_IMAGE)
COLUMNS = (
    *("resource", "where", "unit", "limit", "peak", "busy", "longest_queue", "waited_s", "refused", "levers"),
)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """What a storm's creates did and shared, in seconds from its instant to `end_s`.

    - intervals: a row for each thing that a create did: `server` (-1: another create), `state` (of STATES),
      `since`, `until`, `pool`, `node`, `image`.
    - table: a row for each shared thing: COLUMNS. `busy` is the mean share of `limit` in use, `waited_s` the
      seconds that all creates waited for it, `levers` what would relieve it.
    - bands: `resource`, `where`, `time_s`, `in_use`, `waiting`, `limit` at each change.
    """

    intervals: pd.DataFrame
    table: pd.DataFrame
    bands: pd.DataFrame
    end_s: float


def shares_of(outcome: Outcome, at: float) -> Shares:
    """What was shared in a storm whose steps were noted. `at`: its instant in the case."""
    found = _Sharing(outcome, at)
    things = list(found.things())
    table = pd.DataFrame([thing.row(found.end_s) for thing in things], columns=list(COLUMNS))
    bands = [thing.band(found.end_s) for thing in things if thing.timed]
    every = pd.concat(bands, ignore_index=True) if bands else pd.DataFrame()
    return Shares(found.intervals, table, every, found.end_s)


@dataclass
class Thing:
    """One shared thing: what it can do at once, and intervals of those who hold it and who wait for it."""

    resource: str
    where: str
    unit: str
    limit: float
    levers: tuple[str, ...]
    held: pd.DataFrame | None = None
    waits: pd.DataFrame | None = None
    rates: tuple[Floats, Floats] | None = None  # of a link: times, and MiB/s from each on
    peak: float = 0.0
    refused: int = 0
    weight: npt.NDArray[Any] | float = 1.0

    @property
    def timed(self) -> bool:
        """Whether its use over time is known."""
        return self.held is not None or self.rates is not None

    def use(self) -> tuple[Floats, Floats]:
        """Times, and what is in use from each on."""
        if self.rates is not None:
            return self.rates
        assert self.held is not None
        return _level(self.held, self.weight)

    def row(self, end_s: float) -> tuple[object, ...]:
        """Its row of the table."""
        busy, peak = float("nan"), self.peak
        if self.timed:
            times, level = self.use()
            busy = _area(times, level, end_s) / (self.limit * end_s) if end_s > 0 else 0.0
            peak = max(float(level.max(initial=0.0)), self.peak)
        waited, longest = 0.0, 0
        if self.waits is not None:
            waited = float((self.waits["until"] - self.waits["since"]).sum())
            longest = int(_level(self.waits, 1.0)[1].max(initial=0))
        return (
            *(self.resource, self.where, self.unit, self.limit, peak, busy),
            *(longest, waited, self.refused, ";".join(self.levers)),
        )

    def band(self, end_s: float) -> pd.DataFrame:
        """Its rows of the bands."""
        times, level = self.use()
        queue_times, queue = _level(self.waits, 1.0) if self.waits is not None else (np.zeros(0), np.zeros(0))
        every = np.unique(np.concatenate([[0.0], times, queue_times, [end_s]]))
        every = every[(every >= 0) & (every <= end_s)]
        values = {"in_use": _at(times, level, every), "waiting": _at(queue_times, queue, every)}
        return pd.DataFrame(
            {"resource": self.resource, "where": self.where, "time_s": every, **values, "limit": self.limit}
        )


def _level(rows: pd.DataFrame, weight: npt.NDArray[Any] | float) -> tuple[Floats, Floats]:
    """When the sum of weights of the intervals under way changes, and to what."""
    weights = np.broadcast_to(np.asarray(weight, float), len(rows))
    times = np.concatenate([rows["since"].to_numpy(float), rows["until"].to_numpy(float)])
    order = np.argsort(times, kind="stable")
    level = np.cumsum(np.concatenate([weights, -weights])[order])
    times = times[order]
    last = np.append(times[1:] != times[:-1], True) if len(times) else np.zeros(0, bool)
    return times[last], np.round(level[last], 9)


def _at(times: Floats, level: Floats, when: Floats) -> Floats:
    place = np.searchsorted(times, when, side="right") - 1
    return np.where(place >= 0, np.append(level, 0.0)[place], 0.0)


def _area(times: Floats, level: Floats, end_s: float) -> float:
    edges = np.clip(np.append(times, end_s), 0.0, end_s)
    return float((np.diff(edges) * level).sum())


class _Sharing:
    """Reads the state at the end of a storm."""

    def __init__(self, outcome: Outcome, at: float) -> None:
        assert outcome.state is not None
        assert outcome.prepared is not None
        self.s, self.names, self.case = outcome.state, outcome.prepared.names, outcome.case
        self.scenario, self.at = outcome.case.scenario, at
        asked = outcome.prepared.asked["volume_id"].to_numpy(object)
        own = outcome.name
        self.server = np.array(
            [int(name[len(own) :].split(" ")[0]) if name.startswith(own) else -1 for name in asked]
        )
        self.rows = self.s.rows[: len(asked)]
        self.image = pd.Index(self.names.images).get_indexer(pd.Index(outcome.prepared.asked["image_id"]))
        ends = self.rows["end"][self.server >= 0] - at
        self.end_s = float(ends.max(initial=0.0))
        self.steps = self._steps()
        self.intervals = self._intervals()
        self.backends = list(self.scenario.backends.items())

    def _steps(self) -> pd.DataFrame:
        """The steps with the next one of the same create."""
        noted = self.s.steps[: int(self.s.world[0]["steps"])]
        table = pd.DataFrame(
            {name: noted[name].astype("f8" if name == "time" else "i8") for name in state.STEPS.names or ()}
        )
        table = table.sort_values("row", kind="stable", ignore_index=True)
        following = table.shift(-1)
        same = following["row"] == table["row"]
        table["next_phase"] = following["phase"].where(same, phases.FINISH).astype("i8")
        table["next_turns"] = following["turns"].where(same, 0).astype("i8")
        table["until"] = following["time"].where(same, table["time"]) - self.at
        table["since"] = table["time"] - self.at
        table["image"] = self.image[table["row"]]
        table["backend"] = self.s.pools["backend"][table["pool"]]
        return table

    def _intervals(self) -> pd.DataFrame:
        t = self.steps[(self.steps["until"] > self.steps["since"]) & (self.steps["until"] > 0)].copy()
        t = t[t["since"] < self.end_s]
        t["state"] = t["next_phase"].map(_BY_NEXT).fillna(WRITING).astype(int)
        waits = (t["phase"] == t["next_phase"]) & t["phase"].isin(_CLONES)
        t.loc[waits, "state"] = TO_CLONE
        t.loc[t["phase"] == phases.TO_COPY, "state"] = TO_WRITE
        t["server"] = self.server[t["row"]]
        # Without a shared link, one step converts and writes.
        both = (t["phase"] == phases.WRITING) & (t["next_phase"] == phases.WRITTEN)
        split = t["since"] + np.array(
            [self._converts_s(*of) for of in zip(t["image"], t["backend"], strict=True)], float
        )
        first = t[both & (split > t["since"])].assign(state=CONVERTING)
        first["until"] = split[first.index]
        t.loc[first.index, "since"] = split[first.index]
        every: pd.DataFrame = pd.concat([t, first], ignore_index=True)
        every = every[every["until"] > every["since"]]
        return every.sort_values(["row", "since"], kind="stable", ignore_index=True)

    def _converts_s(self, image: int, backend: int) -> float:
        if image < 0:
            return 0.0
        of = self.case.images[self.names.images[image]]
        rate = self.scenario.backends[self.names.backends[backend]].convert_mib_s
        raw = of.disk_format == "raw"
        return 0.0 if raw or rate is None else of.virtual_size_bytes / 2**20 / rate

    # -- the things ----------------------------------------------------------------------------------------

    def things(self) -> Iterator[Thing]:
        """Every shared thing that has a limit, in the order in which a create meets them."""
        yield from self._threads()
        yield from self._locks()
        yield from self._directories()
        yield from self._glance()
        for number, (name, backend) in enumerate(self.backends):
            here = self.intervals["backend"] == number
            if backend.write_streams is not None:
                copies = backend.clone_copied_by == "node"
                writes = ([phases.WRITING, phases.COPYING], [phases.WRITTEN, phases.COPIED])
                spans = writes if copies else (writes[0][:1], writes[1][:1])
                limit = backend.write_streams
                yield self._queue("write streams", name, limit, here, TO_WRITE, spans, "write_streams")
            if backend.clone_lock == "source" or backend.clone_streams is not None:
                yield from self._clones(number, name)
        yield from self._links("array link")
        yield from self._room()

    def _spans(self, begins: Iterable[int], ends: Iterable[int], chosen: pd.Series[bool]) -> pd.DataFrame:
        """From a step of a create in one of the phases `begins` to its next in one of `ends`."""
        t = self.steps[chosen]
        t = t[t["phase"].isin([*begins, *ends])]
        following = t.shift(-1)
        same = following["row"] == t["row"]
        good = t["phase"].isin(list(begins)) & same
        spans = t[good].assign(until=following.loc[good, "since"])
        spans = spans[(spans["until"] > spans["since"]) & (spans["until"] > 0)]
        return spans.assign(since=spans["since"].clip(lower=0.0))

    def _queue(
        self,
        resource: str,
        where: str,
        limit: float,
        here: pd.Series[bool],
        state: int,
        spans: tuple[list[int], list[int]],
        lever: str,
    ) -> Thing:
        """A queue for streams. `spans`: the phases in which a create takes one, and gives it back."""
        waits = self.intervals[here & (self.intervals["state"] == state)]
        numbers = self.steps["backend"].isin(self.intervals.loc[here, "backend"].unique())
        return Thing(resource, where, "streams", limit, (lever,), self._spans(*spans, numbers), waits)

    def _threads(self) -> Iterator[Thing]:
        for number, (name, backend) in enumerate(self.backends):
            for position, node in enumerate(backend.node_names):
                limit = int(self.s.threads[number, position]["limit"])
                if limit == NO_LIMIT:
                    continue
                t, i = self.steps, self.intervals
                here = (t["backend"] == number) & (t["node"] == position)
                waits = i[(i["backend"] == number) & (i["node"] == position) & (i["state"] == THREAD)]
                held = self._spans([phases.HANDLE], [phases.FINISH, phases.ATTEMPT], here)
                yield Thing("threads", f"{node} {name}", "threads", limit, ("threads",), held, waits)

    def _locks(self) -> Iterator[Thing]:
        """The lock of an image that creates waited for longest, in each scope."""
        t, i = self.steps, self.intervals
        waits = i[(i["state"] == LOCK) & (i["next_phase"] == phases.LOCKED)]
        if waits.empty:
            return
        images, lock = len(self.names.images), self.s.lock_rows[waits["pool"], waits["node"]]
        which = lock * images + waits["image"].to_numpy()
        seconds = np.bincount(which, (waits["until"] - waits["since"]).to_numpy())
        scope, image = divmod(int(seconds.argmax()), images)
        chosen = (t["image"] == image) & (self.s.lock_rows[t["pool"], t["node"]] == scope)
        held = self._spans([phases.LOCKED], [phases.UNLOCK], chosen & ~self._gives_up(t))
        its = waits[(waits["image"] == image) & (lock == scope)]
        levers = ("lock_per_pool", "refused_without_lock")
        name = self.names.images[image]
        yield Thing("lock of the image", name, "creates", 1, levers, held, its)

    def _gives_up(self, t: pd.DataFrame) -> pd.Series[bool]:
        """Steps at which a create gives up the lock at once, because the cache has the image: LOOK, then a
        clone."""
        later = t.shift(-2)
        hits = (later["row"] == t["row"]) & (later["phase"] == phases.CLONE_CACHED)
        return hits & (t["phase"] == phases.LOCKED)

    def _directories(self) -> Iterator[Thing]:
        for node, row in zip(self.names.nodes, self.s.directories, strict=True):
            spec = self.scenario.nodes.get(node)
            if spec is None or spec.image_conversion_gib is None:
                continue
            spans = self._spans([phases.FETCHING], [phases.WRITTEN, phases.EXTEND], self._on(node))
            levers = ("image_conversion_gib",)
            yield Thing(
                *("conversion directory", node, "GiB", spec.image_conversion_gib, levers),
                held=spans,
                peak=float(row["peak"]) / GIB,
                refused=int(row["refused"]),
                weight=self.s.images["size_bytes"][spans["image"]] / GIB,
            )

    def _on(self, node: str) -> pd.Series[bool]:
        found = pd.Series(False, self.steps.index)
        for number, (_, backend) in enumerate(self.backends):
            if node in backend.node_names:
                position = backend.node_names.index(node)
                found |= (self.steps["backend"] == number) & (self.steps["node"] == position)
        return found

    def _glance(self) -> Iterator[Thing]:
        if self.scenario.glance.streams is not None and bool(self.s.options[0]["glance_takes_time"]):
            every = pd.Series(True, self.intervals.index)
            limit, spans = self.scenario.glance.streams, ([phases.FETCHING], [phases.FETCHED])
            limit *= self.scenario.glance.nodes
            yield self._queue("Glance's streams", "", limit, every, GLANCE, spans, "streams")
        yield from self._links("Glance's link")
        yield from self._links("node link")

    def _clones(self, number: int, name: str) -> Iterator[Thing]:
        i, backend = self.intervals, self.scenario.backends[name]
        here = (i["backend"] == number) & i["phase"].isin(_CLONES)
        running = i[((i["backend"] == number) & (i["state"] == CLONING))]
        waits = i[here & (i["state"] == TO_CLONE)]
        if backend.clone_streams is not None:
            its = waits[waits["next_turns"] == TAKEN]
            yield Thing(
                "clone streams", name, "clones", backend.clone_streams, ("clone_streams",), running, its
            )
        if backend.clone_lock == "source":
            its = waits[waits["next_turns"] == LOCKED]
            sources = max(1, running.groupby(["pool", "image"]).ngroups)
            yield Thing("lock of the source", name, "clones", sources, ("clone_lock",), running, its)

    def _links(self, which: str) -> Iterator[Thing]:
        """Links, with what crosses them at each time, as the engines divide them."""
        shared = links_of(self.scenario)
        named = {"node link": shared.of_node, "array link": shared.of_array}.get(which, {})
        if which == "Glance's link":
            if self.scenario.glance.total_mib_s is None:
                return
            named = {"": shared.of_glance}
        if not named:
            return
        crossing = self._crossing(shared)
        levers = {"Glance's link": "bandwidth", "node link": "node_mib_s", "array link": "array_mib_s"}
        for name, route in named.items():
            r = shared.routes[route]
            link = r.second if which == "node link" and r.second != -1 else r.first
            total = shared.links[link].total_mib_s
            yield Thing(
                which, name, "MiB/s", total, (levers[which],), rates=self._rates(shared, crossing, link)
            )

    def _crossing(self, shared: Any) -> pd.DataFrame:
        """Transfers over shared links: `since`, `until`, `route` and `own` rate."""
        t, found = self.steps, []
        fetching = t[t["next_phase"].isin([phases.FETCHED]) & (t["until"] > t["since"])]
        routes = self.s.glance_routes[fetching["pool"], fetching["node"]]
        own = self.s.options[0]["stream_mib_s"]
        found.append(fetching.assign(route=routes, own=own))
        for phase, rate in ((phases.CONVERTED, "write_mib_s"), (phases.COPYING, "copy_mib_s")):
            at = t[(t["phase"] == phase) & (t["until"] > t["since"])]
            backends = self.s.backends[at["backend"]]
            found.append(at.assign(route=backends["route"], own=backends[rate]))
        every = pd.concat(found, ignore_index=True)
        return every[(every["route"] >= 0) & (every["until"] > 0)]

    def _rates(self, shared: Any, crossing: pd.DataFrame, link: int) -> tuple[Floats, Floats]:
        component = next(r.component for r in shared.routes if link in (r.first, r.second))
        routes = [n for n, r in enumerate(shared.routes) if r.component == component]
        here = crossing[crossing["route"].isin(routes)]
        over = [n for n in routes if link in (shared.routes[n].first, shared.routes[n].second)]
        changes = [(t, 1, r, o) for t, r, o in zip(here["since"], here["route"], here["own"], strict=True)]
        changes += [(t, -1, r, o) for t, r, o in zip(here["until"], here["route"], here["own"], strict=True)]
        times, level, under_way = [], [], dict[tuple[int, float], int]()
        for number in routes:
            shared.routes[number].streams = 0
        for time, change, route, own in sorted(changes):
            shared.routes[route].streams += change
            under_way[route, own] = under_way.get((route, own), 0) + change
            divide(shared, component)
            rate = sum(
                count * min(own, shared.routes[number].share_mib_s)
                for (number, own), count in under_way.items()
                if number in over and count
            )
            times.append(time)
            level.append(rate)
        return np.array(times, float), np.array(level, float)

    def _room(self) -> Iterator[Thing]:
        """Places, GiB and quotas."""
        error, refused = self.rows["error"], (self.server >= 0) & ~self.rows["available"]
        hosts = list(self.scenario.pools())
        at = self.rows["error_pool"]
        for number, (name, backend) in enumerate(self.backends):
            if backend.max_volumes is not None:
                pools = [pool for pool, host in enumerate(hosts) if backend_of(host) == name]
                count = int((refused & (error == ARRAY_FULL) & np.isin(at, pools)).sum())
                peak = float(self.s.backends["volumes_peak"][number])
                yield self._places(name, backend.max_volumes, pools, peak, count)
        for number, (host, pool) in enumerate(self.scenario.pools().items()):
            here = refused & (at == number)
            if pool.max_volumes is not None:
                count = int((here & (error == POOL_FULL)).sum())
                peak = float(self.s.pools["volumes_peak"][number])
                yield self._places(host, pool.max_volumes, [number], peak, count)
            if pool.capacity_gib is not None:
                none = (NO_PROVISION, NO_SPACE, COPY + NO_SPACE)
                yield self._space(number, host, int((here & np.isin(error, none)).sum()))
        if self.scenario.cinder.quotas:
            count = int(np.isin(error[refused], OVER_ANY).sum())
            yield Thing("quotas", "projects", "creates", float("nan"), ("quotas",), refused=count)

    def _places(self, where: str, limit: int, pools: list[int], peak: float, refused: int) -> Thing:
        """Places over time: what stays of the creates here, and their image-volumes.

        Those that were taken before the storm are taken from the peak, because nothing is deleted in it on an
        empty cloud.
        """
        i = self.intervals[self.intervals["pool"].isin(pools)]
        made = i[
            ((i["state"] == CLONING) | (i["next_phase"] == phases.CREATED)) & self.rows["available"][i["row"]]
        ]
        users = made[made["phase"] != phases.CLONE_IMAGE].drop_duplicates("row", keep="last")
        held = pd.concat([users, made[made["phase"] == phases.CLONE_IMAGE]]).assign(until=math.inf)
        before = max(0.0, peak - len(held))
        held = pd.concat([held, pd.DataFrame({"since": [0.0] * int(before), "until": math.inf})])
        return Thing("places", where, "volumes", limit, ("places",), held, peak=peak, refused=refused)

    def _space(self, number: int, host: str, refused: int) -> Thing:
        accounts = self.s.accounts[number * ACCOUNTS : (number + 1) * ACCOUNTS]
        limit = float(self.s.pools["provision_limit"][number])
        peak = float(accounts["provisioned_peak"][[0, 1, 2]].sum())
        return Thing("space", host, "GiB", limit, ("capacity",), peak=peak, refused=refused)


def states_over_time(shares: Shares, outcome: Outcome, points: int = 400) -> pd.DataFrame:
    """How many servers are in each state at instants of the storm: `time_s`, and a column for each state."""
    end = shares.end_s or 1.0
    times = np.linspace(0.0, end, points)
    own = shares.intervals[shares.intervals["server"] >= 0]
    found = {"time_s": times}
    total = len(outcome.up_s)
    for number, name in enumerate(STATES[:UP]):
        of = own[own["state"] == number]
        found[name] = _at(*_level(of, 1.0), times) if len(of) else np.zeros(points)
    up = np.searchsorted(np.sort(outcome.up_s), times, side="right")
    found["up"] = up.astype(float)
    under_way = sum(found[name] for name in STATES[:UP])
    found["failed"] = np.maximum(0.0, total - up - under_way)
    return pd.DataFrame(found)
