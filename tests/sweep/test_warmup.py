"""A warm-up is as long as the start that creates show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import sim
from sim.analysis.statistics import mser5
from sim.cli import app
from sim.sweep.warmup import start_s, warm_up_s, warm_ups_s

SCENARIO = Path(__file__).parents[2] / "scenarios" / "generated.yaml"


def test_it_is_of_the_strategy_whose_start_is_longest() -> None:
    case = sim.load(SCENARIO)
    found = warm_ups_s(case, ["none", "cache-only", "combined"])
    for strategy, seconds in found.items():
        requests = sim.run(case, strategy, "fast").requests
        clones = requests["source"].isin(["store", "cache", "driver"])
        left_out = mser5(clones.to_numpy())
        assert seconds == (requests["time"].iloc[left_out] if left_out else 0)
    assert found["none"] == 0 < found["cache-only"]  # without clones nothing starts
    assert warm_up_s(case, found) == max(found.values())
    assert warm_up_s(case, []) == 0


def test_a_start_of_misses_is_found() -> None:
    rng = np.random.default_rng(1)
    time = np.sort(rng.uniform(0, 1e6, 5000))
    clone = rng.random(5000) < np.where(np.arange(5000) < 1000, 0.1, 0.9)
    assert time[970] < start_s(time, clone) < time[1200]
    assert start_s(time, np.ones(5000, bool)) == 0


def test_auto_is_said_and_counts(tmp_path: Path) -> None:
    case = sim.load(SCENARIO)
    seconds = warm_up_s(case, ["cache-only"])
    vary = ("--vary", "strategy=cache-only", "--workers", "1")
    outs = []
    for text in ("auto", str(seconds)):
        out = tmp_path / text
        result = CliRunner().invoke(
            app, ["sweep", str(SCENARIO), *vary, "--warm-up", text, "--out", str(out)]
        )
        assert result.exit_code == 0, result.stderr
        assert (f"warm-up: {seconds:,.0f} s, of cache-only" in result.stderr) == (text == "auto")
        outs.append((out / "sweep.csv").read_text())
    assert outs[0] == outs[1]
    plain = tmp_path / "plain"
    assert CliRunner().invoke(app, ["sweep", str(SCENARIO), *vary, "--out", str(plain)]).exit_code == 0
    assert (plain / "sweep.csv").read_text() != outs[0]


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43_200), ("2d", 172_800), ("90", 90), ("0", 0)])
def test_durations(tmp_path: Path, text: str, seconds: float) -> None:
    case = sim.load(SCENARIO)
    counted = int((sim.run(case, "none", "fast").requests["time"] >= seconds).sum())
    out = ["--out", str(tmp_path), "--json", "--workers", "1"]
    result = CliRunner().invoke(
        app, ["sweep", str(SCENARIO), "--vary", "strategy=none", "--warm-up", text, *out]
    )
    assert result.exit_code == 0, result.stderr
    assert f'"creates": {counted},' in result.stdout
