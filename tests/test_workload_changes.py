"""Changed workloads: how many copies, which ids, when, what an image's size does, and what stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from typer.testing import CliRunner

import sim
from sim import api
from sim.analysis.verification import difference
from sim.cli import app
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.workload.loading import load
from tests.handmade import scenario_file

TWO_TIERS = Path(__file__).parents[1] / "scenarios" / "two_tiers.yaml"
GENERATED = TWO_TIERS.with_name("generated.yaml")
JITTER_S = 3600.0
MARKS = ["update_image", "delete_image"]
DAY_S = 86_400.0


def case(path: Path = TWO_TIERS, **workload: Any) -> Case:
    return load(path, values={("workload", key): value for key, value in workload.items()})


@pytest.fixture(scope="module")
def plain() -> Case:
    return case()


def creates(events: pd.DataFrame) -> pd.DataFrame:
    return events[events["event"] == "create"].set_index("volume_id")


def deletes(events: pd.DataFrame) -> pd.DataFrame:
    return events[events["event"] == "delete"].set_index("volume_id")


def original(ids: pd.Index) -> pd.Index:
    """The volume that each is or is a copy of: copies of two_tiers, whose ids have no plus, end in +n."""
    return ids.str.partition("+").get_level_values(0)


def test_defaults_change_nothing(plain: Case) -> None:
    same = case(growth=1.0, image_size_factor=1.0, update_every=None, until=None)
    pd.testing.assert_frame_equal(same.trace.events, plain.trace.events)
    pd.testing.assert_frame_equal(same.initial, plain.initial)
    assert same.images == plain.images


# -- growth --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("growth", [0.3, 1.2, 1.5, 2.7])
def test_growth_draws_as_many_as_it_says(plain: Case, growth: float) -> None:
    """Of n volumes each has floor(growth) for sure and one more with the rest as its chance."""
    volumes = len(creates(plain.trace.events))
    sure, chance = divmod(growth, 1)
    found = len(creates(case(growth=growth).trace.events)) - sure * volumes
    low, high = stats.binom.interval(0.999, volumes, chance)
    assert low <= found <= high


@pytest.mark.parametrize("growth", [2.0, 3.0])
def test_whole_growth_copies_every_volume(plain: Case, growth: float) -> None:
    grown = creates(case(growth=growth).trace.events)
    counts = original(grown.index).value_counts()
    assert set(counts.index) == set(creates(plain.trace.events).index) and set(counts) == {growth}


@pytest.mark.parametrize(
    ("less", "more"), [(0.2, 0.7), (0.7, 1.0), (1.0, 1.3), (1.3, 1.9), (1.9, 2.4), (2.4, 4.0)]
)
def test_a_larger_load_has_all_of_a_smaller_one(less: float, more: float) -> None:
    columns = ["time", "event", "volume_id", "image_id", "size_gib", "volume_type", "host", "project"]
    small, large = (case(growth=growth).trace.events[columns].astype(str) for growth in (less, more))
    both = small.merge(large, how="inner", on=columns)
    assert len(both) == len(small) < len(large)


@pytest.mark.parametrize("growth", [0.5, 1.5, 3.4])
def test_grown_events_are_a_trace(plain: Case, growth: float) -> None:
    events, before = case(growth=growth).trace.events, plain.trace.events
    assert events["time"].is_monotonic_increasing and creates(events).index.is_unique
    assert events["time"].min() >= before["time"].min() and events["time"].max() <= before["time"].max()
    assert list(events.dtypes) == list(before.dtypes) and not events.isna().any(axis=None)
    made, gone = creates(events).index, deletes(events).index
    assert gone.is_unique and gone.isin(made).all()
    row = pd.Series(np.arange(len(events)), events["volume_id"].to_numpy())
    first, last = (row[(events["event"] == kind).to_numpy()] for kind in ("create", "delete"))
    assert (first[last.index] < last).all()
    pd.testing.assert_frame_equal(marks(events), marks(before))


def marks(events: pd.DataFrame) -> pd.DataFrame:
    return events[events["event"].isin(MARKS)].reset_index(drop=True)


def test_copies_are_near_their_originals_and_live_as_long(plain: Case) -> None:
    before, events = plain.trace.events, case(growth=3.0).trace.events
    end = before["time"].max()
    made, gone = creates(events), deletes(events)
    of = original(made.index)
    was = creates(before).loc[of]
    moved = made["time"].to_numpy() - was["time"].to_numpy()
    copies = made.index != of
    assert (np.abs(moved) <= JITTER_S * (1 + 1e-12)).all() and (moved[~copies] == 0).all()
    # Most are not where the time of the trace or a mark ends, and there the shift is uniform.
    free = moved[copies][np.abs(moved[copies]) > 0]
    assert stats.kstest(free, stats.uniform(-JITTER_S, 2 * JITTER_S).cdf).pvalue > 0.001
    for name in ("image_id", "size_gib", "volume_type", "host", "project", "encrypted"):
        assert (made[name].astype(str).to_numpy() == was[name].astype(str).to_numpy()).all()
    lives = gone["time"] - made.loc[gone.index, "time"]
    lived = deletes(before)["time"] - creates(before).loc[deletes(before).index, "time"]
    whole = gone["time"] < end
    wanted = lived.loc[original(gone.index)].to_numpy()
    np.testing.assert_allclose(lives[whole], wanted[whole.to_numpy()], rtol=0, atol=1e-6)
    assert (lives[~whole] <= wanted[~whole.to_numpy()] + 1e-6).all()


INITIAL = """kind,volume_id,image_id,size_gib,host,last_used
volume,old,007,40,fast#p0,
volume,old+1,,10,fast#p0,
volume,stays,,10,fast#p1,
cache,b++1,007,2,fast#p0,0
"""
TRACE = """time,event,volume_id,image_id,size_gib,volume_type,host
0,create,a,007,40,flash,
5,create,a+1,qcow,40,disk,
10,create,b,007,2,flash,
10,update_image,,007,,,
10,create,c,007,40,flash,
20,delete,a,,,,
30,delete,old,,,,
30,delete_image,,qcow,,,
40,create,d,007,1,flash,
50,create,e,,7,flash,
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = scenario_file(tmp_path, trace=TRACE, initial=INITIAL)
    raw = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(raw | {"tiers": {"flash": {}, "disk": {}}}))
    return path


