"""What stood out, in the words of a terminal."""

from __future__ import annotations

import pytest

from sim.analysis.wording import Finding
from sim.report.display_findings import SHOWN, findings_text

TIERS = ("flash", "disk")
SAME = Finding("disk: 2 creates of 9 failed: NoSpace 2", "disk", 360.0)
FOUND = [
    ("cache-only", [Finding("flash-a#p0: orphans, 3 image-volumes", "flash"), SAME]),
    (
        "combined",
        [SAME, Finding("no image is in the Cinder store", lost_s=1.0), Finding("flash: waits", "flash", 9.0)],
    ),
]


def test_lines_stand_below_their_tier_with_the_rows_that_have_them() -> None:
    assert findings_text(FOUND, TIERS).split("\n") == [
        "What stands out, what costs creates most seconds first.",
        "",
        "all tiers",
        "- combined: no image is in the Cinder store",
        "",
        "flash",
        "- combined: waits",
        "- cache-only: flash-a#p0: orphans, 3 image-volumes",
        "",
        "disk",
        "- cache-only, combined: 2 creates of 9 failed: NoSpace 2",
    ]
    assert findings_text(FOUND[:1], ("disk",)).split("\n")[1] == "- 2 creates of 9 failed: NoSpace 2"
    assert findings_text([("none", [])], TIERS) == ""


def test_the_costliest_lines_alone() -> None:
    many = [Finding(f"flash: line n{cost}", "flash", cost) for cost in range(SHOWN + 3)]
    text = findings_text([("none", many)], TIERS, whole=False)
    assert text.count("\n- ") == SHOWN
    assert text.endswith("3 more cost less: --all-findings shows them")
    assert text.index("line n12") < text.index("line n3")
    assert "line n2" not in text


def test_rows_that_differ_in_numbers_alone_share_a_line() -> None:
    """The numbers are those of the row where it costs most, which is named first."""
    found = [
        (name, [Finding(f"flash: {n} creates of 9 waited", "flash", n)]) for name, n in (("a", 2), ("b", 3))
    ]
    assert findings_text(found, TIERS, whole=False).endswith("- b, a: 3 creates of 9 waited")
    assert findings_text(found, TIERS).endswith("- b: 3 creates of 9 waited\n- a: 2 creates of 9 waited")


@pytest.mark.parametrize("line", ["flash: a", "b"])
def test_a_finding_is_its_line(line: str) -> None:
    assert Finding(line, "flash", 3.0) == line
