"""Comparisons say how sure they are: the right figures, paired, in the table, as JSON and as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from handmade import TRACE, scenario_file
from scipy import stats
from typer.testing import CliRunner, Result

import sim
from sim.analysis.comparison import (
    Comparison,
    counted,
    in_blocks,
    of_history,
    of_replications,
    without_failed,
)
from sim.analysis.metrics import ALL, summary
from sim.analysis.results import read
from sim.analysis.statistics import DAY_S, Blocks, Sample
from sim.cli import app
from sim.report.display import comparison_text

SCENARIOS = Path(__file__).parents[1] / "scenarios"
KEYS = ["tier", "strategy", "measure"]


def cinder_cache(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """A generated half day with few creates; two strategies, `none` not first."""
    raw = yaml.safe_load((SCENARIOS / "generated.yaml").read_text())
    raw["workload"]["generate"] |= {"duration": "12h", "creates_per_day": 80}
    path = tmp_path / "generated.yaml"
    path.write_text(yaml.safe_dump(raw | {"strategies": ["cache-only", "none"]}))
    return path


def summaries_of(values: dict[str, list[float]]) -> list[pd.DataFrame]:
    """A summary a replication, with the hit rates of each strategy."""
    count = len(next(iter(values.values())))
    return [
        pd.DataFrame(
            {
                "tier": ALL,
                "strategy": list(values),
                "clone_hit_rate": [of[number] for of in values.values()],
                "errors": number,
            }
        )
        for number in range(count)
    ]


def of(table: pd.DataFrame, *key: str) -> pd.Series:
    return table.set_index(KEYS).loc[key]


class TestReplications:
    def test_are_paired_with_none_or_the_first(self) -> None:
        rng = np.random.default_rng(1)
        base = rng.uniform(0.2, 0.8, 9)
        values = {"cache-only": base + rng.uniform(0.1, 0.12, 9), "none": base}
        found = of_replications(summaries_of({name: list(of) for name, of in values.items()}))
        assert (found.of, found.units, found.reference) == ("replications", 9, "none")
        for table, name, expected in (
            (found.measures, "cache-only", values["cache-only"]),
            (found.differences, "cache-only", values["cache-only"] - base),
        ):
            row = of(table, ALL, name, "clone_hit_rate")
            low, high = stats.t.interval(0.95, 8, expected.mean(), stats.sem(expected))
            assert row.tolist() == pytest.approx([expected.mean(), low, high])
        assert of(found.differences, ALL, "cache-only", "errors").tolist() == pytest.approx([0, 0, 0])
        assert set(found.differences["strategy"]) == {"cache-only"}
        renamed = of_replications(summaries_of({"combined": [0.1, 0.2], "cache-only": [0.3, 0.5]}))
        assert renamed.reference == "combined"
        assert of(renamed.differences, ALL, "cache-only", "clone_hit_rate")["mean"] == pytest.approx(0.25)

    def test_a_strategy_that_failed_once_is_left_out(self) -> None:
        tables = summaries_of({"none": [0, 0], "cache-only": [0.5, 0.7]})
        split = [{name: one[one["strategy"] == name] for name in one["strategy"]} for one in tables]
        assert [len(one) for one in without_failed(split)] == [2, 2]
        left = without_failed([split[0], split[1] | {"none": "RuntimeError: no"}])
        assert [one["strategy"].tolist() for one in left] == [["cache-only"], ["cache-only"]]
        assert without_failed([dict.fromkeys(split[0], "RuntimeError: no")]) == []

    def test_command(self, generated: Path, tmp_path: Path) -> None:
        out, plain = tmp_path / "out", tmp_path / "plain"
        options = ("--engine", "fast", "--warm-up", "2h", "--replications", 3)
        shown = cinder_cache("compare", generated, *options, "--out", out)
        assert shown.exit_code == 0, shown.stderr
        assert shown.stdout.startswith("means of 3 replications (± at 95 %)\n")
        assert "creates before 7,200 s are left out" in shown.stdout and "less none:" in shown.stdout
        folders = [
            "cache-only",
            "differences.csv",
            "none",
            "replications.csv",
            "report.html",
            "summaries.csv",
        ]
        assert sorted(path.name for path in out.iterdir()) == folders
        summaries = []
        for number in range(3):
            case = sim.load(generated, replication=number)
            runs = {name: sim.run(case, name, "fast") for name in case.scenario.strategies}
            rows = [summary(counted(of, 7200), case, name) for name, of in runs.items()]
            summaries.append(pd.concat(rows, ignore_index=True))
        expected = of_replications(summaries, 7200)
        for file, table in (
            ("replications.csv", expected.measures),
            ("differences.csv", expected.differences),
        ):
            written = pd.read_csv(out / file, keep_default_na=False, na_values=[""])
            pd.testing.assert_frame_equal(written, table, check_dtype=False)
            assert list(written) == [*KEYS, "mean", "low", "high"]
        # The folders hold replication 0, whole.
        assert cinder_cache("compare", generated, "--engine", "fast", "--out", plain).exit_code == 0
        for name in ("none", "cache-only"):
            (tables, manifest), (whole, _) = read(out / name), read(plain / name)
            pd.testing.assert_frame_equal(tables["requests"], whole["requests"])
            assert manifest["warm_up_s"] == 7200 and manifest["replication"] == 0
            assert tables["summary"]["creates"].iloc[-1] == (whole["requests"]["time"] >= 7200).sum()

    def test_of_engine_cinder_are_those_of_fast(self, generated: Path) -> None:
        documents = []
        for engine in ("cinder", "fast"):
            result = cinder_cache("compare", generated, "--engine", engine, "--replications", "2", "--json")
            assert result.exit_code == 0, result.stderr
            documents.append(json.loads(result.stdout, parse_constant=pytest.fail))
        cinder, fast = (document["replications"] for document in documents)
        assert cinder == fast
        assert sorted(cinder) == sorted(
            ["units", "confidence", "warm_up_s", "reference", "measures", "differences"]
        )
        assert (cinder["units"], cinder["reference"]) == (2, "none")
        assert [run["strategy"] for run in documents[0]["runs"]] == ["cache-only", "none"]

    def test_in_python(self, generated: Path) -> None:
        case = sim.load(generated)
        found = sim.intervals(case, engine="fast", replications=2, warm_up_s=7200)
        result = cinder_cache(
            "compare", generated, "--engine", "fast", "--warm-up", "2h", *("--replications", 2), "--json"
        )
        shown = json.loads(result.stdout)["replications"]
        assert found.measures["mean"].dropna().tolist() == [
            row["mean"] for row in shown["measures"] if row["mean"] is not None
        ]
        one = sim.intervals(case, ["none"], "fast")
        assert (one.of, one.measures["strategy"].unique().tolist()) == ("blocks", ["none"])
        assert one.differences.empty
        with pytest.raises(sim.BadInput, match="there is no 'best'"):
            sim.intervals(case, ["best"])
        with pytest.raises(sim.BadInput, match="one history"):
            sim.intervals(sim.load(SCENARIOS / "two_tiers.yaml"), ["none"], "fast", replications=2)

    def test_of_a_trace_there_is_one(self, tmp_path: Path) -> None:
        path = scenario_file(tmp_path)
        result = cinder_cache("compare", path, "--replications", 2, "--engine", "warp")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "one history" in result.stderr and "warp" in result.stderr

    @pytest.mark.parametrize("text", ["soon", "-1", "3w", "nan", ""])
    def test_a_wrong_warm_up_is_told_with_all_else(self, tmp_path: Path, text: str) -> None:
        path = scenario_file(tmp_path, trace=TRACE.replace("huge", "nosuch"))
        result = cinder_cache("compare", path, f"--warm-up={text}", "--engine", "warp")
        assert (result.exit_code, result.stdout) == (2, "")
        for wrong in ("--warm-up: ", "warp", "nosuch"):
            assert wrong in result.stderr

    def test_a_warm_up_longer_than_the_history(self, tmp_path: Path) -> None:
        result = cinder_cache("compare", scenario_file(tmp_path), "--warm-up", "1h", "--engine", "fast")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "--warm-up: 3,600 s, but the last event is at 1,000 s\n"


class TestHistory:
    def test_blocks_are_parts_of_the_summary(self) -> None:
        case = sim.load(SCENARIOS / "two_tiers.yaml")
        records = sim.run(case, "combined", "fast")
        blocks = Blocks.between(DAY_S, case.last_create_s)
        later = counted(records, DAY_S)
        table = in_blocks(later.requests, case.scenario.tiers, "combined", blocks)
        sums = table.groupby("tier", sort=False)[["creates", "clones", "made", "seconds"]].sum()
        whole = summary(later, case, "combined").set_index("tier")
        assert sums.index.tolist() == whole.index.tolist()
        assert sums["creates"].tolist() == whole["creates"].tolist()
        assert (sums["clones"] / sums["creates"]).tolist() == pytest.approx(whole["clone_hit_rate"].tolist())
        assert (sums["seconds"] / sums["made"]).tolist() == pytest.approx(whole["create_s_mean"].tolist())
        day = later.requests["time"].between(3 * DAY_S, 4 * DAY_S, inclusive="left").sum()
        assert blocks.length_s == DAY_S and day > 0
        assert table.query("tier == 'all' and block == 2")["creates"].item() == day

    def test_intervals_are_of_paired_blocks(self) -> None:
        rng = np.random.default_rng(2)
        blocks, tables = Blocks(0.0, DAY_S, 12), []
        creates = rng.integers(50, 80, 12)
        clones = {"store-only": rng.binomial(creates, 0.2), "none": np.zeros(12)}
        for name, of_name in clones.items():
            columns = {"creates": creates, "clones": of_name, "made": creates, "seconds": 3.0 * creates}
            tables.append(pd.DataFrame({"tier": ALL, "strategy": name, "block": range(12), **columns}))
        found = of_history(tables, blocks, seed=3)
        assert (found.of, found.units, found.block_s, found.reference) == ("blocks", 12, DAY_S, "none")
        sample = Sample.of_blocks(12, seed=3)
        expected = sample.interval(sample.ratio(clones["store-only"], creates))
        for table in (found.measures, found.differences):
            row = of(table, ALL, "store-only", "clone_hit_rate")
            assert row.tolist() == pytest.approx([expected.mean, expected.low, expected.high])
        assert of(found.measures, ALL, "none", "create_s_mean").tolist() == pytest.approx([3, 3, 3])

    def test_command(self, tmp_path: Path) -> None:
        path = scenario_file(tmp_path, strategies=["none", "cache-only"])
        shown = cinder_cache("compare", path, "--engine", "fast")
        assert shown.exit_code == 0
        assert "one history: intervals by a block bootstrap over tenths of it (± at 95 %)\n" in shown.stdout
        document = json.loads(cinder_cache("compare", path, "--engine", "fast", "--json").stdout)
        assert document["blocks"]["block_s"] == sim.load(path).last_create_s / 10
        assert document["blocks"]["units"] == 10
        measures = {row["measure"] for row in document["blocks"]["measures"]}
        assert measures == {"clone_hit_rate", "create_s_mean"}


def test_the_tables_are_right_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with figures of many digits, with nothing to tell and with names of any kind."""
    monkeypatch.setenv("COLUMNS", "80")
    rng = np.random.default_rng(4)
    columns = ("create_s_mean", "create_s_p95", "image_provisioned_gib_mean", "price_month")
    summaries = [
        pd.DataFrame(
            {
                "tier": "[b]fl",
                "strategy": ["none", "store-only", "cache-only", "combined"],
                "clone_hit_rate": rng.uniform(0, 1, 4),
                **{column: 10 ** rng.uniform(2, 6, 4) for column in columns},
                "errors": np.nan,
            }
        )
        for _ in range(5)
    ]
    for found in (of_replications(summaries), _blocks(summaries)):
        lines = comparison_text(found).splitlines()
        assert max(map(len, lines)) <= 80
        assert "[b]fl" in lines
        assert sum(line.startswith("combined ") for line in lines) == (2 if found.of == "replications" else 1)
        assert not any("…" in line for line in lines)


def _blocks(summaries: list[pd.DataFrame]) -> Comparison:
    """The first two measures, as of a history's blocks."""
    found = of_replications([one[["tier", "strategy", *MEASURED]] for one in summaries])
    return Comparison("blocks", 5, 1.0, 60.0, found.reference, found.measures, found.differences)


MEASURED = ("clone_hit_rate", "create_s_mean")