def test_initial_volumes_are_copied_with_their_deletes_and_ids_stay_unique(small: Path) -> None:
    grown = case(small, growth=2.0)
    users = grown.initial[grown.initial["kind"] == "volume"]
    ids = [*grown.initial["volume_id"], *creates(grown.trace.events).index]
    assert len(users) == 6 and len(ids) == len(set(ids)) == 6 + 1 + 2 * 6
    assert (grown.initial["kind"] == "cache").sum() == 1
    assert len(deletes(grown.trace.events)) == 4
    assert deletes(grown.trace.events).index.isin(ids).all()


def test_copies_stay_on_their_side_of_an_update_of_their_image(small: Path) -> None:
    """The shift is up to an hour, all marks are within a minute: nearly all are stopped by one."""
    events = case(small, growth=9.0).trace.events.reset_index()
    at = events.index[events["event"] == "update_image"][0]
    sides = {"a": -1, "b": -1, "c": 1, "d": 1}
    for name, side in sides.items():
        copies = events[(events["event"] == "create") & (original_of_small(events["volume_id"]) == name)]
        assert len(copies) == 9 and (np.sign(copies.index - at) == side).all()
    asked = events[(events["event"] == "create") & (events["image_id"] == "qcow")]
    assert len(asked) == 9 and (asked.index < events.index[events["event"] == "delete_image"][0]).all()


def original_of_small(ids: pd.Series[str]) -> pd.Series[str]:
    return ids.str.partition("+")[0].where(~(ids + "+").str.startswith("a+1+"), "a+1")


def test_growth_of_a_generated_workload_is_more_of_the_same_process() -> None:
    """Its ids are those of a generated trace, not copies; creates are 2 times as many within their spread."""
    before, events = (case(GENERATED, growth=growth).trace.events for growth in (1.0, 2.0))
    few, many = len(creates(before)), len(creates(events))
    assert not creates(events).index.str.contains("+", regex=False).any()
    assert abs(many - 2 * few) < stats.norm.ppf(0.9995) * np.sqrt(many + 4 * few) * 3  # bursts of 9 at most
    assert events["time"].is_monotonic_increasing and creates(events).index.is_unique


# -- images --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.3, 1.25, 7.0])
def test_larger_images_never_refuse_a_create_that_was_accepted(plain: Case, factor: float) -> None:
    """Refused are creates of an image that the volume does not hold; as many of them as before, or fewer."""
    changed = case(image_size_factor=factor)
    for name, image in changed.images.items():
        assert image.virtual_size_bytes == round(factor * plain.images[name].virtual_size_bytes)
        assert image.size_bytes == round(factor * plain.images[name].size_bytes)
    assert (refused(changed.trace.events, changed) <= refused(plain.trace.events, plain)).all()
    asked = changed.trace.events["event"] == "create"
    sizes, before = changed.trace.events["size_gib"], plain.trace.events["size_gib"]
    assert (sizes >= before).all() and (sizes[~asked] == 0).all()
    if factor < 1:
        pd.testing.assert_frame_equal(changed.trace.events, plain.trace.events)
    else:
        assert (sizes > before).any() or factor < 2


