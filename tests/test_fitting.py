"""Fits: what is printed can be pasted and run; short, bare and broken traces; each estimator by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from typer.testing import CliRunner, Result

import sim
from sim.cli import app
from sim.fitting.estimates import grouped_share, rate, rounded_lognormal, share, zipf
from sim.fitting.fit import fit_trace
from sim.inputs.generator import Generate
from sim.inputs.images import write_images
from sim.inputs.problems import BadInput
from sim.inputs.trace import Trace, read_trace, write_trace
from sim.workload.generate import Generated, generate

HEADER = "time,event,volume_id,image_id,size_gib,volume_type,host\n"
SPEC: dict[str, Any] = {
    "duration": "15d",
    "creates_per_day": 100,
    "tiers": {"flash": 0.3, "disk": 0.7},
    "popularity": {"images": 10, "release_every": "3d"},
    "repeats": {"share": 0.4},
}
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(rows: str) -> Path:
        (tmp_path / "t.csv").write_text(HEADER + rows, encoding="utf-8")
        return tmp_path / "t.csv"

    return put


@pytest.fixture(scope="module")
def made() -> Generated:
    return generate(Generate.model_validate(SPEC), (), ("flash", "disk"), 7, 0, Path("s.yaml"))


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# What comes out


def test_what_is_printed_is_a_workload_that_runs(made: Generated, tmp_path: Path) -> None:
    write_trace(made.trace, tmp_path / "t.csv")
    result = cli("fit", tmp_path / "t.csv")
    assert result.exit_code == 0
    pasted = yaml.safe_load(result.stdout)
    assert set(pasted["generate"]) <= set(Generate.model_fields)
    scenario = {
        "tiers": {"flash": {}, "disk": {}},
        "backends": {"a": {"volume_type": ["flash", "disk"], "pools": {"p0": {}}}},
        "workload": pasted,
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    case = sim.load(tmp_path / "s.yaml")
    assert len(sim.run(case, "cache-only", "fast").requests) > 500
    document = json.loads(cli("fit", tmp_path / "t.csv", "--json").stdout)
    assert document["generate"] == json.loads(json.dumps(pasted["generate"]))
    inside = pd.DataFrame(document["intervals"]).fillna(np.inf)
    assert ((inside["low"] <= inside["value"]) & (inside["value"] <= inside["high"])).all()


def test_a_fit_is_the_same_each_time(made: Generated) -> None:
    assert str(fit_trace(made.trace)) == str(fit_trace(made.trace))


def test_all_that_is_not_read_is_said_to_be_assumed(made: Generated) -> None:
    told = fit_trace(made.trace)
    document = told.document()
    assert {"raw_share", "uploads_per_day"} <= set(document["assumed"])
    assert len(set(told.table()["parameter"]) & set(document["assumed"])) == 0
    assert "the trace has no dates: its first day counts as a Monday" in document["notes"]


def test_an_image_list_names_versions_that_ids_do_not(made: Generated, tmp_path: Path) -> None:
    blind = made.trace.events.copy()
    codes = {name: f"id-{number}" for number, name in enumerate(made.images)} | {"": ""}
    blind["image_id"] = blind["image_id"].map(codes).astype("str")
    images = [image.model_copy(update={"image_id": codes[name]}) for name, image in made.images.items()]
    write_images(images, tmp_path / "images.csv")
    write_trace(Trace(blind, None, tmp_path / "t.csv"), tmp_path / "t.csv")
    without = sim.fit(tmp_path / "t.csv").generate()
    assert without["popularity"]["release_every"] is None
    assert without["popularity"]["images"] > 10
    found = sim.fit(tmp_path / "t.csv", tmp_path / "images.csv")
    assert "images" not in found.generate()["popularity"]  # the scenario has its own
    row = found.table().set_index("parameter").loc["popularity.release_every"]
    assert row["low"] <= 3 * 86_400 <= row["high"]
    assert len(found.images) == 10
    (tmp_path / "images.csv").write_text("nothing\n", encoding="utf-8")
    result = cli("fit", tmp_path / "t.csv", "--images", tmp_path / "images.csv")
    assert result.exit_code == 2 and "images.csv" in result.stderr


def test_the_image_found_most_popular_comes_first(made: Generated) -> None:
    first = next(iter(made.images))
    assert fit_trace(made.trace).images[0] == first


# Traces that tell little


def row(time: float, event: str, volume: str, image: str = "i") -> str:
    rest = f"{image},5,flash," if event == "create" else (f"{image},,," if volume == "" else ",,,")
    return f"{time},{event},{volume},{rest}\n"


@pytest.mark.parametrize(
    "rows",
    [
        row(5, "create", "v"),
        row(0, "create", "v"),
        row(0, "create", "v") + row(0, "create", "w"),
        row(3, "create", "v", "") + row(9, "delete", "v"),
        row(3, "update_image", ""),
        row(3, "delete", "v"),
        "".join(row(9 * number, "create", f"v{number}", f"i{number}") for number in range(30)),
        "".join(row(9_000 * number, "create", f"v{number}", "i") for number in range(400)),
        "".join(row(1e6, "create", f"v{number}", "i") for number in range(200)),
        "".join(row(2**number, "create", f"v{number}", f"i@{number + 1}") for number in range(30)),
        "".join(
            row(60 * number, ("create", "delete")[number % 2], f"v{number // 2}") for number in range(60)
        ),
    ],
    ids=range(11),
)
def test_a_trace_of_little_is_fitted_as_far_as_it_goes(write: Write, rows: str) -> None:
    found = sim.fit(write(rows))
    spec = yaml.safe_load(str(found))["generate"]
    Generate.model_validate(spec)
    json.dumps(found.document(), allow_nan=False)


def test_names_with_spaces_stay_whole_on_a_line(write: Write) -> None:
    rows = "".join(
        f"{600 * number},create,v{number},i,5,\"big, slow: disk {number % 9}  of 'all'\",\n"
        for number in range(90)
    )
    tiers = yaml.safe_load(str(sim.fit(write(rows))))["generate"]["tiers"]
    assert list(tiers) == [f"big, slow: disk {number}  of 'all'" for number in range(9)]


def test_versions_that_are_first_used_at_one_instant_are_fitted(write: Write) -> None:
    rows = row(0, "create", "a", "i") + row(50, "create", "b", "i@2") + row(50, "create", "c", "i@3")
    assert "by their number alone" in str(sim.fit(write(rows)))


def test_drawn_traces_of_a_few_events_are_fitted() -> None:
    draws = np.random.default_rng(0)
    for seed in range(12):
        spec = SPEC | {
            "duration": f"{draws.integers(1, 60)}h",
            "creates_per_day": float(draws.integers(5, 400)),
        }
        try:
            trace = generate(Generate.model_validate(spec), (), ("flash",), seed, 0, Path("s.yaml")).trace
        except BadInput:  # no events
            continue
        Generate.model_validate(yaml.safe_load(str(fit_trace(trace)))["generate"])


def test_what_a_short_trace_cannot_tell_is_assumed(write: Write) -> None:
    rows = "".join(row(600 * number, "create", f"v{number}", f"i{number % 3}") for number in range(100))
    text = str(sim.fit(write(rows)))
    assert "assumed: the trace is shorter than two weeks" in text
    assert "assumed: the trace is shorter than a day" in text
    assert "assumed: 0 deletes" in text
    assert "no image is a version of another" in text
    assert yaml.safe_load(text)["generate"]["kept_share"] == 1


def test_a_bad_trace_is_told_in_full(write: Write) -> None:
    result = cli("fit", write("x,create,v,i,5,flash,\n0,birth,v,i,5,flash,\n"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "time 'x' is neither" in result.stderr and "unknown event 'birth'" in result.stderr
    assert cli("fit", "nowhere.csv").exit_code == 2


def test_weekdays_are_those_of_the_dates(tmp_path: Path) -> None:
    monday = {"by_weekday": [1, 0, 0, 0, 0, 0, 0], "duration": "28d", "start": "2026-01-01"}
    calm = {"repeats": {"share": 0}, "storms": {"share": 0}, "updates_per_day": 0}
    trace = generate(Generate.model_validate(SPEC | monday | calm), (), ("flash",), 7, 0, Path("s")).trace
    write_trace(trace, tmp_path / "t.csv")
    found = fit_trace(read_trace(tmp_path / "t.csv"))
    assert found.generate()["by_weekday"] == [7, 0, 0, 0, 0, 0, 0]
    assert found.notes == []


# Estimators


@pytest.mark.parametrize(("part", "count"), [(0, 20), (3, 20), (20, 20), (500, 1000)])
def test_a_share_has_wilsons_interval(part: int, count: int) -> None:
    known = stats.binomtest(part, count).proportion_ci(method="wilson")
    assert share(part / count, count)[1:3] == pytest.approx((known.low, known.high))


def test_groups_count_by_their_number() -> None:
    draws = np.random.default_rng(1)
    hits = (draws.random(400) < 0.3).astype(float)
    one, ten = grouped_share(hits, np.ones(400)), grouped_share(10 * hits, np.full(400, 10.0))
    assert one[:3] == pytest.approx(ten[:3])
    assert one[:3] == pytest.approx(share(hits.mean(), 400)[:3])


@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_rate_has_garwoods_interval(count: int) -> None:
    low, high = rate(count, 2.0)[1:3]
    assert stats.poisson.sf(count - 1, 2 * low) == pytest.approx(0.025 if count else 1)
    assert stats.poisson.cdf(count, 2 * high) == pytest.approx(0.025)


@pytest.mark.parametrize(("exponent", "ranks"), [(0.5, 40), (1.0, 200), (1.5, 20)])
def test_the_exponent_of_zipfs_law_is_within_its_interval(exponent: float, ranks: int) -> None:
    draws, law = np.random.default_rng(2), np.arange(1, ranks + 1) ** -exponent
    found = []
    for _ in range(40):
        seen = draws.multinomial(1000, law / law.sum()).astype(float)
        one = zipf(seen, 1000)
        found.append(one.low <= exponent <= one.high)
    assert stats.binomtest(sum(found), 40, 0.95, "less").pvalue > 0.05


@pytest.mark.parametrize(("median", "sigma"), [(1.5, 1.2), (20.0, 0.5)])
def test_storms_are_within_their_intervals(median: float, sigma: float) -> None:
    draws, found = np.random.default_rng(3), np.zeros(2)
    for _ in range(40):
        sizes = np.maximum(np.ceil(draws.lognormal(np.log(median), sigma, 300)), 2).astype(np.int64)
        each = rounded_lognormal(sizes)
        found += [one.low <= true <= one.high for one, true in zip(each, (median, sigma), strict=True)]
    for covered in found:
        assert stats.binomtest(int(covered), 40, 0.95, "less").pvalue > 0.05
