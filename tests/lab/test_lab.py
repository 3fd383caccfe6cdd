"""The lab without its servers: its configuration files, its array, and what it keeps of the experiment."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("kombu")
pytest.importorskip("openstack")
pytest.importorskip("pymysql")

from cinder import exception
from cinder.volume import configuration
from oslo_config import cfg

from lab import clone_first, compare, conf, experiment, plot, short
from lab.driver import OPTIONS, ReflinkDriver
from sim.importers.importing import Given, import_cloud
from sim.inputs.problems import BadInput
from sim.workload.loading import load

LAB = Path(conf.__file__).parent
PORTS = {"mariadb": 1, "rabbitmq": 2, "glance": 3, "cinder": 4}
GIB = 1 << 30


class TestConfiguration:
    @pytest.mark.parametrize("name", experiment.configurations())
    def test_an_import_reads_what_the_scenario_says(self, name: str, tmp_path: Path) -> None:
        case, strategy = experiment.case_of(name)
        conf.check(case)
        conf.write(tmp_path, case.scenario, PORTS, reflinks=True)
        services = [[tmp_path / f"cinder-{node}.conf"] for node in conf.nodes(case.scenario)]
        import_cloud(tmp_path / "found", Given(services=services))
        found = load(tmp_path / "found/scenario.yaml").scenario
        assert found.cinder.lock_scope == case.scenario.cinder.lock_scope
        assert found.todays_strategy() == strategy
        for backend, spec in case.scenario.backends.items():
            assert found.backends[backend].node_names == spec.node_names
            if strategy != "none":
                assert (
                    found.backends[backend].image_volume_cache_max_count == spec.image_volume_cache_max_count
                )
                assert (
                    found.backends[backend].image_volume_cache_max_size_gb
                    == spec.image_volume_cache_max_size_gb
                )

    def test_all_that_the_lab_does_not_set_up_is_refused_at_once(self) -> None:
        values: dict[tuple[str, ...], object] = {
            ("backends", "flash-a", "driver_clones_raw"): True,
            ("cinder", "image_conversion_disable"): True,
            ("backends", "disk-a", "pools"): {"p0": {}, "p1": {}},
        }
        with pytest.raises(BadInput) as refused:
            conf.check(load(LAB / "scenario.yaml", values=values))
        text = str(refused.value)
        for part in (
            "driver_clones_raw",
            "image_conversion_disable",
            "disk-a: the lab's arrays have one pool",
        ):
            assert part in text

    def test_the_plugins_page_tells_what_was_kept(self) -> None:
        kept = pd.read_csv(LAB / "results" / "clone-first" / "hits.csv")
        found = kept.pivot(index="run", columns="of", values="cache")
        page = (LAB.parent / "plugins" / "clone-first" / "README.md").read_text()
        for run in ("before", "installed", "undone"):
            assert f"| {run} | {found['measured'][run]} | {found['simulated'][run]} |" in page

    def test_the_plugin_is_one_option(self, tmp_path: Path) -> None:
        said = []
        for option in (False, True):
            scenario = clone_first.case_of(option).scenario
            conf.check(clone_first.case_of(option))
            folder = tmp_path / str(option)
            folder.mkdir()
            conf.write(folder, scenario, PORTS, True)
            lines = (folder / "cinder.conf").read_text().replace(str(folder), "").splitlines()
            said.append(dict(line.split(" = ", 1) for line in lines if " = " in line))
        assert {name: value for name, value in said[1].items() if said[0][name] != value} == {
            "scheduler_default_weighers": "PreferClonesWeigher,AllocatedCapacityWeigher"
        }


class Volume(SimpleNamespace):
    """What the driver looks at."""

    def __init__(self, number: int, size: int = 1) -> None:
        super().__init__(id=str(number), name=f"volume-{number}", size=size)


@pytest.fixture
def array(tmp_path: Path) -> Callable[..., ReflinkDriver]:
    """The driver over a plain folder, with options."""

    def made(**options: Any) -> ReflinkDriver:
        group = f"{tmp_path.name}{len(list(tmp_path.iterdir()))}"  # options stay with a group
        (tmp_path / group).mkdir()
        settings = configuration.Configuration(OPTIONS, config_group=group)
        given = {"lab_folder": str(tmp_path / group), "lab_pool": "p0", "lab_reflinks": True, **options}
        for name, value in given.items():
            cfg.CONF.set_override(name, value, group=group)
        driver = ReflinkDriver(configuration=settings, execute=_execute, host=f"c1@{group}")
        driver.check_for_setup_error()
        return driver

    return made


def _execute(*command: str) -> None:
    """`cp` where there are no reflinks: a clone is one all the same."""
    subprocess.run([part.replace("--reflink=always", "--reflink=auto") for part in command], check=True)


class TestArray:
    def test_a_clone_has_its_source_s_data_and_its_own_size(self, array: Any) -> None:
        one = array()
        source, clone = Volume(1), Volume(2, size=3)
        one.create_volume(source)
        path = one.folder / "volumes" / source.name
        with path.open("r+b") as file:
            file.write(b"data")
        one.create_cloned_volume(clone, source)
        made = one.folder / "volumes" / clone.name
        with made.open("rb") as file:
            assert file.read(4) == b"data"
        assert made.stat().st_size == 3 * GIB
        assert path.stat().st_size == GIB

    def test_places(self, array: Any) -> None:
        one = array(lab_max_volumes=1)
        one.create_volume(Volume(1))
        with pytest.raises(exception.VolumeBackendAPIException):
            one.create_volume(Volume(2))
        one.delete_volume(Volume(1))
        one.create_volume(Volume(2))

    def test_clone_limit_counts_live_clones(self, array: Any) -> None:
        one = array(lab_max_clones_per_volume=1)
        one.create_volume(Volume(1))
        one.create_cloned_volume(Volume(2), Volume(1))
        with pytest.raises(exception.SnapshotLimitReached):
            one.create_cloned_volume(Volume(3), Volume(1))
        one.delete_volume(Volume(2))
        one.create_cloned_volume(Volume(3), Volume(1))

    @pytest.mark.parametrize("reflinks", [True, False])
    def test_busy_deletes(self, array: Any, reflinks: bool) -> None:
        one = array(lab_busy_deletes=True, lab_reflinks=reflinks)
        one.create_volume(Volume(1))
        one.create_cloned_volume(Volume(2), Volume(1))
        if reflinks:
            with pytest.raises(exception.VolumeIsBusy):
                one.delete_volume(Volume(1))
        else:  # a full copy is no clone
            one.delete_volume(Volume(1))
        assert (one.folder / "volumes" / "volume-1").exists() == reflinks

    def test_reports(self, array: Any) -> None:
        one = array()
        one.create_volume(Volume(1, size=7))
        (pool,) = one.get_volume_stats(refresh=True)["pools"]
        assert (pool["pool_name"], pool["provisioned_capacity_gb"]) == ("p0", 7)


class TestResults:
    def test_predictions_are_those_that_were_hashed(self) -> None:
        folder = experiment.RESULTS / "predicted"
        for line in (folder / "SHA256SUMS").read_text().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name

    def test_the_page_s_tables_follow_from_the_runs(self) -> None:
        predicted, measured = experiment.RESULTS / "predicted", experiment.RESULTS / "measured"
        runs = [name for name in experiment.configurations() if (measured / name).exists()]
        kept = pd.read_csv(experiment.RESULTS / "compared.csv")
        made = compare.compared(predicted, measured, runs)
        pd.testing.assert_frame_equal(kept, made, check_dtype=False)
        overview = pd.read_csv(experiment.RESULTS / "overview.csv")
        pd.testing.assert_frame_equal(overview, plot.wide(made), check_dtype=False)

    def test_a_short_run_that_went_another_way_is_told(self) -> None:
        tables = compare.read(experiment.RESULTS / "predicted" / "storm")
        repeats = pd.read_csv(experiment.RESULTS / "predicted" / "storm" / "chance.csv")
        assert short.differences(tables, tables, repeats) == []
        other = tables | {"requests": tables["requests"].assign(source="download", end=1e4)}
        told = " ".join(short.differences(tables, other, repeats))
        assert all(name in told for name in ("hit_rate_flash", "hit_rate_disk", "p50_s", "p95_s"))
