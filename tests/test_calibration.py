"""Calibration: the true times and rates come back out of what was observed of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import optimize, stats
from typer.testing import CliRunner

from sim.cli import app
from sim.fast.engine import run
from sim.importers.calibration import Calibration, calibrate
from sim.importers.rate_fit import PRIOR, SCALE, Fit
from sim.importers.shared_rates import SEEN
from sim.inputs.problems import BadInput
from sim.inputs.trace import write_trace
from sim.workload.loading import load

SCENARIO = Path(__file__).parents[1] / "scenarios" / "two_tiers.yaml"
TIMES = ("create_s", "clone_s", "write_mib_s", "convert_mib_s")
TRIALS = 400
NOISE = 0.1  # of the logarithm of a create's seconds


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, ...], float]]:
    """An imported folder whose assumed values are wrong, and the true ones by the paths of their keys."""
    folder = tmp_path_factory.mktemp("imported")
    case = load(SCENARIO)
    requests = run(case, "combined").requests
    made = requests[requests["status"] == "available"]
    draw = np.random.default_rng(5)
    seconds = (made["end"] - made["time"]) * np.exp(draw.normal(0, NOISE, len(made)))
    whole = np.floor(made["time"] + seconds) - np.floor(made["time"])  # as MySQL keeps them
    seen = {
        "volume_id": made["volume_id"],
        "create_s": whole,
        "downloaded": (made["source"] == "download") * 1.0,
    }
    pd.DataFrame(seen).to_csv(folder / "observed.csv")
    events = case.trace.events.copy()
    hosts = requests.set_index("volume_id")["host"].astype("str")
    events["host"] = events["volume_id"].map(hosts).fillna("").where(events["event"] == "create", "")
    write_trace(replace(case.trace, events=events), folder / "trace.csv")

    raw = yaml.safe_load(SCENARIO.read_text())
    raw["images"] = str((SCENARIO.parent / raw["images"]).resolve())
    raw["workload"] = {"trace": "trace.csv"}
    truth = {("glance", "stream_mib_s"): raw["glance"]["stream_mib_s"]}
    truth |= {("backends", name, key): spec[key] for name, spec in raw["backends"].items() for key in TIMES}
    for path, value in truth.items():
        put(raw, path, float(value * draw.uniform(0.4, 2.5)))
    (folder / "scenario.yaml").write_text("# kept\n" + yaml.safe_dump(raw, sort_keys=False))
    assumed = [{"path": list(path), "value": None, "why": ""} for path in truth]
    telemetry = [{"host": "flash-a#p0", "hit_rate": 0.5, "evictions": 7}]
    document = {
        "strategy": "combined",
        "assumed": assumed,
        "fills": {"flash-a#p0": 3},
        "telemetry": telemetry,
    }
    (folder / "import.json").write_text(json.dumps(document))
    return folder, truth


@pytest.fixture(scope="module")
def found(observed: tuple[Path, dict[tuple[str, ...], float]]) -> Calibration:
    return calibrate(observed[0])


def put(raw: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        raw = raw[part]
    raw[path[-1]] = value


def test_true_values_are_found(
    observed: tuple[Path, dict[tuple[str, ...], float]], found: Calibration
) -> None:
    _, truth = observed
    told = found.rates[found.rates["told"]]
    assert len(told) >= 10
    # All intervals at once hold with 99 %, each therefore wider than its own 95 %.
    wider = stats.norm.ppf(1 - 0.01 / 2 / len(told)) / stats.norm.ppf(0.975)
    for row in told.to_dict("records"):
        half = np.log(row["high"] / row["low"]) / 2 * wider
        assert abs(np.log(row["fitted"] / truth[row["path"]])) <= half, row
    # disk-b serves hardly anything, so nothing can be said of it.
    untold = {path[1] for path in found.rates.loc[~found.rates["told"], "path"]}
    assert "disk-b" in untold
    before, after = found.goodness.to_dict("records")
    assert after["rms_factor"] < before["rms_factor"] and after["r2"] > before["r2"]
    assert SEEN not in set(found.shared["verdict"])


def test_what_was_observed_stands_beside(found: Calibration) -> None:
    pools = found.pools.set_index("host")
    pool = pools.loc["flash-a#p0"]
    assert (pool["observed_hit_rate"], pool["observed_evictions"], pool["observed_fills"]) == (0.5, 7, 3)
    assert pool["simulated_clone_hit_rate"] == pytest.approx(pool["observed_clone_hit_rate"], abs=0.01)
    assert np.isnan(pools.loc["disk-a#p0", "observed_hit_rate"])
    assert pools.loc["disk-a#p0", "observed_fills"] == 0
    assert pool["ks"] < 0.15 and pool["simulated_s_p95"] == pytest.approx(pool["observed_s_p95"], rel=0.2)


def test_command_writes_a_scenario_that_keeps_comments(
    observed: tuple[Path, dict[tuple[str, ...], float]], found: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = observed
    result = CliRunner().invoke(app, ["calibrate", str(folder)])
    assert result.exit_code == 0, result.output
    text = (folder / "calibrated.yaml").read_text()
    assert text.startswith("# kept\n") and "# fitted: " in text
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "…" not in result.stdout
    case = load(folder / "calibrated.yaml")
    assert case.scenario.glance.stream_mib_s == pytest.approx(71, rel=0.1)
    monkeypatch.setattr("sim.importers.calibration.calibrate", lambda *_: found)  # not a third time
    document = json.loads(CliRunner().invoke(app, ["calibrate", str(folder), "--json"]).stdout)
    assert {"pools", "rates", "shared", "goodness"} == set(document)


def test_what_is_missing_is_told(tmp_path: Path, observed: tuple[Path, dict[tuple[str, ...], float]]) -> None:
    with pytest.raises(BadInput, match=r"import\.json: an import did not write"):
        calibrate(tmp_path)
    for path in observed[0].iterdir():
        if path.stem != "observed":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    document = json.loads((tmp_path / "import.json").read_text())
    (tmp_path / "import.json").write_text("[]")
    with pytest.raises(BadInput, match="an import did not write this file"):
        calibrate(tmp_path)
    (tmp_path / "import.json").write_text(json.dumps(document | {"strategy": None}))
    with pytest.raises(BadInput) as caught:
        calibrate(tmp_path)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_intervals_hold_as_often_as_they_say(noise: float) -> None:
    draw, held = np.random.default_rng(8), 0
    for _ in range(TRIALS):
        fit = Fit.__new__(Fit)
        fit.keys, fit.whole = [("a",), ("b",)], False
        slopes = draw.uniform(0, 1, (200, 2))
        residuals = draw.normal(0, noise / SCALE, 200)

        def model(shift: np.ndarray, s: np.ndarray = slopes, r: np.ndarray = residuals) -> Any:
            return np.concatenate([s @ shift - r, PRIOR * shift]), np.concatenate([s, PRIOR * np.eye(2)])

        fit.model = model  # type: ignore[method-assign]
        found = optimize.least_squares(fit.residuals, np.zeros(2), jac=fit.slopes, loss="soft_l1")
        half, _, _ = fit._half_widths(found.x)
        held += int(abs(found.x[0]) <= half[0])  # the truth is 0
    low, high = stats.binom.interval(0.999, TRIALS, 0.95)
    assert low <= held <= high
