"""The command on real scenarios; nothing of Cinder is replaced."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from handmade import SCENARIO, TRACE, scenario_file
from typer.testing import CliRunner, Result

from sim.analysis.results import TABLES, read
from sim.cli import app

COMMAND = [sys.executable, "-W", "error", "-m", "sim"]
LONG = "time,event,volume_id,image_id,size_gib,volume_type,host\n" + "".join(
    f"{time},create,v{time},007,40,flash,\n" for time in range(200_000)
)


def cinder_cache(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    return scenario_file(tmp_path, strategies=["none", "cache-only"])


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run under way, that takes minutes."""
    path = scenario_file(tmp_path, trace=LONG)
    arguments = ["run", path, "--strategy", "cache-only", "--out", tmp_path / "out", "-v"]
    # Tests started in the background of a shell ignore Ctrl-C, and so would what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        yield process
        process.kill()
    signal.signal(signal.SIGINT, before)


def without_times(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name not in ("engine_s", "wall_s")}


class TestValidate:
    def test_one_line_if_all_is_well(self, scenario: Path) -> None:
        result = cinder_cache("validate", scenario)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == ("ok: 7 events (6 creates from an image), 3 images, 3 pools, 2 tiers\n")

    def test_every_problem_at_once(self, tmp_path: Path) -> None:
        trace = TRACE.replace("huge", "nosuch")
        path = scenario_file(tmp_path, trace=trace, seed="x", nosuchkey=1)
        result = cinder_cache("validate", path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Traceback" not in result.stderr
        for wrong in ("scenario.yaml", "seed", "nosuchkey", "trace.csv", "nosuch"):
            assert wrong in result.stderr

    def test_no_such_file(self, tmp_path: Path) -> None:
        result = cinder_cache("validate", tmp_path / "missing.yaml")
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert "missing.yaml" in result.stderr

    def test_what_does_not_fit_at_the_start(self, tmp_path: Path) -> None:
        backends = {"fast": {"volume_type": ["flash", "disk"], "pools": {"p0": {"max_volumes": 2}}}}
        path = scenario_file(tmp_path, backends=backends, store={"home": "fast#p0"})
        result = cinder_cache("validate", path)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1  # though two strategies use the store
        assert "huge" in result.stderr
        assert cinder_cache("run", path, "--strategy", "store-only").exit_code == 2

    def test_neither_it_nor_help_imports_the_engine(self, scenario: Path) -> None:
        code = (
            "import sys; from sim.cli import app\n"
            "app([*sys.argv[1:]], standalone_mode=False)\n"
            "heavy = ('cinder', 'simpy', 'numba', 'scipy', 'matplotlib', 'rich', 'pydantic', 'pandas')\n"
            "print([name for name in heavy if name in sys.modules])"
        )
        checked = ["validate", str(scenario)]
        for arguments, heavy in ((["--help"], "[]"), (checked, "['pydantic', 'pandas']")):
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
            )
            assert done.stdout.splitlines()[-1] == heavy


