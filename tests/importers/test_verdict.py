"""Whether a promise was kept: by databases that the whole of Cinder wrote, and by the theory of intervals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sqlalchemy.engine import URL
from typer.testing import CliRunner, Result

from sim.cli import app
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.live.observed import Observed
from sim.live.promise import Promise, Promised
from sim.planner.verdict import KEPT, NOT_KEPT, UNSURE, Margins, poisson, verdict, wilson
from sim.workload.loading import load
from tests.importers.notifier import notifying
from tests.importers.reading import text
from tests.importers.rows import at, writing
from tests.planner.test_advise import scenario
from tests.whole.reference import Run

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other

DAYS, EACH = 8, 10  # days, and creates of a day
MARGIN = ("--hit-margin", "0.1")  # of so few creates
CONF = """
[DEFAULT]
enabled_backends = a
host = c1
allowed_direct_url_schemes =
cinder_internal_tenant_project_id = internal
cinder_internal_tenant_user_id = internal-user
[a]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verdict", *map(str, arguments)])


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scenario of one image, and a plan for it."""
    folder = tmp_path_factory.mktemp("planned")
    rows = [
        f"{day * 86_400 + number * 8_600 + 13 * day},create,v{day}-{number},i,10,t,a#p"
        for day in range(DAYS)
        for number in range(EACH)
    ]
    path = scenario(folder, {"a": {"node": "c1"}}, rows, today="none")
    given = ["plan", str(path), "--target-hit-rate", "0.9", "--workers", "1", "--out", str(folder / "plan")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    return folder


def happened(planned: Path, folder: Path, **limits: Any) -> tuple[str, Path]:
    """What the whole of Cinder writes with the planned limits, or others: a database and its conf."""
    plan = json.loads((planned / "plan" / "plan.json").read_text())
    assert plan["strategy"] == "cache-only"
    options = {name: plan["backends"]["a"][name] for name in (ENABLED, MAX_SIZE, MAX_COUNT)} | limits
    values = {("backends", "a", name): value for name, value in options.items()}
    folder.mkdir()
    url = text(URL.create("sqlite", database=str(folder / "cinder.sqlite")))
    with notifying("messagingv2") as lines:
        Run(load(planned / "scenario.yaml", values=values), "cache-only", url).execute()
        (folder / "notifications.json").write_text("\n".join(lines()) + "\n")
    conf = folder / "cinder.conf"
    conf.write_text(CONF + "".join(f"{name} = {str(value).lower()}\n" for name, value in options.items()))
    return url, conf


@pytest.fixture(scope="module")
def as_planned(planned: Path) -> tuple[str, Path]:
    return happened(planned, planned / "as planned")


def test_planned_limits_keep_the_promise(planned: Path, as_planned: tuple[str, Path], tmp_path: Path) -> None:
    promise = planned / "plan" / "plan.json"
    url, conf = as_planned
    kept = run(promise, "--db", url, "--conf", conf, "--out", tmp_path / "out", *MARGIN)
    assert kept.exit_code == 0 and kept.stdout.startswith("kept\n"), kept.output
    assert "promised" in kept.stdout and "as promised" not in kept.stdout
    told = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert told["backends"] == {"a": KEPT, "all": KEPT}
    by_figure = {each["figure"]: each for each in told["figures"] if each["backend"] == "a"}
    # The image is downloaded once.
    assert by_figure["hit_rate"]["observed"] == pytest.approx(1 - 1 / (DAYS * EACH))
    assert by_figure["hit_rate"]["observed"] == pytest.approx(by_figure["hit_rate"]["promised"])
    assert by_figure["p95_s"]["observed"] == pytest.approx(by_figure["p95_s"]["promised"], rel=1e-3)
    assert len(pd.read_csv(tmp_path / "out" / "verdict.csv")) == 4
    notified = run(
        promise, "--notifications", conf.parent / "notifications.json", "--conf", conf, "--json", *MARGIN
    )
    assert notified.exit_code == 0, notified.output
    same = json.loads(notified.stdout)
    assert [each["verdict"] for each in same["figures"]] == [KEPT] * 4
    assert [each["observed"] for each in same["figures"]] == pytest.approx(
        [each["observed"] for each in told["figures"]], rel=1e-3
    )


def test_other_limits_do_not_and_the_setting_is_named(planned: Path, tmp_path: Path) -> None:
    promise = planned / "plan" / "plan.json"
    url, conf = happened(planned, tmp_path / "too small", **{MAX_SIZE: 5})  # the image has 10
    broken = run(promise, "--db", url, "--conf", conf, *MARGIN)
    assert broken.exit_code == 1 and broken.stdout.startswith("not kept\n"), broken.output
    limits = json.loads(promise.read_text())["backends"]["a"]
    words = " ".join(broken.stdout.split())
    assert f"[a] {MAX_SIZE} is 5, and not {limits[MAX_SIZE]} as promised" in words


def test_little_history_says_how_long_to_wait(planned: Path, as_planned: tuple[str, Path]) -> None:
    url, _ = as_planned
    promise = planned / "plan" / "plan.json"
    whole = json.loads(run(promise, "--db", url, "--json").stdout)
    since = pd.Timestamp(whole["until"]) - pd.Timedelta(days=3.5)
    early = run(promise, "--db", url, "--since", since.isoformat(), "--json")
    assert early.exit_code == 0
    told = json.loads(early.stdout)
    assert told["verdict"] == UNSURE and told["wait_days"] == 4
    assert {each["wait_days"] for each in told["figures"]} == {4}
    assert told["why"][0]["text"].startswith("give --conf")
    shown = run(promise, "--db", url, "--since", since.isoformat()).stdout
    assert shown.startswith("cannot tell yet: ask again in 4 days\n")


def test_no_creates_since_are_told(planned: Path, sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.volume(1)
    told = run(planned / "plan" / "plan.json", "--db", text(sqlite))
    assert told.exit_code == 0 and told.stdout.startswith("cannot tell yet"), told.output
    assert (
        "no creates from an image"
        in json.loads(run(planned / "plan" / "plan.json", "--db", text(sqlite), "--json").stdout)["figures"][
            0
        ]["why"]
    )


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text("backends: {a: {}}\n")
    result = run(plain, "--db", "nothing", "--conf", tmp_path / "no.conf", "--since", "soon", "--out", plain)
    assert result.exit_code == 2
    for part in (
        "plain.yaml: promises settings and no figures",
        "no.conf",
        "--since",
        "--out",
        "mysql://user",
    ):
        assert part in result.stderr, part
    assert "Traceback" not in result.stderr
    nothing = run(plain)
    assert nothing.exit_code == 2 and "--db, --dump or --notifications" in nothing.stderr
    for what, key in (
        ({"hit_rate": "high"}, "backends.a.hit_rate"),
        ({"hit_rate": 0.5, "errors": -1}, "backends.a.errors"),
    ):
        plain.write_text(json.dumps({"backends": {"a": what}, "load": {"end": "never"}}))
        wrong = run(plain, "--db", "sqlite:///x")
        assert wrong.exit_code == 2 and key in wrong.stderr, wrong.stderr
        assert "load.end" in wrong.stderr


# -- the rule ------------------------------------------------------------------------------------------

START = at(0)


def seen(days: float, downloads: Any, images: Any = None, seconds: Any = 10.0) -> Observed:
    """Creates evenly over some days."""
    count = len(downloads)
    time = np.linspace(0, days * 86_400, count, endpoint=False)
    frame = pd.DataFrame(
        {
            "time": time,
            "backend": "a",
            "host": "c1@a#p",
            "image_id": [str(number) for number in range(count)] if images is None else images,
            "create_s": seconds,
            "downloaded": np.asarray(downloads, float),
        }
    )
    return Observed(frame, START, START + pd.Timedelta(days=days), [])


def one(hits: float, low: float | None = None, high: float | None = None, **more: Any) -> Promise:
    promised = Promised(hits, hits if low is None else low, hits if high is None else high)
    return Promise({"a": {}}, figures={"a": {"hit_rate": promised, **more}})


@pytest.mark.parametrize(
    ("promised", "expected"), [(0.9, KEPT), (0.79, KEPT), (0.835, KEPT), (0.99, NOT_KEPT)]
)
def test_the_interval_is_compared_with_the_bound(promised: float, expected: str) -> None:
    downloads = np.random.default_rng(1).random(20_000) < 0.1
    told = verdict(one(promised), seen(20, downloads), Margins())
    assert told["backends"] == {"a": expected}


def test_the_days_to_wait_are_enough() -> None:
    """As many days more of the same creates tell it, and half of them do not."""
    rng = np.random.default_rng(2)
    downloads = np.tile(rng.random(400) < 0.2, 40)
    days = 10
    promise = one(1 - downloads.mean() + 0.05 + 0.02)  # the loss is 0.07, the bound 0.05
    first = verdict(promise, seen(days, downloads[:400]), Margins())
    (figure,) = first["figures"]
    wait = figure["wait_days"]
    assert first["verdict"] == UNSURE and wait > days
    often = 400 / days
    later = [
        verdict(promise, seen(days + more, downloads[: round(often * (days + more))]), Margins())["verdict"]
        for more in (wait // 3, 2 * wait)
    ]
    assert later == [UNSURE, NOT_KEPT]


def test_a_promise_that_is_not_exact_enough_is_told() -> None:
    downloads = np.zeros(10_000)
    downloads[::10] = 1
    told = verdict(one(0.94, 0.8, 0.999), seen(20, downloads), Margins())
    assert told["verdict"] == UNSURE and told["figures"][0]["wait_days"] is None
    assert "not exact enough" in told["figures"][0]["why"]


def test_few_clones_of_one_image_are_no_proof() -> None:
    """All are clones: creates of one image on one day count once."""
    few = verdict(one(0.99), seen(10, np.zeros(1000), images="i"), Margins())
    many = verdict(one(0.99), seen(10, np.zeros(1000)), Margins())
    assert (few["verdict"], many["verdict"]) == (UNSURE, KEPT)


def test_wilsons_interval_is_that_of_others() -> None:
    for hits, count in ((0, 10), (51, 57), (500, 1000), (30, 30)):
        expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
        found = wilson(hits / count, count, float(stats.norm.ppf(0.975)))
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_verdict_is_seldom_wrong() -> None:
    """A promise exactly at its bound is called kept or broken in no more than 2.5 % each, about.

    Images come and go with whole days: creates are correlated, and an interval of independent ones is wrong
    in a quarter of the histories.
    """
    rng = np.random.default_rng(3)
    days, each, tries = 30, 40, 100
    wrong = {KEPT: 0, NOT_KEPT: 0, UNSURE: 0}
    for _ in range(tries):
        rates = rng.beta(16, 4, days)  # mean 0.8
        downloads = rng.random((days, each)) >= rates[:, None]
        told = verdict(one(0.85), seen(days, downloads.ravel()), Margins())
        wrong[told["verdict"]] += 1
    # 3 standard errors of 100 tries above 2.5 %.
    assert wrong[KEPT] / tries < 0.025 + 3 * np.sqrt(0.025 * 0.975 / tries)
    assert wrong[NOT_KEPT] / tries < 0.025 + 3 * np.sqrt(0.025 * 0.975 / tries)


def test_seconds_are_compared_too() -> None:
    rng = np.random.default_rng(4)
    seconds = rng.exponential(10, 5000)  # 95 % within 30 s
    for promised, expected in ((28.0, KEPT), (20.0, NOT_KEPT)):
        promise = one(1.0, p95_s=Promised(promised, promised, promised))
        told = verdict(promise, seen(20, np.zeros(5000), seconds=seconds), Margins())
        assert told["figures"][1]["verdict"] == expected, promised
    few = verdict(
        one(1.0, p95_s=Promised(99.0, 99.0, 99.0)), seen(20, np.zeros(50), seconds=seconds[:50]), Margins()
    )
    assert few["figures"][1]["verdict"] == UNSURE and few["figures"][1]["wait_days"] == 10
    assert few["figures"][1]["observed_high"] is None


def test_a_load_that_changed_is_told() -> None:
    creates = seen(10, np.zeros(1000))  # 100 creates and new images a day, of which a promise has fewer
    load = {"a": {"creates_per_day": 100.0, "new_images_per_day": 2.0}}
    told = verdict(replace(one(1.0), load=load), creates, Margins())
    assert [(each["kind"], each["promised"]) for each in told["why"]] == [("releases", 2.0)]
    load = {"a": {"creates_per_day": 50.0, "new_images_per_day": 110.0}}
    told = verdict(replace(one(1.0), load=load), creates, Margins())
    assert [(each["kind"], each["promised"]) for each in told["why"]] == [("load", 50.0)]
    for count in (0, 3, 40):
        low, high = poisson(count)
        assert stats.poisson.cdf(count, high) == pytest.approx(0.025)
        assert count == 0 or stats.poisson.sf(count - 1, low) == pytest.approx(0.025)


def test_failed_creates_of_a_promise_do_not_count(tmp_path: Path) -> None:
    """The promised rate counts failures against it; a database shows creates that succeed."""
    from sim.inputs.problems import Problems
    from sim.live.promise import read

    path = tmp_path / "promise.json"
    of = {"creates": 100, "hit_rate": 0.45, "errors": 60.0, "other_errors": 10.0, "hit_rate_high": 0.6}
    path.write_text(json.dumps({"strategy": "cache-only", "backends": {"a": of}}))
    problems = Problems()
    found = read(path, problems)
    assert found is not None and not problems
    assert found.figures["a"]["hit_rate"] == Promised(pytest.approx(0.9), pytest.approx(0.9), 1.0)
