"""Several services, backends as Cinder sees them, and what is told of all that is not simulated."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sim.importers.assembly import assemble
from sim.importers.assumptions import Assumed
from sim.importers.cloud import Cloud, Sources
from sim.importers.configuration import read
from sim.importers.settings import Configuration
from sim.inputs.problems import Problems
from sim.workload.loading import load
from tests.importers.test_assembly import create, history
from tests.importers.test_importing import run

TENANT = "cinder_internal_tenant_project_id = t\ncinder_internal_tenant_user_id = u\n"
NFS = "volume_driver = cinder.volume.drivers.nfs.NfsDriver\n"


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text))
    return path


def good(*services: Path | list[Path]) -> Configuration:
    problems = Problems()
    every = [each if isinstance(each, list) else [each] for each in services]
    found = read(every[0], problems, every[1:])
    assert found is not None, problems.lines()
    return found


def bad(path: Path) -> str:
    problems = Problems()
    assert read([path], problems) is None
    return "\n".join(problems.lines())


def texts(found: Configuration | Cloud) -> str:
    return "\n".join(f"{note.kind}: {note.text}" for note in found.notes)


def imported(tmp_path: Path, text: str, *more: object) -> tuple[dict[str, Any], str]:
    """What `import --conf` writes of a cinder.conf, and its text."""
    path = write(tmp_path / "cinder.conf", text)
    result = run("import", "--out", tmp_path / "out", "--conf", path, *more)
    assert result.exit_code == 0, result.output
    load(tmp_path / "out" / "scenario.yaml")
    written = (tmp_path / "out" / "scenario.yaml").read_text()
    return yaml.safe_load(written), written


# -- files -------------------------------------------------------------------------------------------


def test_backends_are_those_that_cinder_starts(tmp_path: Path) -> None:
    """Cinder's own `cmd.volume`, `volume.configuration` and oslo.config, run on the same files, agree."""
    first = write(
        tmp_path / "1.conf",
        """
        [DEFAULT]
        enabled_backends = a, B , only-defaults
        host = n1
        [backend_defaults]
        volume_driver = cinder.volume.drivers.nfs.NfsDriver
        image_volume_cache_max_count = 50
        [A]
        volume_backend_name = fast
        image_volume_cache_enabled = true
        backend_host = rbd:volumes
        """,
    )
    second = write(tmp_path / "2.conf", "[b]\nimage_volume_cache_max_count = 7\n[a]\nbackend_host = x\n")
    program = Path(__file__).with_name("cinder_conf.py")
    ran = subprocess.run([sys.executable, program, first, second], capture_output=True, text=True, check=True)
    found = good([first, second])
    assert {
        name: {
            "volume_driver": one.volume_driver,
            "volume_backend_name": None if one.reported.at else one.volume_backend_name,
            "image_volume_cache_enabled": one.image_volume_cache_enabled,
            "image_volume_cache_max_count": one.image_volume_cache_max_count,
            "host": one.host,
        }
        for name, one in found.sections.items()
    } == json.loads(ran.stdout.splitlines()[-1])
    assert "read: only-defaults: no section of this name" in texts(found)


def test_files_of_several_services_under_one_conf_are_told(tmp_path: Path) -> None:
    """The last file counts, as in oslo.config; that A's backend is gone is said, and what to do."""
    first = write(tmp_path / "a.conf", f"[DEFAULT]\nenabled_backends = a\n[a]\n{NFS}")
    other = write(tmp_path / "b.conf", f"[DEFAULT]\nenabled_backends = b\n[b]\n{NFS}")
    found = good([first, other])
    assert list(found.sections) == ["b"]
    assert "enabled_backends differs between" in texts(found) and "--service" in texts(found)
    assert "differs" not in texts(good([first, first]))


