"""What reaches a terminal: no control characters, no secrets, no endless lines."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, TextIO
from urllib.parse import quote, quote_plus, unquote

from sim.inputs.problems import LONGEST, shortened

# Each replacement is as wide as its sign, so that tables stay aligned.
_PLAIN = str.maketrans("±–…×→≤≥", "~-.x><>")  # noqa: RUF001
_SPACES = "\n\t\u00a0\u202f"
_USER = re.compile(r"(:/{1,3}[^\s:/@]*:)\S+@")  # a path made of a URL has one slash
_SHORTEST = 4  # characters of a password that is looked for alone


def escaped(text: str) -> str:
    """The text, with escapes for control characters and for marks that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in _SPACES else repr(each)[1:-1] for each in text)


def one_line(text: str, most: int = LONGEST) -> str:
    """The text on one line, with escapes, shortened in its middle to at most so many characters."""
    return shortened(escaped(" ".join(text.split())), most, most // 3)


class Secrets:
    """Passwords in URLs that a command was given, whatever the option was."""

    def __init__(self, arguments: Iterable[str] = ()) -> None:
        spellings = set()
        for argument in arguments:
            for found in re.finditer(r"://[^:/@]*:(.+)@", argument, re.DOTALL):
                spellings |= {found[1], found[1].partition("@")[0]}
        written = {way(secret) for secret in spellings for way in _WAYS}
        self._long = sorted((one for one in written if len(one) >= _SHORTEST), key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """The text with `***` in place of passwords."""
        for secret in self._long:
            text = text.replace(secret, "***")
        return _USER.sub(r"\1***@", text) if ":/" in text else text


_WAYS: tuple[Callable[[str], str], ...] = (
    *(str, quote, quote_plus, unquote, os.path.normpath),
    *(lambda secret: quote(secret, safe=""), lambda secret: repr(secret)[1:-1]),
)


class Stream(io.TextIOWrapper):
    """Standard output or error: escapes all text but that of `raw`, and hides secrets in both.

    Letters that the encoding lacks are replaced.
    """

    def __init__(self, stream: io.TextIOWrapper, secrets: Secrets) -> None:
        super().__init__(
            stream.buffer, encoding=stream.encoding, errors="plainly", line_buffering=stream.line_buffering
        )
        self._secrets = secrets

    def write(self, text: str) -> int:
        """Write text, escaped."""
        return self.raw(escaped(text))

    def raw(self, text: str) -> int:
        """Write text whose codes for colours and bars are ours."""
        return super().write(self._secrets.hidden(text))


class Unescaped:
    """A stream whose writers escape what is not their own: `rich` and the document of `--json`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.write = stream.raw if isinstance(stream, Stream) else stream.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace letters that the terminal's encoding lacks, in our own texts or in names from the input."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(
        each if each.isascii() else each.encode("ascii", "backslashreplace").decode() for each in text
    ), error.end
