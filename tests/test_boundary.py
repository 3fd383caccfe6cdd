"""How the command ends: signals, full disks, odd places to write, what terminals and spreadsheets see."""

from __future__ import annotations

import csv
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from handmade import IMAGES, TRACE, scenario_file
from typer.testing import CliRunner
from typer.testing import Result as Ended

from sim.analysis import results
from sim.analysis.results import TABLES
from sim.cli import app
from sim.inputs.beside import beside, scratch, temporary_folder
from sim.inputs.cells import guarded, plain_series, write_csv
from sim.inputs.images import write_images
from sim.inputs.problems import LONGEST
from sim.inputs.shown import Secrets, escaped, one_line
from sim.inputs.trace import write_trace
from sim.sweep.results import Result
from sim.workload.loading import load

COMMAND = [sys.executable, "-m", "sim"]
ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "scenarios" / "generated.yaml"
SMALLEST = ROOT / "scenarios" / "smallest.yaml"
LITTLE_ROOM = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
DEAD = 4_000_000_000  # more than any process id


def cinder_cache(*args: object) -> Ended:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def ran(*args: object, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, check=False, **more)


def after(*statements: str) -> list[str]:
    """The begin of a command line: what comes after it runs once the process has done the statements.

    A function that runs between fork and exec would do, but eventlet warns of forks in Python.
    """
    code = "; ".join(["import os, resource, signal, sys", *statements, "os.execv(sys.argv[1], sys.argv[1:])"])
    return [sys.executable, "-c", code]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C and SIGHUP work in what is started here, though a shell or `nohup` may have them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hung_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGHUP, hung_up)


def ready(process: subprocess.Popen[str]) -> bool:
    """Whether the command is there to catch signals. Before, Python itself is starting."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = re.search(r"SigCgt:\s*(\w+)", status)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="sees in /proc when the command is there")
@pytest.mark.usefixtures("ctrl_c")
class TestSignals:
    @staticmethod
    def stopped(
        arguments: Sequence[object], number: int, after_s: float, group: bool
    ) -> tuple[int, str, str]:
        with subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            while not ready(process):
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(after_s)
            (os.killpg if group else os.kill)(process.pid, number)
            out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    @pytest.fixture
    @staticmethod
    def long(tmp_path: Path) -> Path:
        """A scenario that no command can finish before its signal comes, however late the machine is."""
        path = tmp_path / "long.yaml"
        path.write_text(GENERATED.read_text().replace("duration: 7d", "duration: 3650d"))
        return path

    def test_ctrl_c_at_any_moment(self, tmp_path: Path, long: Path) -> None:
        """From the first import on, and in workers, which a terminal signals, too."""
        rng = random.Random(7)
        commands: list[list[object]] = [
            ["compare", long, "--out", tmp_path / "compared"],
            [
                *("sweep", GENERATED, "--vary", "backends.*.image_volume_cache_max_count=1..600"),
                *("--workers", 2, "--out", tmp_path / "swept"),
            ],
            ["curve", long],
        ]
        for after_s, command, group in zip(
            [0.0, 0.003, 0.01, *(rng.uniform(0.02, 0.3) for _ in range(3)), 2.5, 5.0],
            [*commands, *commands, commands[1], commands[1]],
            [False, True] * 4,
            strict=True,
        ):
            ended = self.stopped(command, signal.SIGINT, after_s, group)
            assert ended == (130, "", "interrupted\n"), (command[0], after_s)
        left = [path for path in tmp_path.rglob(".*") if path.is_file()]
        assert not left

    def test_workers_end_with_their_command(self, tmp_path: Path) -> None:
        """A signal to the command alone ends them, too; one to all of them they leave to the command."""
        arguments = ["sweep", str(SMALLEST), "--workers", "2", "--out", str(tmp_path / "out")]
        varied = ["--vary", "backends.*.image_volume_cache_max_count=1..300"]
        with subprocess.Popen([*COMMAND, *arguments, *varied], stderr=subprocess.PIPE, text=True) as process:
            workers: list[str] = []
            while len(workers) < 2:
                time.sleep(0.02)
                children = Path(f"/proc/{process.pid}/task").glob("*/children")
                pids = [pid for path in children for pid in path.read_text().split()]
                workers = [pid for pid in pids if "popen_loky" in Path(f"/proc/{pid}/cmdline").read_text()]
            for pid in workers:
                status = Path(f"/proc/{pid}/status").read_text()
                assert int(re.findall(r"SigBlk:\s*(\w+)", status)[0], 16) >> (signal.SIGINT - 1) & 1
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60)[1] == "interrupted\n"
        assert process.returncode == 130
        time.sleep(0.5)
        for pid in workers:  # gone, or dead and not yet buried
            stat = Path(f"/proc/{pid}/stat")
            assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    def test_others(self, long: Path) -> None:
        command = ["verify", long]
        assert self.stopped(command, signal.SIGTERM, 0.2, False) == (143, "", "terminated\n")
        assert self.stopped(command, signal.SIGHUP, 0.2, False) == (129, "", "hung up\n")

    def test_what_swallows_exceptions_cannot_keep_it(self) -> None:
        """What is interrupted may catch whatever the handler raises, and a process must not wait for it."""
        code = """
