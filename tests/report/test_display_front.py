"""Hits against price as a picture in characters."""

from __future__ import annotations

import pandas as pd
import pytest
from rich.text import Text

from sim.report.display_front import front_text
from sim.report.terminal import text_of

ROWS = pd.DataFrame(
    {
        "tier": ["all", "all", "flash"],
        "strategy": ["none", "cache-only", "none"],
        "clone_hit_rate": [0.0, 1.0, 0.5],
        "price_month": [0.0, 8.0, 3.0],
        "image_provisioned_gib_mean": [0.0, 50.0, 9.0],
    }
)


def test_a_letter_stands_at_its_price_and_its_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    *picture, names = front_text(ROWS).split("\n")
    assert names == "a: none, b: cache-only"
    (top,) = (n for n, line in enumerate(picture) if "b" in line and "┤" in line)
    (bottom,) = (n for n, line in enumerate(picture) if "a" in line and "┤" in line)
    assert (top, bottom) == (1, len(picture) - 4)  # all creates are clones, and none
    assert picture[top].index("b") == len(picture[0]) - 2 and picture[bottom].index("a") == 6
    assert picture[-2].endswith(" 8") and "price a month" in picture[-1]
    free = front_text(ROWS.assign(price_month=0.0))
    assert "GiB of image-volumes" in free and free.split("\n")[-3].endswith(" 50.0")


def test_a_narrow_terminal_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "99")
    assert front_text(ROWS) == ""


def test_lines_to_paste_are_never_broken() -> None:
    line = " ".join(["cinder-cache", *["word"] * 40])
    assert text_of(Text(line, no_wrap=True, overflow="ignore"), Text("end")) == f"{line}\nend"
