"""Every scenario of the repository is valid, runs alike on both engines and shows what it says it shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import sim
from scenarios import make_month
from sim.analysis.metrics import ALL, by_project, pools_table, summary
from sim.analysis.verification import difference
from sim.cli import app
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.model.records import Records
from sim.workload.loading import load

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml"))
EACH = pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)


@EACH
def test_is_valid(path: Path) -> None:
    result = CliRunner().invoke(app, ["validate", str(path)])
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("path", "strategy"),
    [
        (path, strategy)
        for path in SCENARIOS
        for strategy in (STRATEGIES if path.stem == "full_arrays" else load(path).scenario.strategies)
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_runs_alike_on_both_engines(path: Path, strategy: str) -> None:
    """Each scenario under its own strategies, one of them under all; every create is accounted for."""
    case = load(path, values={("workload", "until"): "4d"} if path.stem == "month" else {})
    records = sim.run(case, strategy)
    assert difference(records, sim.run(case, strategy, "fast")) is None
    events = case.trace.events
    creates = ((events["event"] == "create") & (events["image_id"] != "")).sum()
    of_all = summary(records, case, strategy).set_index("tier").loc[ALL]
    assert of_all["creates"] == creates == len(records.requests)
    # Every create that succeeded is on a pool.
    pools = pools_table(records, case)
    made = pools[["store_clones", "cache_clones", "driver_clones", "downloads"]].sum().sum()
    assert made == creates - of_all["errors"]
    assert (records.requests["end"] >= records.requests["time"]).all()


# What the first line of each scenario says.


def varied(path: Path, strategy: str, **values: object) -> tuple[Case, Records]:
    """The case and what came of it, with other values at the scenario's keys (`__` for a dot)."""
    case = load(path, values={tuple(key.split("__")): value for key, value in values.items()})
    return case, sim.run(case, strategy, "fast")


def of_tier(path: Path, strategy: str, tier: str = ALL, **values: object) -> pd.Series:
    case, records = varied(path, strategy, **values)
    return summary(records, case, strategy).set_index("tier").loc[tier]


def three_nodes(path: Path) -> None:
    """Each of the nodes fills an image that is new; with one lock for all of them, one does."""
    case, records = varied(path, "cache-only")
    made = records.cache_events.query("event == 'create'").groupby("time")["image_id"].count()
    assert (len(case.scenario.backends["flash-a"].node_names), set(made)) == (3, {3})
    _, shared = varied(path, "cache-only", cinder__lock_scope="cloud")
    sources = [(each.requests["source"] == "download").sum() for each in (records, shared)]
    assert sources == [3 * 4, 4]  # three images, one of them updated once
    _, plain = varied(path, "none")
    assert set(plain.requests["source"]) == {"download"}


def rbd(path: Path) -> None:
    """The driver clones all creates of raw images, whatever the strategy; the cache clones the others."""
    case, without = varied(path, "none")
    _, cached = varied(path, "cache-only")
    asked = without.requests["image_id"].astype("str")
    raw = asked.map({each.image_id: each.disk_format == "raw" for each in case.images.values()})
    plain = ~without.requests["volume_id"].isin(case.trace.events.query("encrypted")["volume_id"])
    for records, others in ((without, {"download"}), (cached, {"download", "cache"})):
        assert set(records.requests.loc[raw & plain, "source"]) == {"driver"}
        assert set(records.requests.loc[~raw, "source"]) == others


def smallest(path: Path) -> None:
    """One array, two images, a cache with room for one."""
    case, records = varied(path, "cache-only")
    assert (len(case.scenario.backends), len(case.images), len(records.cache)) == (1, 2, 1)
    assert {"create", "evict"} <= set(records.cache_events["event"])


def full_arrays(path: Path) -> None:
    """Every strategy with image-volumes takes places on flash that users then lack."""
    without = of_tier(path, "none", "flash")["errors"]
    strategies = [name for name in load(path).scenario.strategies if name != "none"]
    with_image_volumes = {name: of_tier(path, name, "flash") for name in strategies}
    assert all(row["image_volumes_mean"] > 0 for row in with_image_volumes.values())
    assert min(row["errors"] for row in with_image_volumes.values()) > without


def generated(path: Path) -> None:
    """The cache is half as large as it should be: twice the entries keep far more of the images in use."""
    backends = ("flash-a", "disk-a")
    limit = "image_volume_cache_max_count"
    twice = {f"backends__{name}__{limit}": 20 for name in backends}
    four_times = {f"backends__{name}__{limit}": 40 for name in backends}
    hits = [of_tier(path, "cache-only", **more)["clone_hit_rate"] for more in ({}, twice, four_times)]
    assert hits[1] - hits[0] > 2 * (hits[2] - hits[1])


