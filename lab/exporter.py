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

INTERVAL_S = 5
SETTLED_S = 30  # after which a process has all that it needs
RULES = cloud.ROOT / "docs" / "watch" / "rules.yml"


@dataclass(frozen=True)
class Exporter:
    """A watch and a Prometheus that run. `begin`: their start in Unix time; `entries`: those of then."""

    lab: cloud.Lab
    watch: subprocess.Popen[bytes]
    address: str
    begin: float
    entries: float
    first_kib: int

    def value(self, query: str) -> float:
        """What Prometheus answers to a query of one number."""
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else float("nan")

    def kib(self) -> int:
        """The memory of the watch."""
        return _kib(self.watch.pid)

    def after_next_reading(self) -> None:
        """Wait until Prometheus has what the watch read after now."""
        time.sleep(3 * INTERVAL_S)

    def figures(self) -> dict[str, tuple[float, float]]:
        """What Prometheus has of each figure of the cloud since the begin, and what the lab itself says."""
        self.after_next_reading()
        clones, creates = (
            self.value(f"sum(cinder_cache_image_{name}_total)") for name in ("clones", "creates")
        )
        own = _own(self.lab, self.begin, self.entries)
        names = ("fills", "evictions")
        shown = {name: self.value(f"sum(cinder_cache_{name}_total)") for name in names}
        shown |= {name: self.value(f"sum(cinder_cache_{name})") for name in ("entries", "gib")}
        shown |= {"creates from images": creates, "clones": clones, "clone-hit rate": clones / creates}
        return {name: (shown[name], own[name]) for name in own}


@contextmanager
def running(lab: cloud.Lab, promise: Path) -> Iterator[Exporter]:
    """A watch that counts from now on, and a Prometheus with the repository's rules, until the end."""
    folder = lab.folder / "exporter"
    folder.mkdir()
    port, own_port = cloud.free_ports(2)
    services = [part for node in conf.nodes(lab.scenario) for part in ("--service", f"cinder-{node}.conf")]
    command = [sys.executable, "-m", "sim", "watch", "--conf", "cinder.conf", *services]
    command += ["--db", conf.database(lab.ports), "--listen", f"127.0.0.1:{port}"]
    command += ["--interval", str(INTERVAL_S), "--since", "now", "--promise", str(promise)]
    scraped = {"job_name": "cinder-cache", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
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
    begin, entries = time.time(), _entries(lab)["n"]
    with (folder / "watch.log").open("wb") as told, (folder / "prometheus.log").open("wb") as log:
        watch = subprocess.Popen(command, cwd=lab.folder, env=env, stdout=told, stderr=told)
        other = subprocess.Popen(prometheus, cwd=folder, stdout=log, stderr=log)
        try:
            _until(lambda: cloud.listens(port) and cloud.listens(own_port), (watch, other), folder)
            time.sleep(SETTLED_S)
            yield Exporter(lab, watch, address, begin, entries, _kib(watch.pid))
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


def _entries(lab: cloud.Lab) -> dict[str, float]:
    (now,) = lab.query("select count(*) as n, coalesce(sum(size), 0) as gib from image_volume_cache_entries")
    return {name: float(value) for name, value in now.items()}


def _own(lab: cloud.Lab, begin: float, entries: float) -> dict[str, float]:
    """The same figures from the arrays' journals, which say what made a volume, and from the cache's table.

    `entries`: those at the begin.
    """
    internal = {
        row["id"] for row in lab.query(f"select id from volumes where project_id = '{conf.INTERNAL_PROJECT}'")
    }
    made = {
        row["id"]
        for row in lab.query("select id from volumes where project_id <> '' and launched_at is not null")
    }
    last: dict[str, str] = {}
    for path in (lab.folder / "arrays").glob("*/operations.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            if line["operation"] in ("clone", "write") and not line["error"] and line["end"] >= begin:
                last[line["volume"]] = line["operation"]
    users = [what for volume, what in last.items() if volume in made - internal]
    fills = sum(volume in internal & made for volume in last)
    now, clones = _entries(lab), users.count("clone")
    return {
        "creates from images": len(users),
        "clones": clones,
        "clone-hit rate": clones / len(users),
        "fills": fills,
        "evictions": entries + fills - now["n"],
        "entries": now["n"],
        "gib": now["gib"],
    }
