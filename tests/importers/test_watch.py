"""A watch's figures: those of a known history, and after more rows those of a fresh reading."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cinder import objects
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import URL

from sim.cinder.release import db_api
from sim.importers.database_url import parse_url
from sim.inputs.problems import Problems
from sim.live.exposition import METRICS, PREFIX
from sim.live.promise import Promise
from sim.live.reader import GRACE, SCAN_EVERY, Reader
from sim.live.service import Watch
from sim.live.settings import Settings
from sim.run import run
from tests.importers import workload
from tests.importers.reading import text
from tests.importers.rows import HOST, INTERNAL, at, image_id, writing

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other

LATER = at(10_000).replace(tzinfo=None)
Samples = dict[tuple[str, ...], float]


def watching(url: URL, conf: Path | None = None, **more: Any) -> Watch:
    problems = Problems()
    database = parse_url(text(url), problems)
    assert database is not None, problems.lines()
    settings = Settings([conf] if conf else [], [], more.pop("promise", None))
    settings.read()
    assert settings.readable
    given = {"since": None, "tenant": None, "with_volumes": conf is not None, **more}
    return Watch(Reader(database, cloned=settings.cloned, **given), settings, 30.0)


def read(watch: Watch, now: datetime = LATER) -> dict[str, Samples]:
    """Reads once; the samples of each metric by the values of its labels, in the metric's own order."""
    watch.reader.read(now)
    watch.good_s = watch.begun_s
    return exposed(watch)


def exposed(watch: Watch) -> dict[str, Samples]:
    from prometheus_client import generate_latest

    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(generate_latest(watch.registry()).decode()):
        name = family.name.removeprefix(PREFIX)
        labels = METRICS[name][1]
        for sample in family.samples:
            own = [sample.labels[label] for label in labels] + [sample.labels.get("le", "")]
            suffix = sample.name.removeprefix(family.name).removeprefix("_total")
            found.setdefault(name + suffix, {})[tuple(own[:-1] if own[-1] == "" else own)] = sample.value
    return found


def counted(found: dict[str, Samples]) -> dict[str, Samples]:
    """All that the database tells: not how the reading went."""
    how = ("seconds_behind", "read_seconds", "read_rows", "read_errors", "up")
    return {name: samples for name, samples in found.items() if name not in how}


def pool(host: str) -> tuple[str, str, str]:
    """The labels of a pool `host@backend#pool`."""
    node, _, rest = host.partition("@")
    return node, *rest.split("#")  # type: ignore[return-value]


def test_figures_are_those_of_the_whole_of_cinder(tmp_path: Path) -> None:
    database = URL.create("sqlite", database=str(tmp_path / "cinder.sqlite"))
    known = workload.run(tmp_path, text(database))
    found = read(watching(database))
    hosts = {host.partition("@")[2]: host for host in known.events["host"] if host}
    made = known.result.requests.query("status == 'available'")
    creates, clones = Counter[Any](), Counter[Any]()
    encrypted = {row.volume_id for row in known.run.case.trace.events.itertuples() if row.encrypted}
    for row in made.itertuples():
        tier = str(row.volume_type) + (", encrypted" if row.volume_id in encrypted else "")
        key = (*pool(hosts[str(row.host)]), tier)
        creates[key] += 1
        clones[key] += row.source != "download"
    assert found["image_creates"] == creates
    assert found["image_clones"] == clones and 0 < sum(clones.values()) < sum(creates.values())
    # The whole of Cinder keeps no list of fills and evictions; engine cinder, which is proved equal, does.
    events = run(known.run.case, "combined", "cinder").cache_events.astype({"host": "str", "event": "str"})
    for name, kinds in {"fills": ["create"], "evictions": ["evict", "stale", "clone_limit"]}.items():
        mine = Counter(pool(hosts[host]) for host in events[events["event"].isin(kinds)]["host"])
        assert {key: count for key, count in found[name].items() if count} == mine and mine
    orphans = Counter(pool(hosts[str(host)]) for host in known.result.orphans["host"])
    assert {key: count for key, count in found["orphans"].items() if count} == orphans
    cache = known.result.cache.astype({"host": "str"})
    entries = Counter(pool(hosts[host]) for host in cache["host"])
    gib = cache.groupby("host")["size_gib"].sum()
    assert {key: count for key, count in found["entries"].items() if count} == entries
    assert {key: size for key, size in found["gib"].items() if size} == {
        pool(hosts[str(host)]): size for host, size in gib.items()
    }
    seconds = known.events.query("event == 'create' and image_id != ''")["create_s"]
    assert sum(found["create_seconds_sum"].values()) == pytest.approx(seconds.sum(), abs=1e-3 * len(seconds))
    assert sum(found["create_seconds_count"].values()) == len(seconds)


