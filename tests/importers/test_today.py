"""Today's cache, Cinder store, quotas and volume types, as Cinder has them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import cinder
import pandas as pd
import pytest
from oslo_utils import importutils

from sim.importers import assumptions, writing
from sim.importers.assembly import assemble
from sim.importers.assumptions import Assumed
from sim.importers.backend_names import MADE_UP, reported
from sim.importers.cloud import Cloud, Sources
from sim.importers.tiers import names
from sim.workload.loading import load
from tests.importers.test_assembly import create, glance, history
from tests.importers.test_services import NFS, TENANT, good, imported, texts, write

ROOT = Path(cinder.__file__).parents[1]


# -- today -------------------------------------------------------------------------------------------


def test_a_cloud_without_a_cache(tmp_path: Path) -> None:
    """Strategies with a cache have one everywhere; today has none."""
    scenario, _ = imported(tmp_path, f"[DEFAULT]\nenabled_backends = a\n[a]\n{NFS}")
    assert scenario["today"] == "none"
    assert "image_volume_cache_enabled" not in scenario["backends"]["a"]


def test_a_cache_without_its_tenant_is_none(tmp_path: Path) -> None:
    """`context.get_internal_tenant_context`: nothing is cached; the limits that are written stay."""
    text = f"[DEFAULT]\nenabled_backends = a\n[a]\n{NFS}image_volume_cache_enabled = true\n"
    scenario, _ = imported(tmp_path, text + "image_volume_cache_max_count = 9\n")
    assert scenario["today"] == "none"
    assert "image_volume_cache_enabled" not in scenario["backends"]["a"]
    assert scenario["backends"]["a"]["image_volume_cache_max_count"] == 9


def test_a_cache_on_some_backends(tmp_path: Path) -> None:
    text = f"[DEFAULT]\nenabled_backends = a, b\n{TENANT}[a]\nimage_volume_cache_enabled = true\n[b]\n"
    scenario, _ = imported(tmp_path, text)
    assert scenario["today"] == "cache-only"
    enabled = {name: one["image_volume_cache_enabled"] for name, one in scenario["backends"].items()}
    assert enabled == {"a": True, "b": False}


SCHEMES = f"[DEFAULT]\nenabled_backends = a\nallowed_direct_url_schemes = cinder\n[a]\n{NFS}"
STORED = pd.DataFrame([{"image_id": "i", "host": "n@a#p", "volume_type": "flash"}])


@pytest.mark.parametrize(
    ("database", "image", "strategy", "said"),
    [
        (None, None, "none", "this alone does not mean a Cinder store"),
        (False, None, "none", "the database shows no image-volume of a Cinder store"),
        (None, [], "none", "Glance shows no image-volume of a Cinder store"),
        (True, None, "store-only", "strategies with the store have only these"),
        (None, ["v"], "store-only", "have no known pool"),
    ],
)
def test_a_cinder_store_is_one_with_image_volumes(
    tmp_path: Path, database: bool | None, image: list[str] | None, strategy: str, said: str
) -> None:
    """What glance_store's cinder driver leaves: volumes named image-<id> with glance_image_id in their
    metadata (`Store.add`), and cinder:// locations. The option alone only lets Cinder clone them.
    """
    shown = None if image is None else glance(store_volumes=image, disk_format="raw")
    known = None
    if database is not None:
        told = {"image_id": "i", "disk_format": "raw", "store_hosts": ["n@a#p"] if database else []}
        stored = {"stored": STORED} if database else {}
        known = history([create("1", "n@a#p")], [told], **stored)
    cloud = assemble(Sources(good(write(tmp_path / "c", SCHEMES)), known, shown))
    assert cloud.strategy == strategy
    assert said in texts(cloud)
    # In a cloud with a store only what is in it counts; else the home says what one would bring.
    assert (cloud.store_home is None) == (strategy == "store-only")
    stored_at = set(cloud.images["store_hosts"]) - {""}
    assert bool(stored_at) == (strategy == "store-only")


@pytest.mark.parametrize("multiattach", [True, False])
def test_types_that_one_reader_attaches_are_told(tmp_path: Path, multiattach: bool) -> None:
    shown = {
        "volume_type": "flash",
        "volume_backend_name": "",
        "encrypted": False,
        "thick": False,
        "multiattach": multiattach,
    }
    told = [{"image_id": "i", "store_hosts": ["n@a#p"]}]
    known = history([create("1", "n@a#p")], told, stored=STORED, volume_types=pd.DataFrame([shown]))
    cloud = assemble(Sources(good(write(tmp_path / "c", SCHEMES)), known))
    assert ("set multiattach: false" in texts(cloud)) == (not multiattach)


@pytest.mark.parametrize("stored", [True, False])
def test_stores_that_volume_types_name(tmp_path: Path, stored: bool) -> None:
    """Their own volume type is not in the database: it is assumed, or, without an image-volume, unknown."""
    row = {"volume_backend_name": "", "encrypted": False, "thick": False, "multiattach": True}
    named = [
        {"volume_type": tier, **row, "image_service_store_id": name}
        for tier, name in (("flash", "fast"), ("away", "slow"))
    ]
    told = [{"image_id": "i", "store_hosts": ["n@a#p"] if stored else []}]
    known = history(
        [create("1", "n@a#p")],
        told,
        **({"stored": STORED} if stored else {}),
        volume_types=pd.DataFrame(named),
    )
    cloud = assemble(Sources(good(write(tmp_path / "c", SCHEMES)), known))
    assert "of flash to fast" in texts(cloud)
    assert (("stores", "fast", "volume_type") in cloud.assumed()) == stored
    writing.write(cloud, tmp_path / "out", "csv")
    scenario = load(tmp_path / "out" / "scenario.yaml").scenario
    assert {name: of.volume_type for name, of in scenario.stores.items()} == (
        {"fast": "flash"} if stored else {}
    )
    assert scenario.tiers["flash"].image_service_store_id == ("fast" if stored else None)


def test_image_volumes_that_cinder_may_not_clone(tmp_path: Path) -> None:
    """Without `cinder` among the schemes `_clone_image_volume` is never reached."""
    known = history([create("1", "n@a#p")], [{"image_id": "i", "store_hosts": ["n@a#p"]}], stored=STORED)
    text = SCHEMES.replace("= cinder\n", "= file\n")
    cloud = assemble(Sources(good(write(tmp_path / "c", text)), known))
    assert cloud.strategy == "none"
    assert "lacks cinder: Cinder never clones them" in texts(cloud)


# -- quotas ------------------------------------------------------------------------------------------

QUOTA = "[DEFAULT]\nenabled_backends = a\n{}[a]\n"


@pytest.mark.parametrize(
    ("text", "own", "classes", "limit", "assumed"),
    [
        ("", {}, None, 10, True),
        ("quota_volumes = 7\n", {}, None, 7, False),
        ("quota_volumes = 7\n", {}, {"volumes": 20}, 20, False),
        ("quota_volumes = 7\n", {"volumes": 30}, {"volumes": 20}, 30, False),
        ("quota_volumes = 7\nuse_default_quota_class = false\n", {}, {"volumes": 20}, 7, False),
        ("", {"volumes": -1}, {"volumes": 20}, None, False),
    ],
)
def test_quotas(
    tmp_path: Path, text: str, own: dict[str, int], classes: dict[str, int] | None, limit: Any, assumed: bool
) -> None:
    """`quota.DbQuotaDriver.get_project_quotas`: the project's, the default class's, cinder.conf's."""
    known = None
    if classes is not None:
        tables = {"quotas": own, "default_quotas": classes}
        known = history([create("1", "n@a#p")], [{"image_id": "i"}], **tables)
    found = good(write(tmp_path / "c", QUOTA.format(text)))
    cloud = assemble(Sources(found, known))
    options = importlib.import_module("sim.importers.cinder_options").options(cloud)
    value = options["internal_tenant_quota_volumes"]
    assert (isinstance(value, Assumed), value.value if assumed else value) == (assumed, limit)
    said = [note for note in cloud.notes if "quota of the cache's project" in note.text]
    assert ("assumed" in {note.kind for note in said}) or limit is None or "1,000" not in str(said)


