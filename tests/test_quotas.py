"""Quotas: what a scenario may say of them, and what is told of creates that they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from handmade import case_of, scenario_file

from sim.analysis.findings import findings
from sim.cinder import engine
from sim.inputs.images import write_images
from sim.inputs.problems import BadInput
from sim.inputs.quotas import limits_of
from sim.model.records import Records
from sim.planner.lines import quota_commands
from sim.workload.loading import load

TRACE = """time,event,volume_id,image_id,size_gib,volume_type,host,project
0,create,v0,007,40,flash,,alice
10,create,v1,007,50,flash,,alice
20,create,v2,,30,disk,,alice
30,create,v3,huge,30,flash,,alice
40,create,v4,007,40,flash,,
50,create,v5,007,10,flash,,bob
300,delete,v0,,,,,
310,create,v6,007,45,flash,,alice
320,delete,v1,,,,,
330,create,v7,,60,disk,,alice
"""


def ran(folder: Path, **cinder: Any) -> tuple[Records, list[str]]:
    case = case_of(folder, trace=TRACE, cinder=cinder)
    records = engine.run(case, "cache-only")
    return records, [line for line in findings(records, case, "cache-only") if "quota" in line]


def refused(records: Records) -> list[str]:
    """The volumes that a quota refused."""
    both = pd.concat([records.requests, records.others])
    return sorted(both.loc[both["error"].str.contains("Volume[LS]i.*Exceed", regex=True), "volume_id"])


def test_names_that_no_quota_has_are_all_told(tmp_path: Path) -> None:
    cinder = {
        "internal_tenant_quotas": {"volumes": 3, "volumes_gold": 1, "gigabytes_flash": -1},
        "quotas": {"default": {"volume": 1, "per_volume_gigabytes": None}, "alice": {"volumes_flash ": 4}},
    }
    with pytest.raises(BadInput) as bad:
        load(scenario_file(tmp_path, cinder=cinder))
    told = [line.partition("scenario.yaml: ")[2].partition(":")[0] for line in bad.value.problems]
    assert told == [
        "cinder.internal_tenant_quotas.volumes",
        "cinder.internal_tenant_quotas.volumes_gold",
        "cinder.quotas.default.volume",
        "cinder.quotas.alice.volumes_flash ",
    ]
    assert bad.value.problems[0].endswith(
        "no such quota: must be one of gigabytes_disk, gigabytes_flash, volumes_disk, volumes_flash"
    )


@pytest.mark.parametrize("value", [-2, 1.5, True, "3", 2**31])
def test_a_quota_is_a_whole_number(tmp_path: Path, value: object) -> None:
    with pytest.raises(BadInput, match=r"cinder\.quotas\.alice\.volumes: "):
        load(scenario_file(tmp_path, cinder={"quotas": {"alice": {"volumes": value}}}))


def test_a_projects_own_quotas_come_before_those_of_the_class() -> None:
    quotas = {"default": {"volumes": 3, "gigabytes": 9}, "alice": {"volumes": None, "volumes_disk": 2}}
    assert limits_of(quotas, "alice") == {"gigabytes": 9, "volumes_disk": 2}
    assert limits_of(quotas, "bob") == {"volumes": 3, "gigabytes": 9}


@pytest.mark.parametrize(
    ("name", "limit", "whose", "gone", "enough"),
    [
        ("volumes", 2, "alice", ["v2"], 3),
        ("volumes", 1, "default", ["v1", "v2", "v7"], 3),
        ("gigabytes", 100, "alice", ["v2", "v7"], 135),
        ("volumes_flash", 1, "alice", ["v1"], 2),
        ("gigabytes_disk", 80, "default", ["v7"], 90),
        ("per_volume_gigabytes", 40, "alice", ["v1", "v6", "v7"], 60),
    ],
)
def test_a_quota_that_refuses_is_told_with_what_is_enough(
    tmp_path: Path, name: str, limit: int, whose: str, gone: list[str], enough: int
) -> None:
    """Enough is enough, and one less is not."""
    records, lines = ran(tmp_path, quotas={whose: {name: limit}})
    assert refused(records) == gone
    (line,) = lines
    by = ", by the class default" if whose == "default" else ""
    assert line.startswith(f"project alice{by}: the quota {name} ({limit}) refused ")
    assert line.endswith(f" {enough} {'volumes' if 'volumes' in name else 'GiB'}")
    assert refused(ran(tmp_path, quotas={whose: {name: enough}})[0]) == []
    assert refused(ran(tmp_path, quotas={whose: {name: enough - 1}})[0]) != []


def test_a_fill_that_the_tenants_quota_of_a_type_refuses(tmp_path: Path) -> None:
    (line,) = ran(tmp_path, internal_tenant_quotas={"volumes_flash": 0})[1]
    assert "failed (OverQuota" in line
    assert "the internal tenant's quota (0 volumes of flash), which caps" in line


def test_a_plan_raises_quotas_of_volume_types(tmp_path: Path) -> None:
    needed: dict[str, int | None] = {
        "volumes": 12,
        "gigabytes": None,
        "volumes_flash": 7,
        "gigabytes_flash": 90,
    }
    assert quota_commands(needed) == [
        f"openstack quota set {options} CINDER_INTERNAL_TENANT_PROJECT_ID"
        for options in ("--volumes 12", "--volumes 7 --gigabytes 90 --volume-type flash")
    ]


def test_an_unknown_virtual_size_is_a_column_of_the_image_list(tmp_path: Path) -> None:
    head = HEAD.replace("min_disk", "virtual_size_unknown")
    text = head + "007,x,qcow2,bare,5,9,true\nhuge,y,raw,bare,5,5,\n"
    images = case_of(tmp_path, images=text, trace=TRACE).images
    assert [each.virtual_size_unknown for each in images.values()] == [True, False]
    write_images(images.values(), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == text
    with pytest.raises(BadInput, match=r"images\.csv: line 2: virtual_size_unknown: "):
        load(scenario_file(tmp_path, images=head + "007,x,qcow2,bare,5,9,yes\n", trace=TRACE))


HEAD = "image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes,min_disk\n"


def test_min_disk_is_a_column_of_the_image_list(tmp_path: Path) -> None:
    rows = "007,x,raw,bare,5,5,41\nhuge,y,raw,bare,5,5,\n"
    images = case_of(tmp_path, images=HEAD + rows, trace=TRACE).images
    assert [each.min_disk for each in images.values()] == [41, 0]
    assert images["007"].needs_gib == 41
    with pytest.raises(BadInput, match=r"images\.csv: line 2: min_disk: "):
        load(scenario_file(tmp_path, images=HEAD + "007,x,raw,bare,5,5,1.5\n", trace=TRACE))
