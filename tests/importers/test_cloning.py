"""What Cinder's drivers make of a clone: the table against Cinder's code, and what an import takes of it."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cinder
import pytest

from sim.importers import assumptions
from sim.importers.assembly import assemble
from sim.importers.cloud import Sources
from sim.importers.configuration import read
from sim.importers.drivers import CINDER
from sim.importers.writing import write
from sim.inputs.backend import Backend
from sim.inputs.problems import Problems
from sim.workload.loading import load

DRIVERS = "cinder.volume.drivers."
ROWS = assumptions.table("drivers").to_dict("records")
REFERENCE = re.compile(r"(cinder/\S+\.py):(\d+) (\w+)")
CELLS = [
    (row["volume_driver"], column, row[column]) for row in ROWS for column in row if column.endswith("_at")
]
of_this_release = pytest.mark.skipif(version("cinder") != CINDER, reason=f"the table is of Cinder {CINDER}")


@pytest.fixture(scope="module")
def told() -> Any:
    """What `cinder_drivers.py` prints of the installed Cinder."""
    functions = {found[3] for _, _, cell in CELLS if (found := REFERENCE.fullmatch(cell))}
    program = Path(__file__).with_name("cinder_drivers.py")
    command = [sys.executable, "-W", "ignore", str(program), *sorted(functions)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@cache
def source(file: str) -> tuple[list[str], list[ast.FunctionDef]]:
    text = (Path(cinder.__file__).parents[1] / file).read_text()
    return text.splitlines(), [one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.FunctionDef)]


def first_line(function: ast.FunctionDef) -> int:
    return min([function.lineno, *(one.lineno for one in function.decorator_list)])


@of_this_release
def test_every_driver_has_a_row(told: Any) -> None:
    rows = [row["volume_driver"] for row in ROWS]
    assert rows == sorted(set(rows))
    assert set(told["registered"]) <= set(rows) <= set(told["bases"])
    # Who is left out is a part of drivers that are in.
    parts = {base for path in rows for base in told["bases"][path]}
    assert set(told["bases"]) - set(rows) <= parts


@of_this_release
def test_references_name_functions_of_cinder() -> None:
    for path, column, cell in CELLS:
        if not cell:
            assert column not in ("cloned_at", "shown_at"), path
            continue
        found = REFERENCE.fullmatch(cell)
        assert found, (path, column, cell)
        _, functions = source(found[1])
        spans = [(first_line(one), one.end_lineno) for one in functions if one.name == found[3]]
        assert any(first <= int(found[2]) <= (last or 0) for first, last in spans), (path, column, cell)


@of_this_release
def test_references_are_to_what_the_class_itself_has(told: Any) -> None:
    """A driver that has another's method in its own way is not told of by the other's."""
    checked = 0
    for path, column, cell in CELLS:
        found = REFERENCE.fullmatch(cell)
        if not found:
            continue
        parts = [
            one for one in told["spans"][path] if found[1] == one[0] and one[1] <= int(found[2]) <= one[2]
        ]
        if column == "cloned_at" or (parts and found[3] in told["owners"][path]):
            assert told["owners"][path][found[3]] in parts, (path, column, cell)
            checked += 1
    assert checked > len(ROWS)


@of_this_release
def test_locks_around_a_clone_are_told(told: Any) -> None:
    for row in ROWS:
        found = REFERENCE.fullmatch(row["cloned_at"])
        assert found
        (function,) = [one for one in source(found[1])[1] if one.lineno == int(found[2])]
        around = " ".join(ast.unparse(one) for one in function.decorator_list)
        if "synchronized" in around or "locked_source" in around:
            of_source = "src_vref.id" in around or "locked_source" in around
            assert row["clone_lock"] == ("source" if of_source else "backend"), row["volume_driver"]


@of_this_release
def test_limits_are_of_the_drivers_that_raise_cinders_error() -> None:
    root = Path(cinder.__file__).parent / "volume" / "drivers"
    raising = {
        str(path.relative_to(root.parents[2]))
        for path in root.rglob("*.py")
        if "raise exception.SnapshotLimitReached" in path.read_text()
    }
    keys = ("max_clones_per_volume", "clone_family_limit")
    limited = {row["limit_at"].partition(":")[0] for row in ROWS if row["key"] in keys}
    other = {"cinder/volume/drivers/dell_emc/powerflex/rest_client.py"}  # the array's, beside the option's
    assert raising - other == limited


@of_this_release
def test_options_are_the_drivers_own(told: Any) -> None:
    for row in ROWS:
        for option in {row["option"], row["limit_option"]} - {""}:
            assert option in told["options"][row["volume_driver"]], row["volume_driver"]
        assert bool(row["option"]) == bool(row["then_at"]) == bool(row["when"])


def constant(module: str, name: str) -> int:
    return int(getattr(importlib.import_module(f"{DRIVERS}{module}"), name))


def imported(folder: Path, section: str) -> tuple[Backend, list[str]]:
    """The backend of a scenario that was made of a configuration with this section, and all notes."""
    path = folder / "cinder.conf"
    path.write_text(f"[DEFAULT]\nenabled_backends = a\n[a]\n{section}\n")
    problems = Problems()
    found = read([path], problems)
    assert found is not None, problems.lines()
    document = write(assemble(Sources(found)), folder / "out", "csv")
    notes = [note["text"] for note in document["notes"]]
    return load(folder / "out" / "scenario.yaml").scenario.backends["a"], notes


NETAPP = f"volume_driver = {DRIVERS}netapp.common.NetAppDriver\nnetapp_storage_protocol ="


@pytest.mark.parametrize(
    ("section", "copies", "said"),
    [
        (
            f"volume_driver = {DRIVERS}nfs.NfsDriver",
            True,
            "nfs.py:725 _copy_volume_from_snapshot: a clone is a",
        ),
        (f"{NETAPP} nfs", False, "the driver itself makes volumes from images"),
        (f"{NETAPP} iscsi", False, ""),
        (
            f"volume_driver = {DRIVERS}infinidat.InfiniboxVolumeDriver",
            True,
            "infinidat.py:746 create_volume_from",
        ),
        (
            f"volume_driver = {DRIVERS}hpe.hpe_3par_iscsi.HPE3PARISCSIDriver",
            True,
            "for whose end the driver waits",
        ),
        ("lvm_type = thin", False, "copy-on-write with lvm_type = thin"),
        ("lvm_type = default", True, "full copy with lvm_type = default"),
        ("", False, "copy-on-write with lvm_type = auto"),
        (f"volume_driver = {DRIVERS}rbd.RBDDriver", False, "write driver_clones_raw: true"),
        (
            f"volume_driver = {DRIVERS}rbd.RBDDriver\nrbd_max_clone_depth = 2",
            False,
            "rbd_max_clone_depth = 2",
        ),
        (f"volume_driver = {DRIVERS}rbd.RBDDriver\nrbd_max_clone_depth = 1", True, "rbd_max_clone_depth = 1"),
        (f"volume_driver = {DRIVERS}rbd.RBDDriver\nrbd_max_clone_depth = 0", True, "rbd_max_clone_depth = 0"),
        (f"volume_driver = {DRIVERS}dell_emc.unity.driver.UnityDriver", False, ""),
        (f"volume_driver = {DRIVERS}dell_emc.vnx.driver.VNXDriver", False, "copy in the background"),
        (
            f"volume_driver = {DRIVERS}dell_emc.vnx.driver.VNXDriver\nvnx_async_migrate = no",
            True,
            "full copy",
        ),
        (
            f"volume_driver = {DRIVERS}ibm.storwize_svc.storwize_svc_fc.StorwizeSVCFCDriver",
            False,
            "a clone is ready at once; the copy in the background",
        ),
        (f"volume_driver = {DRIVERS}pure.PureISCSIDriver", False, "no figure known"),
        ("volume_driver = vendor.cinder.Driver", False, "no figure known for vendor.cinder.Driver"),
        (
            f"volume_driver = {DRIVERS}dell_emc.powerstore.nfs.PowerStoreNFSDriver",
            False,
            "clones of one volume wait",
        ),
        (f"volume_driver = {DRIVERS}dell_emc.vmax.fc.VMAXFCDriver", False, "powermax/common.py"),
        (f"volume_driver = {DRIVERS}toyou.acs5000.acs5000_fc.Acs5000FCDriver", True, "full copy"),
    ],
)
def test_clones_that_copy(tmp_path: Path, section: str, copies: bool, said: str) -> None:
    backend, notes = imported(tmp_path, section)
    assert backend.clone_mib_s == (backend.write_mib_s if copies else None)
    assert any(said in note for note in notes), notes
    assert backend.max_clones_per_volume is None  # none of these raises Cinder's SnapshotLimitReached
    assert backend.thin == ("lvm_type = default" not in section)


@pytest.mark.parametrize(
    ("path", "lock", "streams"),
    [
        ("nfs.NfsDriver", "source", None),  # remotefs.py: locked_volume_id_operation of the source
        ("quobyte.QuobyteDriver", "none", 1),  # utils.synchronized("quobyte")
        ("rbd.RBDDriver", "none", None),
    ],
)
def test_locks_around_a_clone_become_keys(tmp_path: Path, path: str, lock: str, streams: int | None) -> None:
    backend, _ = imported(tmp_path, f"volume_driver = {DRIVERS}{path}")
    assert (backend.clone_lock, backend.clone_streams) == (lock, streams)


FLEX = f"volume_driver = {DRIVERS}dell_emc.vxflexos.driver.VxFlexOSDriver"
OPTION = "powerflex_max_image_cache_vtree_size"
XTREMIO = f"volume_driver = {DRIVERS}dell_emc.xtremio.XtremIOISCSIDriver"


@of_this_release
@pytest.mark.parametrize(
    ("section", "limit"),
    [
        (FLEX, constant("dell_emc.powerflex.rest_client", "MAX_SNAPS_IN_VTREE")),
        (f"{FLEX}\n{OPTION} = 0", constant("dell_emc.powerflex.rest_client", "MAX_SNAPS_IN_VTREE")),
        (f"{FLEX}\n{OPTION} = 40", 40),
        (f"[backend_defaults]\n{OPTION} = 30\n[a]\n{FLEX}", 30),
        (XTREMIO, 100),  # the option's default
        (f"{XTREMIO}\nxtremio_volumes_per_glance_cache = 7", 7),
        (f"{XTREMIO}\nxtremio_volumes_per_glance_cache = 0", None),
        (
            f"volume_driver = {DRIVERS}dell_emc.powerstore.driver.PowerStoreDriver",
            constant("dell_emc.powerstore.client", "MAX_SNAPS_IN_VTREE"),
        ),
    ],
)
def test_clone_limits(tmp_path: Path, section: str, limit: int | None) -> None:
    """PowerFlex and PowerStore limit the whole family of a volume, XtremIO the clones of one volume."""
    backend, _ = imported(tmp_path, section)
    of_family = XTREMIO not in section
    assert backend.max_clones_per_volume == (None if of_family else limit)
    assert backend.clone_family_limit == (limit if of_family else None)
    assert backend.clone_mib_s is None


@pytest.mark.parametrize(
    ("section", "limit", "of_pool"),
    [
        (f"{NETAPP} iscsi", None, 1024),
        (f"{NETAPP} fc", None, 1024),
        (f"{NETAPP} nfs", None, None),  # no LUNs
        (f"{NETAPP} nvme", None, None),
        (f"volume_driver = {DRIVERS}solidfire.SolidFireDriver", 4000, None),
    ],
)
def test_limits_of_volumes(tmp_path: Path, section: str, limit: int | None, of_pool: int | None) -> None:
    backend, _ = imported(tmp_path, section)
    (pool,) = backend.pools.values()
    assert (backend.max_volumes, pool.max_volumes) == (limit, of_pool)


def test_every_renamed_driver_is_known() -> None:
    renamed = importlib.import_module("cinder.volume.manager").MAPPING
    assert set(renamed.values()) <= {row["volume_driver"] for row in ROWS}


def test_a_wrong_value_of_a_drivers_option_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cinder.conf"
    driver = f"volume_driver = {DRIVERS}rbd.RBDDriver"
    path.write_text(f"[DEFAULT]\nenabled_backends = a\n[a]\n{driver}\nrbd_max_clone_depth = deep\n")
    problems = Problems()
    assert read([path], problems) is None
    assert "[a] rbd_max_clone_depth" in "".join(problems.lines())