def test_more_rows_are_added_to_what_is_known(empty_database: URL) -> None:
    with writing(empty_database) as rows:
        first = watching(empty_database)
        assert "entries" not in read(first)
        rows.download(1, "golden")
        rows.fill(1.05, "golden")
        rows.from_image(2, "golden")
        half = rows.volume(2.5, None, status="available", project_id=INTERNAL, display_name="image-half")
        slow = rows.volume(3, None, status="downloading", bootable=True)
        rows.metadata(slow, "golden")  # not at its end yet
        evicted = rows.fill(3.5, "evicted")
        before = read(first)
        assert before["image_clones"] == {(*pool(HOST), "gold"): 1}
        assert before["image_creates"] == {(*pool(HOST), "gold"): 2}
        assert before["create_seconds_sum"] == {
            (*pool(HOST), "gold", "download"): pytest.approx(180, abs=1),
            (*pool(HOST), "gold", "clone"): pytest.approx(36, abs=1),
        }
        assert counted(read(first)) == counted(before)
        rows.end(4, slow)
        rows.end(4.5, half)  # a fill, which has no entry after all
        rows.delete(5, evicted)
        short = rows.fill(5.5, "short-lived")
        rows.delete(6, short)  # filled and gone between two readings
        rows.fill(6.2, "golden")  # a duplicate
        orphan = rows.fill(6.5, "orphan")
        rows.ask_to_delete(7, orphan)
        orphan.status = "available"
        orphan.save()
        rows.from_image(8, "golden", host="c2@b#p1")
        assert sum(read(first)["fills"].values()) == 5  # what came and went is found later
        after = read(first, LATER + SCAN_EVERY)
        fresh = read(watching(empty_database))
        # The clock of this machine, and of the nodes: a volume just made has no entry yet.
        rows.volume(9, project_id=INTERNAL, display_name=f"image-{image_id('new')}")
        young = read(first, at(9.01).replace(tzinfo=None) + GRACE)
        old = read(first, at(9.02).replace(tzinfo=None) + GRACE)
    assert counted(after) == counted(fresh)
    here, there = pool(HOST), pool("c2@b#p1")
    assert after["image_clones"] == {(*here, "gold"): 2, (*there, "gold"): 1}
    assert after["fills"] == {here: 6, there: 0}
    assert after["evictions"] == {here: 4, there: 0}
    assert after["entries"] == {here: 2, there: 0}
    assert after["duplicates"] == {here: 1, there: 0}
    assert after["orphans"] == {here: 2, there: 0} and after["orphan_gib"][here] == 2 + 5
    assert [one["orphans"][here] for one in (young, old)] == [2, 3]
    assert [one["evictions"][here] for one in (young, old)] == [4, 5]


@pytest.mark.parametrize("seed", range(3))
def test_many_readings_are_one(sqlite: URL, seed: int) -> None:
    """A drawn history, read now and then: the same as read once at its end."""
    draw = random.Random(seed)
    names = [f"image {number}" for number in range(5)]
    with writing(sqlite) as rows:
        rows.download(0.1, names[0])
        watch = watching(sqlite, tenant=INTERNAL)
        fills, waiting = [], []
        for step in range(60):
            hours, host = 1 + step / 20, draw.choice((HOST, "c1@a#p1", "c2@b#p0"))
            what = draw.randrange(8)
            if what == 0:
                rows.download(hours, draw.choice(names), host=host)
            elif what == 1:
                rows.from_image(hours, draw.choice(names), host=host)
            elif what == 2:
                waiting.append(rows.volume(hours, None, status="downloading", bootable=True, host=host))
                if draw.random() < 0.5:
                    rows.signed(waiting[-1])
                rows.metadata(waiting[-1], draw.choice(names))
            elif what == 3 and waiting:
                rows.end(hours, waiting.pop())
            elif what == 4 and waiting:
                waiting[-1].status = "error"
                waiting.pop().save()
            elif what == 5:
                fills.append(rows.fill(hours, draw.choice(names), host=host))
            elif what == 6 and fills:
                rows.delete(hours, fills.pop(draw.randrange(len(fills))))
            elif fills:  # up to Cinder 26, the clone limit drops the entry and leaves the volume
                db_api.image_volume_cache_delete(rows.context, fills.pop(0).id)
            if draw.random() < 0.4:
                read(watch, at(hours + 0.04).replace(tzinfo=None))
        found = read(watch)
    assert counted(found) == counted(read(watching(sqlite, tenant=INTERNAL)))
    assert sum(found["evictions"].values()) > 0 and sum(found["orphans"].values()) > 0


