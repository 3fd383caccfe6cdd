"""Notifications that Cinder's own notifier sent, read back."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sim.cinder import engine
from sim.importers import notifications
from sim.importers.notifications import Telemetry
from sim.inputs.problems import Problems
from sim.inputs.scenario import Case
from tests.importers.notifier import notifying
from tests.whole.cloud import INTERNAL_PROJECT, image_uuid
from tests.whole.reference import Run
from tests.whole.scenarios import CASES

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other

COUNTED = ["host", "hits", "misses"]
DRIVERS = ["messagingv2", "messaging", "log"]


def read(
    *paths: Path,
    since: datetime | None = None,
    until: datetime | None = None,
    tenant: str | None = None,
) -> Telemetry:
    problems = Problems()
    telemetry = notifications.read(paths, since, until, tenant, problems)
    assert problems.lines() == []
    assert telemetry is not None
    return telemetry


def refused(*paths: Path) -> list[str]:
    problems = Problems()
    assert notifications.read(paths, None, None, None, problems) is None
    return problems.lines()


def noted(telemetry: Telemetry, kind: str) -> str:
    return "\n".join(note.text for note in telemetry.notes if note.kind == kind)


def written(folder: Path, lines: list[str], name: str = "notifications.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def cached(case: Case, requests: pd.DataFrame) -> pd.DataFrame:
    """Hits and misses of a run: a row per host; creates that succeeded, and that the cache was asked for."""
    created = case.trace.events.query("event == 'create'").set_index("volume_id")
    backends = case.scenario.backends
    asked = [
        not created["encrypted"][row.volume_id]
        and backends[row.host.partition("#")[0]].image_volume_cache_enabled
        and row.source != "driver"
        for row in requests.itertuples()
        if row.status == "available"
    ]
    made = requests[requests["status"] == "available"][asked]
    table = pd.DataFrame(
        {
            "host": made["host"],
            "hits": (made["source"] == "cache").astype(float),
            "misses": (made["source"] == "download").astype(float),
        }
    )
    return table.groupby("host", as_index=False).sum()


def counted(telemetry: Telemetry) -> pd.DataFrame:
    """The corrected counts, hosts as scenarios have them, without those where only look-ups were."""
    counts = telemetry.counts[COUNTED].copy()
    counts["host"] = counts["host"].str.rpartition("@")[2]
    counts = counts[counts[["hits", "misses"]].sum(axis=1) > 0]
    return counts.groupby("host", as_index=False).sum()


class TestEngineCinder:
    """Notifications of the cache alone, which carry no contexts: hits and misses are divided."""

    @pytest.mark.parametrize("driver", DRIVERS)
    @pytest.mark.parametrize("name", ["lru_by_count", "several_pools", "herd-node", "refused_image"])
    def test_the_corrected_rate_is_the_runs_own_and_the_naive_is_not(
        self, name: str, driver: str, tmp_path: Path
    ) -> None:
        case = CASES[name](tmp_path)
        with notifying(driver) as lines:
            requests = engine.run(case, "cache-only").requests
            path = written(tmp_path, lines())
        telemetry = read(path)
        expected = cached(case, requests)
        pd.testing.assert_frame_equal(counted(telemetry), expected)
        hit_rates = expected["hits"] / (expected["hits"] + expected["misses"])
        assert list(telemetry.counts["hit_rate"]) == list(hit_rates)
        mixed = (hit_rates > 0) & (hit_rates < 1)
        assert mixed.any()
        assert (telemetry.counts["hit_rate_naive"][mixed] < hit_rates[mixed]).all()

    def test_a_rest_is_told(self, tmp_path: Path) -> None:
        """A create that fails at the clone limit has two hits; one that fails to download two misses."""
        case = CASES["clone_limit"](tmp_path)
        with notifying("log") as lines:
            requests = engine.run(case, "cache-only").requests
            path = written(tmp_path, lines())
        telemetry = read(path)
        hits = cached(case, requests)["hits"].sum()
        assert telemetry.counts["hits"].sum() == hits + (requests["status"] == "error").sum()
        assert "volume.create.end" in noted(telemetry, "assumed")

    def test_evictions(self, tmp_path: Path) -> None:
        case = CASES["lru_by_count"](tmp_path)
        with notifying("log") as lines:
            events = engine.run(case, "cache-only").cache_events
            path = written(tmp_path, lines())
        evicted = (events["event"] == "evict").sum()
        assert evicted > 1
        assert read(path).counts["evictions"].sum() == evicted


class TestWholeCinder:
    """All of Cinder's notifications, off the bus: which creates failed is known, and the counts are exact."""

    @pytest.fixture(
        scope="class",
        params=[
            "lru_by_size",
            "several_pools",
            "stale",
            "clone_limit",
            "deletes-allowed",
            "encrypted",
            "blank_volumes",
            "extend_fails",
            "rescheduling-3",
            "mixture-2",
            "cache_across_pools",
            "cache_on_another_array-True",
        ],
    )
    def seen(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Run, pd.DataFrame, Telemetry]:
        folder = tmp_path_factory.mktemp("whole")
        run = Run(CASES[request.param](folder), "cache-only")
        with notifying("messagingv2") as lines:
            requests = run.execute().requests
            path = written(folder, lines())
        return run, requests, read(path, tenant=INTERNAL_PROJECT)

    def test_the_counts_are_the_runs_own(self, seen: tuple[Run, pd.DataFrame, Telemetry]) -> None:
        run, requests, telemetry = seen
        pd.testing.assert_frame_equal(counted(telemetry), cached(run.case, requests))

    def test_the_trace_is_the_runs_own(self, seen: tuple[Run, pd.DataFrame, Telemetry]) -> None:
        """Creates that succeeded or that no backend took; others leave no image behind."""
        run, requests, telemetry = seen
        events = telemetry.events
        assert events["time"].is_monotonic_increasing
        creates = events[events["event"] == "create"].set_index("volume_id")
        ran = requests.set_index("volume_id")
        start = pd.Timestamp(run.start, tz=UTC)
        for volume_id, request in run.by_uuid.items():
            event = request.event
            if event.image_id == "":
                assert creates.loc[volume_id, "image_id"] == ""
                continue
            row = ran.loc[event.volume_id]
            unplaced = row["status"] == "error" and row["host"] == ""
            assert (volume_id in creates.index) == (row["status"] == "available" or unplaced)
            if volume_id not in creates.index:
                continue
            create = creates.loc[volume_id]
            assert create["image_id"] == image_uuid(event.image_id)
            assert create["size_gib"] == event.size_gib
            types = run.encrypted_types if event.encrypted else run.types
            assert create["volume_type"] == types[event.volume_type]
            assert create["project"] == (event.project or "project")
            assert create["host"].rpartition("@")[2] == row["host"]
            assert (create["time"] - start).total_seconds() == pytest.approx(event.time, abs=0.01)
            if unplaced:
                assert pd.isna(create["create_s"])
            else:
                assert create["create_s"] == pytest.approx(row["end"] - row["time"], abs=0.01)
        fills = set(creates["project"]) & {INTERNAL_PROJECT}
        assert not fills

    def test_deletes(self, seen: tuple[Run, pd.DataFrame, Telemetry]) -> None:
        run, _, telemetry = seen
        events = telemetry.events
        created = set(events.loc[events["event"] == "create", "volume_id"])
        deletes = events[events["event"] == "delete"].set_index("volume_id")["time"]
        start = pd.Timestamp(run.start, tz=UTC)
        asked = run.case.trace.events.query("event == 'delete'").set_index("volume_id")["time"]
        names = {request.event.volume_id: volume_id for volume_id, request in run.by_uuid.items()}
        wanted = {names[name]: time for name, time in asked.items() if names.get(name) in created}
        assert set(deletes.index) == set(wanted)
        for volume_id, time in wanted.items():
            # A delete waits for the end of the create.
            assert (deletes[volume_id] - start).total_seconds() >= time

    def test_images(self, seen: tuple[Run, pd.DataFrame, Telemetry]) -> None:
        run, _, telemetry = seen
        creates = telemetry.events.query("event == 'create' and image_id != ''")
        images = telemetry.images.set_index("image_id")
        assert set(images.index) == set(creates["image_id"])
        for image_id, image in images.iterrows():
            spec = run.all_images[str(image_id)].spec
            mine = creates[creates["image_id"] == image_id]
            assert image["creates"] == len(mine)
            assert image["smallest_gib"] == mine["size_gib"].min()
            if mine["create_s"].notna().any():
                assert image["size_bytes"] == spec.size_bytes
                assert (image["disk_format"], image["name"]) == (spec.disk_format, spec.name)
            if pd.notna(image["virtual_gib"]):
                assert image["virtual_gib"] == -(-spec.virtual_size_bytes // 2**30)


HOST = "c1@flash#p0"
IMAGE = "2e27bdee-ab10-5f2a-a952-4a135254d858"
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def notification(event_type: str, second: float, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    time = BEGIN + timedelta(seconds=second)
    return {
        "message_id": f"{event_type} {second} {json.dumps(payload)}",
        "publisher_id": "volume.c1",
        "event_type": event_type,
        "priority": "INFO",
        "payload": payload,
        "timestamp": str(time.replace(tzinfo=None)),
        **more,
    }


def looked_up(result: str, second: float, host: str = HOST, **more: Any) -> dict[str, Any]:
    return notification(f"image_volume_cache.{result}", second, {"image_id": "i", "host": host}, **more)


def volume(event: str, volume_id: str, second: float, **payload: Any) -> dict[str, Any]:
    """`volume.<event>` of a volume that is asked for at second 10 and made at 14, unless told otherwise."""
    at = {name: (BEGIN + timedelta(seconds=when)).isoformat() for name, when in (("c", 10), ("l", 14))}
    payload = {
        "volume_id": volume_id,
        "tenant_id": "p",
        "host": HOST,
        "volume_type": "a type's id",
        "size": 10,
        "created_at": at["c"],
        "launched_at": at["l"],
        "display_name": None,
        "snapshot_id": None,
        "metadata": [],
        **payload,
    }
    return notification(f"volume.{event}", second, payload)


def glance_metadata(**values: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in {"image_id": "i", "size": "5", **values}.items()]


WARM = [looked_up("hit", second) for second in (1, 2)]
COLD = [looked_up("miss", second) for second in (3, 4, 5)]
MADE = [
    volume("create.start", "v", 10),
    volume("create.end", "v", 14, glance_metadata=glance_metadata()),
]


def bare(messages: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(message) for message in messages]


def enveloped(messages: list[dict[str, Any]]) -> list[str]:
    return [json.dumps({"oslo.version": "2.0", "oslo.message": line}) for line in bare(messages)]


def logged(messages: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"2026-03-01 12:00:01.000 7 INFO oslo.messaging.notification.{message['event_type']} "
        f"[None req-5e3c - - - - -] {json.dumps(message)}"
        for message in messages
    ]
    other = "2026-03-01 12:00:01.000 7 INFO cinder.volume.manager [-] Created volume {successfully}."
    return [other, *lines, "Traceback (most recent call last):", "", other]


def logged_without_times(messages: list[dict[str, Any]]) -> list[str]:
    return [line.partition(" 7 ")[2] for line in logged(messages)[1:]]


class TestLines:
    @pytest.mark.parametrize("form", [bare, enveloped, logged, logged_without_times])
    def test_every_form_says_the_same(
        self, form: Callable[[list[dict[str, Any]]], list[str]], tmp_path: Path
    ) -> None:
        telemetry = read(written(tmp_path, form([*WARM, *COLD, *MADE])))
        (row,) = telemetry.counts.to_dict("records")
        assert (row["host"], row["hits_naive"], row["misses_naive"]) == (HOST, 2, 3)
        assert list(telemetry.events["volume_id"]) == ["v"]

    def test_compressed(self, tmp_path: Path) -> None:
        path = tmp_path / "notifications.gz"
        path.write_bytes(gzip.compress("\n".join(bare(WARM)).encode()))
        assert read(path).counts["hits"].sum() == 1

    def test_deliveries_count_once_over_all_files(self, tmp_path: Path) -> None:
        lines = bare([*WARM, *COLD, *MADE])
        paths = [written(tmp_path, [*lines, lines[0]], "a"), written(tmp_path, lines, "b")]
        once, twice = read(paths[1]), read(*paths)
        pd.testing.assert_frame_equal(once.counts, twice.counts)
        pd.testing.assert_frame_equal(once.events, twice.events)

    def test_others_are_passed_over(self, tmp_path: Path) -> None:
        others = [notification("compute.instance.create.end", 1, {}), notification("volume.exists", 1, {})]
        assert len(read(written(tmp_path, bare([*others, *MADE]))).events) == 1

    def test_a_host_without_pools(self, tmp_path: Path) -> None:
        lines = bare([looked_up("hit", 1, "c1@lvm"), *MADE])
        assert list(read(written(tmp_path, lines)).counts["host"]) == ["c1@lvm#_pool0"]


class TestPeriod:
    def test_bounds(self, tmp_path: Path) -> None:
        """From `since` on, and before `until`; volumes by when they were asked for."""
        path = written(tmp_path, bare([*WARM, *COLD, *MADE, volume("delete.start", "v", 20)]))
        at = [BEGIN + timedelta(seconds=second) for second in range(30)]
        assert list(read(path, since=at[3]).counts[["hits_naive", "misses_naive"]].iloc[0]) == [0, 3]
        assert list(read(path, until=at[3]).counts[["hits_naive", "misses_naive"]].iloc[0]) == [2, 0]
        assert list(read(path, since=at[10], until=at[20]).events["event"]) == ["create"]
        assert list(read(path, since=at[10], until=at[21]).events["event"]) == ["create", "delete"]
        assert len(read(path, until=at[10]).events) == 0
        late = read(path, since=at[11])
        assert len(late.events) == 0
        assert "1 deleted volumes" in noted(late, "unknown")

    def test_volumes_that_were_under_way(self, tmp_path: Path) -> None:
        """A volume asked for before the period and cloned in it is one of its hits."""
        cloned = volume("create.end", "v", 14, glance_metadata=glance_metadata())
        downloaded = volume(
            "create.end", "w", 14, glance_metadata=glance_metadata(image_id="j", signature_verified="False")
        )
        path = written(tmp_path, bare([looked_up("hit", 12), looked_up("hit", 13), cloned, downloaded]))
        assert read(path, since=BEGIN + timedelta(seconds=11)).counts["hits"].sum() == 1


class TestContexts:
    """Look-ups of the internal tenant: a context with two is a download that succeeded."""

    @staticmethod
    def by(context: str, project: str = "internal") -> dict[str, str]:
        return {"_context_request_id": context, "_context_project_id": project}

    def test_downloads_that_failed(self, tmp_path: Path) -> None:
        good = [looked_up("miss", 1, **self.by("a")), *(looked_up("miss", n, **self.by("b")) for n in (2, 3))]
        failed = [looked_up("miss", 4, **self.by("c")), looked_up("miss", 5, **self.by("d"))]
        (row,) = read(written(tmp_path, bare([*good, *failed]))).counts.to_dict("records")
        assert (row["misses_naive"], row["misses"]) == (5, 1)

    def test_a_fill_by_another_during_a_download(self, tmp_path: Path) -> None:
        """Where the lock does not reach: what is looked up last is there, but nothing is cloned of it."""
        lines = [
            looked_up("miss", 1, **self.by("a")),
            looked_up("miss", 2, **self.by("b")),
            looked_up("hit", 3, **self.by("b")),
        ]
        (row,) = read(written(tmp_path, bare(lines))).counts.to_dict("records")
        assert (row["hits_naive"], row["hits"], row["misses"]) == (1, 0, 1)

    def test_a_fill_on_another_pool_during_a_download(self, tmp_path: Path) -> None:
        """The driver clones across pools: a hit has the pool of its entry."""
        lines = [
            looked_up("miss", 1, **self.by("a")),
            looked_up("miss", 2, **self.by("b")),
            looked_up("hit", 3, "c1@flash#p1", **self.by("b")),
        ]
        counts = read(written(tmp_path, bare(lines))).counts
        assert counts[COUNTED].to_numpy().tolist() == [[HOST, 0, 1], ["c1@flash#p1", 0, 0]]

    def test_clones_at_the_arrays_limit(self, tmp_path: Path) -> None:
        """Evicted in the user's name; evictions for room are the internal tenant's."""
        lines = [
            *(looked_up("hit", n, **self.by(str(n))) for n in range(4)),
            looked_up("evict", 5, **self.by("user's", "p")),
            looked_up("evict", 6, **self.by("6")),
        ]
        telemetry = read(written(tmp_path, bare(lines)))
        (row,) = telemetry.counts.to_dict("records")
        assert (row["hits"], row["evictions"]) == (1, 2)
        assert "1 clones failed" in noted(telemetry, "read")


class TestVolumes:
    def test_a_trace_in_the_contracts_columns(self, tmp_path: Path) -> None:
        lines = bare([*MADE, volume("delete.start", "v", 20), volume("delete.end", "v", 22)])
        events = read(written(tmp_path, lines)).events
        create, delete = events.to_dict("records")
        assert pd.isna(create.pop("downloaded"))  # no create here left a trace of a download
        assert create == {
            "time": pd.Timestamp(BEGIN) + pd.Timedelta(seconds=10),
            "event": "create",
            "volume_id": "v",
            "image_id": "i",
            "size_gib": 10,
            "volume_type": "a type's id",
            "host": HOST,
            "project": "p",
            "encrypted": False,
            "availability_zone": "",
            "create_s": 4.0,
        }
        assert delete["time"] == pd.Timestamp(BEGIN) + pd.Timedelta(seconds=20)
        assert pd.isna(delete["size_gib"]) and pd.isna(delete["create_s"])

    def test_what_is_not_from_an_image(self, tmp_path: Path) -> None:
        """A blank volume, and one from a snapshot, which has its snapshot's metadata."""
        lines = bare(
            [
                volume("create.end", "blank", 14),
                volume("create.end", "snapped", 14, snapshot_id="s", glance_metadata=glance_metadata()),
            ]
        )
        telemetry = read(written(tmp_path, lines))
        assert list(telemetry.events["image_id"]) == ["", ""]
        assert len(telemetry.images) == 0

    @pytest.mark.parametrize("tenant", ["internal", None])
    def test_image_volumes_are_left_out(self, tenant: str | None, tmp_path: Path) -> None:
        """The cache's give the image's virtual size; those of the Cinder store have Glance's metadata."""
        name = f"image-{IMAGE}"
        metadata = glance_metadata(image_id=IMAGE)
        lines = bare(
            [
                volume("create.end", "v", 14, glance_metadata=metadata),
                volume("create.end", "f", 14, display_name=name, tenant_id="internal", size=3),
                volume(
                    "create.end",
                    "s",
                    14,
                    display_name=name,
                    tenant_id="glance",
                    metadata=[{"key": "glance_image_id", "value": IMAGE}],
                ),
                volume("create.end", "u", 14, display_name=name, tenant_id=tenant or "internal", size=9),
                volume("delete.start", "f", 20),
            ]
        )
        telemetry = read(written(tmp_path, lines), tenant=tenant)
        assert list(telemetry.events["volume_id"]) == ["v"]
        assert list(telemetry.images["virtual_gib"]) == [3]
        assert "2 image-volumes made to fill the cache" in noted(telemetry, "read")
        assert "1 image-volumes of Glance's Cinder store" in noted(telemetry, "read")
        assert ("found by their names" in noted(telemetry, "assumed")) == (tenant is None)

    def test_uploads_by_cinder_are_left_out(self, tmp_path: Path) -> None:
        """Their image-volumes belong to the user; only the internal tenant tells them from the cache's."""
        upload = volume("create.end", "u", 14, display_name=f"image-{IMAGE}")
        telemetry = read(written(tmp_path, bare([*MADE, upload])), tenant="internal")
        assert list(telemetry.events["volume_id"]) == ["v"]
        assert "1 image-volumes of Glance's Cinder store" in noted(telemetry, "read")

    def test_audits_tell_what_was_missed(self, tmp_path: Path) -> None:
        """cinder-volume-usage-audit sends them all again, with today's host and when a volume was gone."""
        period = {"audit_period_beginning": str(BEGIN + timedelta(seconds=25))}
        again = volume("create.end", "v", 900, host="c2@new#p0", glance_metadata=glance_metadata(), **period)
        gone = volume("delete.start", "v", 900, **period)
        once = read(written(tmp_path, bare([*MADE, volume("delete.start", "v", 20), again, gone])))
        assert list(once.events["host"]) == [HOST, ""]
        assert list(once.events["time"].dt.second) == [10, 20]
        missed = read(written(tmp_path, bare([again, gone])))
        assert list(missed.events["time"].dt.second) == [10, 25]

    def test_deletes_that_were_refused(self, tmp_path: Path) -> None:
        lines = bare([*MADE, volume("delete.start", "v", 20), volume("delete.start", "v", 40)])
        assert list(read(written(tmp_path, lines)).events["time"].dt.second) == [10, 40]

    def test_creates_that_failed(self, tmp_path: Path) -> None:
        """On a backend: nothing tells the image. In the scheduler: all is told, if no backend had it."""
        spec = {"image_id": "i", "snapshot_id": None}
        failure = {
            "request_spec": spec,
            "volume_properties": {"size": 7, "volume_type_id": "t", "project_id": "p"},
            "volume_id": "u",
        }
        lines = bare(
            [
                volume("create.start", "lost", 10),
                volume("create.start", "tried", 10),
                notification("scheduler.create_volume", 17, {**failure, "volume_id": "tried"}),
                notification("scheduler.create_volume", 18, failure),
            ]
        )
        telemetry = read(written(tmp_path, lines))
        events = telemetry.events
        assert list(events["volume_id"]) == ["tried", "u"]
        assert list(events["image_id"]) == ["i", "i"]
        assert list(events["size_gib"]) == [10, 7]
        assert list(events["host"]) == ["", ""]
        assert list(events["time"].dt.second) == [10, 18]
        assert events["create_s"].isna().all()
        assert "2 of these creates failed" in noted(telemetry, "read")
        assert "1 creates have no notification of their end" in noted(telemetry, "unknown")


class TestProblems:
    def test_every_broken_line_with_its_number(self, tmp_path: Path) -> None:
        good = bare([*WARM, *COLD])
        path = written(
            tmp_path,
            [
                good[0],
                good[1][:40],
                good[2],
                "",
                "not JSON",
                '{"some": "JSON"}',
                "[1, 2]",
                '{"oslo.version": "2.0", "oslo.message": "{\\"event_type\\": \\"volume.cr"}',
                '{"oslo.version": "2.0", "oslo.message": {}}',
                json.dumps({**WARM[0], "timestamp": "yesterday"}),
                json.dumps({**WARM[0], "payload": {"image_id": "i"}}),
                good[3],
            ],
        )
        lines = refused(path)
        assert sorted(int(line.split("line ")[1].split(":")[0]) for line in lines) == [
            *(2, 5, 6, 7, 8, 9, 10, 11)
        ]
        assert all(line.startswith(f"{path}: line ") for line in lines)

    def test_many_are_counted(self, tmp_path: Path) -> None:
        lines = refused(written(tmp_path, ["{"] * 1000))
        assert len(lines) == 21
        assert "979 more" in lines[-1]  # the last is cut

    def test_a_truncated_end(self, tmp_path: Path) -> None:
        path = tmp_path / "cut"
        path.write_text("\n".join(bare([*WARM, *COLD, COLD[0]]))[:-30])
        telemetry = read(path)
        assert telemetry.counts[["hits", "misses"]].to_numpy().tolist() == [[1, 1]]
        assert f"{path}: its end is cut off: 1 incomplete notification" in noted(telemetry, "read")

    def test_no_token_is_shown(self, tmp_path: Path) -> None:
        line = json.dumps({"_context_auth_token": "gAAAAtoken"})
        assert "gAAAA" not in "".join(refused(written(tmp_path, [line, line[:-1]])))

    def test_nothing_of_cinder(self, tmp_path: Path) -> None:
        """Each file is told; but an empty one beside others is what a new log looks like."""
        empty = written(tmp_path, [], "empty")
        other = written(tmp_path, bare([notification("compute.instance.exists", 1, {})]), "other")
        for path, line in zip((empty, other), refused(empty, other), strict=True):
            assert line.startswith(f"{path}: has no notification about Cinder's volumes or its image-volume")
            assert "volume.create.*" in line and "one notification a line" in line
        read(empty, written(tmp_path, bare(WARM)))

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "binary").write_bytes(b"\x7fELF\x02\x01\0\0")
        (tmp_path / "latin").write_bytes(b'{"event_type": "\xff"}\n')
        packed = gzip.compress("\n".join(bare(WARM)).encode())
        (tmp_path / "bad.gz").write_bytes(packed[:30] + b"\xff" * 40 + packed[70:])
        names = ("missing", "folder", "binary", "latin", "bad.gz")
        lines = refused(*(tmp_path / name for name in names))
        assert len(lines) == len(names)
        for name, what, line in zip(
            names,
            ("No such file", "Is a directory", "is not text", "is broken JSON", "cannot be unpacked"),
            lines,
            strict=True,
        ):
            assert line.startswith(f"{tmp_path / name}: ")
            assert what in line

    def test_earlier_problems_do_not_hide_these(self, tmp_path: Path) -> None:
        problems = Problems()
        problems.add("elsewhere", "", "is wrong")
        assert notifications.read([tmp_path / "missing"], None, None, None, problems) is None
        assert len(problems.lines()) == 2


class TestNotes:
    def test_volumes_without_a_cache(self, tmp_path: Path) -> None:
        telemetry = read(written(tmp_path, bare(MADE)))
        assert len(telemetry.counts) == 0
        assert "no look-up in the image-volume cache" in noted(telemetry, "unknown")

    def test_a_cache_without_volumes(self, tmp_path: Path) -> None:
        telemetry = read(written(tmp_path, bare([*WARM, *COLD])))
        assert len(telemetry.events) == 0
        assert "hit rate 50.0% (1 hits, 1 misses), not the 40.0%" in noted(telemetry, "read")
        assert "left over" not in noted(telemetry, "assumed")

    def test_what_is_left_over(self, tmp_path: Path) -> None:
        telemetry = read(written(tmp_path, bare([*WARM, *COLD[:2]])))
        assert "0 hits and 2 misses are left over" in noted(telemetry, "assumed")

    def test_each_host_and_all(self, tmp_path: Path) -> None:
        others = [looked_up("hit", second, "c1@disk#p0") for second in range(18)]
        telemetry = read(written(tmp_path, bare([*WARM, *COLD, *others])))
        text = noted(telemetry, "read")
        assert "the image-volume cache: hit rate 90.9% (10 hits, 1 misses), not the 87.0%" in text
        assert "c1@disk#p0: hit rate 100.0%" in text
        assert f"{HOST}: hit rate 50.0%" in text