def refused(events: pd.DataFrame, case: Case) -> np.ndarray[Any, np.dtype[np.bool_]]:
    gib = 2**30
    needs = {
        image.image_id: max(-(-image.size_bytes // gib), -(-image.virtual_size_bytes // gib))
        for image in case.images.values()
    }
    asked = (events["event"] == "create") & (events["image_id"] != "")
    needed = events["image_id"].astype(str).map(needs).fillna(0)
    return (asked & (needed > events["size_gib"])).to_numpy()


def test_a_volume_that_did_not_hold_its_image_stays_refused(small: Path) -> None:
    """d asks for 1 GiB of an image of 2: by engine `cinder`, the only one that fails then and now."""
    for factor in (1.0, 3.0):
        requests = api.run(case(small, image_size_factor=factor), "none", "cinder").requests
        assert list(requests.loc[requests["status"] != "available", "volume_id"]) == ["d"]


# -- updates and the end -------------------------------------------------------------------------------


def test_updates_come_so_often_for_every_image_spread_over_them(plain: Case) -> None:
    events = case(update_every=2 * DAY_S).trace.events
    last, images = float(events["time"].max()), list(plain.images)
    ends = marks(plain.trace.events).query("event == 'delete_image'").set_index("image_id")["time"]
    more = events[events["event"] == "update_image"]
    older = plain.trace.events[plain.trace.events["event"] == "update_image"]
    for number, image in enumerate(images):
        first = (number + 0.5) / len(images) * 2 * DAY_S
        end = float(ends.get(image, last))
        wanted = [*older.loc[older["image_id"] == image, "time"], *np.arange(first, end, 2 * DAY_S)]
        assert sorted(wanted) == list(more.loc[more["image_id"] == image, "time"])
    rest = events[~events.index.isin(more.index)].reset_index(drop=True)
    was = plain.trace.events.query("event != 'update_image'").reset_index(drop=True)
    pd.testing.assert_frame_equal(rest.astype(str), was.astype(str))
    assert events["time"].is_monotonic_increasing and not events.isna().any(axis=None)


def test_updates_end_with_the_image_and_rarer_ones_than_the_trace_is_long_are_none(small: Path) -> None:
    events = case(small, update_every=2.0).trace.events
    qcow = events[(events["event"] == "update_image") & (events["image_id"] == "qcow")]
    assert len(qcow) == 15 and qcow["time"].max() < 30
    pd.testing.assert_frame_equal(case(small, update_every=DAY_S).trace.events, case(small).trace.events)


def test_until_leaves_the_beginning_also_of_a_grown_load(plain: Case) -> None:
    for growth in (1.0, 1.7):
        whole = case(growth=growth).trace.events
        part = case(growth=growth, until=3 * DAY_S).trace.events
        assert 0 < len(part) < len(whole) and part["time"].max() < 3 * DAY_S <= whole["time"][len(part)]
        pd.testing.assert_frame_equal(part, whole.iloc[: len(part)])


# -- the engines, and what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    "workload",
    [{"growth": 1.5}, {"growth": 0.5, "update_every": DAY_S, "image_size_factor": 1.5, "until": 5 * DAY_S}],
)
def test_both_engines_agree_on_a_changed_workload(workload: dict[str, float]) -> None:
    changed = case(**workload)
    strategy = changed.scenario.todays_strategy()
    fast, cinder = (api.run(changed, strategy, engine) for engine in ("fast", "cinder"))
    assert difference(cinder, fast) is None and len(fast.requests)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("growth", 0),
        ("growth", -1),
        ("growth", ".inf"),
        ("growth", 1e-9),
        ("image_size_factor", 0),
        ("update_every", "0s"),
        ("update_every", "-1d"),
        ("update_every", 1e-4),
        ("until", 0),
        ("until", 1e-6),
    ],
)
def test_bad_values_are_refused_by_name_with_exit_code_2(tmp_path: Path, key: str, value: object) -> None:
    raw = yaml.safe_load(TWO_TIERS.read_text())
    folder = TWO_TIERS.parent / "two_tiers"
    raw["images"] = str(folder / "images.csv")
    raw["workload"] = {
        "trace": str(folder / "trace.csv"),
        key: float(str(value)[1:]) if value == ".inf" else value,
    }
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(BadInput, match=key):
        sim.load(path)
    result = CliRunner().invoke(app, ["run", str(path), "--strategy", "none", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and key in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()
