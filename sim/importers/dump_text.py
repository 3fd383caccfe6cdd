"""Reads rows from the text that mysqldump, mariadb-dump and pg_dump write, and executes nothing.

It skips every statement that does not hold rows or columns of a wanted table.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from sim.importers.source_files import unusable
from sim.inputs.problems import Problems

LONGEST = 2**28  # bytes of a line; mysqldump's are as long as its net_buffer_length, mydumper's longer
ROWS = 10_000  # of a batch, about
HEAD = 2**16  # mysqldump's own comments are in these first bytes
PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
ACCEPTED = "accepted: the SQL of mysqldump, mariadb-dump or pg_dump (plain, gzip, bzip2 or xz)"
OTHERS = {  # how files of other formats begin, and what to do with them
    b"PGDMP": "is pg_dump's custom format: write it as SQL with pg_restore -f cinder.sql FILE",
    b"SQLite format 3\0": "is a sqlite database and no dump: give it as --db sqlite:////path",
    b"\x28\xb5\x2f\xfd": "is packed with zstd: unpack it with zstd -d",
    b"PK\x03\x04": "is a zip archive: unpack it",
    b"<?xml": "is XML: dump without --xml",
    b"\xff\xfe": "is UTF-16, as PowerShell's > writes: convert it with iconv -f UTF-16 -t UTF-8",
}
TAR = 257, b"ustar"
_NAME = rb'(?:[`"]?(?P<of>\w+)[`"]?\.)?[`"]?(?P<table>\w+)[`"]?\s*'
_CREATE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?" + _NAME + rb"\(\s*$")
_INSERT = re.compile(
    rb"(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO\s+" + _NAME + rb"(?:\((?P<columns>[^()]*)\)\s*)?VALUES"
)
_COPY = re.compile(rb"COPY " + _NAME + rb"\((?P<columns>[^()]*)\) FROM stdin;")
_USE = re.compile(rb'(?:USE|\\connect)\s+(?:-\S+\s+)*[`"]?(?:dbname=\'?)?([^`"\';\s]+)')
_COLUMN = re.compile(rb'\s+[`"]?([a-z_][a-z0-9_$]*)[`"]?\s')  # keys and constraints are in capitals
_VALUES = {  # MySQL escapes with backslashes, PostgreSQL does not
    True: r"((?:_\w+ )?'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'|[^\s,'()]++)",
    False: r"('[^']*+(?:''[^']*+)*+'|[^\s,'()]++)",
}
_MYSQL = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
_POSTGRESQL = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
Row = tuple[str | None, ...]


@dataclass
class Batch:
    """Rows of a table: texts, None for NULL. `database`: '' where the dump is of one and does not name it."""

    database: str
    table: str
    columns: tuple[str, ...]
    rows: list[Row]


class _Cut(Exception):
    """The text ends inside a statement or a value."""


@dataclass
class DumpText:
    """The text of a dump. After reading, `finished` says whether the dump ends as a complete one does."""

    path: Path
    wanted: Collection[str]
    problems: Problems
    finished: bool = False
    columns: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    _database: str = ""
    _number: int = 0
    _mysql: bool = False

    def batches(self) -> Iterator[Batch]:
        """The rows of the wanted tables, in the order of the dump; an unreadable row is a problem."""
        if why := unusable(self.path):
            self.problems.add(self.path, "", why)
            return
        try:
            with self.path.open("rb") as plain:
                head = plain.read(TAR[0] + 8)
                if refusal := _other(head):
                    self.problems.add(self.path, "", f"{refusal}; {ACCEPTED}")
                    return
                plain.seek(0)
                unpack = next((unpack for magic, unpack in PACKED.items() if head.startswith(magic)), None)
                with unpack(plain) if unpack else plain as file:
                    yield from _gathered(self._statements(file))
        except (_Cut, EOFError):
            self.problems.add(self.path, f"line {self._number}", "is cut: it ends in the middle of a table")
        except (OSError, zlib.error, lzma.LZMAError) as error:
            what = f"cannot be unpacked: {error}"
            self.problems.add(self.path, "", getattr(error, "strerror", None) or what)

    def _lines(self, file: IO[bytes]) -> Iterator[bytes]:
        while line := file.readline(LONGEST):
            self._number += 1
            if len(line) == LONGEST or b"\0" in line:
                self.problems.add(self.path, f"line {self._number}", f"is not the text of a dump; {ACCEPTED}")
                return
            self.finished = self.finished or line.startswith(
                (b"-- Dump completed", b"-- PostgreSQL database dump complete")
            )
            yield line

    def _statements(self, file: IO[bytes]) -> Iterator[Batch]:
        peeked = file.peek(HEAD)  # type: ignore[attr-defined]
        self._mysql = any(sign in peeked for sign in (b"MySQL dump", b"MariaDB dump", b"/*!", b"/*M!", b"`"))
        lines = self._lines(file)
        for line in lines:
            if line.startswith(b"--"):
                continue
            if copied := _COPY.match(line):
                yield from self._copied(copied, lines)
            elif inserted := _INSERT.match(line):
                yield from self._inserted(inserted, line, lines)
            elif created := _CREATE.match(line):
                self._created(created, lines)
            elif used := _USE.match(line):
                self._database = used[1].decode(errors="replace")
            else:
                self._passed(line, lines)

    def _passed(self, line: bytes, lines: Iterator[bytes]) -> None:
        """Skip the lines of a quoted text, which may look like statements."""
        while self._open(line):
            line += next(lines, b"")
            if line.endswith(b"\n") is False:
                raise _Cut

    def _open(self, line: bytes) -> bool:
        """Whether a quoted text continues after this line."""
        return (re.sub(rb"\\.", b"", line) if self._mysql else line).count(b"'") % 2 == 1

    def _key(self, found: re.Match[bytes]) -> tuple[str, str]:
        """Database and table of a statement. A PostgreSQL schema is not a database."""
        of = (found["of"] or b"").decode() if self._mysql else ""
        return of or self._database, found["table"].decode()

    def _created(self, found: re.Match[bytes], lines: Iterator[bytes]) -> None:
        names = []
        for line in lines:
            if line.startswith(b")"):
                break
            if column := _COLUMN.match(line):
                names.append(column[1].decode())
        else:
            raise _Cut
        self.columns[self._key(found)] = tuple(dict.fromkeys(names))

    def _named(self, found: re.Match[bytes]) -> tuple[str, ...]:
        """The columns of the rows that follow: named in the statement, or else the table's."""
        names = self.columns.get(self._key(found), ())
        what = "has rows of a table without its columns: include the table definitions in the dump"
        if found["columns"]:
            written = re.split(r"\s*,\s*", found["columns"].decode(errors="replace").strip())
            names = tuple(name.strip('`"') for name in written)
            what = "has rows with one column twice"
        if names and len(set(names)) == len(names):
            return names
        self.problems.add(self.path, f"line {self._number}, table {found['table'].decode()}", what, what)
        return ()

    # -- rows -----------------------------------------------------------------------------------

    def _copied(self, found: re.Match[bytes], lines: Iterator[bytes]) -> Iterator[Batch]:
        """PostgreSQL's COPY: one row a line, up to a line with a backslash and a dot."""
        database, table = self._key(found)
        names = self._named(found) if table in self.wanted else ()
        wanted = len(names) > 0
        self.columns.setdefault((database, table), names)
        rows: list[Row] = []
        for line in lines:
            if line == b"\\.\n" or line == b"\\.\r\n":
                break
            if wanted:
                cells = line.decode(errors="replace").rstrip("\n").split("\t")
                if len(cells) != len(names):
                    self._unreadable(table)
                    continue
                rows.append(tuple(_copied_text(cell) for cell in cells))
                if len(rows) == ROWS:
                    yield Batch(database, table, names, rows)
                    rows = []
        else:
            raise _Cut
        if rows:
            yield Batch(database, table, names, rows)

    def _inserted(self, found: re.Match[bytes], line: bytes, lines: Iterator[bytes]) -> Iterator[Batch]:
        """INSERT: rows in parentheses, on one or many lines, up to the line with a semicolon."""
        database, table = self._key(found)
        if table not in self.wanted or not (names := self._named(found)):
            self._skipped(line, lines)
            return
        pattern = _row(len(names), self._mysql)
        text = line[found.end() :].decode(errors="replace")
        while True:
            rows: list[Row] = []
            at, end = 0, ""
            while row := pattern.match(text, at):
                *cells, end = row.groups()
                rows.append(tuple(_inserted_text(cell, self._mysql) for cell in cells))
                at = row.end()
            if rows:
                yield Batch(database, table, names, rows)
            if end == ";":
                return
            text = text[at:]
            if (text.rstrip().endswith((")", ");", "),")) and not self._open(text.encode())) or len(
                text
            ) > LONGEST:
                self._unreadable(table)  # a whole row, but not of these columns
                return
            more = next(lines, b"")
            if not more:
                raise _Cut
            text += more.decode(errors="replace")

    def _skipped(self, line: bytes, lines: Iterator[bytes]) -> None:
        """Skip an INSERT into a table that is not wanted."""
        while True:
            quoted = self._open(line)
            if not quoted and line.rstrip().endswith(b";"):
                return
            more = next(lines, b"")
            if not more:
                raise _Cut
            line = line + more if quoted else more

    def _unreadable(self, table: str) -> None:
        what = "has a row that does not match the table's columns"
        self.problems.add(self.path, f"line {self._number}, table {table}", what, what)