def test_services_are_joined(tmp_path: Path) -> None:
    """Each with its own backends, limits and tenant: `cmd.volume._launch_service` makes `host@backend`."""
    text = (
        "[DEFAULT]\nenabled_backends = lvm, {0}\nhost = {0}\n{1}[lvm]\nimage_volume_cache_max_count = {2}\n"
    )
    first = write(tmp_path / "1", text.format("n1", TENANT, 5) + "[n1]\nimage_volume_cache_enabled = true\n")
    other = write(tmp_path / "2", text.format("n2", "", 6) + "[n2]\nimage_volume_cache_enabled = true\n")
    result = run("import", "--out", tmp_path / "out", "--conf", first, "--service", other)
    assert result.exit_code == 0, result.output
    scenario = load(tmp_path / "out" / "scenario.yaml").scenario
    limits = {name: one.image_volume_cache_max_count for name, one in scenario.backends.items()}
    assert limits == {"lvm.n1": 5, "n1": 0, "lvm.n2": 6, "n2": 0}
    assert {name: one.node for name, one in scenario.backends.items()} == {
        **{"lvm.n1": "n1", "n1": "n1", "lvm.n2": "n2", "n2": "n2"},
    }
    # The service of n2 has no internal tenant, so that Cinder caches nothing there.
    assert [name for name, one in scenario.backends.items() if one.image_volume_cache_enabled] == ["n1"]
    again = run("import", "--out", tmp_path / "again", "--service", first, "--service", other)
    assert again.exit_code == 0
    assert (tmp_path / "again/scenario.yaml").read_text() == (tmp_path / "out/scenario.yaml").read_text()


def test_a_service_without_a_file_is_told(tmp_path: Path) -> None:
    result = run("import", "--out", tmp_path / "out", "--service", ",")
    assert result.exit_code == 2 and "'--service': name a file" in result.stderr


@pytest.mark.parametrize(
    ("own", "host"), [("[r]\nbackend_host = rbd:volumes\n", "rbd:volumes"), ("cluster = ha\n[r]\n", "n1")]
)
def test_services_that_share_a_backend_have_it_once(tmp_path: Path, own: str, host: str) -> None:
    """`cmd.volume._launch_service`: one `backend_host` is one host of Cinder's, one `cluster` one backend."""
    driver = "volume_driver = cinder.volume.drivers.rbd.RBDDriver\n"
    text = "[DEFAULT]\nenabled_backends = r\nhost = {0}\n" + own + driver
    found = good(*(write(tmp_path / name, text.format(name)) for name in ("n1", "n2", "n3")))
    (section,) = found.sections.values()
    assert (section.host, section.node, section.nodes) == (host, "n1", ("n1", "n2", "n3"))
    assert "so they are one backend" in texts(found)
    cloud = assemble(Sources(found))
    (backend,) = cloud.backends.values()
    assert backend.placing == {"nodes": ["n1", "n2", "n3"]} | ({"cluster": True} if "cluster" in own else {})
    (tmp_path / "n2").write_text(text.format("n2") + "image_volume_cache_max_count = 3\n")
    found = good(*(tmp_path / name for name in ("n1", "n2", "n3")))
    assert "image_volume_cache_max_count differs between its services" in texts(found)


def test_pools_without_capacity_are_told(tmp_path: Path) -> None:
    """`CapacityWeigher` sees equal, infinite space: a service on each node, as openstack-ansible makes."""
    text = "[DEFAULT]\nmy_ip = 192.0.2.{0}\nhost = n{0}\nenabled_backends = lvm\n[lvm]\n{1}"
    name = "volume_backend_name = LVM_iSCSI\n"
    found = good(*(write(tmp_path / f"{n}", text.format(n, name)) for n in (1, 2)))
    assert "tier LVM_iSCSI has 2 pools: without capacity_gib" in texts(assemble(Sources(found)))
    found = good(*(write(tmp_path / f"{n}", text.format(n, f"volume_backend_name = x{n}\n")) for n in (1, 2)))
    assert "has 2 pools" not in texts(assemble(Sources(found)))