def test_only_what_ended_since_a_time_counts(empty_database: URL) -> None:
    with writing(empty_database) as rows:
        rows.download(1, "golden")
        old = rows.fill(1.05, "golden")
        rows.fill(1.06, "evicted")
        rows.delete(1.5, rows.fill(1.4, "gone"))
        rows.from_image(2, "golden")
        watch = watching(empty_database, since=at(3).replace(tzinfo=None))
        assert sum(read(watch)["fills"].values()) == 0
        rows.from_image(4, "golden")
        rows.delete(5, old)
        rows.fill(6, "new")
        found = read(watch)
    assert counted(found) == counted(read(watching(empty_database, since=at(3).replace(tzinfo=None))))
    assert found["image_creates"] == {(*pool(HOST), "gold"): 1} == found["image_clones"]
    assert found["fills"] == {pool(HOST): 1} == found["evictions"]
    assert found["entries"] == {pool(HOST): 2}


def test_creates_that_no_volume_is(sqlite: URL) -> None:
    """Rows that are no create from an image: clones of volumes, the store's, the cache's, reimages."""
    with writing(sqlite) as rows:
        mine = rows.download(1, "golden")
        rows.from_image(2, "golden", source_volid=mine.id)
        rows.from_image(3, "golden", snapshot_id=str(uuid.uuid4()))
        rows.from_image(4, "golden", use_quota=False)
        rows.from_image(5, "golden", metadata={"glance_image_id": "1"}, display_name="image-1")
        rows.fill(6, "golden")
        rows.from_image(6.5, "golden", project_id=INTERNAL)
        rows.now(7)
        db_api.volume_glance_metadata_delete_by_volume(rows.context, mine.id)
        rows.metadata(mine, "other")
        blank = rows.volume(8)
        rows.now(8.5)
        rows.metadata(blank, "other")
    found = read(watching(sqlite))
    assert found["image_creates"] == {(*pool(HOST), "gold"): 1}
    assert found["image_clones"] == {(*pool(HOST), "gold"): 0}


