"""Invariants that compare runs with each other, or look at what is left when everything is gone."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sim.analysis.metrics import pools_table
from sim.cinder import engine
from sim.cinder.database import INTERNAL_PROJECT
from sim.cinder.watch.books import Watch
from sim.cinder.watch.parts import watching
from sim.inputs.backend import Pool
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.inputs.trace import write_trace
from sim.model.initial import misfits
from sim.model.prefetch import with_prefetches
from sim.workload.loading import load

from .cases import COLUMNS, case_of, cases, create, image, one_pool

SOME = settings(max_examples=max(4, settings().max_examples // 5))
STRATEGY = st.sampled_from(("cache-only", "combined"))
STORES = st.sampled_from(("store-only", "combined"))
LAST = "last"  # the ids of creates that come after all else begin so


def tables(case: Case, strategy: str) -> str:
    """All tables of a run as text."""
    records = engine.run(case, strategy)
    frames = (records.requests, records.cache_events, records.cache, records.usage)
    return "\n".join(frame.to_csv(index=False) for frame in (*frames, pools_table(records, case)))


def hits(case: Case) -> int:
    return int((engine.run(case, "cache-only").requests["source"] == "cache").sum())


# -- I10 -----------------------------------------------------------------------------------------------


class Emptied(engine.Simulation):
    """When all has come to its end: deletes every user's volume, every entry and every image."""

    def run(self) -> None:
        close, self.clock.close = self.clock.close, lambda: None
        super().run()
        users = [each for each in self.db.volumes.values() if each.project_id != INTERNAL_PROJECT]
        stored = {each.id for image in self.glance.images.values() for each in image.store_volumes}
        for volume in users:
            if volume.id not in stored:
                self._user_deletes(volume.id)
        for entry in self.db.entries():
            self.clock.start(self.delete, self.db.volumes[entry["volume_id"]])
        for name in list(self.glance.images):
            for volume in self.glance.delete(name):
                self.clock.start(self.delete, volume)
        self.clock.run()
        close()


def allowing(case: Case) -> Case:
    """The same case on arrays that delete volumes which have clones."""
    backends = {
        name: backend.model_copy(update={"delete_with_clones": "allowed"})
        for name, backend in case.scenario.backends.items()
    }
    return replace(case, scenario=case.scenario.model_copy(update={"backends": backends}))


@given(case=cases().map(allowing), strategy=st.sampled_from(sorted(STRATEGIES)))
def test_i10_nothing_is_left_when_everything_is_deleted(case: Case, strategy: str) -> None:
    assume(not misfits(case, [strategy]))
    watch = Watch(case, strategy)
    records = engine.played(Emptied(with_prefetches(case), STRATEGIES[strategy], parts=watching(watch)))
    assert not watch.broken
    assert not watch.db.volumes
    assert not watch.db.entries()
    assert not any(any(used.values()) for used in watch.quotas.tables.in_use.values())
    for array in watch.arrays.values():
        assert not array.volumes
        for pool in array.pools.values():
            left = (pool.volumes, pool.cached, pool.provisioned_gib, pool.physical_gib, pool.lineages)
            assert left == (0, 0, 0, 0.0, {})
    assert not records.usage["volumes_end"].any()