def test_deployments_as_tools_write_them(tmp_path: Path) -> None:
    """A chart: backends in a file of their own, one host for all pods. A charm: a host in a section.

    RHOSO: folders of numbered files, one a service, that all allow cinder:// and have no Cinder store.
    """
    ceph = "volume_driver = cinder.volume.drivers.rbd.RBDDriver\nvolume_backend_name = ceph\n"
    chart = write(tmp_path / "chart", "[DEFAULT]\nenabled_backends = rbd1\nhost = worker\n")
    backends = write(tmp_path / "backends", f"[rbd1]\n{ceph}")
    (section,) = good([chart, backends], [chart, backends]).sections.values()
    assert (section.host, section.nodes, section.node_told) == ("worker", ("worker",), True)
    charm = write(tmp_path / "charm", f"[DEFAULT]\nenabled_backends = CEPH\n{TENANT}[CEPH]\n{ceph}host = x\n")
    found = good(charm)
    assert found.sections["CEPH"].host != "x" and "[CEPH] host is set: Cinder ignores it" in texts(found)
    services = []
    for name, driver in (("ceph", ceph), ("nfs", NFS)):
        (tmp_path / name).mkdir()
        schemes = "[DEFAULT]\nallowed_direct_url_schemes = cinder\n"
        write(tmp_path / name / "00-defaults.conf", schemes)
        write(tmp_path / name / "03-custom.conf", f"[DEFAULT]\nenabled_backends = {name}\n[{name}]\n{driver}")
        services += ["--service", tmp_path / name]
    result = run("import", "--out", tmp_path / "out", *services, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["strategy"] == "none"
    assert "has cinder: this alone does not mean a Cinder store" in result.stdout
    assert set(load(tmp_path / "out" / "scenario.yaml").scenario.backends) == {"ceph", "nfs"}


def test_hosts_of_a_cluster_are_one_backend(tmp_path: Path) -> None:
    """Volumes of a cluster have any of its nodes as host (`VolumeManager._set_resource_host`)."""
    events = [create("1", "c1@r#p"), create("2", "c2@r#p", time=70), create("3", "c3@x#p", time=80)]
    known = history(events, [{"image_id": "i"}])
    clusters = [("c1@r#p", "ha@r#p"), ("c2@r#p", "ha@r#p"), ("c2@r#q", "ha@r#q")]
    known.clusters = pd.DataFrame(clusters, columns=["host", "cluster"])
    cloud = assemble(Sources(None, known))
    assert {name: one.placing for name, one in cloud.backends.items()} == {
        "r": {"nodes": ["c1", "c2"], "cluster": True},
        "x": {"node": "c3"},
    }
    assert "r: whether their nodes share the locks of images" in texts(cloud)
    assert cloud.hosts == {"c1@r#p": "r#p", "c2@r#p": "r#p", "c3@x#p": "x#p"}
    text = "[DEFAULT]\nenabled_backends = r\ncluster = ha\n[r]\n"
    found = good(write(tmp_path / "c", text))
    known.clusters = known.clusters[:0]
    cloud = assemble(Sources(found, known))
    assert list(cloud.backends) == ["r", "x"] and cloud.backends["r"].placing["nodes"] == ["c1", "c2"]


def test_services_that_do_not_tell_their_host(tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = lvm\n[lvm]\nimage_volume_cache_max_count = {}\n"
    found = good(*(write(tmp_path / str(count), text.format(count)) for count in (3, 4)))
    alone = assemble(Sources(found))
    assert len(alone.backends) == 2
    assert all(isinstance(one.nodes, Assumed) for one in alone.backends.values())
    assert "does not set host" in texts(found)
    # The database knows the nodes: each has one of the two files.
    events = [create("1", "n1@lvm#p"), create("2", "n2@lvm#p")]
    cloud = assemble(Sources(found, history(events, [{"image_id": "i"}])))
    counts = {name: one.keys["image_volume_cache_max_count"] for name, one in cloud.backends.items()}
    assert counts == {"lvm.n1": 3, "lvm.n2": 4}
    assert [one.nodes for one in cloud.backends.values()] == [["n1"], ["n2"]]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "[DEFAULT]\nosapi_volume_workers = 4\n",
            "osapi_volume_workers, so it seems to be the file of a cinder-api",
        ),
        ("[DEFAULT]\nscheduler_max_attempts = 4\n", "seems to be the file of a cinder-scheduler"),
        (
            f"[DEFAULT]\n{NFS}",
            "volume_driver is in [DEFAULT], which Cinder has ignored since Ocata",
        ),
        (
            f"[DEFAULT]\n[x]\n{NFS}[y]\n{NFS}",
            "sections x, y have a volume_driver: write enabled_backends = x,y",
        ),
    ],
)
def test_files_without_backends(tmp_path: Path, text: str, what: str) -> None:
    """`cmd.volume.main` ends without enabled_backends: "not supported since Ocata"."""
    line = bad(write(tmp_path / "c", text))
    assert "[DEFAULT] enabled_backends: is empty: " in line and what in line


def test_other_files_tell_of_the_scheduler(tmp_path: Path) -> None:
    volume = write(tmp_path / "v", f"[DEFAULT]\nenabled_backends = a\nscheduler_max_attempts = 2\n[a]\n{NFS}")
    scheduler = write(
        tmp_path / "s",
        """
        [DEFAULT]
        scheduler_max_attempts = 5
        scheduler_default_weighers = VolumeNumberWeigher
        """,
    )
    found = good(volume, scheduler)
    assert found.whole["scheduler_default_weighers"] == ["VolumeNumberWeigher"]
    assert found.whole["scheduler_max_attempts"] == 2
    assert "scheduler_max_attempts differs between the services (2, 5): the first one" in texts(found)


# -- what is not simulated ---------------------------------------------------------------------------


