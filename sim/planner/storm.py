"""A storm: many creates at one instant, on an empty cloud or beside the scenario's own load.

`Ask` says which storm, `Storms` runs it under strategies and changes of the scenario. Times of results count
from the storm's instant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.fast.engine import Prepared
from sim.fast.state import State
from sim.inputs.problems import quoted
from sim.inputs.scenario import Case, Scenario
from sim.inputs.trace import Trace, empty_events, empty_initial
from sim.model.prefetch import prefetches
from sim.run import engine_of, run
from sim.sweep.varying import Varied

LEAD_S = 3600.0  # before the storm: time for a prefetch
HOUR_S = 3600.0
DAY_S = 86_400.0
MOST_CREATES = 100_000
NAME = "storm "  # with which the names of its volumes begin (see `named`)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ask:
    """A storm of `creates` volumes at one instant.

    - image, images: the image of all creates, or as many images in turn, those that the workload asks for
      most. None and 1: the one that it asks for most.
    - tier: the volume type; None: all that have a pool, in turn.
    - within_s: all volumes should be up after these seconds; None: `boot_timeout_s`.
    - warm: True if the caches got the images an hour before (see `what_if.prefetch`); False if no cache has
      them; None: as it comes, which is cold on an empty cloud.
    - beside: at the start of the busiest hour of the scenario's own load. False: nothing else happens.
    - retries: how often a server comes again after its create failed or Nova gave it up.
    - block_device_allocate_retries, block_device_allocate_retries_interval: Nova's options. It looks at the
      volume once and then so many times more, with so many seconds between.
    """

    creates: int
    image: str | None = None
    images: int = 1
    tier: str | None = None
    within_s: float | None = None
    warm: bool | None = None
    beside: bool = False
    retries: int = 0
    block_device_allocate_retries: int = 60
    block_device_allocate_retries_interval: int = 3

    @property
    def patience_s(self) -> float:
        """Until when a volume must be up, so that Nova sees it."""
        return float(self.block_device_allocate_retries * self.block_device_allocate_retries_interval)

    def gives_up_s(self, end: Floats, available: npt.NDArray[np.bool_]) -> Floats:
        """When Nova gives up creates that took so many seconds; infinite where their volume is up in time.

        After its last look it sleeps once more (`_await_block_device_map_created` of Nova's compute manager).
        """
        interval = self.block_device_allocate_retries_interval
        looked = np.ceil(end / interval) * interval
        last = self.patience_s + interval
        return np.where(end > self.patience_s, last, np.where(available, math.inf, looked))


def problems_of(ask: Ask, case: Case) -> list[str]:
    """A line for each option that this scenario cannot take."""
    scenario, found = case.scenario, []
    tiers = [tier for tier in scenario.tiers if scenario.hosts_of(tier)]
    if ask.tier is not None and ask.tier not in tiers:
        found.append(f"--tier: no pool serves {quoted(ask.tier)}: must be one of {', '.join(tiers)}")
    if ask.image is not None and ask.image not in case.images:
        found.append(f"--image: there is no image {quoted(ask.image)}")
    elif (there := len(images_of(case, ask))) < (1 if ask.image else ask.images):
        found.append(f"--images: there are only {there:,}")
    if ask.beside and not (case.trace.events["event"] == "create").any():
        found.append("--beside: the scenario has no creates of its own")
    elif ask.beside and case.creates + ask.creates > 50 * MOST_CREATES:
        found.append(f"--beside: the scenario has {case.creates:,} creates, too many to run again and again")
    return found


def bad_numbers(ask: Ask) -> list[str]:
    """A line for each option whose number no scenario can take."""
    bounds = {
        "--creates": (ask.creates, 1, MOST_CREATES),
        "--images": (ask.images, 1, MOST_CREATES),
        "--retries": (ask.retries, 0, 10),
        "--block-device-allocate-retries": (ask.block_device_allocate_retries, 0, 1_000_000),
        "--block-device-allocate-retries-interval": (ask.block_device_allocate_retries_interval, 1, 86_400),
    }
    return [
        f"{option}: {value:,} is not between {low:,} and {high:,}"
        for option, (value, low, high) in bounds.items()
        if not low <= value <= high
    ]


@dataclass(frozen=True)
class Again:
    """Servers that come again, by their numbers: when after the storm's instant, and for which time."""

    after_s: float
    servers: tuple[int, ...]
    generation: int


def storm_case(case: Case, ask: Ask, warm: bool | None, again: tuple[Again, ...] = ()) -> Case:
    """The case with the storm in it: its own load beside, or nothing. Its instant is `instant(case, ask)`."""
    at = instant(case, ask)
    images, tiers = images_of(case, ask), tiers_of(case.scenario, ask)
    name = named(case)
    rows = _prepared(case, images, tiers, at, warm, ask.beside, name)
    rows += [_create(case, images, tiers, number, at, 0, name) for number in range(ask.creates)]
    for each in again:
        rows += [
            _create(case, images, tiers, number, at + each.after_s, each.generation, name)
            for number in each.servers
        ]
    own = case.trace.events if ask.beside else empty_events()
    own = own[own["time"] <= at + DAY_S]
    trace = Trace(_merged(own, rows), case.trace.start, case.trace.path)
    return replace(case, trace=trace, initial=case.initial if ask.beside else empty_initial())


def named(case: Case) -> str:
    """With what the names of a storm's volumes begin: with nothing that a volume of the scenario does."""
    taken = [*case.trace.events["volume_id"].unique(), *case.initial["volume_id"].unique()]
    name = NAME
    while any(each.startswith(name) for each in taken):
        name = f"~{name}"
    return name


def instant(case: Case, ask: Ask) -> float:
    """When the storm comes: at the start of the busiest hour, or, on an empty cloud, after an hour."""
    if not ask.beside:
        return LEAD_S
    events = case.trace.events
    hours = (events.loc[events["event"] == "create", "time"] // HOUR_S).astype(np.int64)
    counts = np.bincount(hours)
    return float(counts.argmax()) * HOUR_S


def tiers_of(scenario: Scenario, ask: Ask) -> list[str]:
    """The volume types of its creates, in turn."""
    return [ask.tier] if ask.tier else [tier for tier in scenario.tiers if scenario.hosts_of(tier)]


def images_of(case: Case, ask: Ask) -> list[str]:
    """The images of its creates, in turn."""
    if ask.image is not None:
        return [ask.image]
    events = case.trace.events
    asked = events.loc[(events["event"] == "create") & (events["image_id"] != ""), "image_id"].astype(str)
    # On an empty cloud nobody deletes an image, but nobody uploads one either.
    kinds = ["delete_image", "upload"] if ask.beside else ["upload"]
    gone = set(events.loc[events["event"].isin(kinds), "image_id"])
    known = [*asked.value_counts(sort=False).sort_values(ascending=False, kind="stable").index, *case.images]
    return [name for name in dict.fromkeys(known) if name not in gone][: ask.images]


def _prepared(
    case: Case, images: list[str], tiers: list[str], at: float, warm: bool | None, beside: bool, own: str
) -> list[dict[str, Any]]:
    """The events that make its images warm or cold."""
    if warm:
        since = max(0.0, at - LEAD_S)
        hosts = [host for tier in tiers for host in case.scenario.hosts_of(tier)]
        made = [prefetches(case, name, since, f"{own}{name}", dict.fromkeys(hosts)) for name in images]
        return [row for of_image in made for row in of_image]
    if warm is None or not beside:
        return []
    return [_row(time=at, event="update_image", image_id=name) for name in images]


def _create(
    case: Case, images: list[str], tiers: list[str], number: int, at: float, generation: int, name: str
) -> dict[str, Any]:
    image = case.images[images[number % len(images)]]
    # Each image meets each tier.
    tier = tiers[(number + number // len(images) * (len(images) % len(tiers) == 0)) % len(tiers)]
    return _row(
        time=at,
        event="create",
        volume_id=f"{name}{number} {generation}",
        image_id=image.image_id,
        size_gib=image.needs_gib,
        volume_type=tier,
        project=image.owner,
        availability_zone=case.scenario.backend_at(case.scenario.hosts_of(tier)[0]).availability_zone,
    )


def _row(**values: Any) -> dict[str, Any]:
    texts = dict.fromkeys(empty_events().columns, "")
    return {**texts, "size_gib": 0, "encrypted": False, **values}


def _merged(own: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The scenario's events and the storm's, by time; at one instant the scenario's come first."""
    kinds = own.dtypes
    every = pd.concat([own.astype(object), pd.DataFrame(rows, columns=own.columns)], ignore_index=True)
    every = every.sort_values("time", kind="stable", ignore_index=True)
    named = {name: "category" for name, kind in kinds.items() if str(kind) == "category"}
    every = every.astype({**{name: kind for name, kind in kinds.items() if name not in named}, **named})
    every["event"] = every["event"].cat.set_categories(kinds["event"].categories)
    return every


@dataclass(frozen=True)
class Outcome:
    """What became of a storm: `up_s`, when each server's volume was up (infinite: never).

    `creates` counts those of servers that came again, too. `name` is that of `named`. `state` is that of
    engine `fast`, of `prepared`.
    """

    up_s: Floats
    within_s: float
    creates: int
    case: Case = field(repr=False)
    name: str = NAME
    prepared: Prepared | None = field(default=None, repr=False)
    state: State | None = field(default=None, repr=False)

    @property
    def late(self) -> int:
        """How many servers were not up in time."""
        return int((self.up_s > self.within_s).sum())

    @property
    def failed(self) -> int:
        """How many servers were never up."""
        return int(np.isinf(self.up_s).sum())

    @property
    def last_s(self) -> float:
        """When the last of those was up that ever were; 0 if none was."""
        return float(self.up_s[np.isfinite(self.up_s)].max(initial=0.0))

    @property
    def rank(self) -> tuple[float, ...]:
        """Smaller is better."""
        return (
            self.late,
            self.failed,
            round(self.last_s, 6),
            round(float(self.up_s[np.isfinite(self.up_s)].sum()), 3),
        )

    def at(self, share: float) -> float:
        """When this share of all servers was up; infinite if they never were."""
        return float(np.sort(self.up_s)[math.ceil(share * len(self.up_s)) - 1])


class Storms:
    """Runs one storm under strategies and changes, and keeps what several runs share."""

    def __init__(self, case: Case, ask: Ask, engine: str = "fast") -> None:
        self.case, self.ask, self.engine = case, ask, engine
        self.within_s = case.scenario.boot_timeout_s if ask.within_s is None else ask.within_s
        self.warm = ask.warm if ask.warm is not None or ask.beside else False
        self.runs, self.name = 0, named(case)
        self._varied = Varied(case.scenario)
        self._prepared: dict[tuple[bool | None, bool], Prepared] = {}

    def play(
        self, strategy: str, values: Mapping[str, Any], *, warm: bool = False, noted: bool = False
    ) -> Outcome:
        """Run the storm with other values of the scenario's keys; `warm`: after a prefetch."""
        scenario = self._varied.with_values(values.items())
        raw = scenario.glance.convert_on_import == "raw"
        key = (True if warm else self.warm), raw
        if key not in self._prepared:
            self._prepared[key] = Prepared(storm_case(self._of(raw), self.ask, key[0]), starts=1)
        prepared, again = self._prepared[key], tuple[Again, ...]()
        while True:
            outcome, ends = self._played(prepared, scenario, strategy, again, noted)
            more = self._again(ends, again)
            if more is None:
                return outcome
            again = (*again, more)
            prepared = Prepared(storm_case(self._of(raw), self.ask, key[0], again))

    def _of(self, raw: bool) -> Case:
        if not raw:
            return self.case
        return replace(self.case, images={name: each.as_raw() for name, each in self.case.images.items()})

    def _played(
        self, prepared: Prepared, scenario: Scenario, strategy: str, again: tuple[Again, ...], noted: bool
    ) -> tuple[Outcome, dict[tuple[int, int], tuple[float, bool, float]]]:
        self.runs += 1
        case, state = replace(prepared.case, scenario=scenario), None
        if engine_of(scenario, self.engine) == "fast":
            state, _, _ = prepared.play(scenario, strategy, noted=noted)
            rows = state.rows[: len(prepared.asked)]
            ends, available = rows["end"], rows["available"]
            requests = prepared.asked
        else:
            requests = run(case, strategy, "cinder").requests
            ends, available = requests["end"].to_numpy(), (requests["status"] == "available").to_numpy()
        at = instant(self.case, self.ask)
        begun = {(number, 0): 0.0 for number in range(self.ask.creates)} | {
            (number, each.generation): each.after_s for each in again for number in each.servers
        }
        of = {}
        names = requests["volume_id"].to_numpy(object)
        for row in np.flatnonzero([name.startswith(self.name) for name in names]).tolist():
            number, generation = map(int, names[row][len(self.name) :].split(" "))
            since = begun[number, generation]
            of[number, generation] = since, bool(available[row]), float(ends[row]) - at
        up_s = np.full(self.ask.creates, math.inf)
        for (number, _), (since, good, end) in of.items():
            if good and (not self.ask.retries or end - since <= self.ask.patience_s):
                up_s[number] = min(up_s[number], end)
        return Outcome(up_s, self.within_s, len(of), case, self.name, prepared, state), of

    def _again(
        self, ends: Mapping[tuple[int, int], tuple[float, bool, float]], again: tuple[Again, ...]
    ) -> Again | None:
        """The servers that come again next; None if none does.

        What comes later cannot change what was before. So the earliest come first, and the storm runs again.
        """
        due: dict[tuple[float, int], list[int]] = {}
        for (number, generation), (since, good, end) in ends.items():
            if generation < self.ask.retries and (number, generation + 1) not in ends:
                after = float(self.ask.gives_up_s(np.array([end - since]), np.array([good]))[0])
                if after < math.inf:
                    due.setdefault((since + max(after, 1e-6), generation + 1), []).append(number)
        if not due:
            return None
        (after_s, generation), servers = min(due.items())
        return Again(after_s, tuple(sorted(servers)), generation)