def test_quotas_of_volume_types_are_told(tmp_path: Path) -> None:
    """`quota.QuotaEngine.add_volume_type_opts` reserves them too; the project's own come first."""
    classes = {"volumes": 10, "gigabytes_flash": 100, "volumes_flash": 7, "volumes_elsewhere": 3}
    tables = {"default_quotas": classes, "quotas": {"volumes_flash": -1}}
    cloud = assemble(Sources(None, history([create("1", "n@a#p")], [{"image_id": "i"}], **tables)))
    assert "gigabytes_flash 100: quotas of volume types" in texts(cloud)
    options = importlib.import_module("sim.importers.cinder_options").options(cloud)
    assert options["internal_tenant_quotas"] == {"gigabytes_flash": 100}


def test_assumed_quotas_are_marked(tmp_path: Path) -> None:
    _, text = imported(tmp_path, QUOTA.format("quota_gigabytes = 500\n"))
    assert "internal_tenant_quota_volumes: 10  # assumed: Cinder's default" in text
    assert "internal_tenant_quota_gigabytes: 500\n" in text


# -- tiers -------------------------------------------------------------------------------------------


def test_every_driver_has_its_default_name() -> None:
    """The lines of Cinder's code that `sim/data/backend_names.csv` cites have what it says of them."""
    table = assumptions.table("backend_names").set_index("volume_driver")
    drivers = set(assumptions.table("drivers")["volume_driver"])
    # A factory, which Cinder resolves to one of the others.
    assert drivers - set(table.index) == {"cinder.volume.drivers.netapp.common.NetAppDriver"}
    for driver, row in table.iterrows():
        path, _, number = row["at"].partition(":")
        lines = (ROOT / path).read_text().splitlines()
        shown = " ".join(lines[int(number) - 1 : int(number) + 1])
        assert "name" in shown.lower() or "or '" in shown, driver
        assert row["volume_backend_name"] in (MADE_UP, "") or _shows(shown, str(driver), row), driver