import signal, sys
from sim.cli import stopping
from sim.inputs import beside

def fails():
    raise KeyError("x")

beside.remove_all = fails
stopping.begin()
while True:
    try:
        signal.raise_signal(signal.SIGINT)
    except Exception:
        sys.exit("went on")
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (130, "interrupted\n")

    def test_what_is_ignored_stays_so(self) -> None:
        """As `nohup` does, and a shell for what runs in the background."""
        done = subprocess.Popen(
            [*after("signal.signal(signal.SIGINT, signal.SIG_IGN)"), *COMMAND, "validate", str(SMALLEST)],
            stdout=subprocess.PIPE,
            text=True,
        )
        while not ready(done):
            time.sleep(0.001)
        done.send_signal(signal.SIGINT)
        assert done.communicate()[0].startswith("ok: ")
        assert done.returncode == 0


class TestOneLine:
    @staticmethod
    def broken(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        def fails(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("sim.api.fit", fails)

    def test_what_nobody_foresaw(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        self.broken(monkeypatch, KeyError("tier"))
        result = cinder_cache("fit", "my.csv")
        assert (result.exit_code, result.stdout) == (1, "")
        said = re.fullmatch(
            r"cinder-cache fit: my\.csv: KeyError: 'tier' \(traceback: (.*), or -v\)\n", result.stderr
        )
        assert said is not None
        trace = Path(said[1]).read_text()
        assert trace.startswith("Traceback") and "KeyError: 'tier'" in trace

    def test_verbose_prints_the_traceback(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        self.broken(monkeypatch, KeyError("tier"))
        result = cinder_cache("fit", "my.csv", "-v")
        assert result.exit_code == 1
        assert result.stderr.startswith("Traceback")
        assert result.stderr.splitlines()[-1] == "cinder-cache fit: my.csv: KeyError: 'tier'"
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (MemoryError("Unable to allocate 7 TiB"), "not enough memory: Unable to allocate 7 TiB"),
            (RecursionError(), "RecursionError: something is nested too deeply"),
            (OSError(28, "No space left on device", "/mnt/x/report.html"), "no space left in /mnt/x"),
            (OSError(5, "Input/output error", "disk"), "Input/output error: disk"),
            (ValueError("x" * 9999), "xxx…xxx"),
            (ValueError("\x1b[2Jgone\u202e"), "\\x1b[2Jgone\\u202e"),
        ],
    )
    def test_words(self, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
        self.broken(monkeypatch, error)
        result = cinder_cache("fit", "my.csv")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert said in result.stderr and len(result.stderr) <= LONGEST + 1

    @pytest.mark.parametrize("option", ["--format", "--engine", "--strategy", "--nosuch"])
    @pytest.mark.parametrize("value", ["9" * 5000, "a/" * 400, "\x1b[31m" * 99])
    def test_values_are_shortened(self, option: str, value: str) -> None:
        """Lines of problems, and those in which Typer tells of usage."""
        result = cinder_cache("run", SMALLEST, "--strategy", "none", f"{option}={value}")
        assert (result.exit_code, result.stdout) == (2, "")
        assert max(map(len, result.stderr.splitlines())) <= LONGEST and "\x1b" not in result.stderr

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that is full")
    @pytest.mark.parametrize(
        "arguments",
        [["validate", SMALLEST], ["--help"], ["fit", SMALLEST.with_suffix("") / "trace.csv", "--json"]],
    )
    def test_a_full_stdout(self, arguments: list[object]) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "no space left (" in done.stderr or "no space left for stdout" in done.stderr

    def test_a_full_stderr(self) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run([*COMMAND, "validate", "nosuch"], stderr=full, check=False)
        assert done.returncode == 2

    @pytest.mark.parametrize("closed", ["1", "2", "012"])
    def test_closed_streams(self, tmp_path: Path, closed: str) -> None:
        """Nothing is said there, and no file gets the number of a stream and what is printed to it."""
        out = tmp_path / "trace.csv"
        begin = after(*(f"os.close({number})" for number in closed))
        for arguments, code in ((["generate", GENERATED, "--out", out], 0), (["validate", "nosuch"], 2)):
            done = subprocess.run(
                [*begin, *COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
            )
            assert done.returncode == code, done.stderr
            assert done.stderr == "" or "2" not in closed
        assert out.read_text().startswith("time,") and not any(tmp_path.glob(".*"))


def places(folder: Path) -> list[tuple[str, str]]:
    """Places where no folder and no file can be written, and what is said."""
    (folder / "file").touch()
    (folder / "link").symlink_to("nothing")
    return [
        ("/dev/null", ""),
        (str(folder / "link"), "is a link to what does not exist"),
        (str(folder / "file" / "below"), "is not a directory"),
        (str(folder / ("long" * 100)), "File name too long"),
        (str(folder / "no=" / ".." / ".." / "x"), "which does not exist"),
        ("-", "is not a file"),
        ("mysql://cinder:geheim@db/cinder", "a URL is not a file"),
    ]


COMMANDS: dict[str, list[object]] = {
    "run": ["run", SMALLEST, "--strategy", "none"],
    "compare": ["compare", SMALLEST],
    "sweep": ["sweep", SMALLEST, "--vary", "seed=1,2"],
    "plan": ["plan", SMALLEST],
    "curve": ["curve", SMALLEST],
    "generate": ["generate", SMALLEST],
    "import": ["import", "--conf", "nosuch.conf"],
}


class TestOut:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_refused_before_anything_runs(
        self, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for place, said in places(tmp_path):
            result = cinder_cache(*COMMANDS[command], "--out", place)
            assert (result.exit_code, result.stdout) == (2, ""), place
            assert any(line.startswith("--out: ") and said in line for line in result.stderr.splitlines())
            assert max(map(len, result.stderr.splitlines())) <= LONGEST
            assert "geheim" not in result.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
        assert Path("/dev/null").is_char_device()

    def test_a_folder_is_no_file_and_a_file_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "is a directory" in cinder_cache("generate", SMALLEST, "--out", tmp_path).stderr
        for command in COMMANDS:
            if command != "generate":
                assert cinder_cache(*COMMANDS[command], "--out", tmp_path / "file").exit_code == 2

    @pytest.mark.parametrize("name", ["/../../x", "ü" * 300, "..", "\x1b[31m\n"])
    def test_the_name_of_a_scenario_is_no_path(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = tmp_path / "a" / "b"
        here.mkdir(parents=True)
        path = scenario_file(tmp_path, name=name)
        monkeypatch.chdir(here)
        result = cinder_cache("sweep", path, "--vary", "seed=1", "--vary", "strategy=none")
        assert result.exit_code == 0, result.stderr
        (made,) = here.iterdir()
        assert made.name.startswith("sweep-") and (made / "sweep.csv").exists()
        assert not {path.name for path in tmp_path.iterdir()} - {"a", *os.listdir(path.parent)}
        assert "\x1b" not in result.stdout + result.stderr


class TestWhole:
    def test_all_or_none(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("old")
        targets = tmp_path / "a", tmp_path / "new" / "b"
        with pytest.raises(ValueError, match="mine"), beside(*targets) as new:
            new[0].write_text("half")
            raise ValueError("mine")
        assert (tmp_path / "a").read_text() == "old"
        with beside(*targets) as new:
            for path in new:
                path.write_text("whole")
        assert [target.read_text() for target in targets] == ["whole", "whole"]
        assert not list(tmp_path.rglob(".*"))

    def test_what_the_dead_left_goes_and_what_the_living_write_stays(self, tmp_path: Path) -> None:
        for name in (f".out.{DEAD}", f"..out.{DEAD}.{DEAD}", f".out.{os.getpid()}", f".other.{DEAD}"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "half").touch()
        (tmp_path / f".out.{os.getppid()}").touch()
        (tmp_path / f".writing.{DEAD}").mkdir()
        with beside(tmp_path / "out") as (new,):
            assert not new.exists()  # what is left of a process that had this number
            new.touch()
        with scratch(tmp_path):
            pass
        left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("."))
        assert left == sorted([f".other.{DEAD}", f".out.{os.getppid()}"])

    def test_temporary_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        (tmp_path / f"cinder-cache-{DEAD}-abc").mkdir()
        (tmp_path / f"cinder-cache-{os.getppid()}-abc").mkdir()
        (tmp_path / "cinder-cache-planner-1000").mkdir()
        with temporary_folder() as folder:
            assert folder.parent == tmp_path
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == sorted([f"cinder-cache-{os.getppid()}-abc", "cinder-cache-planner-1000"])

    @pytest.mark.parametrize(
        "arguments",
        [
            ["generate", GENERATED, "--out", "OUT/trace.csv"],
            ["run", GENERATED, "--strategy", "none", "--engine", "fast", "--out", "OUT"],
            ["compare", GENERATED, "--strategies", "none,combined", "--engine", "fast", "--out", "OUT"],
            ["curve", GENERATED, "--engine", "fast", "--out", "OUT"],
        ],
    )
    def test_a_full_disk_leaves_nothing_half_made(self, arguments: list[object], tmp_path: Path) -> None:
        self.on_a_full_disk(arguments, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_a_full_disk_leaves_whole_cells_of_a_sweep(self, tmp_path: Path) -> None:
        """What ended before stays: the next sweep does not simulate it again."""
        varied = ["--vary", "strategy=none,combined", "--vary", "seed=1,2", "--workers", 1]
        self.on_a_full_disk(["sweep", SMALLEST, *varied, "--out", "OUT"], tmp_path)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) == 4 and {path.parent for path in files} == {tmp_path / "out" / "cells"}
        for path in files:
            Result.of_json(path.read_text())

    @staticmethod
    def on_a_full_disk(arguments: list[object], tmp_path: Path) -> None:
        """A limit on the size of files stands for the disk: the kernel refuses what comes after it."""
        given = [str(each).replace("OUT", str(tmp_path / "out")) for each in arguments]
        cache = {"NUMBA_CACHE_DIR": str(Path(os.environ.get("NUMBA_CACHE_DIR", "~/.cache")).expanduser())}
        done = subprocess.run(
            [*after("signal.signal(signal.SIGXFSZ, signal.SIG_IGN)", LITTLE_ROOM), *COMMAND, *given],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | cache,
        )
        assert done.returncode == 1, done.stderr
        (line,) = (line for line in done.stderr.splitlines() if "compiled code" not in line)
        assert "File too large" in line and str(tmp_path / "out") in line
        assert not list(tmp_path.rglob(".*"))


class TestTerminal:
    def test_escaped(self) -> None:
        assert escaped("a\x1b[31m\x9b\x07\u202e\x7f\r") == r"a\x1b[31m\x9b\x07\u202e\x7f\r"
        plain = "Größe 1 ± 2 → 日本\n\tnext"
        assert escaped(plain) == plain

    def test_one_line(self) -> None:
        assert one_line("a\n  b") == "a b"
        shown = one_line("begin" + "x" * 9999 + "end")
        assert len(shown) == LONGEST and shown.startswith("begin") and shown.endswith("end") and "…" in shown

    def test_names_and_options(self, tmp_path: Path) -> None:
        """Whatever the command, the option and the file: names come out with their escapes."""
        tier, name = "fl\x1b[31mash\u202e", "n\x9b2J\x07"
        trace = TRACE.replace(",flash,", f",{tier},")
        backends = {"fast": {"volume_type": [tier, "disk"], "pools": {"p0": {}}}}
        keys = {"name": name, "tiers": {tier: {}, "disk": {}}, "strategies": ["cache-only"]}
        path = scenario_file(tmp_path, trace=trace, backends=backends, **keys)
        rows = tmp_path / "rows.csv"
        rows.write_text("\x1b]0;title\x07\n1\n")
        for arguments in (
            ["validate", path],
            ["compare", path, "--engine", "fast", "--out", tmp_path / "out"],
            ["curve", path, "--engine", "fast"],
            ["run", path, "--strategy", "x\x1b[2J"],
            ["sweep", path, "--list", rows],
            ["\x1b[2J"],
            ["run", "--\x1b[2J"],
            ["validate", "\x9b\x1b[2J"],
        ):
            done = ran(*arguments)
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", done.stdout + done.stderr), arguments
            assert done.stdout or done.stderr


class TestSecrets:
    @pytest.mark.parametrize("secret", ["ab", "p@ss/w:rd"])
    @pytest.mark.parametrize(
        "arguments",
        [
            ["validate", "URL"],
            ["URL"],
            ["run", SMALLEST, "--strategy", "URL"],
            ["sweep", SMALLEST, "--vary", "URL=URL"],
            ["plan", SMALLEST, "--target-hit-rate", "URL"],
            ["import", "--out", "URL", "--conf", "URL", "--since", "URL", "--dump", "URL"],
            ["import", "--out", "nosuch", "--service", "URL,URL"],
        ],
    )
    def test_a_password_in_the_wrong_place(
        self, secret: str, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"mysql://cinder:{secret}@db/cinder"
        given = [str(each).replace("URL", url) for each in arguments]
        done = subprocess.run(
            [*COMMAND, *given], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode in (1, 2)
        told = done.stdout + done.stderr + "".join(path.read_text() for path in tmp_path.rglob("*.txt"))
        assert f"{secret}@" not in told and (len(secret) < 4 or secret not in told)

    def test_hidden(self) -> None:
        secrets = Secrets(["--db", "mysql://u:p@ss@h/d"])
        assert secrets.hidden("p@ss p%40ss mysql:/u:p@ss@h") == "*** *** mysql:/u:***@h"
        assert Secrets().hidden("see http://host/a and a:b@c") == "see http://host/a and a:b@c"


class TestCost:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["compare", GENERATED, "--replications", "99999999999"],
            ["plan", GENERATED, "--replications", "99999999999"],
            ["sweep", GENERATED, "--vary", "strategy=none", "--replications", "99999999999"],
            ["sweep", SMALLEST, "--vary", "seed=0..99999", "--vary", "glance.streams=1..99999"],
            ["sweep", SMALLEST, "--vary", "seed=0..9", "--sample", "99999999999"],
        ],
    )
    def test_too_many_runs_are_refused_with_their_number(
        self, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        result = cinder_cache(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert re.search(r"[0-9,]{11,} runs of [0-9,]+ creates each are too many: at most", result.stderr)

    @pytest.mark.parametrize(
        "option",
        [
            *(("--workers", "1" + "0" * 20), ("--workers", "0"), ("--spare-volumes", "9" * 30)),
            *(("--growth", "1e9"), ("--growth", "nan"), ("--confidence", "nan"), ("--replications", "0")),
        ],
    )
    def test_a_number_that_no_run_could_have(self, option: tuple[str, str]) -> None:
        result = cinder_cache("plan", SMALLEST, *option)
        assert (result.exit_code, result.stdout) == (2, "")
        assert option[0] in result.stderr

    def test_a_workload_without_a_create(self, tmp_path: Path) -> None:
        generate = {"duration": "1d", "creates_per_day": 0.001}
        path = scenario_file(tmp_path, workload={"generate": generate}, store=None)
        result = cinder_cache("validate", path)
        assert result.exit_code == 2
        assert "makes no creates" in result.stderr

    def test_plan_where_every_create_fails(self, tmp_path: Path) -> None:
        backends = {"fast": {"volume_type": ["flash", "disk"], "pools": {"p0": {"capacity_gib": 1}}}}
        path = scenario_file(tmp_path, backends=backends)
        result = cinder_cache("plan", path, "--out", tmp_path / "plan", "--workers", 1)
        assert result.exit_code == 0, result.stderr
        assert (tmp_path / "plan" / "plan.json").exists()


RUN = ["=HYPERLINK(1)", "+1", "-1+1", "@SUM(1)", "\tx", "'=x", "''@x", "-"]
CALM = ["x=1", "'x", "'", "it's", "1-1", ""]


class TestSpreadsheets:
    def test_a_text_that_would_run_is_marked_and_read_back(self, tmp_path: Path) -> None:
        names = RUN + CALM
        table = pd.DataFrame({"text": names, "number": np.arange(len(names)) - 5.0})
        table["kind"] = table["text"].astype("category")
        table["mixed"] = pd.Series([None, -1, *names[2:]], dtype=object)
        before = table.copy()
        write_csv(table, tmp_path / "t.csv")
        pd.testing.assert_frame_equal(table, before)
        rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
        for row, name, number in zip(rows, names, table["number"], strict=True):
            assert row["text"] == row["kind"] == (f"'{name}" if name in RUN else name)
            assert row["number"] == str(number)
        assert rows[1]["mixed"] == "-1"
        assert guarded("\rx") == "'\rx"
        assert list(plain_series(pd.Series([row["text"] for row in rows], dtype="str"))) == names

    def test_names_of_an_image_list_and_a_trace(self, tmp_path: Path) -> None:
        images = IMAGES.replace("007,", "=1+1,", 1).replace("[b]raw[/b]", "@SUM(1)")
        trace = (
            TRACE.replace(",007,", ",=1+1,")
            .replace("create,1,", "create,-1,")
            .replace("delete,1,", "delete,-1,")
        )
        path = scenario_file(tmp_path, images=images, trace=trace, strategies=["cache-only"])
        case = load(path)
        assert "=1+1" in case.images and "-1" in set(case.trace.events["volume_id"])
        write_trace(case.trace, tmp_path / "again.csv")
        write_images(case.images.values(), tmp_path / "again_images.csv")
        assert ",'=1+1," in (tmp_path / "again.csv").read_text()
        assert "\n'=1+1," in (tmp_path / "again_images.csv").read_text()
        changes = {"workload": {"trace": "again.csv"}, "images": "again_images.csv"}
        text = yaml.safe_load(path.read_text()) | changes
        (tmp_path / "again.yaml").write_text(yaml.safe_dump(text))
        again = load(tmp_path / "again.yaml")
        assert again.images == case.images
        pd.testing.assert_frame_equal(again.trace.events, case.trace.events)

    def test_results_are_read_back(self, tmp_path: Path) -> None:
        requests = pd.DataFrame({"volume_id": RUN[:5], "image_id": CALM[:5], "end": [1.0, -2.0, 3, 4, 5]})
        tables = dict.fromkeys(TABLES, requests)
        results.write(tables, {}, tmp_path)
        read, _ = results.read(tmp_path)
        assert list(read["requests"]["volume_id"]) == RUN[:5]
        assert list(read["requests"]["image_id"]) == CALM[:5]
        assert list(read["requests"]["end"]) == [1.0, -2.0, 3, 4, 5]
