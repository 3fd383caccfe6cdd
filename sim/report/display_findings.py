"""What stood out in runs as text for a terminal: by tier, what costs creates most first."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from sim.analysis.findings import most
from sim.analysis.wording import Finding
from sim.report.terminal import filled, item

SHOWN = 10  # lines that a reader takes in


def findings_text(
    found: Sequence[tuple[str, Sequence[Finding]]],
    tiers: Collection[str],
    about: str = "",
    whole: bool = True,
) -> str:
    """The findings of rows, below the tier that they concern; '' if nothing stood out.

    `found`: the name of each row, and its findings. `about`: said in the heading. `whole`: every line, else
    the `SHOWN` kinds that cost most, each with the numbers of the row where it costs most.
    """
    rows: dict[Finding, list[str]] = {}
    for name, lines in found:
        for line in lines:
            rows.setdefault(line, []).append(name)
    told = rows if whole else _costliest(rows)
    shown = most(told, len(told) if whole else SHOWN)
    first = "" if whole or len(found) < 2 else " Numbers are those of the first name."
    text = [filled(f"What stands out{about}, what costs creates most seconds first.{first}")] if rows else []
    for tier in ("", *tiers):
        chosen = [line for line in shown if line.tier == tier]
        if chosen and len(tiers) > 1:
            text += ["", tier or "all tiers"]
        for line in chosen:
            names = f"{', '.join(told[line])}: " if len(found) > 1 else ""
            text.append(item(names + line.removeprefix(f"{tier}: ")))
    if left := len(told) - len(shown):
        text += ["", f"{left:,} more cost less: --all-findings shows them"]
    return "\n".join(text)


def _costliest(rows: Mapping[Finding, list[str]]) -> dict[Finding, list[str]]:
    """Keep one of the lines that differ in numbers alone: the costliest, with the names of all their rows.

    Digits in names of pools and images tell lines apart.
    """
    kinds: dict[tuple[str, str], list[str]] = {}
    told = {}
    for line in most(rows, len(rows)):
        kind = line.tier, re.sub(r"(?<![\w#-])[\d.,]+", "", line)
        if kind not in kinds:
            told[line] = kinds[kind] = []
        kinds[kind] += [name for name in rows[line] if name not in kinds[kind]]
    return told
