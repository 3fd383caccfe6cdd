"""What stood out in runs as text for a terminal: by tier, what costs creates most first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sim.analysis.findings import most
from sim.analysis.wording import Finding
from sim.report.terminal import item

SHOWN = 10  # lines that a reader takes in


def findings_text(
    found: Sequence[tuple[str, Sequence[Finding]]],
    tiers: Collection[str],
    about: str = "",
    whole: bool = True,
) -> str:
    """The findings of rows, below the tier that they concern; '' if nothing stood out.

    `found`: the name of each row, and its findings. A line of several rows stands there once. `about`: said
    in the heading. `whole`: every line, else the `SHOWN` that cost most.
    """
    rows: dict[Finding, list[str]] = {}
    for name, lines in found:
        for line in lines:
            rows.setdefault(line, []).append(name)
    shown = most(rows, len(rows) if whole else SHOWN)
    left = len(rows) - len(shown)
    told = [f"What stands out{about}, what costs creates most seconds first:"] if rows else []
    for tier in ("", *tiers):
        chosen = [line for line in shown if line.tier == tier]
        if chosen and len(tiers) > 1:
            told += ["", tier or "all tiers"]
        for line in chosen:
            names = f"{', '.join(rows[line])}: " if len(found) > 1 else ""
            told.append(item(names + line.removeprefix(f"{tier}: ")))
    if left:
        told += ["", f"{left:,} more cost less: --all-findings shows them"]
    return "\n".join(told)