@given(case=cases())
def test_a_replicated_store_takes_the_raw_images_of_every_pool(case: Case) -> None:
    assume(not misfits(case, ["replicated-store"]))
    usage = engine.run(case, "replicated-store").usage.set_index(["scope", "name", "kind"])
    raw = [image for image in case.images.values() if image.disk_format == "raw"]
    gib = sum(max(1, -(-image.size_bytes // 2**30)) for image in raw)
    for host in case.scenario.pools():
        of_pool = usage.loc[("pool", host, "store")]
        assert (of_pool["volumes_peak"], of_pool["provisioned_gib_peak"]) == (len(raw), gib)
    pools = len(case.scenario.pools())
    assert usage.loc[("all", "", "store"), "provisioned_gib_peak"] == pools * gib
    assert usage.loc[("all", "", "cache"), "volumes_peak"] == sum(case.initial["kind"] == "cache")


def no_ops(case: Case) -> Case:
    """The same case, where raw and bare images are uploaded by a clone, no limit is in a clone's way, and at
    the end each pool is asked for each of them.
    """
    free = {
        "max_volumes": None,
        "max_clones_per_volume": None,
        "clone_mib_s": None,
        "driver_clones_raw": False,
    }
    backends = {
        name: backend.model_copy(update={**free, "pools": dict.fromkeys(backend.pools, Pool())})
        for name, backend in case.scenario.backends.items()
    }
    options = case.scenario.cinder.model_copy(update={"quotas": {}})
    scenario = case.scenario.model_copy(update={"upload": "no-op", "backends": backends, "cinder": options})
    events = case.trace.events
    asked = [
        create(
            float(events["time"].iloc[-1]) + 1e6,
            f"{LAST}{image_id}{host}",
            image_id,
            host,
            volume_type=backends[host.partition("#")[0]].volume_types[0],
            project=case.images[image_id].owner,
            availability_zone="nova",
        )
        for image_id in sorted(case.uploaded)
        for host in case.scenario.pools()
    ]
    later = pd.DataFrame([COLUMNS | row for row in asked], columns=events.columns).astype(events.dtypes)
    trace = replace(case.trace, events=pd.concat([events, later], ignore_index=True))
    return replace(case, scenario=scenario, trace=trace)


@given(case=cases(whole=True).filter(lambda case: bool(case.uploaded)).map(no_ops), strategy=STORES)
def test_a_no_op_uploads_image_is_cloned_on_its_own_pool(case: Case, strategy: str) -> None:
    """As long as its image-volume lives, that is, until it is deleted."""
    records = engine.run(case, strategy)
    events = case.trace.events
    gone = set(events.loc[events["event"] == "delete_image", "image_id"])
    last = records.requests[records.requests["volume_id"].str.startswith(LAST)]
    for upload in records.uploads[records.uploads["status"] == "active"].itertuples():
        image = case.images[str(upload.image_id)]
        if (image.disk_format, image.container_format) == ("raw", "bare") and image.image_id not in gone:
            here = last[(last["image_id"] == image.image_id) & (last["host"] == upload.host)]
            assert here["source"].tolist() == ["store"], records.uploads


# -- I29 ----------------------------------------------------------------------------------------------


def test_i29_deduplication_knows_what_exists_at_the_start() -> None:
    """A cached image and a download (for an encrypted volume) of the same version are held once."""
    entry = {"kind": "cache", "volume_id": "", "image_id": "i0", "size_gib": 1, "host": "a#p0"}
    events = [create(1, "v0", "i0"), create(2, "v1", "i0", encrypted=True)]
    case = case_of(one_pool(dedupe=True), [image("i0")], events, [{**entry, "last_used": -1.0}])
    usage = engine.run(case, "cache-only").usage.set_index(["scope", "kind"])
    assert usage.loc[("all", "user"), "physical_gib_peak"].item() == 1.0


# -- I12, I13 ------------------------------------------------------------------------------------------

STEP = st.tuples(
    st.sampled_from(("create",) * 6 + ("update_image", "encrypted")), st.integers(0, 4), st.booleans()
)


@SOME
@given(steps=st.lists(STEP, min_size=1, max_size=30))
def test_i12_hits_never_fall_as_max_count_grows(steps: list[tuple[str, int, bool]]) -> None:
    """Nothing takes time and every image fits: more entries are never worse."""
    events: list[dict[str, Any]] = []
    for number, (what, which, delete) in enumerate(steps):
        if what == "update_image":
            events.append({"time": number, "event": what, "image_id": f"i{which}"})
            continue
        events.append(create(number, f"v{number}", f"i{which}", encrypted=what == "encrypted"))
        if delete:
            events.append({"time": number, "event": "delete", "volume_id": f"v{number}"})
    images = [image(f"i{number}") for number in range(5)]
    counts = [
        hits(case_of(one_pool(image_volume_cache_max_count=count), images, events))
        for count in (1, 2, 3, 4, 5, 0)
    ]
    assert counts == sorted(counts)
    assert counts[-2] == counts[-1]  # five images need no more than five


@pytest.mark.parametrize(("limit", "expected"), [(3, 1), (4, 0)])
def test_i13_a_larger_cache_can_have_fewer_hits(limit: int, expected: int) -> None:
    images = [image("i0", 1), image("i1", 6), image("i2", 4)]
    events = [create(number, f"v{number}", f"i{which}") for number, which in enumerate((0, 1, 2, 0))]
    assert hits(case_of(one_pool(image_volume_cache_max_size_gb=limit), images, events)) == expected


# -- I14, I15 ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh() -> Iterator[ProcessPoolExecutor]:
    """Runs each call in a new process, forked from one that has imported but never run anything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        ensure_running()
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        yield pool


@settings(SOME, max_examples=4)
@given(case=cases(), strategy=STRATEGY)
def test_i14_a_run_is_the_same_in_a_fresh_process(
    fresh: ProcessPoolExecutor, case: Case, strategy: str
) -> None:
    engine.run(case, "combined")  # something else before it
    assert tables(case, strategy) == fresh.submit(tables, case, strategy).result()


@SOME
@given(case=cases(), strategy=STRATEGY)
def test_i14_a_run_is_the_same_again(case: Case, strategy: str) -> None:
    first = tables(case, strategy)
    engine.run(case, "store-only")
    assert tables(case, strategy) == first


@SOME
@given(case=cases())
def test_i15_all_strategies_get_the_same_arrivals(case: Case) -> None:
    asked = ["volume_id", "image_id", "volume_type", "size_gib", "time"]
    fit = [name for name in STRATEGIES if not misfits(case, [name])]
    seen = {engine.run(case, name).requests[asked].to_csv() for name in fit}
    assert len(seen) == 1


@settings(SOME, suppress_health_check=[*SOME.suppress_health_check, HealthCheck.function_scoped_fixture])
@given(case=cases(), strategy=STRATEGY)
def test_a_case_read_from_files_runs_the_same(tmp_path: Path, case: Case, strategy: str) -> None:
    """What is drawn here is what users may write."""
    scenario = case.scenario.model_dump(mode="json", by_alias=True)
    if len(case.initial):
        scenario["workload"]["initial"] = "initial.csv"
        case.initial.to_csv(tmp_path / "initial.csv", index=False)
    write_trace(case.trace, tmp_path / "trace.csv")
    scenario["images"] = [each.model_dump(mode="json") for each in case.images.values()]
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump(scenario, sort_keys=False))
    assert tables(load(tmp_path / "scenario.yaml"), strategy) == tables(case, strategy)
