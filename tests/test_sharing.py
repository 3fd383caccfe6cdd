"""Images that projects share: who clones from the Cinder store, who only from the cache, who downloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from properties.cases import case_of, create, image, one_pool
from pydantic import ValidationError

from sim.analysis.metrics import by_project
from sim.analysis.verification import difference
from sim.cinder import engine as cinder
from sim.fast import engine as fast
from sim.inputs.images import Image, read_images, write_images
from sim.inputs.problems import Problems
from sim.inputs.scenario import Case
from sim.model.records import Records

ENGINES = [cinder.run, fast.run]
PROJECTS = ("alice", "bob", "carol", "")

Run = Callable[[Case, str], Records]


def case(**whose: Any) -> Case:
    """One create of each project, of an image that is in the Cinder store; the cache is on."""
    images = [image("i", store_hosts="a#p0", **whose)]
    events = [create(100.0 * n, f"v{n}", "i", project=project) for n, project in enumerate(PROJECTS)]
    return case_of(one_pool(clone_s=2, write_mib_s=100), images, events)


@pytest.mark.parametrize("run", ENGINES)
@pytest.mark.parametrize(
    ("whose", "strategy", "sources"),
    [
        ({}, "store-only", ("store",) * 4),
        ({"owner": "alice"}, "store-only", ("store", "none", "none", "none")),
        ({"owner": "alice", "visibility": "public"}, "store-only", ("store",) * 4),
        (
            {"owner": "alice", "visibility": "shared", "members": ["bob"]},
            "store-only",
            ("store", "store", "none", "none"),
        ),
        # An administrator uploaded it for alice: the image-volume names another project than the owner.
        (
            {"owner": "alice", "visibility": "public", "image_owner": "admin"},
            "store-only",
            ("store", "download", "download", "download"),
        ),
        (
            {"owner": "alice", "visibility": "public", "image_owner": "admin"},
            "combined",
            ("store", "download", "cache", "cache"),
        ),
        (  # on demand a download leaves one that names the owner
            {"owner": "alice", "visibility": "public", "image_owner": "admin"},
            "on-demand-store",
            ("store", "download", "store", "store"),
        ),
        ({"image_owner": "admin"}, "store-only", ("download",) * 4),
    ],
)
def test_cinders_owner_checks_decide(
    run: Run, whose: dict[str, Any], strategy: str, sources: tuple[str, ...]
) -> None:
    given = case(**whose)
    records = run(given, strategy)
    assert tuple(records.requests["source"]) == sources
    table = by_project(records, given).set_index("project")
    assert table.loc["alice", "store"] == int(sources[0] == "store")
    assert table["creates"].sum() == len(PROJECTS)


@pytest.mark.parametrize("run", ENGINES)
def test_of_several_image_volumes_the_newest_is_cloned(run: Run) -> None:
    """As Cinder's database sorts them; the locations' order is chance (`set` in `_clone_image_volume`)."""
    whose = {"owner": "alice", "visibility": "public", "image_owner": "admin", "store_hosts": "a#p0"}
    who = ("bob", "alice", "alice")  # bob's download leaves a second image-volume on the pool
    events = [create(100.0 * n, f"v{n}", "i", project=project) for n, project in enumerate(who)]
    records = run(case_of(one_pool(clone_s=2), [image("i", **whose)], events), "on-demand-store")
    assert records.requests["source"].tolist() == ["download", "store", "store"]
    stored = records.volumes[records.volumes["kind"] == "store"]
    assert dict(zip(stored["volume_id"] == "", stored["clones"], strict=True)) == {True: 2, False: 0}


@pytest.mark.parametrize("project", ["cinder-internal", "image-owner", "glance", "project"])
@pytest.mark.parametrize("strategy", ["store-only", "cache-only", "on-demand-store"])
def test_no_name_of_a_project_is_special(project: str, strategy: str) -> None:
    """It has no part in the internal tenant's quota and owns no public image."""
    images = [image("i0", image_owner="admin", store_hosts="a#p0"), image("i1")]
    events = [create(100.0 * n, f"v{n}", "i0", project=project) for n in range(2)]
    events += [{"time": 150, "event": "upload", "volume_id": "v0", "image_id": "i1"}]
    events += [{"time": 160, "event": "delete", "volume_id": "v0"}]
    events += [create(200.0, "w", "i1", project=project), create(210.0, "x", "i0", project="other")]
    quota = {"internal_tenant_quota_volumes": 1}
    scenario = one_pool() | {"upload": "no-op", "cinder": quota}
    given = case_of(scenario, images, events)
    named = [each | {"project": "bob"} if each.get("project") == project else each for each in events]
    other = case_of(scenario, images, named)
    assert difference(cinder.run(given, strategy), cinder.run(other, strategy)) is None
    assert difference(cinder.run(given, strategy), fast.run(given, strategy)) is None


def test_who_shares_an_image_owns_it() -> None:
    for whose in ({"visibility": "private"}, {"owner": "alice", "members": ["bob"]}):
        with pytest.raises(ValidationError, match=r"owner|members"):
            Image.model_validate(image("i", **whose))


def test_whose_images_are_is_written_and_read(tmp_path: Path) -> None:
    images = [
        Image.model_validate(image("i", owner="a", visibility="shared", members=["b", "c"])),
        Image.model_validate(image("j", owner="a", visibility="public", image_owner="admin")),
    ]
    write_images(images, tmp_path / "images.csv")
    problems = Problems()
    found, _ = read_images(tmp_path / "images.csv", None, problems)
    assert (list(found.values()), problems.lines()) == (images, [])
