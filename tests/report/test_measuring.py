"""The files that measure a cloud: the script does as it says, and leaves nothing; Rally accepts its task."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim import api
from sim.inputs.images import Image
from sim.report.measuring import measuring, promised
from tests.report.test_deploy import advice

MEASURE = Path("sim/report/templates/deploy/measure")
RALLY = Path(".venv-rally/bin/python")
MINE = f"cinder-measure-{os.getuid()}@{os.uname().nodename}"
# A cloud in a folder, with state: images, volumes, and the copies that the cache of each pool keeps. Pools
# take turns. The first volume of an image on a pool takes 100.25 s, others 2.5 s.
STUB = r"""#!/bin/sh
cd "$CLOUD" || exit 1
echo "$*" >>log
last() { for each; do :; done; echo "$each"; }
locked() { until mkdir lock 2>/dev/null; do sleep 0.01; done; }
case "$1 $2" in
"image show")
    [ -e "images/$3" ] || exit 1
    echo '{"disk_format": "qcow2", "min_disk": 0, "size": 5, "virtual_size": 2147483649,'
    echo '"container_format": "bare"}' ;;
"image save") [ -e "images/$5" ] && echo data >"$4" ;;
"image create")
    locked; n=$(($(cat count) + 1)); echo $n >count; rmdir lock
    last "$@" >"images/copy$n"; echo "copy$n" ;;
