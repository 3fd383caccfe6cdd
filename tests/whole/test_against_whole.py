"""Both engines against the whole of Cinder, and the whole of Cinder against known facts."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import settings
from oslo_config import cfg
from oslo_utils import timeutils
from sqlalchemy.pool import base as pool

from sim.analysis.verification import difference
from sim.cinder.engine import run as run_light
from sim.cinder.release import caution
from sim.fast.engine import run as run_fast
from sim.inputs.scenario import Case
from sim.model.records import Records
from sim.run import not_compiled

from .branches import CHOSEN
from .reference import Result, run_whole
from .registry import richest
from .scenarios import CASES, STRATEGIES

pytestmark = [pytest.mark.whole, pytest.mark.filterwarnings("ignore")]

needs_29 = pytest.mark.skipif(bool(caution(True)), reason="Cinder before 29 does not clone across pools")
DECISIONS = [*("volume_id", "image_id", "volume_type", "host", "size_gib", "source", "status", "attempts")]
OTHERS = [*("volume_id", "volume_type", "host", "size_gib", "status", "attempts")]
UPLOADED = ["volume_id", "image_id", "host", "status", "error"]
ENTRY = ["host", "image_id", "size_gib"]


def pairs() -> list[tuple[str, str]]:
    """On commits: the first variant of each case, and those that take a branch of Cinder that no other takes.

    Each with the strategy that does the most in it. For `make prove`: all variants with all their strategies.
    """
    if settings.get_current_profile_name() == "thorough":
        return [(name, each) for name in CASES for each in STRATEGIES[name]]
    firsts = {name.partition("-")[0]: name for name in reversed(CASES)}.values()
    return [(name, richest(name)) for name in CASES if name in firsts or name in CHOSEN]


@pytest.mark.parametrize(("name", "strategy"), pairs())
def test_engines_agree_with_whole_cinder(name: str, strategy: str, tmp_path: Path) -> None:
    """`cinder` to the time that readings of the clock take, and `fast` as `cinder` to the last bit."""
    case = CASES[name](tmp_path)
    agree(case, strategy, run_whole(case, strategy))


def agree(case: Case, strategy: str, whole: Result, fast: bool = True, used_s: float = 5e-3) -> None:
    """Both engines decide a case as the whole of Cinder did; without `fast`, engine `cinder` alone.

    `used_s`: by how much the times at which cache entries were used may differ.
    """
    light = run_light(case, strategy)
    across = any(spec.clone_across_pools for spec in case.scenario.backends.values())
    # The rules that `fast` repeats are those of the installed release.
    if fast and not caution(across) and not not_compiled(case.scenario):
        assert difference(light, run_fast(case, strategy)) is None
    as_whole(light, whole, used_s)


def as_whole(light: Records | SimpleNamespace, whole: Result, used_s: float = 5e-3) -> None:
    """Tables of engine `cinder` have what the whole of Cinder decided; `used_s`: see `agree`."""
    for ours, theirs, decided in (
        (light.requests, whole.requests, DECISIONS),
        (light.others, whole.others, OTHERS),
        (light.uploads, whole.uploads, UPLOADED),
    ):
        pd.testing.assert_frame_equal(ours[decided].astype(str), theirs[decided].astype(str))
        pd.testing.assert_series_equal(of_quotas(ours["error"]), of_quotas(theirs["error"]))
        times = ["time", "end"]
        pd.testing.assert_frame_equal(
            ours[times].astype(float), theirs[times].astype(float), rtol=0, atol=1e-6
        )
    ours, theirs = (
        frame.sort_values([*ENTRY, "last_used"], ignore_index=True) for frame in (light.cache, whole.cache)
    )
    pd.testing.assert_frame_equal(ours[ENTRY].astype(str), theirs[ENTRY].astype(str))
    # Every reading of the clock takes a microsecond, and whole Cinder reads it far more often.
    pd.testing.assert_series_equal(
        ours.last_used.astype(float), theirs.last_used.astype(float), rtol=0, atol=used_s
    )


def of_quotas(error: pd.Series[str]) -> pd.Series[str]:
    """What quotas refused, with limits and usage; other texts may have ids in them."""
    error = error.astype(str)
    return error[error.str.startswith(("VolumeLimit", "VolumeSize"))]


def run(name: str, folder: Path, strategy: str = "cache-only") -> Result:
    return run_whole(CASES[name](folder), strategy)


# What CINDER.md says of whole Cinder, so that the reference itself is not taken on trust


def test_an_undersized_cache_makes_a_convoy(tmp_path: Path) -> None:
    cached = run("refused_image", tmp_path / "cached").requests.end[:4].round(2)
    plain = run("refused_image", tmp_path / "plain", "none").requests.end[:4].round(2)
    assert list(cached) == [41.0, 82.0, 123.0, 164.0]
    assert list(plain) == [41.0] * 4


def test_fills_at_once_overshoot_the_limit(tmp_path: Path) -> None:
    case = CASES["overshoot"](tmp_path)
    events = case.trace.events
    at_once = type(case.trace)(events[events.time == 0], case.trace.start, case.trace.path)
    whole = run_whole(type(case)(case.path, case.scenario, case.images, at_once, case.initial), "cache-only")
    assert len(whole.cache) == 6  # max_count is 2


def test_the_clone_limit_fails_a_request_and_drops_the_entry(tmp_path: Path) -> None:
    requests = run("clone_limit", tmp_path).requests
    assert list(requests.source[:6]) == ["download", *["cache"] * 3, "none", "download"]
    assert requests.error[4].startswith("SnapshotLimitReached")


def test_busy_arrays_leave_orphans(tmp_path: Path) -> None:
    whole = run("busy_deletes", tmp_path)
    assert len(whole.orphans) > 1
    assert len(whole.cache) == 1


def test_a_larger_cache_can_have_fewer_hits(tmp_path: Path) -> None:
    assert "cache" not in set(run("larger_cache_fewer_hits", tmp_path).requests.source)


def test_a_history_is_tried_again_at_the_clone_limit(tmp_path: Path) -> None:
    """The fourth clone of an entry is refused: pinned it is an error, else it downloads on the same pool."""
    pinned = run("history_at_the_clone_limit-host", tmp_path / "pinned").requests
    first = run("history_at_the_clone_limit-first_host", tmp_path / "first").requests
    assert list(pinned.source) == ["download", *["cache"] * 3, "none", "download", *["cache"] * 3]
    assert list(first.source) == ["download", *["cache"] * 3] * 2 + ["download"]
    assert list(first.attempts) == [1, 1, 1, 1, 2, 1, 1, 1, 2]
    assert set(first.host) == {"a#p0"}


@pytest.mark.parametrize("placed", ["host", "scheduler"])
def test_creates_without_an_image_pay_for_the_cache(placed: str, tmp_path: Path) -> None:
    name = f"creates_without_an_image-{placed}"
    plain, cached = (run(name, tmp_path / each, each).others.status for each in ("none", "cache-only"))
    assert list(plain) == ["available"] * 4
    assert list(cached) == ["available", *["error"] * 3]


# Several nodes


@pytest.mark.parametrize("cluster", [True, False])
def test_a_limit_of_one_holds_two_until_the_next_fill(cluster: bool, tmp_path: Path) -> None:
    case = CASES[f"limit_of_one_holds_two-{cluster}"](tmp_path)
    events = case.trace.events
    at_once = type(case.trace)(events[events.time == 0], case.trace.start, case.trace.path)
    first = run_whole(type(case)(case.path, case.scenario, case.images, at_once, case.initial), "cache-only")
    assert list(first.cache.image_id) == ["i0", "i0"]  # max_count is 1
    assert list(run_whole(case, "cache-only").cache.image_id) == ["i3"]


def test_a_create_drops_up_to_three_stale_duplicates(tmp_path: Path) -> None:
    case = CASES["stale_duplicates-True"](tmp_path)
    events = case.trace.events
    left = []
    for until in (30.0, 60.0):
        some = type(case.trace)(events[events.time < until], case.trace.start, case.trace.path)
        whole = run_whole(type(case)(case.path, case.scenario, case.images, some, case.initial), "cache-only")
        left.append(len(whole.cache))
    assert left == [5, 5 - 3 + 1]


@needs_29
def test_an_entry_of_another_array_keeps_an_array_from_caching(tmp_path: Path) -> None:
    """Unless it is in a cluster, whose look-ups stay within the pool."""
    for cluster, sources in ((False, {"download"}), (True, {"download", "cache"})):
        requests = run(f"cache_on_another_array-{cluster}", tmp_path / str(cluster)).requests
        second = requests[
            (requests.image_id == "i0") & requests.host.str.startswith("a#") & (requests.end < 300)
        ]
        assert set(second.source) == sources


@needs_29
def test_only_the_newest_volume_of_the_store_is_tried(tmp_path: Path) -> None:
    requests = run("store_across_pools-False", tmp_path, "store-only").requests
    beside = requests[(requests.image_id == "i0") & (requests.host == "a#p0")]
    assert set(beside.source) == {"download"}  # the newest is on b


def test_waiters_are_served_what_they_read(tmp_path: Path) -> None:
    requests = run("update_during_a_fill", tmp_path).requests
    assert list(requests.source[:3]) == ["download", "cache", "cache"]


# Uploads


def of_image(whole: Result, image_id: str, column: str = "source") -> list[str]:
    """What became of the creates of an image, in the order of the trace."""
    requests = whole.requests
    return [str(value) for value in requests[requests.image_id == image_id][column]]


@pytest.mark.parametrize("tenant", [False, True])
def test_a_no_op_upload_clones_on_its_own_pool_only(tenant: bool, tmp_path: Path) -> None:
    whole = run(f"no_op-{tenant}", tmp_path, "store-only")
    assert list(whole.uploads.end - whole.uploads.time) == pytest.approx([2, 0])  # clone_s
    requests = whole.requests[(whole.requests.image_id == "n0") & (whole.requests.status == "available")]
    assert set(requests.source) == {"store", "download"}
    assert ((requests.source == "store") == (requests.host == "a#p0")).all()


def test_nothing_looks_for_locations_unless_their_scheme_is_allowed(tmp_path: Path) -> None:
    whole = run("no_op-False", tmp_path, "none")
    assert whole.uploads.status[0] == "active"
    assert set(of_image(whole, "n0")) == {"none", "download"}


def test_the_tenants_quota_fails_an_upload_that_could_have_copied(tmp_path: Path) -> None:
    whole = run("no_op_quota_volumes-1", tmp_path, "store-only")
    assert list(whole.uploads.error) == ["", "OverQuota", ""]  # the image deleted before the third gave place
    assert of_image(whole, "n1", "error")[0].startswith("ImageNotFound")


def test_an_image_volume_counts_with_the_whole_size_of_its_source(tmp_path: Path) -> None:
    """Images of 1 GiB, of volumes of 15, 5 and 11 GiB, with a quota of 16 GiB."""
    name = "no_op_quota_gigabytes"
    assert list(run(f"{name}-True", tmp_path / "a", "store-only").uploads.error) == ["", *["OverQuota"] * 2]
    assert list(run(f"{name}-False", tmp_path / "b", "store-only").uploads.error) == [""] * 3


def test_a_full_array_makes_cinder_copy(tmp_path: Path) -> None:
    whole = run("no_op_without_room", tmp_path, "none")
    seconds = (whole.uploads.end - whole.uploads.time).round(2)
    assert list(seconds) == [2.0, 10.24, 2.0]  # a clone, a copy at Glance's 100 MiB/s, a clone
    assert set(whole.uploads.status) == {"active"}


def test_the_fills_of_the_cache_take_clones_from_uploads(tmp_path: Path) -> None:
    """At most two clones of one volume: its own fill made the first."""
    plain = run("no_op_clone_limit-allowed", tmp_path / "a", "store-only").uploads
    cached = run("no_op_clone_limit-allowed", tmp_path / "b", "combined").uploads
    clones = [int(((u.end - u.time).round(2) == 2).sum()) for u in (plain, cached)]
    assert clones == [2, 1]
    assert {*plain.status, *cached.status} == {"active"}


def test_a_full_home_fails_a_copy_that_has_been_converted(tmp_path: Path) -> None:
    whole = run("upload_does_not_fit-volumes", tmp_path, "store-only")
    assert list(whole.uploads.error) == [*["VolumeBackendAPIException"] * 2, ""]
    assert (whole.uploads.end - whole.uploads.time)[1] == pytest.approx(2 * 1024 / 500)  # the conversion
    assert of_image(whole, "n0", "error")[0].startswith("ImageNotFound")


@pytest.mark.parametrize(("upload", "again"), [("copy", ""), ("no-op", "ManagedObjectNotFoundError")])
def test_a_no_op_upload_of_an_encrypted_volume_deletes_its_key(
    upload: str, again: str, tmp_path: Path
) -> None:
    uploads = run(f"encrypted_uploads-{upload}", tmp_path, "store-only").uploads
    of_blank = uploads[uploads.volume_id == "v2"]
    assert list(of_blank.error) == ["", "InvalidVolume", again]  # the second while the first runs
    assert set(uploads[uploads.volume_id == "v3"].error) == {"HTTPBadRequest"}  # qcow2, and raw in an ovf


@pytest.mark.parametrize("upload", ["copy", "no-op"])
def test_an_image_is_refused_before_and_while_it_is_uploaded(upload: str, tmp_path: Path) -> None:
    whole = run(f"events_during_an_upload-{upload}", tmp_path, "combined")
    errors = [error.partition(":")[0] for error in of_image(whole, "n0", "error")]
    assert errors == ["ImageNotFound", *["InvalidInput"] * 2, "", ""]
    assert list(whole.uploads.error) == ["", "InvalidVolume", ""]  # a second one of the volume meanwhile
    assert of_image(whole, "n2", "error")[1].startswith("ImageNotFound")  # deleted once it was there


def test_failed_creates_cannot_be_uploaded(tmp_path: Path) -> None:
    uploads = run("uploads_refused-no-op", tmp_path, "store-only").uploads
    assert list(uploads.error) == ["InvalidVolume", "VolumeNotFound", "InvalidVolume"]
    assert list(uploads.end) == list(uploads.time)


def test_a_run_leaves_nothing_behind(tmp_path: Path) -> None:
    first = run("lru_by_count", tmp_path / "a")
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert abs(timeutils.utcnow() - now) < datetime.timedelta(minutes=1)
    assert not cfg.CONF.allowed_direct_url_schemes
    assert cfg.CONF.cinder_internal_tenant_project_id is None
    again = run("lru_by_count", tmp_path / "b")
    pd.testing.assert_frame_equal(first.requests, again.requests)


def test_the_database_is_there_after_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """oslo.db opens a connection anew after an hour. In memory that would be another database."""
    first = run("lru_by_count", tmp_path / "a")
    later = SimpleNamespace(time=lambda: time.time() + 7_200)
    monkeypatch.setattr(pool, "time", later)
    again = run("lru_by_count", tmp_path / "b")
    pd.testing.assert_frame_equal(first.requests, again.requests)
