"""What `advise` says about a lab is deployed in it, measured, judged and undone, as an operator would do it.

A history, `advise`, the lines of cinder.conf, `prefetch.sh`, `measure.sh`, the same load again under `watch`
and Prometheus, `verdict`; then `undo`, the same load once more, and `verdict` again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lab import cloud, conf, exporter, measure
from lab.days import Days
from lab.player import Player
from sim.inputs.scenario import Case
from sim.workload.loading import load

SCENARIO = Path(__file__).parent / "deployed.yaml"
CLIENT = cloud.ROOT / ".venv-openstack" / "bin"
DAYS, DAY_S = 14, 40  # of the load in deployed.csv
PLANNED, FEW, OTHER = "planned limits", "too few days", "other limits"
EARLY = 4  # days that are too few for a verdict
STOPPED_S = 30
JOBS = 8  # volumes at once of prefetch.sh
STORM = 10


def missing() -> str:
    """What this machine lacks, beside what every lab needs, or nothing."""
    if lacking := cloud.missing():
        return lacking
    if shutil.which("prometheus") is None:
        return "no prometheus: install Debian's package of that name"
    return "" if (CLIENT / "openstack").exists() else "no openstack client: make .venv-openstack/ready"


@dataclass
class Deployed:
    """One lab, from today's limits to those of an advice and back. `why`: what verdicts name as reasons."""

    case: Case
    lab: cloud.Lab
    days: Days
    glance_ids: dict[str, str]
    why: list[dict[str, str]] = field(default_factory=list)

    def play(self) -> int:
        """Play the load from the next day on, and return that day's number."""
        player = Player(self.case, self.lab)
        player.glance_ids = self.glance_ids
        length_s = self.days.seconds
        time.sleep(-(self.days.of(time.time()) + 1 / length_s) % 1 * length_s)  # a play begins a second later
        seen = player.play()
        day = round(self.days.of(player.start))
        sources = measure.sources_of(seen, measure.operations_of(self.lab.folder))
        counts = pd.Series(sources).value_counts().to_dict()
        print(f"played {DAYS} days from day {day} on: {counts}", flush=True)
        return day

    def sim(self, name: str, *arguments: Any) -> tuple[int, str]:
        """A command of cinder-cache in the lab's folder: its exit code and what it printed."""
        command = [sys.executable, "-m", "sim", name, *map(str, arguments)]
        env = {**os.environ, "PYTHONPATH": str(cloud.ROOT)}
        done = subprocess.run(command, cwd=self.lab.folder, env=env, capture_output=True, text=True)
        if done.returncode not in (0, 1) or "Traceback" in done.stderr:
            raise cloud.Broken(f"cinder-cache {name}: {done.stderr}")
        print(done.stdout, flush=True)
        return done.returncode, done.stdout

    def sources(self) -> list[str]:
        """The options that name the lab's sources: its files, and the copy of its database."""
        services = [part for path in self.confs() for part in ("--service", path.name)]
        return ["--conf", "cinder.conf", *services, "--db", self.days.copy(self.lab)]

    def confs(self) -> list[Path]:
        """The files of the nodes."""
        return [self.lab.folder / f"cinder-{node}.conf" for node in conf.nodes(self.lab.scenario)]

    def between(self, day: int, count: int) -> list[str]:
        """The options that name a period."""
        return ["--since", self.days.date(day), "--until", self.days.date(day + count)]

    def advise(self, day: int) -> Path:
        """Ask for advice on the days from `day` on."""
        folder = self.lab.folder / "advice"
        sources = [*self.sources(), "--glance", "lab", *self.between(day, DAYS)]
        # Not the first day: the caches are empty then, and prefetch.sh fills them before the next load.
        code, _ = self.sim("advise", *sources, "--warm-up", "1d", "--out", folder)
        if code:
            raise cloud.Broken("cinder-cache advise failed")
        return folder

    def verdict(self, run: str, promise: Path, day: int, count: int) -> list[dict[str, Any]]:
        """The rows of the verdict on so many days; the words go to the screen."""
        given = [promise, *self.sources(), *self.between(day, count)]
        self.sim("verdict", *given)
        code, told = self.sim("verdict", *given, "--json")
        rows, why = rows_of(run, code, json.loads(told))
        self.why += why
        return rows

    def deploy(self, lines: Path) -> None:
        """Put lines of cinder.conf into the files of the services, and start cinder-volume again."""
        for path in [self.lab.folder / "cinder.conf", *self.confs()]:
            merge(path, lines)
        for name in self.lab.volume_services():
            self.lab.end(name)
            self.lab.restart(name)
        cloud.ready(self.lab)

    def script(self, path: Path, *arguments: Any) -> str:
        """Run a script of the advice as it is, with the `openstack` command on the real services."""
        env = {**os.environ, "OS_CLOUD": "lab", "OS_CLIENT_CONFIG_FILE": str(self.lab.folder / "clouds.yaml")}
        env |= {"PATH": f"{CLIENT}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(self.lab.folder)}
        command = ["sh", str(path), *map(str, arguments)]
        done = subprocess.run(command, cwd=self.lab.folder, env=env, capture_output=True, text=True)
        print(done.stdout + done.stderr, flush=True)
        if done.returncode:
            raise cloud.Broken(f"{path.name} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def empty_caches(self) -> None:
        """Delete the caches' image-volumes: smaller limits alone delete none."""
        kept = f"select id from volumes where deleted = 0 and project_id = '{conf.INTERNAL_PROJECT}'"
        for row in self.lab.query(kept):
            self.lab.block_storage().delete(f"/volumes/{row['id']}", raise_exc=False)
        while self.lab.query(kept):
            time.sleep(1)

    def stop_database(self) -> None:
        """MariaDB goes away for a while, when nothing is under way: a delete that is cut off never ends."""
        while self.lab.query("select id from volumes where deleted = 0 and status <> 'available'"):
            time.sleep(1)
        self.lab.end("0-mariadb")
        time.sleep(STOPPED_S)
        self.lab.restart("0-mariadb")
        while not cloud.listens(self.lab.ports["mariadb"]):
            time.sleep(0.2)
        time.sleep(STOPPED_S)  # Cinder's services report again


def whole(folder: Path, out: Path) -> list[str]:
    """Do all of it in a new folder; the tables go to `out`. Returns what does not hold."""
    case = load(SCENARIO)
    out.mkdir(parents=True, exist_ok=True)
    with cloud.running(case, folder) as lab:
        first = Player(case, lab)
        first.upload(folder.parent / "images")
        run = Deployed(case, lab, Days(int(time.time()) + 2, DAY_S), first.glance_ids)
        before = {path: read(path) for path in run.confs()}
        advice = run.advise(run.play())
        deploy, promise = advice / "deploy", advice / "promise.json"
        with exporter.running(lab, promise, PLANNED) as told:
            run.deploy(deploy / "cinder.conf")
            run.script(deploy / "prefetch.sh", "--jobs", JOBS)
            run.script(deploy / "measure/measure.sh", "--storm", STORM, "--out", folder / "measured.csv")
            run.script(deploy / "prefetch.sh", "--jobs", JOBS)  # full caches lost entries to what it measured
            run.stop_database()
            deployed = run.play()
            watched = told.rows()
        verdicts = run.verdict(PLANNED, promise, deployed, DAYS)
        verdicts += run.verdict(FEW, promise, deployed, EARLY)
        run.deploy(deploy / "undo" / "cinder.conf")
        left = sum(read(path) != old for path, old in before.items())
        run.empty_caches()
        with exporter.running(lab, promise, OTHER) as told:
            undone = run.play()
            watched += told.rows()
        verdicts += run.verdict(OTHER, promise, undone, DAYS)
    tables = {
        "watch": pd.DataFrame(watched).round(4),
        "measured": beside(deploy / "measure/promised.csv", folder / "measured.csv"),
        "verdicts": pd.DataFrame(verdicts).round(4),
        "why": pd.DataFrame(run.why),
    }
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False)
    shutil.copy(deploy / "cinder.conf", out)
    shutil.copy(advice / "advice.csv", out)
    return problems(tables["verdicts"], tables["watch"], left, run.why)


def rows_of(
    run: str, code: int, document: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The rows of a verdict's figures, and of what explains them."""
    kept = ("backend", "figure", "promised", "observed", "observed_low", "observed_high", "creates")
    rows = [
        {"run": run, "exit_code": code, **{name: row[name] for name in (*kept, "verdict", "wait_days")}}
        for row in document["figures"]
    ]
    return rows, [{"run": run, "kind": one["kind"], "why": one["text"]} for one in document["why"]]


def beside(promised: Path, measured: Path) -> pd.DataFrame:
    """What `advise` promised of creates, beside what `measure.sh` found: by volume type and kind."""
    found = pd.read_csv(measured)
    made = found[found["status"] == "available"].groupby(["volume_type", "kind"])["create_s"]
    seen = made.agg(
        measured="count", measured_p50_s="median", measured_p95_s=lambda took: took.quantile(0.95)
    )
    told = pd.read_csv(promised).rename(columns={"creates": "promised", "p50_s": "promised_p50_s"})
    told = told.rename(columns={"p95_s": "promised_p95_s"})
    return told.merge(seen.reset_index(), on=["volume_type", "kind"], how="outer").round(2)


def problems(judged: pd.DataFrame, watched: pd.DataFrame, left: int, why: list[dict[str, str]]) -> list[str]:
    """A line for each thing that is not as it must be."""
    wanted = {PLANNED: {"kept"}, FEW: {"cannot tell yet"}}
    lines = [
        f"{run}: {row.backend} {row.figure}: {row.verdict}"
        for run, allowed in wanted.items()
        for row in judged[judged["run"] == run].itertuples()
        if row.verdict not in allowed
    ]
    other = judged[judged["run"] == OTHER]
    if not (other["verdict"] == "not kept").any():
        lines.append(f"{OTHER}: nothing is not kept")
    settings = [one["why"] for one in why if one["run"] == OTHER and one["kind"] == "settings"]
    if not any("image_volume_cache_max" in text for text in settings):
        lines.append(f"{OTHER}: no limit is named")
    if any(one["run"] == PLANNED and one["kind"] == "settings" for one in why):
        lines.append(f"{PLANNED}: a setting is not as promised")
    seen = watched[watched["lab"].notna()]
    lines += [
        f"watch: {name} is {one:g}, and {other:g} in the lab"
        for name, one, other in zip(seen["figure"], seen["prometheus"], seen["lab"], strict=True)
        if not abs(one - other) < 1e-6  # NaN, too
    ]
    if left:
        lines.append(f"undo: {left} files are not as before")
    return lines


# -- cinder.conf ---------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, dict[str, list[str]]]:
    """The values of each option by section."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in path.read_text().splitlines():
        name, mark, value = (part.strip() for part in line.partition("="))
        if line.startswith("["):
            section = line.strip("[] ")
        elif mark and not line.startswith("#"):
            found.setdefault(section, {}).setdefault(name, []).append(value)
    return found


def merge(path: Path, lines: Path) -> None:
    """Put lines into the sections of a file; those of a backend only where the file has it."""
    found = read(path)
    for section, options in read(lines).items():
        if section in found or section in ("DEFAULT", "glance", "coordination"):
            found[section] = found.get(section, {}) | options
    conf.write_file(path, found)
