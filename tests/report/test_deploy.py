"""What `advise` writes to deploy: oslo.config and YAML read the lines as meant, the scripts do as said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from oslo_config import cfg

from sim import api
from sim.inputs.scenario import Case
from sim.planner.advise import Advice
from sim.planner.lines import quota_commands
from sim.planner.measured import Runs
from sim.report.deploy import BACKEND_URL, GLANCE, PROJECT, USER, Known, write_deploy

DEPLOY = Path("sim/report/templates/deploy")
MINE = f"cinder-prefetch-{os.getuid()}@{os.uname().nodename}:"
KNOWN = Known({"flash-a": "gold", "flash-b": "silver"}, "p" * 32, "u" * 32, ("http", "file"))
# A cloud in a folder: images and volumes as files, and a line in `log` for each call.
STUB = r"""#!/bin/sh
cd "$CLOUD" || exit 1
echo "$*" >>log
case "$1 $2" in
"image show")
    [ -e "images/$3" ] || exit 1
    cat "images/$3" ;;
"volume create")
    case "$*" in *"--type broken"*) exit 1 ;; esac
    n=$(($(cat count) + 1)); echo $n >count
    for name; do :; done
    echo "$name" >volumes/v$n
    ls volumes | wc -l >>live
    echo v$n ;;
