"""The other side of `sim.cinders.apart`: runs what it is asked, until nobody asks any more."""

from __future__ import annotations

import importlib
import os
import pickle
import queue
import shutil
import sys
import tempfile
import threading
import tomllib
import traceback
from collections.abc import Callable
from configparser import RawConfigParser
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sim.inputs.cinders import described_in

if TYPE_CHECKING:
    from sim.cinders.apart import Asked

SIM = str(Path(__file__).parents[1])
FRAMES = 3  # of a traceback, in a line
STEPS = 500  # of progress, at most, for one run


def answer(release: str, checkout: str) -> None:
    """Answer on stdout what is asked on stdin; what others print there goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked: queue.Queue[Any] = queue.Queue()
    folder = Path(tempfile.mkdtemp(prefix="cinder-cache-checkout-")) if checkout else None
    threading.Thread(target=_read, args=(sys.stdin.buffer, asked, folder), daemon=True).start()
    if folder is not None:
        _describe(Path(checkout), release, folder)
        sys.path[:0] = [str(folder), checkout]
    while True:
        _one(asked.get(), lambda *message: _tell(answers, message))


def _read(stream: IO[bytes], asked: queue.Queue[Any], folder: Path | None) -> None:
    """Pass on what is asked; end the process when the other one has gone, whatever is under way."""
    while True:
        try:
            asked.put(pickle.load(stream))
        except EOFError:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
        except Exception as error:  # this Python cannot read it
            asked.put(error)


def _tell(answers: IO[bytes], message: tuple[Any, ...]) -> None:
    pickle.dump(message, answers)
    answers.flush()


def _one(asked: Asked | Exception, tell: Callable[..., None]) -> None:
    try:
        if isinstance(asked, Exception):
            raise asked
        importlib.import_module("sim.cinder.release").MENDS.set(False)
        run = importlib.import_module(asked.how).run
        step, told = max(1, len(asked.case.trace.events) // STEPS), 0

        def progress(done: int) -> None:
            nonlocal told
            if done - told >= step:
                told = done
                tell("progress", done)

        tell("done", run(asked.case, asked.strategy, progress, cinder_log=asked.cinder_log))
    except Exception as error:
        tell("failed", (_failed(error), traceback.format_exc()))


def _failed(error: Exception) -> str:
    """An error in a line: the last FRAMES places in Cinder, the innermost first, and in which create."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    frames = traceback.extract_tb(error.__traceback__)
    of_cinder = [frame for frame in frames if f"{os.sep}cinder{os.sep}" in frame.filename.replace(SIM, "")]
    if of_cinder and not isinstance(error, SyntaxError):
        places = [
            f"cinder/{each.filename.rpartition(f'{os.sep}cinder{os.sep}')[2]}:{each.lineno} ({each.name})"
            for each in reversed(of_cinder[-FRAMES:])
        ]
        text += f" at {', from '.join(places)}"
    return " ".join([text, *getattr(error, "__notes__", [])])


def _describe(checkout: Path, release: str, folder: Path) -> None:
    """Describe a checkout as an installed package: Cinder asks for its version and its entry points."""
    about = folder / f"cinder-{release}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cinder\nVersion: {release}\n", "utf-8")
    text = "".join(f"[{group}]\n{lines}\n\n" for group, lines in _entry_points(checkout).items())
    (about / "entry_points.txt").write_text(text, "utf-8")


def _entry_points(checkout: Path) -> dict[str, str]:
    """The entry points of a checkout by group, a line each: filters and weighers, options, policies."""
    setup_cfg, pyproject = described_in(checkout)
    if pyproject.is_file():
        groups = tomllib.loads(pyproject.read_text("utf-8")).get("project", {}).get("entry-points", {})
        if groups:
            return {
                group: "\n".join(f"{name} = {of}" for name, of in named.items())
                for group, named in groups.items()
            }
    setup = RawConfigParser(delimiters=("=",), strict=False)
    setup.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their capitals
    setup.read(setup_cfg, "utf-8")
    return dict(setup["entry_points"]) if setup.has_section("entry_points") else {}