class TestBadUsage:
    def test_every_problem_at_once(self, tmp_path: Path) -> None:
        path = scenario_file(tmp_path, seed="x")
        (tmp_path / "file").touch()
        result = cinder_cache(
            *("compare", path, "--strategies", "none,best,worst", "--engine", "warp"),
            *("--out", tmp_path / "file"),
        )
        assert (result.exit_code, result.stdout) == (2, "")
        for wrong in ("'best'", "'worst'", "'warp'", "is not a directory", "seed"):
            assert wrong in result.stderr
        assert len(result.stderr.splitlines()) == 5

    @pytest.mark.parametrize("names", ["", "none,,cache-only"])
    def test_an_empty_strategy(self, scenario: Path, names: str) -> None:
        result = cinder_cache("compare", scenario, "--strategies", names)
        assert result.exit_code == 2
        assert "there is no ''" in result.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            ("run",),
            ("run", "--nosuch"),
            ("run", "--strategy", "none", "--format", "xlsx", "--out", "x"),
            ("run", "--strategy", "none", "--format", "csv"),  # does nothing without --out
        ],
    )
    def test_options(self, scenario: Path, arguments: tuple[str, ...]) -> None:
        result = cinder_cache(*arguments, scenario)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Traceback" not in result.stderr

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_is_not_writable(self, scenario: Path, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        result = cinder_cache("run", scenario, "--strategy", "none", "--out", closed / "out")
        assert result.exit_code == 2
        assert "not writable" in result.stderr

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which root makes nothing either")
    @pytest.mark.parametrize(
        "command", [("run", "--strategy", "none"), ("generate",), ("curve",), ("plan",), ("sweep",)]
    )
    def test_a_folder_in_which_nothing_can_be_made(self, scenario: Path, command: tuple[str, ...]) -> None:
        result = cinder_cache(*command, scenario, "--out", "/proc/none/here")
        assert (result.exit_code, result.stderr.splitlines()[0]) == (2, "--out: /proc is not writable")


class TestRun:
    def test_without_out_nothing_is_written(self, scenario: Path) -> None:
        before = sorted(scenario.parent.rglob("*"))
        result = cinder_cache("run", scenario, "--strategy", "cache-only")
        assert (result.exit_code, result.stderr) == (0, "")
        assert "flash: 5 creates" in result.stdout
        assert "all: 6 creates" in result.stdout
        assert "fast#" in result.stdout and "the cache refuses huge (40 GiB)" in result.stdout
        assert sorted(scenario.parent.rglob("*")) == before

    def test_json(self, scenario: Path) -> None:
        result = cinder_cache("run", scenario, "--strategy", "none", "--json")
        assert result.exit_code == 0
        document = json.loads(result.stdout, parse_constant=pytest.fail)
        assert list(document) == ["strategy", "summary", "pools", "findings", "manifest"]
        assert [row["tier"] for row in document["summary"]] == ["flash", "disk", "all"]
        assert document["summary"][0]["gib_per_point"] is None
        assert document["summary"][0]["create_s_p50"] == 5  # 1 s create, 2 GiB at 512 MiB/s
        assert document["manifest"]["creates"] == 6

    def test_out_and_the_same_bytes_again(self, scenario: Path, tmp_path: Path) -> None:
        folders = []
        for name in ("a", "b"):
            result = cinder_cache("run", scenario, "--strategy", "cache-only", "--out", tmp_path / name)
            assert result.exit_code == 0
            folders.append(tmp_path / name / "cache-only")
        files = [f"{name}.csv" for name in TABLES]
        assert sorted(path.name for path in folders[0].iterdir()) == sorted([*files, "manifest.json"])
        for name in files:
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
        (first, one), (_, other) = (read(folder) for folder in folders)
        assert without_times(one) == without_times(other)
        assert list(first["requests"]["volume_id"]) == ["1", "2", "3", "4", "5", "6"]

    def test_a_run_that_cannot_be_written_fails(self, scenario: Path, tmp_path: Path) -> None:
        (tmp_path / "out" / "none" / "requests.csv").mkdir(parents=True)
        result = cinder_cache("run", scenario, "--strategy", "none", "--out", tmp_path / "out")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("strategy none failed: ")
        assert result.stderr.count("\n") == 1

    def test_verbose_is_cinders_log_on_stderr(self, scenario: Path) -> None:
        done = subprocess.run(
            [*COMMAND, "run", str(scenario), "--strategy", "cache-only", "-v", "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "cinder.volume" in done.stderr
        json.loads(done.stdout)


class TestCompare:
    def test_the_table_is_right_at_80_columns(self, tmp_path: Path) -> None:
        path = scenario_file(tmp_path, store={"home": "fast#p0"})
        done = subprocess.run([*COMMAND, "compare", str(path)], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert "\x1b" not in done.stdout and "…" not in done.stdout
        tables, legend, found = done.stdout.partition("image GiB, vols: ")
        assert max(map(len, tables.splitlines())) <= 80
        for title in ("flash: 5 creates", "disk: 1 create", "all: 6 creates"):
            assert f"{title}\n" in tables
        for strategy in ("none", "store-only", "cache-only", "combined"):
            assert len(re.findall(rf"^{strategy} ", tables, re.MULTILINE)) == 3
        assert legend and "cache-only: fast#" in found

    def test_nodes_and_links_stand_beside_their_limits(self, tmp_path: Path) -> None:
        nodes = {
            f"c{number}": {"image_conversion_gib": 10 * number, "total_mib_s": 90} for number in range(1, 7)
        }
        on = {"fast": {"node": "c2"}, "slow": {"nodes": [name for name in nodes if name != "c2"]}}
        backends = {name: spec | on[name] for name, spec in SCENARIO["backends"].items()}
        path = scenario_file(
            tmp_path, nodes=nodes, backends=backends, glance={"total_mib_s": 100, "stream_mib_s": 80}
        )
        command = ["compare", str(path), "--engine", "fast", "--strategies", "none,cache-only"]
        told = CliRunner().invoke(app, command).stdout
        tables, legend, _ = told.partition("one history")
        assert legend and max(map(len, tables.splitlines())) <= 80
        assert "conversion directories, the fullest 4 of each strategy (all: the table `nodes`)" in tables
        assert "shared links, the fullest 4 of each strategy (all: the table `links`)" in tables
        runs = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["runs"]
        for run in runs:
            (used,) = [row for row in run["nodes"] if row["node"] == "c2"]
            row = rf"^{run['strategy']} +c2 +20\.0 +[\d.]+ +{used['image_conversion_peak_gib']:.2f} "
            assert re.search(row, tables, re.MULTILINE)
            by_link = {(row["link"], row["name"]): row for row in run["links"]}
            on_nodes = [row["transfers"] for row in run["links"] if row["link"] == "node"]
            assert by_link["glance", ""]["transfers"] == sum(on_nodes) > 0

    def test_out_has_a_folder_per_strategy(self, scenario: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        result = cinder_cache("compare", scenario, "--out", out, "--format", "parquet")
        assert result.exit_code == 0
        assert sorted(path.name for path in out.iterdir()) == ["cache-only", "none", "report.html"]
        tables, manifest = read(out / "none")
        assert manifest["strategy"] == "none"
        assert len(tables["requests"]) == 6

    def test_json_and_chosen_strategies(self, scenario: Path) -> None:
        result = cinder_cache("compare", scenario, "--strategies", "combined, none", "--json")
        document = json.loads(result.stdout, parse_constant=pytest.fail)
        assert document["scenario"] == "hand [b]made"
        assert [run["strategy"] for run in document["runs"]] == ["combined", "none"]

    def test_one_that_fails_does_not_take_the_others_along(self, scenario: Path, tmp_path: Path) -> None:
        (tmp_path / "out" / "none" / "cache.csv").mkdir(parents=True)
        result = cinder_cache("compare", scenario, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert "strategy none failed" in result.stderr
        assert re.search(r"^cache-only ", result.stdout, re.MULTILINE)
        assert (tmp_path / "out" / "cache-only" / "manifest.json").exists()

    def test_names_are_no_markup(self, tmp_path: Path) -> None:
        tiers: dict[str, Any] = {"[b]fl[/b]": {}}
        backends = {
            "[red]a": {
                "volume_type": "[b]fl[/b]",
                "pools": {"p0": {}},
                "image_volume_cache_max_size_gb": 1,
            }
        }
        trace = "time,event,volume_id,image_id,size_gib,volume_type,host\n"
        trace += "0,create,1,007,40,[b]fl[/b],\n"
        path = scenario_file(tmp_path, trace=trace, tiers=tiers, backends=backends, strategies=["cache-only"])
        result = cinder_cache("compare", path)
        assert "[b]fl[/b]: 1 create\n" in result.stdout
        assert "[red]a#p0: the cache refuses [b]raw[/b] (2 GiB)" in result.stdout


class TestTerminal:
    def test_ctrl_c(self, long_run: subprocess.Popen[str], tmp_path: Path) -> None:
        assert long_run.stderr and long_run.stdout
        while "cinder" not in long_run.stderr.readline():
            pass  # until Cinder is at work
        long_run.send_signal(signal.SIGINT)
        out, err = long_run.communicate(timeout=300)
        assert (long_run.returncode, out) == (130, "")
        assert err.splitlines()[-1] == "interrupted"
        assert "Traceback" not in err
        assert not (tmp_path / "out").exists()

    def test_a_reader_that_goes_away(self, scenario: Path) -> None:
        with subprocess.Popen(
            [*COMMAND, "run", str(scenario), "--strategy", "none"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout and process.stderr
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 0

    def test_letters_that_the_terminal_lacks(self) -> None:
        """A log in ASCII stays aligned, and a name in it can be told."""
        scenarios = Path(__file__).parents[1] / "scenarios"
        command = [*COMMAND, "compare", str(scenarios / "full_arrays.yaml"), "--strategies", "none"]
        for encoding, sign in (("ascii", "0.0~0"), ("utf-8", "0.0±0")):
            environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
            shown = subprocess.run(
                [*command, "--engine", "fast"], env=environment, capture_output=True, check=True
            ).stdout.decode(encoding)
            assert sign in shown and "\\x" not in shown

    def test_colour_and_progress_are_for_terminals(self, scenario: Path) -> None:
        sent = self.on_terminal(scenario)
        assert "\x1b[1m" in sent and "━" in sent
        without = self.on_terminal(scenario, NO_COLOR="1")
        assert not re.search(r"\x1b\[[0-9;]*m", without)

    @pytest.mark.parametrize(("columns", "widest"), [(50, 80), (80, 80), (95, 95), (300, 100)])
    def test_words_fill_the_terminal_up_to_what_can_be_read(self, columns: int, widest: int) -> None:
        """Tables need 80 columns; longer lines than 100 are hard to read."""
        scenario = Path(__file__).parents[1] / "scenarios" / "full_arrays.yaml"
        command = ["compare", str(scenario), "--strategies", "none,cache-only", "--engine", "fast"]
        shown = CliRunner().invoke(app, command, env={"COLUMNS": str(columns)}, catch_exceptions=False).stdout
        assert widest - 12 < max(map(len, shown.splitlines())) <= widest

    @staticmethod
    def on_terminal(scenario: Path, **environment: str) -> str:
        """What a terminal of 80 columns is sent."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*COMMAND, "run", str(scenario), "--strategy", "none"],
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "80"} | environment,
        ):
            os.close(theirs)
            chunks = []
            try:
                while chunk := os.read(ours, 65536):
                    chunks.append(chunk)
            except OSError:  # Linux says so when the other end is closed
                pass
            os.close(ours)
        return b"".join(chunks).decode()


class TestWatch:
    def test_a_watched_run_says_that_no_invariant_breaks(self, scenario: Path) -> None:
        found = cinder_cache("run", scenario, "--strategy", "cache-only", "--watch")
        assert found.exit_code == 0
        assert "cache-only: no invariant breaks." in found.stdout
        found = cinder_cache("run", scenario, "--strategy", "cache-only", "--watch", "--json")
        assert json.loads(found.stdout)["broken"] == []

    def test_what_cannot_be_watched_is_refused(self, scenario: Path) -> None:
        found = cinder_cache("run", scenario, "--strategy", "cache-only", "--watch", "--engine", "fast")
        assert (found.exit_code, found.stderr) == (
            2,
            "--watch: only engine cinder is watched: leave out --engine\n",
        )
        scenario.write_text(scenario.read_text() + "\nwhat_if: {eviction: sieve}\n")
        found = cinder_cache("compare", scenario, "--watch")
        assert (found.exit_code, found.stderr) == (
            2,
            f"{scenario}: what_if: changes the rules that --watch checks: leave it out\n",
        )
