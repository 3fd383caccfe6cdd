"""Generated workloads obey the laws they are drawn by; a fit finds their parameters within its intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sim.fast.replay import look_ups, replay
from sim.fitting.fit import fit_trace
from sim.inputs.generator import DAY, Generate
from sim.workload.generate import Generated, generate
from tests.theory.intervals import interval

TIERS = ("flash", "disk")
CALM: dict[str, Any] = {
    "repeats": {"share": 0},
    "storms": {"share": 0},
    "blank_share": 0,
    "updates_per_day": 0,
}
PARAMETERS: dict[str, Any] = {
    "duration": "28d",
    "creates_per_day": 250,
    "by_hour": [1] * 8 + [3] * 10 + [1.5] * 6,
    "by_weekday": [1, 1, 1, 1, 1, 0.4, 0.4],
    "storms": {"share": 0.1, "creates_median": 8, "creates_sigma": 0.8, "spread_s": 3},
    "repeats": {"share": 0.5, "after_median_s": 1800, "after_sigma": 1.5},
    "popularity": {"zipf": 1.0, "images": 30, "release_every": "7d", "takeover": "1d", "private_share": 0.3},
    "projects": {"count": 8, "zipf": 0.8},
    "tiers": {"flash": 0.3, "disk": 0.7},
    "volume_gib": {20: 0.5, 40: 0.3, 80: 0.2},
    "lifetime_s": {"median": 7200, "sigma": 2},
    "kept_share": 0.1,
    "encrypted_share": 0.05,
    "blank_share": 0.05,
    "updates_per_day": 2,
}
SEEDS = range(12)


def drawn(spec: dict[str, Any], seed: int) -> Generated:
    return generate(Generate.model_validate(spec), (), TIERS, seed, 0, Path("s.yaml"))


def creates(made: Generated) -> pd.DataFrame:
    events = made.trace.events
    return events[events["event"] == "create"].reset_index(drop=True)


def truth(spec: Generate) -> dict[str, float]:
    """The parameters as a fit names them; weights add up to one, those of hours and days are 1 on average."""
    given = spec.model_dump()
    true = {name: value for name, value in given.items() if isinstance(value, float)}
    for group in ("storms", "repeats", "popularity", "projects", "lifetime_s"):
        true |= {f"{group}.{name}": value for name, value in given[group].items()}
    for group in ("tiers", "volume_gib"):
        true |= {
            f"{group}.{name}": weight / sum(given[group].values()) for name, weight in given[group].items()
        }
    for group in ("by_hour", "by_weekday"):
        true |= {f"{group}.{at}": weight / np.mean(given[group]) for at, weight in enumerate(given[group])}
    return true


def test_a_fit_finds_what_was_generated_within_its_intervals() -> None:
    true = truth(Generate.model_validate(PARAMETERS))
    tables = []
    for seed in SEEDS:
        table = fit_trace(drawn(PARAMETERS, seed).trace).table()
        at = table["parameter"].map(true)
        assert at.notna().all()
        tables.append(table.assign(inside=table["low"].le(at) & table["high"].ge(at)))
    inside = pd.concat(tables).groupby("parameter")["inside"].agg(["sum", "size"])
    # All there is to find was found, each time.
    assert (inside["size"] == len(SEEDS)).all()
    unknown = {"raw_share", "uploads_per_day", "duration", "popularity.images", "projects.count"}
    assert set(true) - set(inside.index) == unknown
    # No parameter is missed more often than by 95 % intervals (Bonferroni over all parameters).
    for name, (covered, count) in inside.iterrows():
        missed = stats.binomtest(int(covered), int(count), 0.95, "less").pvalue
        assert missed > 0.05 / len(inside), f"{name}: {covered} of {count}"
    # Nor are intervals so wide that they say nothing: none is more than a factor of four across.
    wide = pd.concat(tables).query("value > 0.04")
    assert (wide["high"] < 4 * wide["low"]).mean() > 0.95


def test_a_takeover_twice_as_long_is_told_apart() -> None:
    found = []
    for takeover in ("1d", "3d"):
        spec = PARAMETERS | {"popularity": PARAMETERS["popularity"] | {"takeover": takeover}}
        table = fit_trace(drawn(spec, 1).trace).table().set_index("parameter")
        found.append(table.loc["popularity.takeover"])
    assert found[0]["high"] < found[1]["low"]


def test_creates_follow_the_hours_of_the_week() -> None:
    spec = CALM | {"duration": "28d", "creates_per_day": 3000}
    spec |= {name: PARAMETERS[name] for name in ("by_hour", "by_weekday")}
    hour = (creates(drawn(spec, 3))["time"] // 3600).astype(int) % 168
    weights = np.outer(spec["by_weekday"], spec["by_hour"]).ravel()
    seen = np.bincount(hour, minlength=168)
    assert stats.chisquare(seen, seen.sum() * weights / weights.sum()).pvalue > 0.01


@pytest.mark.parametrize("spec", [CALM, {}, {"repeats": {"share": 0.6}, "storms": PARAMETERS["storms"]}])
def test_creates_a_day_count_storms_and_what_follows(spec: dict[str, Any]) -> None:
    per_day = [len(creates(drawn({"duration": "21d", **spec}, seed))) / 21 for seed in range(25)]
    assert Generate.model_validate(spec).creates_per_day in interval(per_day)


def test_twice_as_large_is_one_number() -> None:
    small, large = (
        [len(creates(drawn(PARAMETERS | {"creates_per_day": per_day}, seed))) for seed in range(15)]
        for per_day in (250, 500)
    )
    assert 0.0 in interval([float(two - 2 * one) for one, two in zip(small, large, strict=True)])


def test_images_follow_zipfs_law() -> None:
    spec = CALM | {"popularity": {"zipf": 1.2, "images": 50, "release_every": None}, "creates_per_day": 2000}
    made = drawn(spec, 5)
    lines = list(made.images)
    seen = creates(made)["image_id"].value_counts().reindex(lines, fill_value=0)
    law = np.arange(1, 51) ** -1.2
    assert stats.chisquare(seen, seen.sum() * law / law.sum()).pvalue > 0.01


def test_half_use_the_new_version_a_half_life_after_its_release() -> None:
    # One line, all of whose creates are on their own: those that come `age` after a release.
    popularity = {"images": 1, "release_every": "10d", "takeover": "2d"}
    spec = CALM | {"popularity": popularity, "creates_per_day": 5000, "duration": "9d"}
    for seed in range(30):
        made = creates(drawn(spec, seed))
        new = made["image_id"].str.endswith("@2")
        if not new.any() or (released := made["time"][new].iloc[0]) > 5 * DAY:
            continue
        at = made["time"].between(released + 1.9 * DAY, released + 2.1 * DAY)
        test = stats.binomtest(int(new[at].sum()), int(at.sum()), 0.5)
        assert test.pvalue > 0.001
        return
    raise AssertionError("no release early enough")


def test_lifetimes_are_lognormal() -> None:
    spec = CALM | {
        "duration": "400d",
        "creates_per_day": 20,
        "lifetime_s": {"median": 600, "sigma": 1},
        "kept_share": 0,
    }
    events = drawn(spec, 6).trace.events
    gone = events[events["event"] == "delete"].set_index("volume_id")["time"]
    born = events[events["event"] == "create"].set_index("volume_id")["time"]
    lived = (gone - born.reindex(gone.index)).to_numpy()
    assert stats.kstest(lived, stats.lognorm(1, scale=600).cdf).pvalue > 0.01


def hit_rates(spec: dict[str, Any], seed: int, entries: list[int]) -> list[float]:
    image = creates(drawn(spec, seed))["image_id"]
    codes, ids = pd.factorize(image[image != ""])
    asked = look_ups(codes, np.ones(len(ids), np.int64))
    return [float(replay(asked, 0, count).hits.sum() / len(codes)) for count in entries]


def test_caches_fare_as_with_the_real_creates_the_defaults_are_from() -> None:
    """Hit rates of LRU by entries alone on Alibaba cluster-trace-gpu-v2025 (DLRM), of 156 images."""
    real = {5: 0.543, 10: 0.654, 20: 0.790}
    spec = {"popularity": {"images": 156, "release_every": None}, "blank_share": 0}
    found = np.array([hit_rates(spec, seed, list(real)) for seed in range(12)])
    # The real trace is one draw more: within the interval of prediction of each (95 % in all).
    reach = stats.t.ppf(1 - 0.05 / (2 * len(real)), len(found) - 1) * np.sqrt(1 + 1 / len(found))
    for one, (entries, rate) in zip(found.T, real.items(), strict=True):
        assert abs(one.mean() - rate) < reach * one.std(ddof=1), f"{entries}: {one.mean()}"
    # Without requests that follow others it would be far off.
    assert np.mean([hit_rates(spec | {"repeats": {"share": 0}}, seed, [5])[0] for seed in range(3)]) < 0.45
