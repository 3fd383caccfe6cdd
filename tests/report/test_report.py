"""`report.html`: one file, the same bytes each time, whose numbers are those of the tables."""

from __future__ import annotations

import configparser
import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from typer.testing import CliRunner

import sim
from sim import cli
from sim.analysis import streaming as stream
from sim.inputs.strategies import STRATEGIES
from sim.inputs.trace import write_trace
from sim.plots.frame import number
from sim.report.aggregates import aggregates
from sim.report.figures import Pictures
from sim.report.page import FILE
from sim.report.parts import Ran, space_section
from tests.report.making import COMMANDS, report

GOLDEN = Path(__file__).parents[2] / "scenarios" / "golden_images.yaml"


class Page(HTMLParser):
    """What a test asks of a page: attributes of each element, ids, and files to download."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = (folder / FILE).read_text()
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def of(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    def files(self) -> dict[str, pd.DataFrame]:
        """The tables to download, by name."""
        return {
            link["download"]: pd.read_csv(io.StringIO(unquote(link["href"].partition(",")[2])))
            for link in self.of("a")
            if "download" in link
        }


@pytest.fixture(scope="session")
def pages(folders: dict[str, Path]) -> dict[str, Page]:
    return {name: Page(folder) for name, folder in folders.items()}


@pytest.mark.parametrize("command", COMMANDS)
class TestStructure:
    def test_nothing_is_loaded(self, pages: dict[str, Page], command: str) -> None:
        page = pages[command]
        for tag, attributes in page.elements:
            for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                assert attributes.get(name, "#").startswith(("#", "data:text/csv")), (tag, name)
        assert not page.of("link") and "@import" not in page.text
        assert set(re.findall(r"url\((.)", page.text)) <= {"#"}

    def test_ids_are_unique_and_what_is_referred_to_is_there(
        self, pages: dict[str, Page], command: str
    ) -> None:
        page = pages[command]
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        targets = {each["href"][1:] for _, each in page.elements if each.get("href", "").startswith("#")}
        assert targets | set(re.findall(r"url\(#([^)]+)\)", page.text)) <= set(ids)

    def test_every_picture_has_a_name_and_the_pages_colours_only(
        self, pages: dict[str, Page], command: str
    ) -> None:
        page = pages[command]
        pictures = page.of("svg")
        assert len(pictures) > 5
        assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
        for drawn in re.findall(r"<svg.*?</svg>", page.text, re.DOTALL):
            assert not re.search(r"#[0-9a-f]{6}\b", drawn)

    def test_the_answer_is_first_and_every_section_has_a_title(
        self, pages: dict[str, Page], command: str
    ) -> None:
        sections = pages[command].of("section")
        assert sections[0]["id"] == "answer"
        assert [f"#{section['id']}" for section in sections] == [
            link["href"] for link in pages[command].of("a") if link["href"].startswith("#")
        ][1:]

    def test_the_answer_recommends_and_has_lines_to_copy(self, pages: dict[str, Page], command: str) -> None:
        text = pages[command].text
        answer = text[text.index('<section id="answer"') : text.index("</section>")]
        lines = re.search(r'id="conf">(.*?)</pre>', answer, re.DOTALL)
        assert lines is not None and "Copy these lines" in answer
        conf = configparser.ConfigParser()
        conf.read_string(lines.group(1))
        assert conf.sections() == ["DEFAULT", "flash-a", "flash-b", "disk-a"][1:]
        strategy = re.search(r"<p[^>]*>(?:Recommended:|Run|Keep) ([a-z-]+)", answer)
        assert strategy is not None
        cached = STRATEGIES[strategy.group(1)].image_volume_cache_enabled
        assert conf["disk-a"].getboolean("image_volume_cache_enabled") == cached

    def test_every_part_is_there(self, pages: dict[str, Page], command: str) -> None:
        parts = {section["id"] for section in pages[command].of("section")}
        assert parts >= {"answer", "cache-size", "space", "seconds", "images", "findings"}
        assert parts & {"strategies", "trade-offs"}

    def test_a_long_table_is_in_its_file_only(self, pages: dict[str, Page], command: str) -> None:
        assert len(pages[command].text) < 3_000_000
        assert pages[command].text.count("<tr>") < 100 * pages[command].text.count("<table>")

    def test_the_same_inputs_give_the_same_bytes(
        self, folders: dict[str, Path], scenario: Path, command: str, tmp_path: Path
    ) -> None:
        again = report(command, scenario, tmp_path / "again")
        assert (again / FILE).read_bytes() == (folders[command] / FILE).read_bytes()


class TestNumbers:
    def test_the_summaries_are_the_runs(self, pages: dict[str, Page], folders: dict[str, Path]) -> None:
        files = pages["compare"].files()
        whole = pd.concat(
            [
                pd.read_csv(folders["compare"] / name / "summary.csv")
                for name in ("none", "cache-only", "combined")
            ],
            ignore_index=True,
        )
        pd.testing.assert_frame_equal(files["summary.csv"], whole, rtol=1e-9, check_dtype=False)
        rows = whole[whole["tier"] == "flash"].reset_index(drop=True)
        shown = files["flash.csv"]
        pd.testing.assert_frame_equal(shown, rows[list(shown)], rtol=1e-9, check_dtype=False)

    def test_cells_are_the_numbers_rounded(self, pages: dict[str, Page]) -> None:
        text = pages["compare"].text
        rows = pages["compare"].files()["all.csv"]
        table = re.search(r"<caption>All tiers.*?</table>", text, re.DOTALL)
        assert table is not None
        for row in rows.to_dict("records"):
            (line,) = re.findall(rf"<tr><th scope=\"row\">{row['strategy']}</th>.*?</tr>", table.group())
            cells = re.findall(r"<td>(.*?)</td>", line)
            assert cells[0].split(" ")[0] == f"{100 * row['clone_hit_rate']:.1f}"
            assert cells[4] == number(row["price_month"])

    def test_pictures_say_the_same(self, pages: dict[str, Page]) -> None:
        rows = pages["compare"].files()["all.csv"]
        drawn = re.search(
            r'<svg[^>]*aria-label="all: price a month.*?</svg>', pages["compare"].text, re.DOTALL
        )
        assert drawn is not None
        said = re.findall(r"<text[^>]*>([^<]*)</text>", drawn.group())
        assert set(rows["strategy"]) | {number(price) for price in rows["price_month"]} <= set(said)

    def test_creates_by_seconds_are_all_that_succeed(
        self, pages: dict[str, Page], folders: dict[str, Path]
    ) -> None:
        files = pages["compare"].files()
        for strategy in ("none", "cache-only", "combined"):
            requests = pd.read_csv(folders["compare"] / strategy / "requests.csv")
            done = requests[requests["status"] == "available"]
            steps = files["create-seconds.csv"].query("name == @strategy")
            assert steps["creates"].sum() == len(done)
            for step in steps.to_dict("records"):
                seconds = done["end"] - done["time"]
                here = (
                    (seconds >= step["from_s"])
                    & (seconds < step["to_s"])
                    & (done["source"] == step["source"])
                )
                assert step["creates"] == (here & ((done["lock_wait_s"] > 0) == step["waited"])).sum()

    def test_space_over_time_is_the_runs(self, pages: dict[str, Page], folders: dict[str, Path]) -> None:
        space = pd.read_csv(folders["compare"] / "combined" / "space.csv")
        pd.testing.assert_frame_equal(
            pages["compare"].files()["space-combined.csv"], space, rtol=1e-9, check_dtype=False
        )

    def test_a_sweeps_points_are_its_intervals(
        self, pages: dict[str, Page], folders: dict[str, Path]
    ) -> None:
        certain = pd.read_csv(folders["sweep"] / "intervals.csv")
        kept = certain[certain["scope"].isin(["all", "tier", "backend"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            pages["sweep"].files()["intervals.csv"], kept, rtol=1e-9, check_dtype=False
        )

    def test_a_sweep_recommends_the_least_space_of_those_as_good_as_the_best(
        self, pages: dict[str, Page], folders: dict[str, Path]
    ) -> None:
        points = pd.read_csv(folders["sweep"] / "intervals.csv").query("scope == 'all'")
        best = points.loc[points["clone_hit_rate"].idxmax()]
        near = points[points["clone_hit_rate"] >= best["clone_hit_rate_low"]]
        chosen = near.loc[near["image_provisioned_gib_mean"].idxmin()]
        limit = int(chosen["backends.*.image_volume_cache_max_count"])
        text = pages["sweep"].text
        assert f'<p class="verdict">Run {chosen["strategy"]}, ' in text
        assert f"image_volume_cache_max_count = {limit}" in text
        assert f"recommended {limit}&#34;" in text or f'recommended {limit}"' in text
        shown = pages["sweep"].files()["create-seconds.csv"]
        assert shown["creates"].sum() == 400 - chosen["errors"]

    def test_a_plan_has_its_lines_and_limits(self, pages: dict[str, Page], folders: dict[str, Path]) -> None:
        plan = json.loads((folders["plan"] / "plan.json").read_text())
        lines = re.search(r'id="conf">(.*?)</pre>', pages["plan"].text, re.DOTALL)
        assert lines is not None and lines.group(1).startswith(plan["cinder_conf"])
        for command in plan["quota"]["commands"]:
            assert f"# {command}" in lines.group(1)
        table = pages["plan"].files()["plan.csv"].set_index("backend")
        for name, of in plan["backends"].items():
            assert table.loc[name, "hit_rate"] == pytest.approx(of["hit_rate"])
            if of["image_volume_cache_enabled"]:
                assert table.loc[name, "max_count"] == of["image_volume_cache_max_count"]


def test_a_trace_that_stays_on_disk_has_what_was_counted_on_the_way(
    scenario: Path, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = sim.load(scenario)
    write_trace(case.trace, tmp_path / "trace.parquet")
    (tmp_path / "images.csv").write_bytes((scenario.parent / "images.csv").read_bytes())
    (tmp_path / "small.yaml").write_text(scenario.read_text().replace("trace.csv", "trace.parquet"))
    monkeypatch.setattr(cli.jobs, "MOST_EVENTS", 10)
    monkeypatch.setattr(stream, "BATCH", 100)
    files = Page(report("compare", tmp_path / "small.yaml", tmp_path / "out")).files()
    whole = Page(folders["compare"]).files()
    for name in ("create-seconds.csv", "space-combined.csv", "all.csv"):
        key = [column for column in ("name", "source", "waited", "from_s") if column in whole[name]]
        one, other = (
            (of[name].query("creates > 0") if "creates" in of[name] else of[name]) for of in (files, whole)
        )
        if key:
            one, other = (of.sort_values(key, ignore_index=True) for of in (one, other))
        pd.testing.assert_frame_equal(one, other, rtol=1e-9)
    assert "curves.csv" not in files


def test_backends_are_found_by_the_beginning_of_their_name(scenario: Path, tmp_path: Path) -> None:
    command = ["sweep", str(scenario), "--vary", "backends.flash-*.image_volume_cache_max_count=1..3"]
    result = CliRunner().invoke(cli.app, [*command, "--workers", "1", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    labels = [svg["aria-label"] for svg in Page(tmp_path).of("svg")]
    simulated = [label.partition(":")[0] for label in labels if "simulated" in label]
    assert simulated == ["flash-a", "flash-b"]


@pytest.mark.parametrize(("ratio", "drawn"), [(20.0, False), (1.0, True)])
def test_promised_space_is_drawn_where_it_is_near_its_limit(
    scenario: Path, tmp_path: Path, ratio: float, drawn: bool
) -> None:
    path = scenario.parent / f"ratio-{ratio}.yaml"
    path.write_text(
        scenario.read_text().replace(
            "capacity_gib: 900, max_volumes: 60}}",
            f"capacity_gib: 30}}}}, max_over_subscription_ratio: {ratio}",
        )
    )
    case = sim.load(path)
    records = sim.run(case, "cache-only", "fast")
    run = Ran("cache-only", "cache-only", case, aggregates(records, case), [])
    (group,) = space_section(Pictures(), [run], "cache-only").groups
    assert any("at most 30: provisioned" in picture for picture in group.pictures) == drawn


def test_uploads_are_told_if_there_are_any(pages: dict[str, Page], tmp_path: Path) -> None:
    command = ["compare", str(GOLDEN), "--engine", "fast", "--strategies", "none,cache-only", "--json"]
    result = CliRunner().invoke(cli.app, [*command, "--out", str(tmp_path)])
    told = [row for run in json.loads(result.stdout)["runs"] for row in run["uploads"]]
    table = Page(tmp_path).files()["uploads.csv"]
    pd.testing.assert_frame_equal(table, pd.DataFrame(told))
    assert table["later_clones"].tolist()[0] == 0 < table["later_clones"].tolist()[1]
    assert "uploads.csv" not in pages["compare"].files()


def test_what_a_scenario_is_called_is_no_markup(scenario: Path, tmp_path: Path) -> None:
    text = scenario.read_text().replace("name: small", "name: <script>alert(1)</script>")
    (scenario.parent / "markup.yaml").write_text(text)
    folder = report("compare", scenario.parent / "markup.yaml", tmp_path)
    page = Page(folder)
    assert len(page.of("script")) == 1
    assert "&lt;script&gt;alert(1)" in page.text


def test_files_are_csv_that_quotes_what_needs_it() -> None:
    from sim.report.numbers import numbers

    table = pd.DataFrame({"name": ['a,"b"', "c\nd", "é#%"], "value": [0.1, 1e-12, 3]})
    href = numbers(table, "x", "x.csv").href
    rows = list(csv.reader(io.StringIO(unquote(href.partition(",")[2]))))
    assert rows == [["name", "value"], ['a,"b"', "0.1"], ["c\nd", "1e-12"], ["é#%", "3"]]
    assert not set('"<> \n#') & set(href)