def test_a_download_that_failed_before_a_clone_elsewhere_is_a_clone(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.download(1, "golden")
        rows.cloned_after_a_failed_download(2, "golden")
    assert read(watching(sqlite))["image_clones"] == {(*pool(HOST), "gold"): 1}


def test_sources_are_unknown_where_no_signature_is_checked(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.from_image(1, "golden")
        watch = watching(sqlite)
        before = read(watch)
        rows.download(2, "golden")
        after = read(watch)
    key = (*pool(HOST), "gold")
    assert before["tells_downloads"] == {(): 0} and before["image_creates"] == {key: 0}
    assert before["image_creates_by_source"] == {(*key, "unknown"): 1}
    assert after["image_creates_by_source"] == {(*key, "clone"): 1, (*key, "download"): 1}
    assert after["image_creates"] == {key: 2} and after["image_clones"] == {key: 1}


CONF = """
[DEFAULT]
enabled_backends = a, b
host = c1
cinder_internal_tenant_project_id = internal
cinder_internal_tenant_user_id = internal-user
quota_volumes = 12
[backend_defaults]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
[a]
image_volume_cache_enabled = true
image_volume_cache_max_count = 5
[b]
cluster = ignored
"""


def test_limits_quotas_and_places(sqlite: URL, tmp_path: Path) -> None:
    conf = tmp_path / "cinder.conf"
    conf.write_text(CONF)
    with writing(sqlite) as rows:
        db_api.quota_create(rows.context, INTERNAL, "gigabytes", -1)
        db_api.quota_class_create(rows.context, "default", "per_volume_gigabytes", 7)
        rows.fill(1, "golden")
        rows.download(2, "golden")
        rows.from_image(3, "golden")
        rows.volume(4, host="c1@b#p0")
        rows.fill(5, "golden", host="node7@a#p0")  # of another service
    places = Promise({}, places={("a", "p0"): 10, ("b", ""): 3})
    found = read(watching(sqlite, conf, tenant=INTERNAL, promise=places))
    a, b = pool(HOST), pool("c1@b#p0")
    assert found["enabled"] == {a: 1, b: 0}
    assert found["limit_entries"] == {a: 5}
    assert found["limit_gib"] == {a: float("inf")}
    assert found["image_creates_by_source"] == {(*a, "gold", "cache"): 1, (*a, "gold", "download"): 1}
    assert {key: found["quota_limit"][key,] for key in ("volumes", "gigabytes")} == {
        "volumes": 10,  # Cinder's own default class stands before cinder.conf
        "gigabytes": float("inf"),
    }
    assert found["places_left"] == {a: 7, pool("node7@a#p0"): 9, b: 2}
    assert found["least_recent_use_timestamp_seconds"][a] == at(1.01).timestamp()


def test_a_cluster_is_one_pool(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        for number, node in enumerate(("c1", "c2")):
            rows.download(1 + number, "golden", host=f"{node}@a#p0", cluster_name="all@a#p0")
        rows.fill(3, "golden", host="c1@a#p0", cluster_name="all@a#p0")
        db_api.image_volume_cache_include_in_cluster(rows.context, "all@a", True, host="c1@a")
    found = read(watching(sqlite, tenant=INTERNAL))
    assert found["image_creates"] == {("all", "a", "p0", "gold"): 2}
    assert found["fills"] == {("all", "a", "p0"): 1}


def test_places_of_a_cluster_are_those_of_all_its_nodes(sqlite: URL, tmp_path: Path) -> None:
    conf = tmp_path / "cinder.conf"
    conf.write_text(CONF.replace("host = c1", "host = c1\ncluster = all"))
    with writing(sqlite) as rows:
        for number, node in enumerate(("c1", "c2", "c2")):
            rows.download(1 + number, "golden", host=f"{node}@a#p0", cluster_name="all@a#p0")
        for host, cluster in (("c1@a", "all@a"), ("c2@a", "all@a"), ("c7@a", None)):
            made = objects.Service(
                rows.context, host=host, binary="cinder-volume", topic="cinder-volume", cluster_name=cluster
            )
            made.create()
        rows.volume(9, host="c7@a#p0")
    places = Promise({}, places={("a", "p0"): 10})
    found = read(watching(sqlite, conf, tenant=INTERNAL, promise=places))["places_left"]
    assert found == {("all", "a", "p0"): 7, ("c7", "a", "p0"): 9}


def test_what_changes_in_cinder_conf_is_read(sqlite: URL, tmp_path: Path) -> None:
    conf = tmp_path / "cinder.conf"
    conf.write_text(CONF)
    with writing(sqlite) as rows:
        rows.fill(1, "golden")
    watch = watching(sqlite, conf, tenant=INTERNAL)
    assert read(watch)["limit_entries"] == {pool(HOST): 5}
    assert not watch.settings.read()
    conf.write_text(CONF.replace("max_count = 5", "max_count = 50"))
    assert watch.settings.read() and exposed(watch)["limit_entries"] == {pool(HOST): 50}
    conf.write_text(CONF.replace("max_count = 5", "max_count = many"))
    assert watch.settings.read() and exposed(watch)["limit_entries"] == {pool(HOST): 50}
    assert exposed(watch)["conf_readable"] == {(): 0} and "many" in watch.settings.problems[0]


def test_a_purge_takes_nothing_from_the_counters(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.download(1, "golden")
        rows.delete(2, rows.fill(1.1, "golden"))
        watch = watching(sqlite, tenant=INTERNAL)
        before = read(watch)
        rows.purge(24 * 40, 30)
        after = read(watch)
    assert before["evictions"] == after["evictions"] == {pool(HOST): 1}
    assert sum(read(watching(sqlite, tenant=INTERNAL)).get("evictions", {}).values()) == 0


def test_the_internal_tenant_is_that_of_the_files_now(sqlite: URL, tmp_path: Path) -> None:
    with writing(sqlite) as rows:
        rows.download(1, "golden")
        rows.fill(1.1, "golden")
    conf = tmp_path / "cinder.conf"
    conf.write_text(CONF.replace(f"= {INTERNAL}\n", "= another\n"))
    watch = watching(sqlite, conf)
    watch.read()
    assert not exposed(watch).get("fills", {}).get(pool(HOST)) and not watch.failed
    conf.write_text(CONF)
    watch.settings.read()
    watch.read()
    assert exposed(watch)["fills"][pool(HOST)] == 1


def test_every_metric_has_a_sample_and_help() -> None:
    for name, (kind, labels, help_text) in METRICS.items():
        assert kind in ("gauge", "counter", "histogram") and help_text.endswith(".")
        assert not name.endswith("_total") and len(set(labels)) == len(labels)


def test_a_reading_that_fails_changes_nothing(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.download(1, "golden")
        watch = watching(sqlite, tenant=INTERNAL)
        watch.read()
        known = watch.reader.state
        path = Path(str(sqlite.database))
        path.rename(path.with_suffix(".away"))
        watch.read()
        gone = exposed(watch)
        path.with_suffix(".away").rename(path)
        assert watch.reader.state is known and "unable to open database" in watch.failed
        rows.from_image(2, "golden")
        watch.read()
    assert gone["up"] == {(): 0} and gone["read_errors"] == {(): 1}
    assert gone["image_creates"] == {(*pool(HOST), "gold"): 1}
    back = exposed(watch)
    assert back["up"] == {(): 1} and back["image_creates"] == {(*pool(HOST), "gold"): 2}


def test_up_is_0_when_no_reading_ends(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.fill(1, "golden")
    watch = watching(sqlite)
    watch.read()
    assert watch.view().up
    assert watch.good_s is not None
    watch.good_s -= timedelta(hours=1).total_seconds()
    assert not watch.view().up and watch.view().behind_s >= 3600
