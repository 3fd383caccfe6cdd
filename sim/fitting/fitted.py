"""The result of a fit: parameters with their intervals, as YAML for a scenario, as a table, as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
import yaml

from sim.fitting.estimates import Estimate
from sim.inputs.generator import DAY, HOUR, LONGEST, Generate

COMMENT = 34  # column at which comments begin
WIDTH = 80
KEPT = "\xa0"  # stands for a space at which no line may end; YAML as written here has none


class Fitted(NamedTuple):
    """A parameter by its path below `generate`, and its estimate."""

    key: str
    estimate: Estimate


@dataclass
class _Line:
    """A key of the spec: its value, its comment, and its estimates (of a list or mapping: several)."""

    key: str
    value: Any
    comment: str
    estimates: dict[str, Estimate]
    assumed: bool = False


@dataclass
class Fit:
    """Parameters in the order found; `notes`: further remarks; `images`: the lines, most popular first."""

    notes: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    _lines: list[_Line] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a remark."""
        self.notes.append(text)

    def add(self, *found: Fitted) -> None:
        """Add parameters that are numbers."""
        for key, estimate in found:
            self._lines.append(_Line(key, _short(estimate.value), _told(estimate), {key: estimate}))

    def plain(self, key: str, value: object, comment: str, *, assumed: bool = False) -> None:
        """Add a parameter without an interval."""
        self._lines.append(_Line(key, value, comment, {}, assumed))

    def assumed(self, key: str, why: str) -> None:
        """Add a parameter that the trace does not determine: the default stays."""
        value: Any = Generate().model_dump()
        for part in key.split("."):
            value = value[part]
        if key.endswith("takeover"):
            value = _duration(value)
        self._lines.append(_Line(key, _plain(value), f"assumed: {why}", {}, True))

    def duration(self, key: str, estimate: Estimate) -> None:
        """Add a parameter that is written as a duration."""
        words = [_duration(value) for value in estimate[:3]]
        comment = f"{words[1]} to {words[2]}" + (f"; {estimate.goodness}" if estimate.goodness else "")
        self._lines.append(_Line(key, words[0], comment, {key: estimate}))

    def listed(self, key: str, estimates: list[Estimate], goodness: str) -> None:
        """Add a parameter that is a list of weights."""
        each = {f"{key}.{number}": estimate for number, estimate in enumerate(estimates)}
        self._lines.append(_Line(key, [_short(one.value) for one in estimates], goodness, each))

    def mapping(self, key: str, estimates: dict[Any, Estimate], goodness: str = "") -> None:
        """Add a parameter that is weights by name."""
        each = {f"{key}.{name}": estimate for name, estimate in estimates.items()}
        values = {name: _short(estimate.value) for name, estimate in estimates.items()}
        if len(estimates) == 1 and not goodness:
            goodness = "the only one seen"
        elif not goodness:
            goodness = "; ".join(f"{name} {_range(estimate)}" for name, estimate in estimates.items())
        self._lines.append(_Line(key, values, goodness, each))

    def generate(self) -> dict[str, Any]:
        """The parameters as `workload: {generate: ...}` has them."""
        spec: dict[str, Any] = {}
        for line in self._lines:
            below, _, name = line.key.rpartition(".")
            (spec.setdefault(below, {}) if below else spec)[name] = line.value
        return spec

    def table(self) -> pd.DataFrame:
        """A row per number: parameter, value, low, high (95 %), goodness."""
        rows = [(key, *estimate) for line in self._lines for key, estimate in line.estimates.items()]
        return pd.DataFrame(rows, columns=["parameter", "value", "low", "high", "goodness"])

    def document(self) -> dict[str, Any]:
        """The whole fit, as JSON has it."""
        intervals = self.table().to_dict("records")
        for row in intervals:
            row["high"] = row["high"] if row["high"] < float("inf") else None
        assumed = [line.key for line in self._lines if line.assumed]
        return {
            "generate": self.generate(),
            "intervals": intervals,
            "assumed": assumed,
            "images": self.images,
            "notes": self.notes,
        }

    def __str__(self) -> str:
        """YAML to paste below `workload:`, with a comment on each line: 95 % intervals and goodness."""
        text, below = ["# with each value its 95 % interval, and how good the fit is"], ""
        for note in self.notes:
            text += _wrapped(note, "# ", "# ")
        text.append("generate:")
        for line in self._lines:
            group, _, name = line.key.rpartition(".")
            if group and group != below:
                text.append(f"  {group}:")
            below = group
            indent = "    " if group else "  "
            text += _yaml(f"{indent}{name}: ", line.value, line.comment)
        return "\n".join(text)


def _yaml(key: str, value: object, comment: str) -> list[str]:
    """A key with its value, and the comment beside it, or above if there is no room."""
    line = key + _flow(value).replace(KEPT, " ")
    if comment and len(line) < COMMENT and len(comment) <= WIDTH - COMMENT - len("# "):
        return [f"{line:<{COMMENT}}# {comment}"]
    indent = key[: len(key) - len(key.lstrip())]
    above = _wrapped(comment, f"{indent}# ", f"{indent}# ")
    whole = key.strip() + KEPT + _flow(value)
    return [*above, *(part.replace(KEPT, " ") for part in _wrapped(whole, indent, f"{indent}  "))]


def _flow(value: object) -> str:
    """A value on one line. It may be broken at its spaces: those within a key or a value are KEPT."""
    if isinstance(value, dict) and value:
        return f"{{{', '.join(_flow_of({name: each})[1:-1] for name, each in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_flow_of, value))}]"
    return _flow_of(value)


def _flow_of(value: object) -> str:
    written = yaml.safe_dump(_plain(value), default_flow_style=True, width=10**9, sort_keys=False).strip()
    return written.removesuffix("...").strip().replace(" ", KEPT)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _told(estimate: Estimate) -> str:
    return _range(estimate) + (f"; {estimate.goodness}" if estimate.goodness else "")


def _range(estimate: Estimate) -> str:
    return f"{estimate.low:.4g} to {estimate.high:.4g}"


def _short(value: float) -> float:
    """A value to four digits, which is all the precision there is."""
    return float(f"{value:.4g}")


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value


def _duration(seconds: float) -> str:
    seconds = min(seconds, LONGEST)
    for unit, name in ((DAY, "d"), (HOUR, "h")):
        if seconds >= unit:
            return f"{seconds / unit:.4g}{name}"
    return f"{max(seconds, 1e-3):.4g}s"