"volume show") case "$*" in *host*) echo "node@back#p$((${3#v} % 2))" ;; *) cat status ;; esac ;;
"volume list") for v in volumes/*; do [ -e "$v" ] && echo "${v#volumes/} $(cat "$v")"; done ;;
"volume delete") rm "volumes/$3" ;;
"project show") [ -e project ] && echo 0123abc ;;
"project create") : >project; echo 0123abc ;;
"user show") [ -e user ] && echo 4567def ;;
"user create") : >user; echo 4567def ;;
"quota set") ;;
*) exit 9 ;;
esac
"""


@pytest.fixture
def cloud(tmp_path: Path) -> dict[str, str]:
    """The environment in which `openstack` is the stub."""
    folder = tmp_path / "cloud"
    for name in ("bin", "images", "volumes"):
        (folder / name).mkdir(parents=True)
    stub = folder / "bin" / "openstack"
    stub.write_text(STUB)
    stub.chmod(0o755)
    (folder / "count").write_text("0\n")
    (folder / "status").write_text("available\n")
    for name, text in (
        ("i1", '{"size": 5, "min_disk": 0, "virtual_size": 2147483649}'),
        ("i2", '{\n  "min_disk": 7,\n  "size": 1073741824,\n  "virtual_size": null\n}'),
    ):
        (folder / "images" / name).write_text(text)
    for name in ("prefetch.sh", "tenant.sh"):
        shutil.copy(DEPLOY / name, tmp_path)
    (tmp_path / "prefetch-images.txt").write_text("# best first\ni1  # 9 creates\ni2\n")
    (tmp_path / "prefetch-types.txt").write_text("# type\nflash\t2\nbig disk\t1\tz1\n")
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CLOUD": str(folder), "TMPDIR": str(tmp_path), "PREFETCH_POLL_S": "1"}


def calls(environment: dict[str, str], verb: str) -> list[str]:
    log = Path(environment["CLOUD"]) / "log"
    return [line for line in log.read_text().splitlines() if line.startswith(verb)] if log.exists() else []


def script(folder: Path, name: str, environment: dict[str, str], *arguments: str) -> Any:
    command = [shutil.which("dash") or "sh", str(folder / name), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["prefetch.sh", "tenant.sh"])
def test_shellcheck_finds_nothing(name: str) -> None:
    if not (tool := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed")
    found = subprocess.run([tool, "-s", "sh", str(DEPLOY / name)], capture_output=True, text=True)
    assert found.stdout == ""


def test_each_image_is_prefetched_for_each_type(tmp_path: Path, cloud: dict[str, str]) -> None:
    done = script(tmp_path, "prefetch.sh", cloud)
    assert done.returncode == 0, done.stderr
    made = calls(cloud, "volume create")
    assert made == [
        f"volume create --image {image} --size {size} --type {kind} -f value -c id {MINE}{image}-{n}"
        for image, size in (("i1", 3), ("i2", 7))
        for kind, n in (("flash", 1), ("flash", 2), ("big disk --availability-zone z1", 1))
    ]
    assert done.stdout.splitlines()[:2] == [f"i1 flash: filled node@back#p{n}" for n in (1, 0)]
    assert not list((tmp_path / "cloud" / "volumes").iterdir())
    live = [int(line) for line in (tmp_path / "cloud" / "live").read_text().split()]
    assert max(live) == 2  # --jobs
    assert not (tmp_path / "cinder-prefetch.lock").exists()


def test_a_dry_run_changes_nothing(tmp_path: Path, cloud: dict[str, str]) -> None:
    done = script(tmp_path, "prefetch.sh", cloud, "--dry-run", "i2")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert all(
        line.startswith("openstack volume create --image i2 --size 7") for line in done.stdout.splitlines()
    )
    assert calls(cloud, "volume") == []


def test_a_run_after_one_that_was_killed_ends_its_work(tmp_path: Path, cloud: dict[str, str]) -> None:
    volumes = tmp_path / "cloud" / "volumes"
    (volumes / "old").write_text(f"{MINE}i1-1\n")
    others = {"user": "a-user's", "run": MINE.replace(":", "-b:") + "i1-1", "older": "cinder-prefetch-i1-1"}
    for name, text in others.items():
        (volumes / name).write_text(f"{text}\n")
    (tmp_path / "cinder-prefetch.lock").mkdir()
    (tmp_path / "cinder-prefetch.lock" / "pid").write_text("99999999\n")
    assert script(tmp_path, "prefetch.sh", cloud, "i2").returncode == 0
    assert {path.name for path in volumes.iterdir()} == set(others)


def test_a_volume_type_may_begin_with_the_mark_of_a_comment(tmp_path: Path, cloud: dict[str, str]) -> None:
    (tmp_path / "prefetch-types.txt").write_text("# types\n#fast\t1\n")
    done = script(tmp_path, "prefetch.sh", cloud, "--dry-run", "i2")
    assert done.returncode == 0 and "--type #fast" in done.stdout


def test_only_one_runs_at_a_time(tmp_path: Path, cloud: dict[str, str]) -> None:
    (tmp_path / "cinder-prefetch.lock").mkdir()
    (tmp_path / "cinder-prefetch.lock" / "pid").write_text(f"{os.getpid()}\n")
    done = script(tmp_path, "prefetch.sh", cloud)
    assert done.returncode == 1 and "already" in done.stderr
    assert calls(cloud, "volume") == [] and (tmp_path / "cinder-prefetch.lock").exists()


def test_the_lock_is_written_into_a_folder_of_its_own_only(tmp_path: Path, cloud: dict[str, str]) -> None:
    (tmp_path / "victim").write_text("mine\n")
    (tmp_path / "cinder-prefetch.lock").mkdir()
    (tmp_path / "cinder-prefetch.lock" / "pid").symlink_to(tmp_path / "victim")
    assert script(tmp_path, "prefetch.sh", cloud, "i2").returncode == 0
    assert (tmp_path / "victim").read_text() == "mine\n"


def test_without_a_lock_nothing_is_prefetched(tmp_path: Path, cloud: dict[str, str]) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rm").write_text("#!/bin/sh\nexit 1\n")  # another user's folder
    (tmp_path / "bin" / "rm").chmod(0o755)
    (tmp_path / "cinder-prefetch.lock").mkdir()
    path = {"PATH": f"{tmp_path / 'bin'}:{cloud['PATH']}"}
    done = script(tmp_path, "prefetch.sh", cloud | path)
    assert done.returncode == 1 and "cinder-prefetch.lock" in done.stderr
    assert calls(cloud, "volume") == []


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path, cloud: dict[str, str]) -> None:
    (tmp_path / "prefetch-types.txt").write_text("broken\t1\nflash\t1\n")
    done = script(tmp_path, "prefetch.sh", cloud, "gone", "i1")
    assert done.returncode == 1
    assert "image gone cannot be read" in done.stderr and "no volume of image i1 (broken)" in done.stderr
    assert "i1 flash: filled" in done.stdout
    (tmp_path / "cloud" / "status").write_text("error\n")
    done = script(tmp_path, "prefetch.sh", cloud, "i2")
    assert done.returncode == 1 and "is not available" in done.stderr
    assert not list((tmp_path / "cloud" / "volumes").iterdir())


@pytest.mark.parametrize(
    "arguments", [["--jobs"], ["--jobs", "0"], ["--timeout", "x"], ["--no"], ["--types", "no"]]
)
def test_wrong_options_are_refused(arguments: list[str], tmp_path: Path, cloud: dict[str, str]) -> None:
    done = script(tmp_path, "prefetch.sh", cloud, *arguments)
    assert done.returncode == 2 and done.stderr
    assert calls(cloud, "") == []


# -- the lines -----------------------------------------------------------------------------------------


def advice(
    today: Case, strategy: str, values: dict[str, Any], to: str, levers: list[str], runs: Runs = ()
) -> Advice:
    last = replace(today, scenario=api_varied(today, values))
    actions = [
        {"number": n, "lever": name, "action": name, "effort": "a setting", "file": "deploy/x", "hurts": []}
        for n, name in enumerate(levers, start=1)
    ]
    document = {"scenario": "s", "today": {"strategy": strategy}, "actions": actions}
    return Advice(document, today, last, to, runs, {"create_s": {}})


def api_varied(case: Case, values: dict[str, Any]) -> Any:
    return case.scenario.varied({tuple(key.split(".")): value for key, value in values.items()})


@pytest.fixture(scope="module")
def case() -> Case:
    return api.load("scenarios/smallest.yaml")


def oslo(path: Path, options: dict[str, list[cfg.Opt]]) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    for group, of in options.items():
        conf.register_opts(of, None if group == "DEFAULT" else group)
    conf(["--config-file", str(path)], project="x", default_config_files=[], default_config_dirs=[])
    return conf


def test_oslo_config_and_yaml_read_the_lines_as_meant(case: Case, tmp_path: Path) -> None:
    names = list(case.scenario.backends)
    known = replace(KNOWN, sections={names[0]: "gold"})
    values = {
        f"backends.{names[0]}.image_volume_cache_max_size_gb": 77,
        f"backends.{names[0]}.image_volume_cache_max_count": 9,
        f"backends.{names[0]}.image_volume_cache_enabled": True,
        "what_if.prefer_clones": True,
    }
    found = advice(case, "none", values, "combined", ["limits", "store on", "weigher"])
    write_deploy(found, known, tmp_path)
    deploy = tmp_path / "deploy"
    from cinder import context
    from cinder.image import glance
    from cinder.scheduler import host_manager
    from cinder.volume import driver

    options = {
        "DEFAULT": [*context.context_opts, *glance.image_opts, *host_manager.host_manager_opts],
        "gold": [*driver.volume_opts, *driver.image_opts],
        "glance": [cfg.StrOpt(name) for name in GLANCE],
    }
    conf = oslo(deploy / "cinder.conf", options)
    assert conf.cinder_internal_tenant_project_id == "p" * 32
    assert conf.cinder_internal_tenant_user_id == "u" * 32
    assert conf.gold.image_volume_cache_enabled is True
    assert (conf.gold.image_volume_cache_max_size_gb, conf.gold.image_volume_cache_max_count) == (77, 9)
    assert conf.scheduler_default_weighers[0] == "PreferClonesWeigher"
    assert conf.allowed_direct_url_schemes == ["http", "file", "cinder"]
    assert conf.glance.auth_type == "password"
    kolla = deploy / "kolla-ansible" / "etc" / "kolla" / "config" / "cinder"
    volume = oslo(kolla / "cinder-volume.conf", options)
    assert volume.gold.image_volume_cache_max_size_gb == 77
    scheduler = oslo(kolla / "cinder-scheduler.conf", options)
    assert scheduler.scheduler_default_weighers == conf.scheduler_default_weighers
    ansible = yaml.safe_load((deploy / "openstack-ansible" / "user_variables.yml").read_text())
    overrides = ansible["cinder_cinder_conf_overrides"]
    assert overrides["gold"] == {
        "image_volume_cache_enabled": True,
        "image_volume_cache_max_size_gb": 77,
        "image_volume_cache_max_count": 9,
    }
    helm = yaml.safe_load((deploy / "openstack-helm" / "values.yaml").read_text())["conf"]
    assert helm["backends"]["gold"] == overrides["gold"]
    # The chart makes the tenant itself: its ids stand in a file that cinder-volume reads after these.
    assert helm["cinder"]["DEFAULT"] == {
        name: value for name, value in overrides["DEFAULT"].items() if "internal_tenant" not in name
    }
    back = oslo(deploy / "undo" / "cinder.conf", options)
    assert back.gold.image_volume_cache_enabled is False
    assert back.allowed_direct_url_schemes == ["http", "file"]
    assert back.scheduler_default_weighers == ["CapacityWeigher"]
    readme = (deploy / "README.md").read_text()
    assert "CINDER_KEYSTONE_PASSWORD" in readme and "plugins/clone-first" in readme
    assert not (deploy / "tenant.sh").exists()


def test_the_tenant_is_made_and_written_into_every_file(
    case: Case, tmp_path: Path, cloud: dict[str, str]
) -> None:
    name = next(iter(case.scenario.backends))
    found = advice(case, "none", {}, "cache-only", [f"cache on: {name}"])
    write_deploy(found, Known(), tmp_path)
    for _ in range(2):  # it is safe to run again
        done = script(tmp_path / "deploy", "tenant.sh", cloud)
        assert done.returncode == 0, done.stderr
    files = [path for path in (tmp_path / "deploy").rglob("*") if path.suffix in (".conf", ".yml", ".yaml")]
    assert files
    texts = [
        path.read_text()
        for path in files
        if not {"undo", "measure", "openstack-helm"} & set(path.parts)
        and path.name != "cinder-scheduler.conf"
    ]
    assert texts and all("0123abc" in text and "4567def" in text for text in texts)
    assert not any(PROJECT in path.read_text() or USER in path.read_text() for path in files)
    assert len(calls(cloud, "project create")) == len(calls(cloud, "user create")) == 1


def test_a_backend_url_for_all_nodes(case: Case, tmp_path: Path) -> None:
    today = replace(case, scenario=api_varied(case, {"cinder.lock_scope": "node"}))
    found = advice(today, "cache-only", {"cinder.lock_scope": "cloud"}, "cache-only", ["coordination"])
    write_deploy(found, KNOWN, tmp_path)
    assert f"[coordination]\nbackend_url = {BACKEND_URL}" in (tmp_path / "deploy" / "cinder.conf").read_text()
    assert "file://$state_path" in (tmp_path / "deploy" / "undo" / "cinder.conf").read_text()


def test_nothing_to_do_writes_no_lines(case: Case, tmp_path: Path) -> None:
    write_deploy(advice(case, "none", {}, "none", []), KNOWN, tmp_path)
    assert [path.name for path in (tmp_path / "deploy").iterdir()] == ["README.md"]
    assert "Nothing is worth doing" in (tmp_path / "deploy" / "README.md").read_text()


def test_an_import_tells_sections_and_the_tenant(tmp_path: Path) -> None:
    told = {"sections": {"a": "b"}, "project": "p", "user": "u", "schemes": ["cinder"]}
    (tmp_path / "import.json").write_text(json.dumps({"cinder_conf": told}))
    assert Known.of(tmp_path) == Known({"a": "b"}, "p", "u", ["cinder"])
    (tmp_path / "import.json").write_text(json.dumps({"cinder_conf": None}))
    assert Known.of(tmp_path) == Known() == Known.of(tmp_path / "none")


def test_quotas_of_an_unknown_project_come_after_it_is_made(
    case: Case, tmp_path: Path, cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    today = replace(case, scenario=api_varied(case, {"cinder.internal_tenant_quota_volumes": 1}))
    needed = {"volumes": 9, "gigabytes": None}
    monkeypatch.setattr("sim.report.deploy.needed_quotas", lambda *_: needed)
    more = {"cinder.internal_tenant_quota_volumes": None}
    write_deploy(advice(today, "cache-only", more, "cache-only", ["quota"]), Known(), tmp_path)
    deploy = tmp_path / "deploy"
    readme = (deploy / "README.md").read_text()
    assert not (deploy / "cinder.conf").exists()
    assert 0 < readme.index("./tenant.sh") < readme.index("./quotas.sh")
    assert script(deploy, "tenant.sh", cloud).returncode == 0
    assert script(deploy, "quotas.sh", cloud).returncode == 0
    assert calls(cloud, "quota") == ["quota set --volumes 9 0123abc"]


def test_names_are_words_of_the_shell(tmp_path: Path, cloud: dict[str, str]) -> None:
    mean = "p'; touch pwned; echo $(id) #"
    (tmp_path / "quotas.sh").write_text("\n".join(quota_commands({"volumes": 2, f"volumes_{mean}": 3}, mean)))
    assert script(tmp_path, "quotas.sh", cloud).returncode == 0
    assert calls(cloud, "quota") == [
        f"quota set --volumes 2 {mean}",
        f"quota set --volumes 3 --volume-type {mean} {mean}",
    ]
    assert not list(tmp_path.rglob("pwned"))


def test_the_folder_has_only_what_the_actions_need(case: Case, tmp_path: Path) -> None:
    found = advice(case, "cache-only", {"what_if.prefetch": True}, "cache-only", ["prefetch"])
    write_deploy(found, Known(), tmp_path)
    there = {path.name for path in (tmp_path / "deploy").iterdir()}
    assert "prefetch.sh" in there and not there & {"tenant.sh", "quotas.sh", "cinder.conf"}
    assert "tenant.sh" not in (tmp_path / "deploy" / "README.md").read_text()
