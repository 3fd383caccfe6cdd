"""The command `watch`: exit codes, drift, a service that outlives its database, and the files beside it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from click.testing import Result
from sqlalchemy.engine import URL
from typer.testing import CliRunner

from sim.cli import app
from sim.live.exposition import METRICS, PREFIX
from tests.importers.reading import text
from tests.importers.rows import writing
from tests.importers.servers import PASSWORD, Server, free_port
from tests.importers.test_watch import CONF

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs" / "watch"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["watch", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "cinder.conf"
    path.write_text(CONF)
    return path


@pytest.fixture
def filled(sqlite: URL) -> URL:
    with writing(sqlite) as rows:
        rows.download(1, "golden")
        rows.fill(1.05, "golden")
        rows.from_image(2, "golden")
    return sqlite


def promised(tmp_path: Path, name: str, content: Any) -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


KEPT = {
    "image_volume_cache_enabled": True,
    "image_volume_cache_max_size_gb": 0,
    "image_volume_cache_max_count": 5,
}
LARGER = {**KEPT, "image_volume_cache_max_count": 80}
LINES = "[DEFAULT]\nallowed_direct_url_schemes = {}\n[a]\nimage_volume_cache_max_count = {}\n"
SCENARIO = """
today: {}
cinder: {{internal_tenant_quota_volumes: {}}}
backends:
  a: {{image_volume_cache_max_count: 5}}
