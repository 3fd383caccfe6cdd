"""`compare` on several processes: the same bytes, the same failures, and none where one is faster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from handmade import scenario_file
from killed.kills import contents

from sim.cli import outcomes
from sim.cli.jobs import Options, job_of

ROOT = Path(__file__).parents[1]
SMALLEST = ROOT / "scenarios" / "smallest.yaml"
LITTLE_ROOM = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
RUN = "import sim.cli; sim.cli.main()"


def compared(folder: Path, workers: int, before: str = "", engine: str = "fast") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a comparison in a folder, without the places of tracebacks."""
    command = [sys.executable, "-c", before + RUN, "compare", str(SMALLEST), "--engine", engine]
    command += ["--strategies", "none,cache-only,combined", "--workers", str(workers), "--out", "out"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    return done.returncode, done.stdout, re.sub(r"traceback: \S+,", "traceback:", done.stderr)


def folders(parent: Path) -> list[Path]:
    found = [parent / "alone", parent / "two"]
    for folder in found:
        folder.mkdir()
    return found


@pytest.mark.parametrize("engine", ["fast", "cinder"])
def test_the_same_bytes(engine: str, tmp_path: Path) -> None:
    alone, two = folders(tmp_path)
    expected = compared(alone, 1, engine=engine)
    assert expected[0] == 0
    assert compared(two, 2, engine=engine) == expected
    assert contents(two) == contents(alone)
    assert not list(two.rglob(".*"))


def test_a_row_that_fails(tmp_path: Path) -> None:
    """The others come to their places, and the exit code is 1."""
    alone, two = folders(tmp_path)
    for folder in (alone, two):
        (folder / "out" / "cache-only" / "requests.csv").mkdir(parents=True)
    code, out, err = compared(alone, 1)
    assert code == 1
    assert "strategy cache-only failed: Is a directory: out/cache-only/requests.csv (traceback: or -v)" in err
    assert compared(two, 2) == (code, out, err)
    assert contents(two) == contents(alone)
    assert {path.name for path in (two / "out").iterdir()} == {
        "none",
        "cache-only",
        "combined",
        "report.html",
    }


def test_a_full_disk(tmp_path: Path) -> None:
    """No row comes, whichever had no room, and nothing is left."""
    alone, two = folders(tmp_path)
    expected = compared(alone, 1, LITTLE_ROOM)
    assert expected[0] == 1
    assert "File too large: out" in expected[2]
    assert compared(two, 2, LITTLE_ROOM) == expected
    assert not list(two.rglob("*"))


def test_a_worker_ends_soon_after_its_parent() -> None:
    """Which is killed, and can tell nobody."""
    ends = "from sim.cli.outcomes import _end_with; _end_with(int(sys.argv[1]))"
    work = f"import sys, time; {ends}; time.sleep(600)"
    begin = (
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {work!r}]).pid, flush=True);"
    )
    command = [sys.executable, "-c", begin + "sys.stdin.read()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT, text=True) as parent:
        assert parent.stdout is not None
        worker = Path("/proc") / parent.stdout.readline().strip() / "stat"
        assert worker.exists()
        parent.kill()
    for _ in range(600):  # it is still importing, or ends
        if not worker.exists() or worker.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("it works on")


class TestHowMany:
    @pytest.fixture(autouse=True)
    @staticmethod
    def worth(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outcomes, "WORTH_PROCESSES", {"cinder": 0, "fast": 1_000_000})
        monkeypatch.setattr("joblib.cpu_count", lambda: 3)

    @staticmethod
    def found(
        path: Path, rows: int = 8, engine: str = "cinder", verbose: bool = False, workers: int = -1
    ) -> int:
        options = Options(scenario_file(path), ["none"], engine, None, None, verbose, workers=workers)
        return outcomes._workers(job_of(options), rows)

    def test_one_for_each_core_or_row(self, tmp_path: Path) -> None:
        assert self.found(tmp_path) == 3
        assert self.found(tmp_path, rows=2) == 2
        assert self.found(tmp_path, rows=1) == 1

    def test_as_many_as_asked_for(self, tmp_path: Path) -> None:
        assert self.found(tmp_path, workers=5) == 5
        assert self.found(tmp_path, engine="fast", workers=2) == 2
        assert self.found(tmp_path, workers=100) == 8

    def test_one_where_it_is_faster_or_its_log_is_shown(self, tmp_path: Path) -> None:
        assert self.found(tmp_path, engine="fast") == 1
        assert self.found(tmp_path, verbose=True, workers=2) == 1

    def test_as_many_as_have_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        events = len(
            job_of(Options(scenario_file(tmp_path), ["none"], "cinder", None, None, False)).case.trace.events
        )
        each_gib = outcomes.gib_of(events, outcomes.RUN_BYTES)
        for runs, expected in ((0.5, 1), (2.5, 2), (10.0, 3)):
            monkeypatch.setattr(outcomes, "memory_gib", lambda runs=runs: 2 * runs * each_gib)
            assert self.found(tmp_path) == expected

    def test_one_core(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from joblib.externals.loky import cpu_count

        monkeypatch.setattr("joblib.cpu_count", cpu_count)
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            assert self.found(tmp_path) == 1
        finally:
            os.sched_setaffinity(0, cores)
