"""What every eviction policy has in common, and each against its definition written out plainly.

Nothing takes time unless a test says so: creates come one after another.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plain import PLAIN, SIZES, Row
from properties.cases import case_of, cases, create, image, one_pool

import sim
from sim.inputs.scenario import Case, WhatIf
from sim.model.records import Records

ENGINES = ("cinder", "fast")
POLICIES = get_args(WhatIf.model_fields["eviction"].annotation)
IMAGES = [image(f"i{number}", gib) for number, gib in enumerate(SIZES)]
PATIENT = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    # Not the explanation of a failure, which traces every line of Cinder that runs.
    phases=[phase for phase in Phase if phase != Phase.explain],
)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def case(
    policy: str, rows: list[Row], initial: list[Row] | None = None, images: list[Row] = IMAGES, **more: Any
) -> Case:
    """Rows of a trace on backend `a`; `more` is its spec. Columns are of the types that traces read have."""
    scenario = {**one_pool(**more), "what_if": {"eviction": policy}}
    return as_read(case_of(scenario, images, rows, initial))


def as_read(case: Case) -> Case:
    kinds = dict.fromkeys(("host", "volume_type", "project"), "category")
    return replace(case, trace=replace(case.trace, events=case.trace.events.astype(kinds)))


def asked(images: str, host: str = "a#p0", first: int = 0, gap_s: float = 100.0) -> list[Row]:
    """Creates of images named by their digits, far from each other in time."""
    return [
        create(gap_s * (first + number), f"v{first + number}", f"i{name}", host)
        for number, name in enumerate(images)
    ]


def entry(number: int, last_used: float, host: str = "a#p0") -> Row:
    row = {"kind": "cache", "volume_id": "", "image_id": f"i{number}", "size_gib": SIZES[number]}
    return {**row, "host": host, "last_used": last_used}


def sources(records: Records) -> list[str]:
    return records.requests["source"].tolist()


def events(records: Records, host: str = "a#p0") -> list[tuple[str, str]]:
    """What happened to a host's cache: (event, image), in order."""
    of_host = records.cache_events[records.cache_events["host"] == host]
    return list(zip(of_host["event"], of_host["image_id"], strict=True))


def random_images(seed: int, count: int) -> str:
    return "".join(map(str, np.random.default_rng(seed).integers(0, len(SIZES), count)))


# -- what all of them must do --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits", [{"count": 2}, {"size_gb": 6}, {"count": 3, "size_gb": 7}], ids=lambda limits: "-".join(limits)
)
def test_a_limit_is_never_exceeded(engine: str, policy: str, limits: dict[str, int]) -> None:
    """Though everything takes its time."""
    options = {f"image_volume_cache_max_{name}": limit for name, limit in limits.items()}
    slow = {"create_s": 1.0, "clone_s": 2.0, "delete_s": 5.0, "write_mib_s": 1000}
    found = sim.run(
        case(policy, asked(random_images(1, 60)), **options, **slow), "cache-only", engine
    ).cache_events
    sign = found["event"].map({"create": 1, "evict": -1})
    assert found["event"].eq("evict").sum() > 5
    assert sign.cumsum().between(0, limits.get("count", math.inf)).all()
    assert (sign * found["size_gib"]).cumsum().between(0, limits.get("size_gb", math.inf)).all()


def test_too_large_an_image_is_refused_and_evicts_nothing(engine: str, policy: str) -> None:
    records = sim.run(case(policy, asked("0130"), image_volume_cache_max_size_gb=4), "cache-only", engine)
    assert events(records) == [("create", "i0"), ("create", "i1"), ("skip", "i3")]
    assert sources(records) == ["download", "download", "download", "cache"]


@pytest.mark.parametrize("limits", [{}, {"count": 5}, {"size_gb": 15}], ids=lambda limits: "-".join(limits))
def test_nothing_is_evicted_while_there_is_room(engine: str, policy: str, limits: dict[str, int]) -> None:
    options = {f"image_volume_cache_max_{name}": limit for name, limit in limits.items()}
    records = sim.run(case(policy, asked("0123401234"), **options), "cache-only", engine)
    assert events(records) == [("create", f"i{number}") for number in range(5)]
    assert sources(records) == ["download"] * 5 + ["cache"] * 5


