"""Signals end the command at once, wherever it is, and the process never ends with another exit code.

An exception would not do: imports, greenlets, callbacks from C and pools of processes catch or print it. So
the process removes what it was writing, kills its workers and ends. Every file that it writes appears whole
(`sim.inputs.beside`), so nothing else is lost.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
_once = threading.Lock()
_code: int | None = None


def begin() -> None:
    """From now on, Ctrl-C and its like end the process. Signals that are ignored stay so (`nohup`)."""
    _open_streams()
    atexit.register(_leave)  # the first that is registered is called last
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    # Python calls a handler between two steps of its own; the thread is for the time inside a library.
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    for number in WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def _open_streams() -> None:
    """Put the null device where stdin, stdout or stderr is closed (`>&-`): Python has None there, and the
    next file to be opened would get the number of the stream, with all that is printed to it."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            opened = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115  for good
            setattr(sys, name, opened)
            setattr(sys, f"__{name}__", opened)  # which keeps it open when something stands before it


def end(code: int) -> NoReturn:
    """End the process with an exit code, and its workers, which take most of a second by themselves."""
    global _code
    _code = code
    _kill_workers()
    sys.exit(code)


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # nobody reads, or the disk is full, as has been said
            stream.flush()
    if _code is not None:
        _exit(_code)


def _watch(read: int) -> None:
    while True:
        for number in os.read(read, 16):
            if number in WORDS and signal.getsignal(number) == _stop:
                _stop(number, None)


def _stop(number: int, _: FrameType | None) -> None:
    """End the process: a handler, and not a moment more for whoever is second."""
    if not _once.acquire(blocking=False):
        time.sleep(3600)
    try:
        _kill_workers()
        _remove_unfinished()
    finally:  # what is interrupted may swallow an exception, and would then go on
        with contextlib.suppress(BaseException):
            _say(number)
        os._exit(128 + number)


def _remove_unfinished() -> None:
    if "sim.inputs.beside" in sys.modules:
        from sim.inputs.beside import remove_all

        remove_all()


def _say(number: int) -> None:
    clear = b""
    if "rich.live" in sys.modules and os.isatty(2):  # a progress bar hides the cursor
        clear = b"\r\x1b[K\x1b[?25h"
    os.write(2, clear + WORDS[signal.Signals(number)].encode() + b"\n")


def _exit(code: int) -> None:
    if not _once.acquire(blocking=False):
        time.sleep(3600)  # a signal is ending the process
    os._exit(code)


def _kill_workers() -> None:
    if "multiprocessing.process" not in sys.modules:
        return
    from multiprocessing import active_children

    pids = [worker.pid for worker in active_children() if worker.pid is not None]
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)  # joblib's have no `kill`
    for pid in pids:
        with contextlib.suppress(OSError):
            os.waitpid(pid, 0)  # what it writes is removed then