def golden_images(path: Path) -> None:
    """The upload method decides which creates are clones."""
    methods = ("copy", "no-op", "raw-twin-location", "raw-twin-cache")
    cloned = {
        method: frozenset(requests.loc[requests["source"].isin(["store", "cache"]), "volume_id"])
        for method in methods
        for requests in [varied(path, "combined", upload=method)[1].requests]
    }
    assert len(set(cloned.values())) == len(methods)


def lines_of(case: Case) -> dict[str, list[str]]:
    """The versions of each line of images."""
    found: dict[str, list[str]] = {}
    for image in case.images.values():
        found.setdefault(image.name, []).append(image.image_id)
    return found


def month(path: Path, tmp_path: Path) -> None:
    """Nearly all images are qcow2, so the cache is what helps; versions come at the dates of the calendar."""
    make_month.main(tmp_path)
    assert (tmp_path / "images.csv").read_bytes() == path.with_suffix("").joinpath("images.csv").read_bytes()
    case = load(path)
    hits = {}
    for strategy in ("store-only", "replicated-store", "cache-only"):
        of_all = summary(sim.run(case, strategy, "fast"), case, strategy).set_index("tier").loc[ALL]
        hits[strategy] = of_all["clone_hit_rate"]
    assert max(hits["store-only"], hits["replicated-store"]) < 0.1 < 0.8 < hits["cache-only"]
    assert case.trace.start is not None
    events = case.trace.events
    asked = (
        events[(events["event"] == "create") & (events["image_id"] != "")]
        .groupby("image_id", observed=True)["time"]
        .min()
    )
    released = {
        image.image_id: (image.released - case.trace.start).total_seconds()
        for image in case.images.values()
        if image.released is not None
    }
    first = {min(of, key=released.__getitem__) for of in lines_of(case).values()}
    later = {image_id for image_id, time in released.items() if time > 0 and image_id not in first}
    assert later and later == set(events.loc[events["event"] == "release", "image_id"])
    assert all(asked.get(image_id, math.inf) >= released[image_id] - 1e-3 for image_id in later)


def placement(path: Path) -> None:
    """A scheduler that prefers pools which can clone: more hits, less balance."""
    (case, preferring), (_, plain) = (
        varied(path, "cache-only"),
        varied(path, "cache-only", what_if__prefer_clones=False),
    )
    hits = [(records.requests["source"] == "cache").sum() for records in (preferring, plain)]
    assert hits[0] > hits[1]
    flash = case.scenario.hosts_of("flash")
    largest_share = []
    for records in (preferring, plain):
        held = records.requests["host"].value_counts()[list(flash)]
        largest_share.append(held.max() / held.sum())
    assert largest_share[0] > largest_share[1]


def sharing(path: Path) -> None:
    """The store has what an administrator uploaded for another project, but others cannot clone it there."""
    case, records = varied(path, "store-only")
    of_project = by_project(records, case)
    lent = [image for image in case.images.values() if image.image_owner]
    assert lent and all(image.store_hosts for image in lent)
    requests = records.requests[records.requests["image_id"].isin([image.image_id for image in lent])]
    assert len(requests) and "store" not in set(requests["source"])
    assert of_project["store"].sum() > 0  # while other images are cloned from there


def two_tiers(path: Path) -> None:
    """Flash reaches its volume limit at the daily peak; one cache is too small for some images."""
    _, records = varied(path, "cache-only")
    requests = records.requests
    failed = requests[requests["error"].str.contains("is at its limit of .* volumes")]
    assert set(failed["volume_type"]) == {"flash"}
    hour = (failed["time"] // 3600 % 24).astype(int)
    assert (hour.between(8, 20)).mean() > 0.9
    assert "skip" in set(records.cache_events["event"])


def what_ifs(path: Path) -> None:
    """Each key of `what_if`, set to false, changes what happens."""
    _, all_of_them = varied(path, "cache-only")
    switched_on = [key for key, on in load(path).scenario.what_if.model_dump().items() if on is True]
    assert len(switched_on) == 7
    for key in switched_on:
        _, without = varied(path, "cache-only", **{f"what_if__{key}": False})
        assert difference(all_of_them, without) is not None, key


SHOWN: dict[str, Callable[..., None]] = {
    each.__name__: each
    for each in (
        smallest,
        full_arrays,
        generated,
        golden_images,
        month,
        placement,
        rbd,
        sharing,
        three_nodes,
        two_tiers,
        what_ifs,
    )
}


@EACH
def test_shows_what_its_first_line_says(path: Path, tmp_path: Path) -> None:
    SHOWN[path.stem](path, *([tmp_path] if path.stem == "month" else []))