def test_the_entry_just_made_is_there_for_the_next_create(engine: str, policy: str) -> None:
    """However often the others were asked for, and though it is as large as the cache."""
    twice = "".join(2 * name for name in "0000111122223" + random_images(2, 30))
    records = sim.run(case(policy, asked(twice), image_volume_cache_max_size_gb=5), "cache-only", engine)
    assert set(sources(records)[1::2]) == {"cache"}


def test_a_stale_entry_goes(engine: str, policy: str) -> None:
    rows = [*asked("012"), {"time": 250.0, "event": "update_image", "image_id": "i1"}, *asked("112", first=3)]
    records = sim.run(case(policy, rows, image_volume_cache_max_count=3), "cache-only", engine)
    assert events(records)[3:] == [("stale", "i1"), ("create", "i1")]
    assert sources(records)[3:] == ["download", "cache", "cache"]


@pytest.mark.parametrize("other", ["a#p1", "b#p0"])
def test_hosts_do_not_influence_each_other(engine: str, policy: str, other: str) -> None:
    limits = {"volume_type": "flash", "image_volume_cache_max_size_gb": 7}
    backends = {"a": {**limits, "pools": {"p0": {}, "p1": {}}}, "b": {**limits, "pools": {"p0": {}}}}
    scenario = {"backends": backends, "what_if": {"eviction": policy}}
    images = random_images(3, 80)
    alone = asked(images[:40]) + asked(images[40:], first=40)
    mixed = [row for pair in zip(alone, asked(images[::-1], other, 100), strict=True) for row in pair]
    mixed = [{**row, "time": float(number)} for number, row in enumerate(mixed)]
    apart, together = (
        sim.run(as_read(case_of(scenario, IMAGES, rows)), "cache-only", engine) for rows in (alone, mixed)
    )
    assert events(together) == events(apart)
    assert sources(together)[::2] == sources(apart)
    assert ("evict", "i0") in events(together, other)


def test_what_is_evicted_is_deleted_on_the_array(engine: str, policy: str) -> None:
    found = sim.run(
        case(policy, asked(random_images(4, 60)), image_volume_cache_max_size_gb=7), "cache-only", engine
    )
    pool = found.usage[found.usage["scope"] == "pool"].set_index("kind")
    assert pool.loc["cache", "volumes_end"] == len(found.cache) < 5
    assert pool.loc["cache", "provisioned_gib_end"] == found.cache["size_gib"].sum() <= 7
    assert pool.loc["orphan", "volumes_end"] == 0


def test_entries_that_exist_at_the_start_are_known(engine: str, policy: str) -> None:
    """They are found, and each is given up in its turn."""
    start = [entry(0, -50.0), entry(1, -10.0), entry(2, -30.0)]
    records = sim.run(
        case(policy, asked("10234"), start, image_volume_cache_max_count=3), "cache-only", engine
    )
    assert sources(records) == ["cache", "cache", "cache", "download", "download"]
    assert [event for event, _ in events(records)] == ["evict", "create"] * 2


def test_only_the_eviction_differs_from_cinder(engine: str, policy: str) -> None:
    """Where there is nothing to evict, a what-if changes nothing at all."""
    slow = {"create_s": 1.0, "clone_s": 2.0, "max_clones_per_volume": 3, "node": "c2"}
    rows = asked(random_images(5, 40), gap_s=0.5)
    ours, cinders = (sim.run(case(name, rows, **slow), "cache-only", engine) for name in (policy, "lru"))
    assert ours.requests.equals(cinders.requests)
    assert ours.cache_events.equals(cinders.cache_events)
    assert ours.usage.equals(cinders.usage)
    assert "clone_limit" in set(ours.cache_events["event"])


@PATIENT
@given(case=cases())
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_books_balance_whatever_happens(engine: str, policy: str, case: Case) -> None:
    """Storms, updates, clone limits, full arrays: what was made and is not gone is there at the end."""
    scenario = case.scenario.model_copy(update={"what_if": WhatIf(eviction=policy)})
    records = sim.run(replace(case, scenario=scenario), "combined", engine)
    start = case.initial[case.initial["kind"] == "cache"]
    there = list(zip(start["host"], start["image_id"], strict=True))
    found = records.cache_events
    for event, host, image_id in zip(found["event"], found["host"], found["image_id"], strict=True):
        if event == "create":
            there.append((host, image_id))
        elif event != "skip":
            there.remove((host, image_id))
    assert sorted(there) == sorted(zip(records.cache["host"], records.cache["image_id"], strict=True))


