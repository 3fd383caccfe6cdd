"""Generated workloads: each stream by itself, the same bytes everywhere, what is refused, what is written."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner, Result

import sim
from sim import api
from sim.analysis.results import manifest_of
from sim.cli import app
from sim.inputs.files import files_of, hashes
from sim.inputs.generator import Generate
from sim.inputs.images import Image
from sim.inputs.problems import BadInput
from sim.inputs.trace import read_trace, write_trace
from sim.workload.generate import Generated, generate

HERE = Path("scenario.yaml")
# Sizes that hold any image of the catalogue: whatever else is drawn, they stay.
BASE: dict[str, Any] = {
    "duration": "10d",
    "creates_per_day": 200,
    "volume_gib": {20: 1, 40: 1},
    "tiers": {"flash": 1, "disk": 1},
    "popularity": {"release_every": "4d", "private_share": 0.2},
}
SCENARIO: dict[str, Any] = {
    "seed": 7,
    "tiers": {"flash": {}, "disk": {}},
    "backends": {
        "a": {"volume_type": ["flash", "disk"], "pools": {"p0": {}}, "image_volume_cache_max_count": 5}
    },
    "workload": {"generate": BASE},
}
Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(**changed: Any) -> Path:
        path = tmp_path / "s.yaml"
        path.write_text(yaml.safe_dump(SCENARIO | changed), encoding="utf-8")
        return path

    return write


def drawn(changed: dict[str, Any] | None = None, seed: int = 7, replication: int = 0) -> Generated:
    spec = Generate.model_validate(BASE | (changed or {}))
    return generate(spec, (), ("flash", "disk"), seed, replication, HERE)


def creates(made: Generated) -> pd.DataFrame:
    events = made.trace.events
    return events[events["event"] == "create"].reset_index(drop=True)


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# Streams


@pytest.mark.parametrize(
    ("changed", "columns"),
    [
        ({"lifetime_s": {"median": 60}}, set()),
        ({"kept_share": 0.9}, set()),
        ({"updates_per_day": 9}, set()),
        ({"uploads_per_day": 9}, set()),
        ({"tiers": {"flash": 1, "disk": 9}}, {"volume_type"}),
        ({"volume_gib": {20: 9, 40: 1}}, {"size_gib"}),
        ({"encrypted_share": 0.5}, {"encrypted"}),
        ({"projects": {"zipf": 2}}, {"project"}),
        ({"blank_share": 0.5}, {"image_id", "project"}),
        ({"popularity": BASE["popularity"] | {"zipf": 2}}, {"image_id", "project"}),
        ({"popularity": BASE["popularity"] | {"release_every": "2d"}}, {"image_id"}),
        ({"popularity": BASE["popularity"] | {"takeover": "30d"}}, {"image_id"}),
        ({"storms": {"spread_s": 0}, "repeats": {"share": 0}}, None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_parameter_changes_what_it_is_about(changed: dict[str, Any], columns: set[str] | None) -> None:
    before, after = creates(drawn()), creates(drawn(changed))
    if columns is None:  # other arrivals
        assert before["time"].tolist() != after["time"].tolist()
        return
    assert {
        name for name in before if not before[name].astype(str).equals(after[name].astype(str))
    } == columns


@pytest.mark.parametrize("changed", [{"lifetime_s": {"median": 60}}, {"kept_share": 0.9}])
def test_lifetimes_change_deletes(changed: dict[str, Any]) -> None:
    counts = [int((drawn(each).trace.events["event"] == "delete").sum()) for each in ({}, changed)]
    assert counts[0] != counts[1]


def test_a_draw_is_told_apart_by_seed_and_replication() -> None:
    times = [
        tuple(creates(drawn(seed=seed, replication=number))["time"]) for seed in (7, 8) for number in (0, 1)
    ]
    assert len(set(times)) == 4


def test_a_scenario_loads_the_replication_asked_for(put: Put) -> None:
    path = put()
    cases = [sim.load(path, replication=number) for number in (0, 3, 3)]
    assert [case.replication for case in cases] == [0, 3, 3]
    assert cases[1].trace.events.equals(cases[2].trace.events)
    assert not cases[0].trace.events["time"].equals(cases[1].trace.events["time"])


def test_every_process_writes_the_same_bytes(put: Put, tmp_path: Path) -> None:
    path, found = put(), set()
    for number in ("1", "2"):
        out = tmp_path / number / "trace.csv"
        command = [sys.executable, "-m", "sim", "generate", str(path), "--out", str(out)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": number}, capture_output=True)
        files = [out.read_bytes(), out.with_name("images.csv").read_bytes()]
        found.add(tuple(hashlib.sha256(data).hexdigest() for data in files))
    assert len(found) == 1


# What is drawn


def test_events_are_in_order_and_of_volumes_that_exist() -> None:
    made = drawn({"uploads_per_day": 5, "updates_per_day": 5})
    events = made.trace.events
    assert events["time"].is_monotonic_increasing
    assert events["time"].between(0, 10 * 86_400, inclusive="left").all()
    born = creates(made).set_index("volume_id")["time"]
    assert born.index.is_unique
    gone = events[events["event"] == "delete"].set_index("volume_id")["time"]
    assert gone.index.is_unique and (gone > born.reindex(gone.index)).all()
    uploads = events[events["event"] == "upload"].set_index("volume_id")["time"]
    assert len(uploads) > 20 and (uploads > born.reindex(uploads.index)).all()
    assert not (uploads > gone.reindex(uploads.index)).any()
    assert set(events["image_id"]) - {""} <= set(made.images)


def test_volumes_hold_their_image_and_private_images_are_their_owners() -> None:
    made = drawn({"volume_gib": {1: 1}, "popularity": {"private_share": 0.5}, "blank_share": 0.2})
    for row in creates(made).itertuples():
        if row.image_id:
            image = made.images[row.image_id]
            assert row.size_gib == -(-image.virtual_size_bytes // 2**30)
            assert image.owner in ("", row.project)
        else:
            assert row.size_gib == 1
    owners = {image.owner for image in made.images.values()}
    assert "" in owners and len(owners) > 1


def test_a_version_is_used_after_its_release_and_in_turn() -> None:
    made = drawn({"popularity": {"release_every": "2d", "takeover": "12h", "images": 3}, "blank_share": 0})
    version = creates(made)["image_id"].str.extract(r"@(\d+)$")[0].fillna("1").astype(int)
    time = creates(made)["time"]
    assert version.max() in (5, 6)
    # Of ten days at two days a release no version is there before its turn, whatever the phase.
    assert (time >= (version - 2).clip(lower=0) * 2 * 86_400).all()
    assert (version[time > 9 * 86_400].mean()) > (version[time < 3 * 86_400].mean()) + 2


def test_releases_are_events() -> None:
    made = drawn({"popularity": {"release_every": "2d", "takeover": "12h", "images": 3}, "blank_share": 0})
    events = made.trace.events
    released = events[events["event"] == "release"].set_index("image_id")["time"]
    assert set(released.index) == {name for name in made.images if "@" in name}
    assert (released.groupby(released.index.str.split("@").str[0]).diff().dropna().round(3) == 172_800).all()
    used = creates(made).groupby("image_id")["time"].min()
    assert (used >= released.reindex(used.index).fillna(0) - 1e-3).all()


def test_lines_of_the_scenario_are_by_falling_popularity() -> None:
    lines = [
        Image(
            image_id=name,
            name=name,
            disk_format="raw",
            container_format="bare",
            size_bytes=2**30,
            virtual_size_bytes=2**30,
        )
        for name in "abc"
    ]
    spec = Generate.model_validate(
        BASE | {"popularity": {"zipf": 3, "release_every": None}, "blank_share": 0}
    )
    made = generate(spec, lines, ("flash", "disk"), 7, 0, HERE)
    assert list(made.images) == list("abc")
    assert list(creates(made)["image_id"].value_counts().index) == list("abc")


def test_the_catalogue_is_gone_through_again_for_more_images() -> None:
    none = {"release_every": None}
    assert len(drawn({"popularity": none}).images) == 41
    many = drawn({"popularity": none | {"images": 100}, "raw_share": 1}).images
    assert len(many) == 100
    assert {image.disk_format for image in many.values()} == {"raw"}
    assert all(image.size_bytes == image.virtual_size_bytes for image in many.values())
    assert len(drawn({"popularity": none | {"images": 2}}).images) == 2


def test_a_start_gives_dates_and_counts_hours_from_it(tmp_path: Path) -> None:
    # 2026-01-04 is a Sunday; only Mondays from 6 to 7 have any.
    only = {"by_hour": [0] * 6 + [1] + [0] * 17, "by_weekday": [1, 0, 0, 0, 0, 0, 0]}
    quiet = {"updates_per_day": 0, "kept_share": 1, "repeats": {"share": 0}, "storms": {"share": 0}}
    quiet["popularity"] = {"release_every": None}
    made = drawn(only | quiet | {"start": "2026-01-04T12:00"})
    start = made.trace.start
    assert start is not None and start > datetime(2026, 1, 5, 6, tzinfo=UTC)
    times = pd.Timestamp(start) + pd.to_timedelta(made.trace.events["time"], unit="s")
    assert set(times.dt.strftime("%a %H")) == {"Mon 06"}
    assert made.trace.events["time"].iloc[0] == 0
    write_trace(made.trace, tmp_path / "t.csv")
    assert read_trace(tmp_path / "t.csv").start == start


# Commands and files


@pytest.mark.parametrize("name", ["trace.csv", "trace.parquet"])
def test_what_is_written_runs_as_a_trace(put: Put, tmp_path: Path, name: str) -> None:
    path = put()
    result = cli("generate", path, "--out", tmp_path / "out" / name, "--replication", 2)
    assert (result.exit_code, result.stdout) == (0, "")
    assert name in result.stderr and "images.csv" in result.stderr
    again = tmp_path / "out" / "again.yaml"
    changed = {"name": "s", "images": "images.csv", "workload": {"trace": name}}
    again.write_text(yaml.safe_dump(SCENARIO | changed), encoding="utf-8")
    one, two = sim.load(path, replication=2), sim.load(again)
    assert one.images == two.images
    pd.testing.assert_frame_equal(one.trace.events.astype(str), two.trace.events.astype(str))
    pd.testing.assert_frame_equal(
        sim.compare(one, ["cache-only"], "fast"), sim.compare(two, ["cache-only"], "fast")
    )


def test_uploads_are_written_and_simulated(put: Put, tmp_path: Path) -> None:
    path = put(workload={"generate": BASE | {"uploads_per_day": 3}})
    uploads = sim.run(sim.load(path), "none", engine="fast").uploads
    assert (uploads["status"] == "active").any()
    assert sim.generate(path, tmp_path / "t.csv") == [tmp_path / "t.csv", tmp_path / "images.csv"]
    assert ",upload," in (tmp_path / "t.csv").read_text(encoding="utf-8")
    assert "\nupload-1," in (tmp_path / "images.csv").read_text(encoding="utf-8")


def test_files_of_the_scenario_are_not_overwritten(put: Put, tmp_path: Path) -> None:
    listed = "image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes\ni,i,raw,bare,1,1\n"
    (tmp_path / "images.csv").write_text(listed, encoding="utf-8")
    path = put(images="images.csv", workload={"generate": {"duration": "1d"}})
    for out in (path, tmp_path / "images.csv", tmp_path / "t.csv"):
        before = sorted(tmp_path.iterdir())
        result = cli("generate", path, "--out", out)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "images.csv: the scenario reads it" in result.stderr
        assert sorted(tmp_path.iterdir()) == before
        assert (tmp_path / "images.csv").read_text(encoding="utf-8") == listed
    calm = {"duration": "1d", "popularity": {"release_every": None}}
    assert sim.generate(put(images="images.csv", workload={"generate": calm}), tmp_path / "t.csv") == [
        tmp_path / "t.csv"
    ]


def test_a_place_that_cannot_be_written_is_told(put: Put, tmp_path: Path) -> None:
    path = put()
    for out in (tmp_path, path / "t.csv"):
        assert cli("generate", path, "--out", out).exit_code == 2


def test_manifest_and_hashes_know_a_generated_workload(put: Put) -> None:
    case = sim.load(put(), replication=4)
    assert set(files_of(case)) == set(hashes(case)) == {"scenario"}
    manifest = manifest_of(case, "none", "fast", 1, 0.0, 0.0, hashes(case))
    assert (manifest["seed"], manifest["replication"]) == (7, 4)


# What is refused


def problems(path: Path) -> list[str]:
    with pytest.raises(BadInput) as refused:
        sim.load(path)
    return [line.removeprefix(f"{path}: ") for line in refused.value.problems]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"duration": "0d"}, "duration: Input should be greater than 0"),
        ({"duration": [5]}, "duration: a duration is written 30d, 12h or 90s"),
        ({"duration": "5 weeks"}, "duration: '5 weeks' is not a duration: write 30d, 12h or 90s"),
        ({"start": "soon"}, "start: 'soon' is not an ISO 8601 date"),
        ({"creates_per_day": 0}, "creates_per_day: Input should be greater than 0"),
        ({"by_hour": [0] * 24}, "by_hour: the weights are all zero"),
        ({"tiers": {"flash": 0}}, "tiers: the weights are all zero"),
        ({"tiers": {}}, "tiers: at least one is needed"),
        ({"tiers": {"gold": 1}}, "tiers: 'gold' is not in tiers"),
        ({"volume_gib": {10: 0}}, "volume_gib: the weights are all zero"),
        ({"repeats": {"share": 1}}, "repeats.share: Input should be less than or equal to 0.95"),
        ({"popularity": {"zipfs": 1}}, "popularity.zipfs: unknown key"),
        ({"storms": {"share": 2}}, "storms.share: Input should be less than or equal to 1"),
        ({"creates_per_day": 1e7}, "about 200,000,001 events are too many: at most 50,000,000"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_told_with_its_path(put: Put, changed: dict[str, Any], told: str) -> None:
    where = "workload.generate: " if told.startswith("about") else "workload.generate."
    assert problems(put(workload={"generate": BASE | changed})) == [where + told]


def test_all_is_told_at_once(put: Put) -> None:
    bad = {"duration": "0d", "tiers": {"gold": 1}, "uploads_per_day": -1, "encrypted_share": 2}
    assert len(problems(put(workload={"generate": bad}, seed=-1))) == 5


def test_a_tier_that_nobody_serves_is_told(put: Put) -> None:
    path = put(
        tiers={"flash": {}, "disk": {}, "tape": {}}, workload={"generate": BASE | {"tiers": {"tape": 1}}}
    )
    assert problems(path) == ["workload.generate.tiers: no backend serves volume type 'tape'"]
    # Without weights only those that are served are drawn.
    path = put(tiers={"flash": {}, "disk": {}, "tape": {}}, workload={"generate": BASE | {"tiers": None}})
    assert set(creates_of(path)["volume_type"]) == {"flash", "disk"}


def creates_of(path: Path) -> pd.DataFrame:
    events = sim.load(path).trace.events
    return events[events["event"] == "create"]


def test_images_are_needed_unless_they_are_generated(put: Put) -> None:
    assert "images: Field required" in problems(put(workload={"trace": "t.csv"}))
    image = {"image_id": "i", "name": "", "disk_format": "raw", "container_format": "bare"}
    image |= {"size_bytes": 1, "virtual_size_bytes": 1}
    own = {"raw_share": 0.5, "popularity": {"images": 5, "private_share": 0.5}}
    told = "is of images that are generated, and the scenario has images"
    assert problems(put(images=[image], workload={"generate": own})) == [
        f"workload.generate.{key}: {told}"
        for key in ("popularity.images", "popularity.private_share", "raw_share")
    ]
    clash = [image | {"image_id": name} for name in ("i", "i@2")]
    (found,) = problems(put(images=clash, workload={"generate": {"popularity": {"release_every": "5d"}}}))
    assert "image 'i@2' exists already" in found


def dated(name: str, version: str, released: str | None, gib: int = 1) -> dict[str, Any]:
    image = {"image_id": f"{name}-{version}", "name": name, "disk_format": "raw", "container_format": "bare"}
    return image | {"size_bytes": gib << 30, "virtual_size_bytes": gib << 30, "released": released}


def test_versions_come_at_the_dates_of_the_image_list(put: Put) -> None:
    """With `takeover` near 0, each request asks for the newest version, and for a volume that holds it."""
    images = [
        dated("a", "3", "2026-01-08T12:00:00+00:00", 50),
        dated("a", "1", None),
        dated("a", "2", "2025-12-01"),
        dated("a", "4", "2027-01-01"),
        dated("b", "1", "2026-01-04"),
        dated("b", "2", "2026-01-05"),
        dated("c", "1", "2027-01-01"),
    ]
    popularity = {"release_every": None, "takeover": "1s"}
    spec = BASE | {"start": "2026-01-01", "popularity": popularity, "blank_share": 0}
    case = sim.load(put(images=images, workload={"generate": spec}))
    assert set(case.images) == {"a-1", "a-2", "a-3", "b-1", "b-2"}
    events, start = case.trace.events, case.trace.start
    assert start is not None
    events = events.assign(at=start + pd.to_timedelta(events["time"], unit="s"))
    released = events[events["event"] == "release"].set_index("image_id")["at"].dt.round("s").astype(str)
    assert released.to_dict() == {"b-2": "2026-01-05 00:00:00+00:00", "a-3": "2026-01-08 12:00:00+00:00"}
    made = events[(events["event"] == "create") & events["image_id"].str.startswith("a")]
    late = made["at"] >= pd.Timestamp("2026-01-08T12:01:00Z")
    early = made["at"] < pd.Timestamp("2026-01-08T12:00:00Z")
    assert set(made.loc[early, "image_id"]) == {"a-2"} and set(made.loc[late, "image_id"]) == {"a-3"}
    assert set(made.loc[early, "size_gib"]) == {20, 40} and set(made.loc[late, "size_gib"]) == {50}


def test_dates_of_images_need_a_start_and_no_other_releases(put: Put) -> None:
    spec = BASE | {"popularity": {"release_every": "4d"}}
    assert problems(put(images=[dated("a", "1", "2026-01-01")], workload={"generate": spec})) == [
        "workload.generate.start: is needed: the image list has dates in released",
        "workload.generate.popularity.release_every: write null: the image list has dates in released",
    ]
    (found,) = problems(put(images=[dated("a", "1", "soon")], workload={"generate": {}}))
    assert "'soon' is not an ISO 8601 date" in found


def test_the_initial_state_goes_with_what_is_generated(put: Put, tmp_path: Path) -> None:
    head = "kind,volume_id,image_id,size_gib,host,last_used\n"
    (tmp_path / "initial.csv").write_text(
        f"{head}volume,volume-0000001,,5,a#p0,\ncache,,nowhere,5,a#p0,0\n", encoding="utf-8"
    )
    path = put(workload={"generate": BASE, "initial": "initial.csv"})
    with pytest.raises(BadInput) as refused:
        sim.load(path)
    assert [line.rpartition("initial.csv: ")[2] for line in refused.value.problems] == [
        "unknown image 'nowhere'",
        "volume 'volume-0000001' is also generated",
    ]
    (tmp_path / "initial.csv").write_text(f"{head}volume,mine,,5,a#p0,\n", encoding="utf-8")
    assert len(sim.load(path).initial) == 1


def test_nothing_at_all_is_told(put: Put) -> None:
    (found,) = problems(put(workload={"generate": {"duration": "1s", "creates_per_day": 1e-6}}))
    assert found.endswith("makes no creates: make it longer, or give more creates_per_day")


def test_too_many_releases_are_told(put: Put) -> None:
    (found,) = problems(put(workload={"generate": {"popularity": {"images": 1000, "release_every": "60s"}}}))
    assert "releases are too many" in found


def test_a_storm_is_of_one_image_tier_and_size() -> None:
    storms = {"share": 1, "creates_median": 8.5, "creates_sigma": 0, "spread_s": 0}
    made = creates(drawn({"storms": storms, "repeats": {"share": 0}, "duration": "5d"}))
    asked = ["image_id", "volume_type", "size_gib", "project", "encrypted"]
    assert len(made) > 500
    assert set(made.groupby("time").size()) == {9}
    assert (made.groupby("time")[asked].nunique() == 1).all(axis=None)


def test_a_large_workload_is_estimated_not_drawn(put: Put) -> None:
    """`validate` says how large it is and what a run needs; more than the machine can hold is refused."""
    year = {"duration": "365d", "creates_per_day": 36_000, "blank_share": 0.0}
    path = put(workload={"generate": year})
    case = sim.load(path, most_drawn=5_000_000)
    assert not len(case.trace.events) and case.images
    size = api.size_of(case)
    assert not size.counted and size.creates == 13_140_000
    assert size.events == pytest.approx(2 * 13_140_000, rel=1e-4)
    assert size.run_gib == pytest.approx(600 * size.events / 2**30)
    drawn = sim.load(put(workload={"generate": {"duration": "2d", "creates_per_day": 40}}), most_drawn=10**6)
    assert api.size_of(drawn).events == len(drawn.trace.events)


def test_more_events_than_memory_holds_are_refused(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 2**12 if name == "SC_PAGE_SIZE" else 2**15)  # 128 MiB
    (found,) = problems(put(workload={"generate": {"duration": "365d", "creates_per_day": 3600}}))
    assert "about 2,628,036 events need 0.7 GiB of memory, and this machine has 0.1 GiB" in found


def test_uploads_that_take_too_long_are_refused(put: Put) -> None:
    many = {"duration": "100d", "creates_per_day": 10_000, "uploads_per_day": 1000}
    (found,) = problems(put(workload={"generate": many}))
    assert "about 100,000 uploads, each of one of all volumes, take too long" in found


def test_no_creates_are_told_even_if_there_are_updates(put: Put) -> None:
    few = {"duration": "1d", "creates_per_day": 0.001, "updates_per_day": 100}
    (found,) = problems(put(workload={"generate": few}))
    assert found.endswith("makes no creates: make it longer, or give more creates_per_day")
