"""`cinder-cache watch` on a lab, and Debian's Prometheus, which scrapes it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import cloud, conf

INTERVAL_S, JOB = 5, "cinder-cache"
SETTLED_S = 30  # after which a process has all that it needs
RULES = cloud.ROOT / "docs" / "watch" / "rules.yml"


@dataclass(frozen=True)
class Exporter:
    """A watch and a Prometheus that run, in a part of the experiment. `begin`: their start in Unix time."""

    name: str
    lab: cloud.Lab
    watch: subprocess.Popen[bytes]
    address: str
    begin: float
    first_kib: int

    def value(self, query: str) -> float:
        """What Prometheus answers to a query of one number."""
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else float("nan")

    def rows(self) -> list[dict[str, Any]]:
        """What Prometheus has of each figure of the cloud since the begin, and what the lab itself says; and
        how the watch did."""
        time.sleep(3 * INTERVAL_S)  # the watch reads once more, and Prometheus then
        seen = [
            {"run": self.name, "figure": name, "prometheus": one, "lab": other}
            for name, (one, other) in self._figures().items()
        ]
        return seen + [
            {"run": self.name, "figure": name, "prometheus": one} for name, one in self._costs().items()
        ]

    def _costs(self) -> dict[str, float]:
        """How the watch itself did, as far as Prometheus and the kernel say."""
        past = f"[{round(time.time() - self.begin)}s"
        scraped = f'up{{job="{JOB}"}}{past}]'
        return {
            "minutes of scraping": (time.time() - self.begin) / 60,
            "scrapes": self.value(f"count_over_time({scraped})"),
            "scrapes that failed": self.value(f"count_over_time({scraped}) - sum_over_time({scraped})"),
            "scrapes without a database": self.value(
                f"sum_over_time((cinder_cache_up == bool 0){past}:{INTERVAL_S}s])"
            ),
            "readings that failed": self.value("cinder_cache_read_errors_total"),
            "settings that drift": self.value("sum(cinder_cache_drift)"),
            "MiB of memory at the start": self.first_kib / 1024,
            "MiB of memory at the end": _kib(self.watch.pid) / 1024,
        }

    def _figures(self) -> dict[str, tuple[float, float]]:
        clones, creates = (
            self.value(f"sum(cinder_cache_image_{name}_total)") for name in ("clones", "creates")
        )
        own = _own(self.lab, self.begin)
        names = ("fills", "evictions")
        shown = {name: self.value(f"sum(cinder_cache_{name}_total)") for name in names}
        shown |= {name: self.value(f"sum(cinder_cache_{name})") for name in ("entries", "gib")}
        shown |= {"creates from images": creates, "clones": clones, "clone-hit rate": clones / creates}
        return {name: (shown[name], own[name]) for name in own}


@contextmanager
def running(lab: cloud.Lab, promise: Path, name: str) -> Iterator[Exporter]:
    """A watch that counts from now on, and a Prometheus with the repository's rules, until the end."""
    folder = lab.folder / f"exporter {name}"
    folder.mkdir()
    port, own_port = cloud.free_ports(2)
    services = [part for node in conf.nodes(lab.scenario) for part in ("--service", f"cinder-{node}.conf")]
    command = [sys.executable, "-m", "sim", "watch", "--conf", "cinder.conf", *services]
    command += ["--db", conf.database(lab.ports), "--listen", f"127.0.0.1:{port}"]
    command += ["--interval", str(INTERVAL_S), "--since", "now", "--promise", str(promise)]
    scraped = {"job_name": JOB, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    settings = {
        "global": {"scrape_interval": f"{INTERVAL_S}s", "evaluation_interval": f"{INTERVAL_S}s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [scraped],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    address = f"127.0.0.1:{own_port}"
    prometheus = [shutil.which("prometheus") or "prometheus", f"--config.file={folder}/prometheus.yml"]
    prometheus += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
    env = {**os.environ, "PYTHONPATH": str(cloud.ROOT)}
    begin = time.time()
    with (folder / "watch.log").open("wb") as told, (folder / "prometheus.log").open("wb") as log:
        watch = subprocess.Popen(command, cwd=lab.folder, env=env, stdout=told, stderr=told)
        other = subprocess.Popen(prometheus, cwd=folder, stdout=log, stderr=log)
        try:
            _until(lambda: cloud.listens(port) and cloud.listens(own_port), (watch, other), folder)
            time.sleep(SETTLED_S)
            yield Exporter(name, lab, watch, address, begin, _kib(watch.pid))
        finally:
            for process in (other, watch):
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def _until(ready: Any, processes: tuple[subprocess.Popen[bytes], ...], folder: Path) -> None:
    end = time.monotonic() + 120
    while not ready():
        if any(each.poll() is not None for each in processes) or time.monotonic() > end:
            raise cloud.Broken("".join(path.read_text() for path in folder.glob("*.log"))[-3000:])
        time.sleep(0.2)


def _kib(pid: int) -> int:
    (line,) = re.findall(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(line)


def _own(lab: cloud.Lab, begin: float) -> dict[str, float]:
    """The same figures from the arrays' journals, which say what made a volume, and the cache's table."""
    known = lab.query("select id, project_id from volumes where launched_at is not null")
    cached = {row["id"] for row in known if row["project_id"] == conf.INTERNAL_PROJECT}
    users = {row["id"] for row in known} - cached
    made: dict[str, str] = {}
    gone: set[str] = set()
    for path in (lab.folder / "arrays").glob("*/operations.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            if line["error"] or line["end"] < begin:
                continue
            if line["operation"] in ("clone", "write"):
                made[line["volume"]] = line["operation"]
            elif line["operation"] == "delete":
                gone.add(line["volume"])
    ways = [way for volume, way in made.items() if volume in users]
    (now,) = lab.query("select count(*) as n, coalesce(sum(size), 0) as gib from image_volume_cache_entries")
    return {
        "creates from images": len(ways),
        "clones": ways.count("clone"),
        "clone-hit rate": ways.count("clone") / len(ways),
        "fills": len(made.keys() & cached),
        "evictions": len(gone & cached),
        "entries": float(now["n"]),
        "gib": float(now["gib"]),
    }
