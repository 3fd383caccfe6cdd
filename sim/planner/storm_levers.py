"""What would shorten a storm: each lever alone, its smallest value that is enough, and the best pair."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from sim.inputs.scenario import Scenario
from sim.inputs.strategies import STRATEGIES
from sim.planner.storm import Outcome, Storms

LARGEST = 2**30  # values beyond are no help to anybody
COLUMNS = (
    *("lever", "key", "today", "change", "last_up_s", "late", "failed", "effect", "enough", "smallest"),
    *("smallest_last_up_s",),
)
SHORTENS, NOTHING, WORSE = "shortens", "changes nothing", "makes it worse"


def _always(values: Mapping[str, Any], value: int | None) -> Mapping[str, Any]:
    """What a lever without numbers sets."""
    return values


@dataclass(frozen=True)
class Lever:
    """A change of the scenario, or of what is done before the storm.

    - name, words, key: as a column of `Shares.table` calls it, in words, and the key of the scenario.
    - today: the value now, '' if it has none; most: the change at its strongest, in words.
    - values: the keys and values of a number; None: at its strongest. A lever of two states has no numbers.
    - least: the value now, from which the search goes up; None: it has no numbers.
    - warm: whether the images are prefetched.
    """

    name: str
    words: str
    key: str
    today: str
    most: str
    values: Callable[[int | None], Mapping[str, Any]]
    least: int | None = None
    warm: bool = False


def levers_of(scenario: Scenario, strategy: str) -> list[Lever]:
    """The levers that this scenario has under a strategy."""
    found = [*_of_caches(scenario, strategy), *_of_glance(scenario)]
    for key, name, words in (
        ("executor_thread_pool_size", "threads", "more threads"),
        ("image_conversion_gib", "image_conversion_gib", "a larger conversion directory"),
        ("total_mib_s", "node_mib_s", "more bandwidth of the nodes"),
    ):
        found += _more(name, words, "nodes.*", key, {n: getattr(v, key) for n, v in scenario.nodes.items()})
    backends = scenario.backends
    for key, name, words in (
        ("write_streams", "write_streams", "more write streams"),
        ("array_mib_s", "array_mib_s", "more bandwidth of the arrays"),
        ("clone_streams", "clone_streams", "more clone streams"),
        ("max_clones_per_volume", "max_clones_per_volume", "more clones of a volume"),
        ("clone_family_limit", "clone_family_limit", "larger families of clones"),
    ):
        found += _more(name, words, "backends.*", key, {n: getattr(v, key) for n, v in backends.items()})
    if any(backend.clone_lock == "source" for backend in backends.values()):
        keys = {"backends.*.clone_lock": "none"}
        words = "clones of one volume at once"
        found.append(Lever("clone_lock", words, "backends.*.clone_lock", "source", "none", lambda _: keys))
    found += _places(scenario)
    found += _capacity(scenario)
    if scenario.cinder.quotas:
        found.append(
            Lever(
                "quotas",
                "no quotas of projects",
                "cinder.quotas",
                "",
                "none",
                lambda _: {"cinder.quotas": {}},
            )
        )
    return found


def _of_caches(scenario: Scenario, strategy: str) -> list[Lever]:
    found = []
    if STRATEGIES[strategy].image_volume_cache_enabled:
        found.append(
            Lever(
                "prefetch",
                "prefetch: fill the caches before",
                "prefetch",
                "no",
                "yes",
                lambda _: {},
                warm=True,
            )
        )
        for key, words in (
            ("lock_per_pool", "a lock per pool, not per image alone"),
            ("refused_without_lock", "no lock where the cache refuses the image"),
        ):
            if not getattr(scenario.what_if, key):
                values = {f"what_if.{key}": True}
                found.append(Lever(key, words, f"what_if.{key}", "no", "yes", partial(_always, values)))
        if len(scenario.pools()) > 1 and not all(b.clone_across_pools for b in scenario.backends.values()):
            across = {"backends.*.clone_across_pools": True}
            words = "one cache: clones across pools"
            found.append(
                Lever(
                    "clone_across_pools",
                    words,
                    "backends.*.clone_across_pools",
                    "no",
                    "yes",
                    lambda _: across,
                )
            )
        sizes = {n: b.image_volume_cache_max_size_gb or None for n, b in scenario.backends.items()}
        key = "image_volume_cache_max_size_gb"
        found += _more("cache_size", "larger caches", "backends.*", key, sizes, unlimited=0)
    if scenario.glance.convert_on_import is None:
        raw = {"glance.convert_on_import": "raw"}
        found.append(
            Lever(
                "convert_on_import",
                "raw images at import",
                "glance.convert_on_import",
                "no",
                "raw",
                lambda _: raw,
            )
        )
    return found


def _of_glance(scenario: Scenario) -> list[Lever]:
    glance, found = scenario.glance, []
    rates = {key: getattr(glance, key) for key in ("stream_mib_s", "total_mib_s")}
    least = [rate for rate in rates.values() if rate is not None]

    def faster(value: int | None) -> dict[str, Any]:
        return {
            f"glance.{key}": None if value is None else max(rate, value)
            for key, rate in rates.items()
            if rate is not None
        }

    if least:
        key = " and ".join(f"glance.{key}" for key, rate in rates.items() if rate is not None)
        today = " and ".join(f"{rate:g}" for rate in least)
        found.append(
            Lever("bandwidth", "more Glance bandwidth", key, today, "no limit", faster, int(min(least)))
        )
    if glance.streams is not None:
        found.append(
            Lever(
                *("streams", "more Glance streams", "glance.streams", str(glance.streams), "no limit"),
                lambda value: {"glance.streams": value},
                glance.streams,
            )
        )
    return found


def _more(
    name: str,
    words: str,
    prefix: str,
    key: str,
    limits: Mapping[str, float | None],
    unlimited: int | None = None,
) -> list[Lever]:
    """A lever that raises a limit to a number wherever it is lower; none where nothing is limited."""
    given = {where: limit for where, limit in limits.items() if limit is not None}
    if not given:
        return []
    root = prefix.partition(".")[0]

    def values(value: int | None) -> dict[str, Any]:
        return {
            f"{root}.{where}.{key}": unlimited if value is None else max(limit, value)
            for where, limit in given.items()
        }

    low, high = min(given.values()), max(given.values())
    today = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return [Lever(name, words, f"{prefix}.{key}", today, "no limit", values, int(low))]


def _capacity(scenario: Scenario) -> list[Lever]:
    """All capacities times a whole number: the scheduler then weighs the pools as before."""
    limits = {
        f"backends.{name}.pools.{pool}.capacity_gib": spec.capacity_gib
        for name, backend in scenario.backends.items()
        for pool, spec in backend.pools.items()
        if spec.capacity_gib is not None
    }
    if not limits:
        return []

    def values(value: int | None) -> dict[str, Any]:
        return {
            key: min(2.0**31 - 1, limit * (1000 if value is None else value)) for key, limit in limits.items()
        }

    return [Lever("capacity", "more capacity (times)", "capacity_gib", "1", "1000", values, 1)]


def _places(scenario: Scenario) -> list[Lever]:
    limits = {
        f"{name}.max_volumes": backend.max_volumes
        for name, backend in scenario.backends.items()
        if backend.max_volumes is not None
    } | {
        f"{name}.pools.{pool}.max_volumes": spec.max_volumes
        for name, backend in scenario.backends.items()
        for pool, spec in backend.pools.items()
        if spec.max_volumes is not None
    }
    if not limits:
        return []

    def values(value: int | None) -> dict[str, Any]:
        return {
            f"backends.{key}": None if value is None else max(limit, value) for key, limit in limits.items()
        }

    low, high = min(limits.values()), max(limits.values())
    today = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return [Lever("places", "more places", "max_volumes", today, "no limit", values, low)]


@dataclass(frozen=True)
class Help:
    """The levers of a storm: `table` has COLUMNS, a row each, the best first; `pair` that of the best two.

    `pair` is None if no two help more than the best one.
    """

    table: pd.DataFrame
    pair: dict[str, Any] | None


def help_of(storms: Storms, strategy: str, today: Outcome) -> Help:
    """Simulate each lever alone and every two together."""
    levers = levers_of(storms.case.scenario, strategy)
    play = _Play(storms, strategy)
    found = [(lever, play({lever.name: None}, [lever])) for lever in levers]
    rows = [(outcome.rank, _row(play, lever, outcome, today)) for lever, outcome in found]
    rows.sort(key=lambda each: each[0])
    table = pd.DataFrame([row for _, row in rows], columns=list(COLUMNS))
    best = min((outcome.rank for _, outcome in found), default=today.rank)
    pairs = [
        (play({one.name: None, two.name: None}, [one, two]).rank, number, (one, two))
        for number, (one, two) in enumerate(itertools.combinations(levers, 2))
    ]
    if not pairs or min(pairs)[0] >= min(best, today.rank):
        return Help(table, None)
    return Help(table, _pair(play, *min(pairs)[2]))


class _Play:
    """Runs levers at values by name (None: at their strongest)."""

    def __init__(self, storms: Storms, strategy: str) -> None:
        self.storms, self.strategy = storms, strategy
        self._known: dict[str, Outcome] = {}

    def __call__(self, at: Mapping[str, int | None], levers: list[Lever]) -> Outcome:
        key = repr(sorted(at.items()))
        if key not in self._known:
            values: dict[str, Any] = {}
            for lever in levers:
                values |= lever.values(at[lever.name])
            warm = any(lever.warm for lever in levers)
            self._known[key] = self.storms.play(self.strategy, values, warm=warm)
        return self._known[key]

    def smallest(self, lever: Lever, others: Mapping[str, int | None], levers: list[Lever]) -> int | None:
        """The least value of a lever with which the storm is up in time; None if there is none.

        One less is not enough. Values between are simulated, not guessed.
        """
        if lever.least is None:
            return None
        bad, good = lever.least, max(1, lever.least)
        while self({**others, lever.name: good}, levers).late:
            bad, good = good, 2 * good
            if good > LARGEST:
                return None
        while good - bad > 1:
            middle = (bad + good) // 2
            if self({**others, lever.name: middle}, levers).late:
                bad = middle
            else:
                good = middle
        return good


def _row(play: _Play, lever: Lever, outcome: Outcome, today: Outcome) -> tuple[object, ...]:
    effect = SHORTENS if outcome.rank < today.rank else NOTHING if outcome.rank == today.rank else WORSE
    smallest = None
    if not outcome.late and today.late:
        smallest = play.smallest(lever, {}, [lever])
    small = outcome if smallest is None else play({lever.name: smallest}, [lever])
    return (
        *(lever.words, lever.key, lever.today, lever.most, outcome.last_s, outcome.late, outcome.failed),
        *(effect, not outcome.late, smallest, small.last_s),
    )


def _pair(play: _Play, one: Lever, two: Lever) -> dict[str, Any]:
    """The best two, and the smallest value of each: of the first beside the second at its strongest, then of
    the second beside that."""
    levers = [one, two]
    at: dict[str, int | None] = {one.name: None, two.name: None}
    outcome = play(at, levers)
    if not outcome.late:
        for lever in levers:
            others = {name: value for name, value in at.items() if name != lever.name}
            at[lever.name] = play.smallest(lever, others, levers)
    return {
        "levers": [lever.words for lever in levers],
        "keys": [lever.key for lever in levers],
        "changes": [lever.most for lever in levers],
        "smallest": [at[lever.name] for lever in levers],
        "last_up_s": outcome.last_s,
        "late": outcome.late,
        "failed": outcome.failed,
        "enough": not outcome.late,
        "smallest_last_up_s": play(at, levers).last_s,
    }