def _gathered(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same rows in larger batches: some programs write a statement or a line for each."""
    held: Batch | None = None
    for batch in batches:
        key = batch.database, batch.table, batch.columns
        if held is not None and (held.database, held.table, held.columns) == key and len(held.rows) < ROWS:
            held.rows += batch.rows
            continue
        if held is not None:
            yield held
        held = batch
    if held is not None:
        yield held


def _other(head: bytes) -> str:
    """The format of a file that is not the text of a dump ('' if it may be one)."""
    if head[TAR[0] :].startswith(TAR[1]):
        return "is a tar archive (perhaps from pg_dump): write it as SQL with pg_restore -f cinder.sql FILE"
    return next((what for magic, what in OTHERS.items() if head.startswith(magic)), "")


@cache
def _row(columns: int, mysql: bool) -> re.Pattern[str]:
    """Matches a row with this many values (a group each), and whether another follows (`,`) or none (`;`)."""
    values = r"\s*,\s*".join([_VALUES[mysql]] * columns)
    return re.compile(rf"\s*\(\s*{values}\s*\)\s*([,;])\s*", re.DOTALL)


def _inserted_text(cell: str, mysql: bool) -> str | None:
    """A value of an INSERT as text."""
    if cell[-1] != "'":
        return None if cell == "NULL" else cell
    text = cell[1:-1] if cell[0] == "'" else cell[cell.index("'") + 1 : -1]
    if mysql and "\\" in text:
        return re.sub(r"\\(.)|''", lambda found: _MYSQL.get(found[1], found[1] or "'"), text, flags=re.DOTALL)
    return text.replace("''", "'")


def _copied_text(cell: str) -> str | None:
    """A value of a COPY as text."""
    if "\\" not in cell:
        return cell
    if cell == "\\N":
        return None
    return re.sub(r"\\(.)", lambda found: _POSTGRESQL.get(found[1], found[1]), cell)