def test_the_scheduler_is_read(tmp_path: Path) -> None:
    text = f"""[DEFAULT]
enabled_backends = a
host = n1
scheduler_default_weighers = AllocatedCapacityWeigher,GoodnessWeigher
allocated_capacity_weight_multiplier = -2
scheduler_weight_handler = cinder.scheduler.weights.stochastic.StochasticHostWeightHandler
scheduler_default_filters = CapacityFilter,CapabilitiesFilter,DriverFilter,IgnoreAttemptedHostsFilter,Own,
  InstanceLocalityFilter
image_conversion_disable = true
[a]
{NFS}backend_host = shared
image_upload_use_internal_tenant = true
filter_function = "volume.size < 10"
goodness_function = "100"
volume_copy_bps_limit = 104857600
"""
    scenario, _ = imported(tmp_path, text)
    assert (
        scenario["cinder"]
        | {
            "scheduler_default_filters": [
                *("CapacityFilter", "CapabilitiesFilter", "DriverFilter", "IgnoreAttemptedHostsFilter")
            ],
            "scheduler_default_weighers": ["AllocatedCapacityWeigher", "GoodnessWeigher"],
            "allocated_capacity_weight_multiplier": -2.0,
            "scheduler_weight_handler": "StochasticHostWeightHandler",
            "image_upload_use_internal_tenant": True,
            "image_conversion_disable": True,
        }
        == scenario["cinder"]
    )
    assert scenario["backends"]["a"]["node"] == "n1"  # `backend_host` is a name, and no node
    assert scenario["backends"]["a"]["filter_function"] == "volume.size < 10"
    assert scenario["backends"]["a"]["goodness_function"] == "100"
    said = "\n".join(note["text"] for note in json.loads((tmp_path / "out/import.json").read_text())["notes"])
    for part in (
        "scheduler_default_filters has Own, which is not simulated: no class of this name",
        "has InstanceLocalityFilter, which is not simulated: it acts only on requests",
        "image_conversion_disable is true",
        "[a] volume_copy_bps_limit is set: Cinder writes an image to a block device at 100.0 MiB/s at most",
        "[a] backend_host is shared",
    ):
        assert part in said, part


def test_weighers_that_are_not_simulated_leave_the_default(tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = a\nscheduler_default_weighers = OwnWeigher\n"
    scenario, _ = imported(tmp_path, text + "scheduler_weight_handler = own.Handler\n[a]\n")
    assert not {"scheduler_default_weighers", "scheduler_weight_handler"} & set(scenario["cinder"])


def test_zones_are_told(tmp_path: Path) -> None:
    """`VolumeManager.__init__`: backend_availability_zone, else storage_availability_zone, which is nova."""
    text = "[DEFAULT]\nenabled_backends = a, b\n[a]\n[b]\nbackend_availability_zone = z2\n"
    assert "nova (a), z2 (b)" in texts(good(write(tmp_path / "c", text)))
    assert "availability zones" not in texts(good(write(tmp_path / "c", text.replace("= z2", "= nova"))))


def folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def test_zones_are_read(tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = a, b\nstorage_availability_zone = z1\n[a]\n[b]\n"
    scenario, _ = imported(folder(tmp_path, "one"), text)
    assert [scenario["backends"][name]["availability_zone"] for name in "ab"] == ["z1", "z1"]
    assert scenario["cinder"]["default_availability_zone"] == "z1"
    scenario, _ = imported(folder(tmp_path, "two"), text + "backend_availability_zone = nova\n")
    assert "availability_zone" not in scenario["backends"]["b"]
    told = "default_availability_zone = nova\n[a]"
    scenario, _ = imported(folder(tmp_path, "three"), text.replace("[a]", told))
    assert scenario["cinder"]["default_availability_zone"] == "z1"  # no backend is in nova
    text = (tmp_path / "three" / "out" / "scenario.yaml").read_text()
    assert 'default_availability_zone: "z1"  # assumed: no backend is in nova' in text


def test_functions_that_nothing_evaluates_are_told(tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = a\n[a]\nfilter_function = 1 > 0\n"
    assert "[a] filter_function is set, but scheduler_default_filters has no DriverFilter" in texts(
        good(write(tmp_path / "c", text))
    )


def test_a_plugin_of_the_database_url_is_named(tmp_path: Path) -> None:
    url = "mysql+pymysql://u:secret@127.0.0.1/cinder?charset=utf8&plugin=dbcounter"
    result = run("import", "--out", tmp_path / "out", "--db", url)
    assert result.exit_code == 2
    assert "plugin dbcounter" in result.output and "secret" not in result.output
