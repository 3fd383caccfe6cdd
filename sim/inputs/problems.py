"""Problems with the input: collected over all files, shown at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# Problems of one kind shown per file; a million bad rows stay readable.
SHOWN = 20
# Characters of a problem: a line of a file may have millions.
LONGEST = 399


class BadInput(Exception):
    """The input cannot be used. `problems` has one printable line, not too long, for each problem of every
    file."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = [shortened(printable(problem), LONGEST, 100) for problem in problems]
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Problems:
    """Collects problems. Of each kind and file it keeps at most `SHOWN` in full and counts the others."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], list[str]] = {}
        self._more: Counter[tuple[str, str]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._shown)

    def add(self, file: object, where: str, what: str, kind: str | None = None) -> None:
        """Add a problem at `where` in `file`. Problems of one `kind` (default: `what`) are counted
        together, and one that is shown already is not counted again."""
        key = _key(file, kind or what)
        shown = self._shown.setdefault(key, [])
        place = shortened(printable(where), 120, 40)
        line = ": ".join(part for part in (key[0], place, printable(what)) if part)
        if line in shown:
            return
        if len(shown) < SHOWN:
            shown.append(line)
        else:
            self._more[key] += 1

    def add_uncounted(self, file: object, kind: str, more: int) -> None:
        """Count `more` further problems of a kind without showing them."""
        if more:
            self._more[_key(file, kind)] += more

    def update(self, others: Problems) -> None:
        """Add all problems of `others`."""
        for key, shown in others._shown.items():
            self._shown.setdefault(key, []).extend(shown)
        self._more.update(others._more)

    def lines(self) -> list[str]:
        """All problems, grouped by kind and file, in the order of their first."""
        lines = []
        for key, shown in self._shown.items():
            lines += shown
            if self._more[key]:
                lines.append(f"{key[0]}: and {self._more[key]} more: {key[1]}")
        return lines

    def raise_any(self) -> None:
        """Raise BadInput if there is a problem."""
        if self:
            raise BadInput(self.lines())


def _key(file: object, kind: str) -> tuple[str, str]:
    """The name of a file, of which the end says most, and a kind of problem."""
    return shortened(printable(str(file)), 200, 150), kind


def printable(text: str) -> str:
    """The text, with escapes for characters that would disturb a terminal."""
    return text if text.isprintable() else repr(text)[1:-1]


def quoted(value: object) -> str:
    """A value as shown in a problem: quoted, escaped and not too long."""
    return shortened(repr(value), 80, 10)


def shortened(text: str, most: int, end: int) -> str:
    """The text in at most `most` characters, the last `end` of them its own."""
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[-end:]}"
