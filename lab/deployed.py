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
    """One lab, from today's limits to those of an advice and back. `out` gets the tables."""

    case: Case
    lab: cloud.Lab
    out: Path
    days: Days
    glance_ids: dict[str, str]
    why: list[dict[str, str]] = field(default_factory=list)

    def play(self) -> int:
        """Play the load from the next day on, and return that day's number."""
        player = Player(self.case, self.lab)
        player.glance_ids = self.glance_ids
        day = int(self.days.of(time.time())) + 1
        time.sleep(self.days.begin + day * self.days.seconds - 1 - time.time())
        seen = player.play()
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
        code, told = self.sim("advise", *sources, "--warm-up", "1d", "--out", folder)
        if code:
            raise cloud.Broken("cinder-cache advise failed")
        (self.out / "advice.txt").write_text(told)
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

    def stop_database(self) -> None:
        """MariaDB goes away for a while."""
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
        run = Deployed(case, lab, out, Days(int(time.time()) + 2, DAY_S), first.glance_ids)
        before = {path: read(path) for path in run.confs()}
        advice = run.advise(run.play())
        deploy, promise = advice / "deploy", advice / "promise.json"
        with exporter.running(lab, promise) as told:
            run.deploy(deploy / "cinder.conf")
            run.script(deploy / "prefetch.sh", "--jobs", JOBS)
            run.script(deploy / "measure/measure.sh", "--storm", STORM, "--out", folder / "measured.csv")
            run.stop_database()
            deployed = run.play()
            watched, costs = told.figures(), _costs(told)
        verdicts = run.verdict("planned limits", promise, deployed, DAYS)
        verdicts += run.verdict("too few days", promise, deployed, EARLY)
        run.deploy(deploy / "undo" / "cinder.conf")
        left = sum(read(path) != old for path, old in before.items())
        verdicts += run.verdict("other limits", promise, run.play(), DAYS)
    seen = [{"figure": name, "prometheus": one, "lab": other} for name, (one, other) in watched.items()]
    tables = {
        "watch": pd.DataFrame(seen + costs).round(4),
        "measured": beside(deploy / "measure/promised.csv", folder / "measured.csv"),
        "verdicts": pd.DataFrame(verdicts).round(4),
        "why": pd.DataFrame(run.why),
    }
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False)
    shutil.copy(deploy / "cinder.conf", out / "cinder.conf")
    return problems(tables["verdicts"], watched, left, run.why)


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


def _costs(told: exporter.Exporter) -> list[dict[str, Any]]:
    """How the watch itself did, as far as Prometheus and the kernel say."""
    past = f"[{round(time.time() - told.begin)}s]"
    target = '{job="cinder-cache"}'
    rows = {
        "minutes of scraping": (time.time() - told.begin) / 60,
        "scrapes": told.value(f"count_over_time(up{target}{past})"),
        "scrapes that failed": told.value(
            f"count_over_time(up{target}{past}) - sum_over_time(up{target}{past})"
        ),
        "scrapes without a database": told.value(f"count_over_time((cinder_cache_up == 0){past[:-1]}:5s])"),
        "readings that failed": told.value("cinder_cache_read_errors_total"),
        "settings that drift": told.value("sum(cinder_cache_drift)"),
        "MiB of memory at the start": told.first_kib / 1024,
        "MiB of memory at the end": told.kib() / 1024,
    }
    return [{"figure": name, "prometheus": value} for name, value in rows.items()]


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


def problems(
    judged: pd.DataFrame, watched: dict[str, tuple[float, float]], left: int, why: list[dict[str, str]]
) -> list[str]:
    """A line for each thing that is not as it must be."""
    wanted = {"planned limits": {"kept"}, "too few days": {"cannot tell yet"}}
    lines = [
        f"{run}: {row.backend} {row.figure}: {row.verdict}"
        for run, allowed in wanted.items()
        for row in judged[judged["run"] == run].itertuples()
        if row.verdict not in allowed
    ]
    other = judged[judged["run"] == "other limits"]
    if not (other["verdict"] == "not kept").any():
        lines.append("other limits: nothing is not kept")
    settings = [one["why"] for one in why if one["run"] == "other limits" and one["kind"] == "settings"]
    if not any("image_volume_cache_max" in text for text in settings):
        lines.append("other limits: no limit is named")
    if any(one["run"] == "planned limits" and one["kind"] == "settings" for one in why):
        lines.append("planned limits: a setting is not as promised")
    lines += [
        f"watch: {name} is {one:g}, and {other:g} in the lab"
        for name, (one, other) in watched.items()
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