"""


@pytest.mark.parametrize(
    ("name", "content", "drift"),
    [
        ("plan.json", {"strategy": "cache-only", "backends": {"a": KEPT}}, []),
        (
            "plan.json",
            {
                "strategy": "combined",
                "backends": {"a": LARGER, "z": KEPT},
            },
            [
                "drift: [a] image_volume_cache_max_count is 5, and not 80 as promised",
                "drift: [z] enabled_backends is missing, and not there as promised",
                "drift: allowed_direct_url_schemes is without cinder, and not with cinder as promised",
            ],
        ),
        (
            "plan.json",
            {"strategy": "none", "backends": {"a": KEPT, "b": KEPT}},
            ["drift: [a] image_volume_cache_enabled is true, and not false as promised"],
        ),
        ("plan.json", {"strategy": "cache-only", "backends": {"a": KEPT}, "quota": {"volumes": None}}, []),
        ("scenario.yaml", SCENARIO.format("cache-only", 10), []),
        (
            "scenario.yaml",
            SCENARIO.format("cache-only", "null"),
            ["drift: internal_tenant_quota_volumes is 10, and not -1 as promised"],
        ),
        ("lines.conf", LINES.format("", 5), []),
        (
            "lines.conf",
            LINES.format("", 6),
            ["drift: [a] image_volume_cache_max_count is 5, and not 6 as promised"],
        ),
        (
            "shared.conf",
            LINES.format("", 5) + "[backend_defaults]\nimage_volume_cache_max_count = 7\n",
            ["drift: [b] image_volume_cache_max_count is 0, and not 7 as promised"],
        ),
    ],
)
def test_once_tells_drift(
    filled: URL, conf: Path, tmp_path: Path, name: str, content: Any, drift: list[str]
) -> None:
    result = run(
        "--once", "--db", text(filled), "--conf", conf, "--promise", promised(tmp_path, name, content)
    )
    assert result.stderr.splitlines() == drift
    assert result.exit_code == (1 if drift else 0)
    shown = re.findall(r"^cinder_cache_drift\{.*\} (\S+)$", result.stdout, re.M)
    assert shown and shown.count("1.0") == len(drift)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    conf = promised(tmp_path, "cinder.conf", "[DEFAULT]\nenabled_backends = gone\n")
    bad = {"backends": {"a": {"image_volume_cache_max_count": "many"}}, "strategy": "best"}
    result = run(
        *("--db", "mysql://reader:s3cret@host/cinder?nothing=1", "--conf", conf, "--since", "yesterday"),
        *("--promise", promised(tmp_path, "plan.json", bad), "--listen", "here", "--interval", 0, "--once"),
    )
    assert (result.exit_code, result.stdout) == (2, "")
    expected = (
        "--since: ", "--listen: 'here'", "--interval: give seconds", "--listen: not with --once", "'nothing'",
        "'gone' has no section", "image_volume_cache_max_count: 'many'", "unknown strategy 'best'",
    )  # fmt: skip
    for part in expected:
        assert part in result.stderr
    assert "s3cret" not in result.output


def test_what_cannot_be_watched(tmp_path: Path, filled: URL) -> None:
    other = tmp_path / "other.sqlite"
    other.touch()
    plan = promised(tmp_path, "plan.json", {"backends": {"a": KEPT}})
    for arguments, said in (
        (["--db", f"sqlite:///{other}"], "has none of Cinder's tables"),
        (["--db", f"sqlite:///{tmp_path}/none.sqlite"], "No such file"),
        (["--db", f"mysql://reader:s3cret@127.0.0.1:{free_port()}/cinder"], "cannot be read: "),
        (["--db", text(filled), "--promise", plan], "--promise: give --conf, too"),
        (["--db", text(filled), "--promise", tmp_path / "none.json"], "none.json: No such file"),
    ):
        result = run("--once", *arguments)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert said in result.stderr and "s3cret" not in result.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("--db", text(filled), "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert result.exit_code == 2 and "Address already in use" in result.stderr


@contextlib.contextmanager
def served(*arguments: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service as a process, and the URL of its metrics."""
    command = [sys.executable, "-m", "sim", "watch", "--listen", "127.0.0.1:0", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env=os.environ | environment,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert line.startswith("watch: listening on "), line + process.stderr.read()
            yield process, line.split()[-1]
        finally:
            process.kill()


def scraped(url: str, wanted: str) -> str:
    """What is served, once it has a line."""
    for _ in range(600):
        with urlopen(url) as answer:
            found: str = answer.read().decode()
        if wanted in found.splitlines():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{wanted} never came:\n{found}")


def test_a_service_that_outlives_its_database(mariadb: Server, conf: Path) -> None:
    line = 'cinder_cache_image_creates_total{backend="a",host="c1",pool="p0",volume_type="gold"} '
    with mariadb.database() as url, writing(url) as rows, Line(url) as between:
        rows.download(1, "golden")
        database = text(url.set(port=between.port))
        with served("--conf", conf, "--interval", 1, CINDER_CACHE_DB=database) as (process, metrics):
            scraped(metrics, f"{line}1.0")
            between.cut()
            gone = scraped(metrics, "cinder_cache_up 0.0")
            assert f"{line}1.0" in gone
            rows.from_image(2, "golden")
            between.mend()
            scraped(metrics, f"{line}2.0")
            scraped(metrics, "cinder_cache_up 1.0")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate()
    assert (process.returncode, out) == (143, "")
    assert "cannot be read: " in err and "no longer: " in err and err.endswith("terminated\n")
    assert PASSWORD not in err and "***" in err


class Line:
    """A wire to a server that can be cut: nothing behind it can be reached then."""

    def __init__(self, url: URL) -> None:
        self.server, self.port = (str(url.host), int(url.port or 0)), free_port()
        self.ends: list[socket.socket] = []
        self.door: socket.socket | None = None

    def __enter__(self) -> Line:
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def mend(self) -> None:
        self.door = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._open, args=(self.door,), daemon=True).start()

    def cut(self) -> None:
        assert self.door is not None
        for end in (self.door, *self.ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.ends = []

    def _open(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, there = door.accept()[0], socket.create_connection(self.server)
                self.ends += [here, there]
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=_pass, args=pair, daemon=True).start()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"cinder_cache_\w+", expression))


def exported() -> set[str]:
    found = set()
    for name, (kind, _, _) in METRICS.items():
        suffixes = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}[kind]
        found |= {PREFIX + name + suffix for suffix in suffixes}
    return found


def test_rules_and_dashboard_use_what_is_exported() -> None:
    rules = [
        rule
        for group in yaml.safe_load((FILES / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    board = json.loads((FILES / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(expressions) > 20
    for expression in [*expressions, *(rule["expr"] for rule in rules)]:
        used = metrics_in(re.sub(r"cinder_cache:\w+:\w+", "", expression))
        assert used <= exported(), expression
        assert set(re.findall(r"cinder_cache:\w+:\w+", expression)) <= recorded
        assert used or "cinder_cache:" in expression
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_page_names_every_metric() -> None:
    page = (ROOT / "docs" / "watch.md").read_text()
    table = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    for name, (kind, _, _) in METRICS.items():
        assert f"`{name}{'_total' if kind == 'counter' else ''}`" in table


def test_promtool_accepts_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: the test needs the Debian package prometheus")
    done = subprocess.run([promtool, "check", "rules", FILES / "rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


def test_promtool_accepts_what_once_prints(filled: URL, conf: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: the test needs the Debian package prometheus")
    shown = run("--once", "--db", text(filled), "--conf", conf).stdout
    done = subprocess.run([promtool, "check", "metrics"], input=shown, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
