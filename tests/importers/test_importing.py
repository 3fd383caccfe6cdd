"""From a cloud to a scenario that runs: the whole way, by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from sqlalchemy.engine import URL
from typer.testing import CliRunner

import sim
from sim.cli import app
from tests.importers import workload
from tests.importers.rows import writing

CONF = """
[DEFAULT]
enabled_backends = a, b, c
host = c1
cinder_internal_tenant_project_id = internal-tenant
cinder_internal_tenant_user_id = internal-user
allowed_direct_url_schemes = cinder
quota_volumes = 30
quota_gigabytes = -1
[backend_defaults]
image_volume_cache_enabled = true
[a]
volume_backend_name = flash
image_volume_cache_max_count = 2
[b]
backend_host = c2
volume_backend_name = both
image_volume_cache_max_size_gb = 4
[c]
backend_host = c2
volume_backend_name = disk
"""


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "cinder.conf"
    path.write_text(CONF)
    return path


def test_round_trip(empty_database: URL, tmp_path: Path, conf: Path) -> None:
    known = workload.run(tmp_path, empty_database.render_as_string(hide_password=False))
    out = tmp_path / "imported"
    url = empty_database.render_as_string(hide_password=False)
    result = run("import", "--out", out, "--conf", conf, "--db", url)
    assert result.exit_code == 0, result.output
    assert "Read:" in result.stdout and "Assumed:" in result.stdout and "Not known:" in result.stdout
    # No line can be shorter than a path in it, and where tests lie is not ours to choose.
    assert max(map(len, result.stdout.replace(str(tmp_path), "").splitlines())) <= 80

    case = sim.load(out / "scenario.yaml")
    expected = known.events
    found = case.trace.events
    assert len(found) == len(expected)
    whole_seconds = empty_database.get_backend_name() == "mysql"
    keys = ["event", "volume_id", "image_id", "volume_type", "host", "project"]
    assert (found["host"] == "").all()  # no cloud pins
    mine = found.assign(host=found["first_host"].astype("str"))[keys].astype("str")
    theirs = expected.assign(host=[host.partition("@")[2] for host in expected["host"]])[keys].astype("str")
    theirs.loc[theirs["event"] == "delete", ["image_id", "volume_type", "project"]] = ""
    mine.loc[mine["event"] == "delete", ["image_id", "volume_type", "project"]] = ""
    order = ["volume_id", "event"]  # events of one second are in no order on MySQL
    pd.testing.assert_frame_equal(
        mine.sort_values(order, ignore_index=True), theirs.sort_values(order, ignore_index=True)
    )
    at = case.trace.start + pd.to_timedelta(found["time"], unit="s")
    lag = at.groupby([found["volume_id"], found["event"].astype("str")]).first()
    true = expected.groupby(["volume_id", "event"])["time"].first()
    assert ((lag - true).abs() <= pd.Timedelta(seconds=1 if whole_seconds else 0.001)).all()

    document = json.loads((out / "import.json").read_text())
    assert document["strategy"] == "combined"
    assert case.scenario.cinder.internal_tenant_quota_volumes == 30
    assert case.scenario.cinder.internal_tenant_quota_gigabytes is None
    assert case.scenario.backends["a"].image_volume_cache_max_count == 2
    assert case.scenario.backends["b"].node == "c1"  # where its service runs, whatever backend_host says
    assert {image.store_hosts for image in case.images.values()} == {("c#p0",)}
    fills = known.result.requests.query("source == 'download'")
    assert sum(document["fills"].values()) <= len(fills)
    text = (out / "scenario.yaml").read_text()
    assert "# assumed: " in text

    assert run("validate", out / "scenario.yaml").exit_code == 0
    ran = run("run", out / "scenario.yaml", "--strategy", "combined", "--engine", "fast", "--json")
    assert ran.exit_code == 0
    # What lies between is only the arrays' times: the same creates find the same images in the cache.
    summary = json.loads(ran.stdout)["summary"][-1]
    succeeded = known.result.requests.query("status == 'available'")
    hits = succeeded["source"].isin(["cache", "store"]).mean()
    assert summary["creates"] == len(succeeded) and summary["clone_hit_rate"] == pytest.approx(hits, abs=0.1)

    calibrated = run("calibrate", out, "--json")
    assert calibrated.exit_code == 0, calibrated.output
    for pool in json.loads(calibrated.stdout)["pools"]:
        # What was a clone is in the database, and is one in the simulation.
        assert pool["observed_clone_hit_rate"] == pytest.approx(pool["simulated_clone_hit_rate"], abs=0.1)
    before, after = json.loads(calibrated.stdout)["goodness"]
    assert after["rms_factor"] < before["rms_factor"]
    assert run("validate", out / "calibrated.yaml").exit_code == 0


def test_parquet_and_a_period(tmp_path: Path, conf: Path) -> None:
    url = f"sqlite:///{tmp_path}/cinder.sqlite"
    known = workload.run(tmp_path, url)
    since, until = workload.at(600), workload.at(1200)
    arguments = ["--since", since.isoformat(), "--until", until.isoformat(), "--format", "parquet"]
    result = run("import", "--out", tmp_path / "out", "--conf", conf, "--db", url, *arguments)
    assert result.exit_code == 0, result.output
    case = sim.load(tmp_path / "out" / "scenario.yaml")
    within = known.events[(known.events["time"] >= since) & (known.events["time"] < until)]
    assert len(case.trace.events) == len(within) > 0
    before = known.events[known.events["time"] < since]
    alive = set(before.query("event == 'create'")["volume_id"]) - set(
        before.query("event == 'delete'")["volume_id"]
    )
    there = case.initial[case.initial["kind"] == "volume"]
    assert set(there["volume_id"]) == alive
    assert (case.initial["kind"] == "cache").any()
    entries = case.initial[case.initial["kind"] == "cache"]
    assert (entries["last_used"] <= 0).all()
    ran = run("run", tmp_path / "out" / "scenario.yaml", "--strategy", "combined", "--engine", "fast")
    assert ran.exit_code == 0, ran.output


def test_a_configuration_alone_makes_a_scenario(tmp_path: Path, conf: Path) -> None:
    out = tmp_path / "out"
    result = run("import", "--out", out, "--conf", conf, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["strategy"] == "cache-only"
    case = sim.load(out / "scenario.yaml")
    assert len(case.trace.events) > 1000 and set(case.scenario.tiers) == {"flash", "both", "disk"}
    assert run("validate", out / "scenario.yaml").exit_code == 0
    assert "today's settings" not in result.output
    told = run("calibrate", out)
    assert told.exit_code == 2 and "has no durations of creates" in told.stderr


def test_what_a_scenario_may_not_have_is_told(tmp_path: Path, conf: Path) -> None:
    conf.write_text(CONF.replace("max_count = 2", "max_count = -1") + "max_over_subscription_ratio = 0.5\n")
    result = run("import", "--out", tmp_path / "out", "--conf", conf)
    assert result.exit_code == 2 and "[c] max_over_subscription_ratio" in result.stderr
    assert not (tmp_path / "out").exists()
    conf.write_text(CONF.replace("max_count = 2", "max_count = -1"))  # no limit, for Cinder
    (tmp_path / "link").symlink_to(tmp_path / "out")
    told = run("import", "--out", tmp_path / "link", "--conf", conf)
    assert told.exit_code == 2 and "is a link to what does not exist" in told.stderr
    assert run("import", "--out", tmp_path / "out", "--conf", conf).exit_code == 0
    case = sim.load(tmp_path / "out" / "scenario.yaml")
    assert case.scenario.backends["a"].image_volume_cache_max_count == 0


def test_nothing_is_overwritten_nor_half_written(tmp_path: Path, conf: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "scenario.yaml").write_text("mine")
    result = run("import", "--out", full, "--conf", conf)
    assert result.exit_code == 2 and "is not an empty folder" in result.stderr
    assert (full / "scenario.yaml").read_text() == "mine"

    before = sorted(tmp_path.iterdir())
    bad = tmp_path / "cinder.conf"
    for arguments in (
        ["--conf", tmp_path / "none.conf"],
        ["--conf", bad, "--db", "mysql+pymysql://cinder:s3cret@127.0.0.1:1/cinder"],
        ["--conf", bad, "--db", f"sqlite:///{tmp_path}/none.sqlite"],
        ["--conf", bad, "--notifications", tmp_path / "none.json"],
        ["--conf", bad, "--since", "yesterday"],
        ["--conf", bad, "--since", "2026-01-02", "--until", "2026-01-01"],
        [],
    ):
        result = run("import", "--out", tmp_path / "out", *arguments)
        assert result.exit_code == 2, arguments
        assert result.stdout == "" and "Traceback" not in result.stderr and result.stderr
        assert "s3cret" not in result.output
    assert sorted(tmp_path.iterdir()) == before


def test_problems_of_all_sources_are_told_at_once(tmp_path: Path) -> None:
    conf = tmp_path / "cinder.conf"
    conf.write_text("[DEFAULT]\nenabled_backends = gone\n")
    lines = tmp_path / "notifications.json"
    lines.write_text('{"event_type": "volume.create.end", "payload": {\n')
    missing = f"sqlite:///{tmp_path}/none.sqlite"
    result = run(
        "import", "--out", tmp_path / "out", "--conf", conf, "--db", missing, "--notifications", lines
    )
    assert result.exit_code == 2
    for part in ("'gone' has no section", "none.sqlite", "notifications.json"):
        assert part in result.stderr


def test_problems_of_arguments_and_sources_are_told_at_once(tmp_path: Path) -> None:
    conf = tmp_path / "cinder.conf"
    conf.write_text("[DEFAULT]\nenabled_backends = gone\n")
    sources = ["--conf", conf, "--db", f"sqlite:///{tmp_path}/none.sqlite"]
    for period in (["--since", "yesterday"], ["--since", "2026-01-02", "--until", "2026-01-01"]):
        result = run("import", "--out", tmp_path, *sources, *period)
        assert result.exit_code == 2
        for part in ("--since", "is not an empty folder", "'gone' has no section", "none.sqlite"):
            assert part in result.stderr


def test_without_a_history_no_creates_are_counted(tmp_path: Path, conf: Path) -> None:
    result = run("import", "--out", tmp_path / "out", "--conf", conf)
    assert "workload: generated" in result.stdout and "0 creates" not in result.stdout
    assert result.stdout.endswith(f"compare {tmp_path}/out/scenario.yaml --engine fast\n")


@pytest.mark.filterwarnings("ignore")  # Cinder's migrations warn of what they use
def test_the_variable_is_the_database_where_no_other_is_named(
    sqlite: URL, tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(sqlite) as rows:
        rows.download(1, "golden")
    monkeypatch.setenv("CINDER_CACHE_DB", sqlite.render_as_string(hide_password=False))
    assert run("import", "--out", tmp_path / "imported", "--conf", conf).exit_code == 0
    told = json.loads((tmp_path / "imported" / "import.json").read_text())
    assert told["counts"]["creates"] == 1
    dump = tmp_path / "no.sql"
    for other in (["import", "--dump", dump], ["verdict", tmp_path / "no.json", "--dump", dump]):
        result = run(*other, "--out", tmp_path / "other")
        assert result.exit_code == 2 and "the same data" not in result.output
    result = run("advise", tmp_path / "no.yaml", "--out", tmp_path / "other")
    assert result.exit_code == 2 and "not both" not in result.output
    monkeypatch.setenv("CINDER_CACHE_DB", "mysql+pymysql://reader:geheim9@127.0.0.1:1/cinder")
    result = run("import", "--out", tmp_path / "other")
    assert result.exit_code == 2 and "127.0.0.1:1" in result.output and "geheim9" not in result.output