"image list") grep -lxF "$4" images/* | sed 's/.*\///' ;;
"image delete") rm "images/$3" ;;
"volume create")
    case "$*" in *"--type broken"*) exit 1 ;; esac
    locked
    n=$(($(cat count) + 1)); echo $n >count
    turn=$(($(cat turn) + 1)); echo $turn >turn
    host=node@back#p$((turn % 2))
    if [ -e "volumes/kept-$4-$host" ]; then ready=00:00:12.5; else ready=00:01:50.25; fi
    case "$*" in *"--type bare"*) ;; *) echo "image-$4 x x $host" >"volumes/kept-$4-$host" ;; esac
    echo "$(last "$@") 2026-02-28T00:00:10 2026-02-28T$ready $host" >volumes/v$n
    rmdir lock
    sleep "${SLOW:-0}"
    echo v$n ;;
"volume show")
    [ -e "volumes/$3" ] || exit 1
    read -r name made ready host <"volumes/$3"
    case "$*" in
        *json*)
            echo "{\"created_at\": \"$made\", \"updated_at\": \"$ready\","
            echo "\"os-vol-host-attr:host\": \"$host\"}" ;;
        *) cat status ;;
    esac ;;
"volume list")
    case "$*" in
        *--name*) wanted=$5 form= ;;
        *) wanted= form=yes ;;
    esac
    for v in volumes/*; do
        read -r name _ <"$v" || continue
        [ -n "$wanted" ] && [ "$name" != "$wanted" ] || echo "${v#volumes/}${form:+ $name}"
    done ;;
"volume delete") rm "volumes/$3" ;;
*) exit 9 ;;
esac
"""


@pytest.fixture
def cloud(tmp_path: Path) -> dict[str, str]:
    """The environment in which `openstack` is the stub; the script lies in the folder."""
    folder = tmp_path / "cloud"
    for name in ("bin", "images", "volumes"):
        (folder / name).mkdir(parents=True)
    stub = folder / "bin" / "openstack"
    stub.write_text(STUB)
    stub.chmod(0o755)
    for name, text in {"count": "0", "turn": "0", "status": "available", "images/golden": "golden"}.items():
        (folder / name).write_text(f"{text}\n")
    (folder / "volumes" / "users").write_text("web x x node@back#p0\n")
    shutil.copy(MEASURE / "measure.sh", tmp_path)
    (tmp_path / "image.txt").write_text("golden\n")
    (tmp_path / "types.txt").write_text("# type\nflash\t2\nbig disk\t1\tz1\n")
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CLOUD": str(folder), "TMPDIR": str(tmp_path), "MEASURE_POLL_S": "1"}


def started(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [shutil.which("dash") or "sh", str(folder / "measure.sh"), *arguments]
    return subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def done(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    process = started(folder, environment, *arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def measured(folder: Path) -> list[dict[str, str]]:
    with (folder / "measured.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def left(environment: dict[str, str]) -> set[str]:
    folder = Path(environment["CLOUD"])
    return {path.name for part in ("images", "volumes") for path in (folder / part).iterdir()}


def test_cold_warm_and_many_at_once_are_measured(tmp_path: Path, cloud: dict[str, str]) -> None:
    code, _, err = done(tmp_path, cloud, "--warm", "3", "--storm", "4")
    assert code == 0, err
    rows = measured(tmp_path)
    one = ["cold", "cold", "warm", "warm", *["storm"] * 4]  # two pools, which take turns
    assert [row["kind"] for row in rows] == one * 2
    assert [row["volume_type"] for row in rows] == ["flash"] * 8 + ["big disk"] * 8
    took = {kind: {row["create_s"] for row in rows if row["kind"] == kind} for kind in set(one)}
    assert took == {"cold": {"100.250"}, "warm": {"2.500"}, "storm": {"100.250", "2.500"}}
    assert {row["size_gib"] for row in rows} == {"3"} and {row["status"] for row in rows} == {"available"}
    assert len({row["image_id"] for row in rows}) == 4  # a fresh copy for each part
    assert left(cloud) == {"golden", "users"}
    log = (tmp_path / "cloud" / "log").read_text()
    assert log.count("volume create") == 16 == log.count(f"{MINE}:copy")
    assert log.count("--type big disk --availability-zone z1") == 8


def test_a_pool_that_caches_nothing_takes_as_long_each_time(tmp_path: Path, cloud: dict[str, str]) -> None:
    (tmp_path / "types.txt").write_text("bare\t2\n")
    assert done(tmp_path, cloud, "--storm", "0")[0] == 0
    rows = measured(tmp_path)
    assert [row["kind"] for row in rows] == ["cold"] * 2 + ["warm"] * 4
    assert {row["create_s"] for row in rows} == {"100.250"}


def test_a_dry_run_changes_nothing(tmp_path: Path, cloud: dict[str, str]) -> None:
    code, out, _ = done(tmp_path, cloud, "--dry-run")
    assert code == 0 and len(out.splitlines()) == 1 + 3 * 2
    assert "volume create --image COPY --size 3 --type big disk --availability-zone z1" in out
    assert (tmp_path / "cloud" / "log").read_text().splitlines() == [
        "image show golden -f json -c virtual_size -c size -c min_disk -c disk_format -c container_format"
    ]
    assert not (tmp_path / "measured.csv").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("group", [True, False], ids=["group", "alone"])
def test_a_signal_leaves_nothing(
    number: signal.Signals, group: bool, tmp_path: Path, cloud: dict[str, str]
) -> None:
    # Tests in the background ignore Ctrl-C, and a shell cannot trap what it was told to ignore.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = started(tmp_path, {**cloud, "SLOW": "0.5"}, "--warm", "0", "--storm", "3")
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 30
    while not len([name for name in left(cloud) if name.startswith("v")]) >= 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, number) if group else os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert left(cloud) == {"golden", "users"}
    assert {path.name for path in tmp_path.iterdir()} == {"cloud", "measure.sh", "image.txt", "types.txt"}


def test_what_a_killed_run_left_goes_first(tmp_path: Path, cloud: dict[str, str]) -> None:
    folder = tmp_path / "cloud"
    (folder / "images" / "old").write_text(f"{MINE}\n")
    (folder / "images" / "elsewhere").write_text(f"{MINE}-b\n")
    (folder / "volumes" / "old-volume").write_text(f"{MINE}:old x x h\n")
    (folder / "volumes" / "elsewhere-volume").write_text(f"{MINE}-b:old x x h\n")
    (folder / "volumes" / "old-kept").write_text("image-old x x h\n")
    (tmp_path / "cinder-measure.lock").mkdir()
    (tmp_path / "cinder-measure.lock" / "pid").write_text("99999999\n")
    assert done(tmp_path, cloud, "--warm", "0", "--storm", "0")[0] == 0
    assert left(cloud) == {"golden", "users", "elsewhere", "elsewhere-volume"}


def test_only_one_measures_at_a_time(tmp_path: Path, cloud: dict[str, str]) -> None:
    (tmp_path / "cinder-measure.lock").mkdir()
    (tmp_path / "cinder-measure.lock" / "pid").write_text(f"{os.getpid()}\n")
    code, _, err = done(tmp_path, cloud)
    assert code == 1 and "already" in err and (tmp_path / "cinder-measure.lock").exists()
    assert not (tmp_path / "cloud" / "log").exists()


def test_what_fails_is_told(tmp_path: Path, cloud: dict[str, str]) -> None:
    (tmp_path / "types.txt").write_text("broken\t1\nflash\t1\n")
    code, _, err = done(tmp_path, cloud, "--warm", "0", "--storm", "1")
    assert code == 1 and err.count("no volume on broken") == 2
    assert [row["volume_type"] for row in measured(tmp_path)] == ["flash", "flash"]
    (tmp_path / "cloud" / "status").write_text("error\n")
    code, _, err = done(tmp_path, cloud, "--warm", "0", "--storm", "0")
    assert code == 1 and "is error" in err
    assert [(row["status"], row["create_s"]) for row in measured(tmp_path)] == [("error", "")]
    code, _, err = done(tmp_path, cloud, "nothing")
    assert code == 1 and "image nothing cannot be read" in err
    assert left(cloud) == {"golden", "users"}


@pytest.mark.parametrize(
    "arguments", [["--warm"], ["--storm", "x"], ["--timeout", "0"], ["--no"], ["--types", "no"], ["a", "b"]]
)
def test_wrong_options_are_refused(arguments: list[str], tmp_path: Path, cloud: dict[str, str]) -> None:
    code, _, err = done(tmp_path, cloud, *arguments)
    assert code == 2 and err and not (tmp_path / "cloud" / "log").exists()


def test_shellcheck_finds_nothing_in_the_measuring_script() -> None:
    if not (tool := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed")
    found = subprocess.run([tool, "-s", "sh", str(MEASURE / "measure.sh")], capture_output=True, text=True)
    assert found.stdout == ""


# -- the files of an advice ----------------------------------------------------------------------------

VALIDATE = """
import json, sys
from rally import api as rally, plugins
from rally.task import engine, task_cfg
import yaml
plugins.load()
given = json.loads(sys.argv[2])
text = rally._Task(None).render_template(open(sys.argv[1]).read(), **given)
task = task_cfg.TaskConfig(yaml.safe_load(text))
told = []
for subtask in task.subtasks:
    for workload in subtask["workloads"]:
        told.append([workload["name"], workload["args"], workload["runner_type"], workload["runner"]])
        engine.TaskEngine(task, None, None)._validate_workload(workload, vtype="syntax")
workload["contexts"]["images"].pop("image_url")
try:
    engine.TaskEngine(task, None, None)._validate_workload(workload, vtype="syntax")
except Exception as error:
    print(json.dumps([told, str(error)]))
"""


def files(tmp_path: Path, disk_format: str = "qcow2") -> dict[str, str]:
    case = api.load("scenarios/two_tiers.yaml")
    image = Image(
        image_id="golden",
        name="golden",
        disk_format=disk_format,
        container_format="bare",
        size_bytes=10**9,
        virtual_size_bytes=2 * 2**30 + 1,
    )
    given = {"backends.flash-a.availability_zone": "z1"}
    case = replace(case, images={**case.images, "golden": image})
    told = advice(case, "none", given, "cache-only", ["cache on"])
    told.promise["create_s"] = {"flash": {"cold": {"creates": 2, "p50_s": 30.0, "p95_s": 40.0}}}
    texts = {path.name: text for path, text in measuring(told, image).items()}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return texts


def test_the_files_know_types_zones_and_the_image(tmp_path: Path) -> None:
    texts = files(tmp_path)
    assert texts["image.txt"] == "golden\n"
    lines = [line.split("\t") for line in texts["types.txt"].splitlines()[1:]]
    assert ["flash", "z1"] in [[line[0], *line[2:]] for line in lines]
    assert {line[0] for line in lines} == set(api.load("scenarios/two_tiers.yaml").scenario.tiers)
    promised = texts["promised.csv"].splitlines()
    assert promised[:2] == ["volume_type,kind,creates,p50_s,p95_s", "flash,cold,2,30.0,40.0"]
    assert [line.split(",")[:3] for line in promised[2:]] == [
        [tier, "storm", "10"] for tier in api.load("scenarios/two_tiers.yaml").scenario.tiers
    ]


def test_the_promised_storm_is_that_of_the_script() -> None:
    # One pool and an image that no cache has: the first create downloads 3,584 MiB at 100 MiB/s, writes them
    # at 400 MiB/s and clones them for the cache. The nine others wait for its lock, and clone all at once.
    case = api.load("scenarios/smallest.yaml")
    told = promised(advice(case, "none", {}, "cache-only", ["cache on"]), case.images["ubuntu"])
    (row,) = told.to_dict("records")
    fill_s = 1 + 3584 / 100 + 3584 / 400 + 2
    assert (row["volume_type"], row["kind"], row["creates"]) == ("flash", "storm", 10)
    assert row["p50_s"] == row["p95_s"] == pytest.approx(fill_s + 2)


def test_rally_accepts_the_task(tmp_path: Path) -> None:
    if not RALLY.exists():
        if os.environ.get("REQUIRE_SERVERS"):
            pytest.fail("there is no .venv-rally: make .venv-rally/ready")
        pytest.skip("Rally is not installed: make .venv-rally/ready")
    files(tmp_path)
    given = json.dumps({"storm": 25, "image": "http://images/golden.img"})
    command = [str(RALLY), "-W", "ignore", "-c", VALIDATE, str(tmp_path / "rally.yaml"), given]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, env=without_path())
    assert found.returncode == 0, found.stderr
    told: list[list[Any]]
    told, refused = json.loads(found.stdout)
    assert "image_url" in refused
    types = (tmp_path / "types.txt").read_text().splitlines()[1:]
    assert len(told) == 2 * len(types)
    assert {name for name, *_ in told} == {"CinderVolumes.create_and_delete_volume"}
    assert [runner for *_, runner, _ in told] == ["serial", "constant"] * len(types)
    assert told[0][3] == {"times": 6} and told[1][3] == {"times": 25, "concurrency": 25}
    assert told[0][1]["size"] == 3 and told[0][1]["image"] == {"name": "cinder-measure"}
    zones = {(args["volume_type"], args.get("availability_zone")) for _, args, *_ in told}
    assert ("flash", "z1") in zones


def without_path() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