def _shows(shown: str, driver: str, row: Any) -> bool:
    """Whether a line of code makes this name: a literal, the class's name, or of values of the class."""
    name, module = row["volume_backend_name"], importlib.import_module(driver.rpartition(".")[0])
    if name == "PowerMaxCommon":  # the driver's helper, which reports
        return "self.__class__.__name__" in shown
    if "__class__" in shown or "self._driver_name" in shown:
        return bool(name.endswith(driver.rpartition(".")[2]))
    if "%(prefix)s" in shown:
        of = getattr(module, "_DRIVER_INFO", None)
        prefix = of["volume_backend_name"] if of else f"{module.utils.DRIVER_PREFIX}{name[3:]}"
        return bool(prefix == name)
    if "'%s_%s'" in shown or "%(product)s" in shown:
        one = importutils.import_class(driver)
        return bool(name == f"{one.product_name}_{one.storage_protocol}")
    return f"'{name}'" in shown or f'"{name}"' in shown


def test_names_that_are_not_configured() -> None:
    """rbd.RBDDriver `_update_volume_stats` says RBD, spdk.SPDKDriver's never looks at the option."""
    path = "cinder.volume.drivers."
    assert reported(f"{path}rbd.RBDDriver", None).name == "RBD"
    assert reported(f"{path}rbd.RBDDriver", "fast").name == "fast"
    assert reported(f"{path}spdk.SPDKDriver", "fast").name == "SPDK"
    assert reported(f"{path}linstordrv.LinstorDrbdDriver", None).name == ""
    assert reported(f"{path}ibm.storwize_svc.storwize_svc_fc.StorwizeSVCFCDriver", None).name is None
    assert reported("vendor.Driver", None).name is None


def types(**backend_names: str) -> pd.DataFrame:
    rows = [(tier, name, False, False) for tier, name in backend_names.items()]
    return pd.DataFrame(rows, columns=["volume_type", "volume_backend_name", "encrypted", "thick"])


def tiers(cloud: Cloud) -> dict[str, set[str]]:
    return {name: set(names(backend.volume_types)) for name, backend in cloud.backends.items()}


def test_tiers_follow_the_names_that_drivers_report(tmp_path: Path) -> None:
    """`CapabilitiesFilter` compares with what is reported: an LVM without a name is LVM, not its section."""
    text = "[DEFAULT]\nenabled_backends = lvm1, rbd-1, idle\n[lvm1]\n[rbd-1]\n"
    text += "volume_driver = cinder.volume.drivers.rbd.RBDDriver\nvolume_backend_name = ceph\n[idle]\n" + NFS
    known = history(
        [create("1", "n@rbd-1#p", volume_type="fast")],
        [{"image_id": "i"}],
        volume_types=types(thick="LVM", named="lvm1", fast="ceph", plain=""),
    )
    cloud = assemble(Sources(good(write(tmp_path / "c", text)), known))
    # Nobody uses `plain`, which may be anywhere: it is the only type that may come to the last one.
    assert tiers(cloud) == {"rbd-1": {"fast"}, "lvm1": {"thick"}, "idle": {"plain"}}


def test_an_unused_backend_serves_no_type_that_asks_for_another(tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = a, b\n[a]\nvolume_backend_name = x\n[b]\nvolume_backend_name = y\n"
    events = [create("1", "n@a#p", volume_type="fast")]
    known = history(events, [{"image_id": "i"}], volume_types=types(fast="x"))
    cloud = assemble(Sources(good(write(tmp_path / "c", text)), known))
    assert tiers(cloud) == {"a": {"fast"}, "b": {"y"}}
    assert "backend b: no volume type asks for y" in texts(cloud)


@pytest.mark.parametrize("database", [True, False])
def test_backends_of_one_name_stay_together(tmp_path: Path, database: bool) -> None:
    """The scheduler cannot tell them apart, wherever volumes are today."""
    text = "[DEFAULT]\nenabled_backends = a, b\n[backend_defaults]\nvolume_backend_name = x\n[a]\n[b]\n"
    events = [create("1", "n@a#p", volume_type="fast")]
    known = history(events, [{"image_id": "i"}], volume_types=types(**({"fast": "x"} if database else {})))
    cloud = assemble(Sources(good(write(tmp_path / "c", text)), known))
    assert tiers(cloud) == {"a": {"fast"}, "b": {"fast"}}


def test_tiers_of_configuration_alone_are_assumed(tmp_path: Path) -> None:
    scenario, text = imported(tmp_path, "[DEFAULT]\nenabled_backends = a\n[a]\nvolume_backend_name = x\n")
    assert scenario["backends"]["a"]["volume_type"] == ["x"]
    assert 'volume_type: ["x"]  # assumed: ' in text
    assert "  # assumed: cinder.conf does not set host" in text