# -- what each of them does, from its definition -------------------------------------------------------


TWO_BACKENDS = {
    "tiers": {"flash": {}, "disk": {}, "other": {}},
    "backends": {
        "a": {"volume_type": ["flash", "disk"], "pools": {"p0": {}}},
        "b": {"volume_type": "other", "pools": {"p0": {}}},
    },
}
PLACES = (("flash", "a#p0"),) * 4 + (("disk", "a#p0"), ("flash", ""), ("disk", ""), ("other", ""))


@st.composite
def traces(draw: st.DrawFn) -> list[Row]:
    """Creates of five images, most of them on backend `a`, and updates."""
    rows: list[Row] = []
    names = st.sampled_from([f"i{number}" for number in range(len(SIZES))])
    for number in range(draw(st.integers(1, 60))):
        if draw(st.integers(0, 14)) == 14:
            rows.append({"event": "update_image", "time": float(number), "image_id": draw(names)})
        else:
            tier, host = draw(st.sampled_from(PLACES))
            encrypted = draw(st.integers(0, 14)) == 14
            made = create(float(number), f"v{number}", draw(names), host, volume_type=tier)
            rows.append({**made, "encrypted": encrypted})
    return rows


@PATIENT
@given(
    rows=traces(),
    max_size=st.sampled_from((6, 0, 4, 9)),
    max_count=st.sampled_from((0, 2, 3, 4)),
    max_clones=st.sampled_from((None, None, 2)),
    start=st.permutations(range(len(SIZES))).flatmap(lambda order: st.sampled_from((order[:3], []))),
)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("engine", ENGINES)
def test_each_does_what_its_definition_says(
    engine: str,
    policy: str,
    rows: list[Row],
    max_size: int,
    max_count: int,
    max_clones: int | None,
    start: list[int],
) -> None:
    """Hits, and what goes in which order; of entries at the start, the last of `start` was used last."""
    plain = PLAIN[policy](rows, max_size, max_count, max_clones or math.inf)
    for number in start:
        plain.insert(f"i{number}")
    plain.play()
    limits = {
        "image_volume_cache_max_size_gb": max_size,
        "image_volume_cache_max_count": max_count,
        "max_clones_per_volume": max_clones,
    }
    backends = {name: {**spec, **limits} for name, spec in TWO_BACKENDS["backends"].items()}
    initial = [entry(number, float(age - 10)) for age, number in enumerate(start)]
    scenario = {**TWO_BACKENDS, "backends": backends, "what_if": {"eviction": policy}}
    records = sim.run(as_read(case_of(scenario, IMAGES, rows, initial)), "cache-only", engine)
    on_a = records.requests["host"] == "a#p0"
    assert events(records) == plain.log
    assert (records.requests["source"][on_a] == "cache").tolist() == plain.hits


def test_belady_counts_a_create_as_past_once_it_has_begun(engine: str) -> None:
    """While i2 is written, i1 is used; when room is made for it, i0 is the next to be used again."""
    rows = [{**row, "time": time} for row, time in zip(asked("2101"), (0.0, 10.0, 500.0, 600.0), strict=True)]
    start = [entry(0, -2.0), entry(1, -1.0)]
    slow = case("belady", rows, start, image_volume_cache_max_count=2, write_mib_s=30)
    records = sim.run(slow, "cache-only", engine)
    assert events(records)[:2] == [("evict", "i1"), ("create", "i2")]
    assert records.cache_events["time"][0] > 100
    assert sources(records) == ["download", "cache", "cache", "download"]


def test_the_policies_are_not_the_same(engine: str) -> None:
    """So that the tests above can tell them apart."""
    rows = asked(random_images(6, 200))
    found = {
        name: tuple(events(sim.run(case(name, rows, image_volume_cache_max_size_gb=7), "cache-only", engine)))
        for name in POLICIES
    }
    assert len(set(found.values())) == len(POLICIES)
