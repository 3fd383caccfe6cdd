"""Reports in Debian's Chromium: nothing goes wrong, nothing leaves the file, and everybody can read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sim.cli import app
from sim.report.page import FILE
from tests.report.making import COMMANDS

SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}


@contextmanager
def opened(browser: Any, folder: Path, screen: str, scheme: str, **more: Any) -> Iterator[Any]:
    """A report in the browser; what it asked for or complained of is an error at the end."""
    width, height = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True, **more
    )
    context.set_default_timeout(120_000)  # ms: for machines that have other things to do
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url))
    address = (folder / FILE).as_uri()
    page.goto(address)
    yield page
    context.close()
    assert [each for each in heard if not each.startswith("data:text/csv")] == [address]


UNFOLD = "document.querySelectorAll('details').forEach(each => { each.open = true })"
SHORTEN = "document.querySelectorAll('tbody tr:nth-child(n+4)').forEach(each => each.remove())"


def faults(page: Any) -> list[Any]:
    """What axe finds when all is unfolded; of each table in its first rows, for the others are like these."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.evaluate(UNFOLD)
    page.evaluate(SHORTEN)
    found: list[Any] = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return found


# The three share their styles; a plan has most parts.
@pytest.mark.parametrize(
    ("command", "scheme", "screen"),
    [
        ("compare", "light", "desktop"),
        ("plan", "light", "desktop"),
        ("plan", "dark", "phone"),
        ("sweep", "dark", "phone"),
    ],
)
def test_axe_finds_nothing(
    browser: Any, folders: dict[str, Path], command: str, scheme: str, screen: str
) -> None:
    with opened(browser, folders[command], screen, scheme, bypass_csp=True) as page:
        found = faults(page)
    assert found == [], json.dumps([(each["id"], each["nodes"][:2]) for each in found], indent=1)


def test_two_results_side_by_side_can_be_read_on_a_phone_in_the_dark(
    browser: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    shown = CliRunner().invoke(
        app, ["report", *map(str, (folders["compare"], folders["plan"], "--out", tmp_path))]
    )
    assert shown.exit_code == 0, shown.output
    with opened(browser, tmp_path, "phone", "dark", bypass_csp=True) as page:
        page.evaluate(UNFOLD)
        assert page.evaluate("document.documentElement.scrollWidth") == SCREENS["phone"][0]
        found = faults(page)
    assert found == [], json.dumps([(each["id"], each["nodes"][:2]) for each in found], indent=1)


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_but_tables_is_wider_than_the_screen(
    browser: Any, folders: dict[str, Path], command: str, screen: str
) -> None:
    with opened(browser, folders[command], screen, "light") as page:
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") == SCREENS[screen][0]


def test_dark_is_dark(browser: Any, folders: dict[str, Path]) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        with opened(browser, folders["compare"], "desktop", scheme) as page:
            colors = "[document.body, document.querySelector('svg text')].map(e => getComputedStyle(e)).map("
            seen[scheme] = page.evaluate(f"{colors} style => [style.backgroundColor, style.fill])")
    assert seen["light"][0] != seen["dark"][0] and seen["light"][1] != seen["dark"][1]


def test_a_table_is_downloaded(browser: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    with opened(browser, folders["compare"], "desktop", "light") as page:
        page.locator("details:has(a[download='all.csv']) > summary").last.focus()
        page.keyboard.press("Enter")
        with page.expect_download() as coming:
            page.get_by_role("link", name="Download all.csv").focus()
            page.keyboard.press("Enter")
        coming.value.save_as(tmp_path / "all.csv")
        assert coming.value.suggested_filename == "all.csv"
    assert (tmp_path / "all.csv").read_text().startswith("strategy,clone_hit_rate,")


@pytest.mark.parametrize("allowed", [True, False])
def test_the_lines_are_copied(browser: Any, folders: dict[str, Path], allowed: bool) -> None:
    """Also where a browser keeps its clipboard from files."""
    more = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, folders["plan"], "desktop", "light", **more) as page:
        if not allowed:
            page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.get_by_role("region", name="The answer").get_by_role("button", name="Copy these lines").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Copied.").wait_for()
        lines = page.locator("#conf").inner_text()
        if allowed:
            assert page.evaluate("navigator.clipboard.readText()") == lines
    assert "image_volume_cache_max_count" in lines


def test_paper_shows_what_is_folded_away(browser: Any, folders: dict[str, Path]) -> None:
    with opened(browser, folders["compare"], "desktop", "dark") as page:
        closed = page.locator("details.group:not([open])")
        before = closed.count()
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert before > 0 and closed.count() == 0
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 254)"
        page.set_viewport_size({"width": 720, "height": 1000})  # A4
        assert page.evaluate("document.documentElement.scrollWidth") == 720
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert closed.count() == before
