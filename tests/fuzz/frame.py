"""A target is a reader with the files that it is given. Its oracle: the reader returns or raises BadInput.

Each problem of BadInput is one printable line of less than 400 characters that names the file. A reader that
takes more than 30 seconds of processor time, or 3 GiB more than before, fails.
"""

from __future__ import annotations

import resource
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from sim.inputs.problems import BadInput

MOST_CHARACTERS = 400
MOST_CPU_S = 30
MOST_BYTES = 3 * 2**30


@dataclass
class Target:
    """A reader, and the files that it is given.

    - name: its name in reports, such as `trace CSV`.
    - files: draws the bytes of a file. It is a function, so that no reader pays for the files of others.
    - file: the name of that file in a folder of its own. `beside` writes what else must be in the folder.
    - read: reads the file at a path. It may check what it gets, and raise AssertionError.
    - named: texts of which every problem has one in it; none: the folder, its files, or a full path.
    """

    name: str
    files: Callable[[], SearchStrategy[bytes]]
    file: str
    read: Callable[[Path], object]
    beside: Callable[[Path], None] = lambda folder: None
    named: Sequence[str] = ()
    counts: Counter[str] = field(default_factory=Counter)
    last: bytes = b""

    def check(self, examples: int, number: int) -> None:
        """Give the reader so many files, drawn from a seed. A failure is that of the simplest file found,
        which is then `last`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.file
            self.beside(path.parent)

            @seed(number)
            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            @given(self.files().map(_Shown))
            def one(data: bytes) -> None:
                self.last = data
                path.write_bytes(data)
                self.one(path)

            with _bounded():
                one()

    def one(self, path: Path) -> None:
        """Read one file. Raises AssertionError, or what the reader raises that it should not."""
        self.counts["files"] += 1
        signal.setitimer(signal.ITIMER_PROF, MOST_CPU_S)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self.read(path)
        except BadInput as bad:
            self.counts["refused"] += 1
            fine(bad, self.named or _names(path.parent))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


class _Shown(bytes):
    """Bytes that a failure shows in part."""

    def __repr__(self) -> str:
        return f"{bytes(self[:200])!r} and so on, {len(self)} bytes" if len(self) > 200 else repr(bytes(self))


def _names(folder: Path) -> list[str]:
    return [str(folder), *(each.name for each in folder.iterdir())]


def fine(bad: BadInput, names: Sequence[str]) -> None:
    """Raises AssertionError if problems are not as a user needs them."""
    assert bad.problems, "bad input without a problem"
    for line in bad.problems:
        assert len(line) < MOST_CHARACTERS, f"{len(line)} characters: {line[:100]}"
        assert line.isprintable(), f"not printable: {line!r}"
        assert line.startswith("/") or any(name in line for name in names), f"names no file: {line}"


@contextmanager
def _bounded() -> Iterator[None]:
    """Bounds of memory and of processor time for what runs inside."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {MOST_CPU_S} s of processor time")

    before, limits = signal.signal(signal.SIGPROF, late), resource.getrlimit(resource.RLIMIT_DATA)
    now = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    resource.setrlimit(resource.RLIMIT_DATA, (int(now.split()[1]) * 1024 + MOST_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        signal.signal(signal.SIGPROF, before)
