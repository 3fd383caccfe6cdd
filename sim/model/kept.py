"""The folder for what later processes need not make again: in the user's cache."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

NAME = "cinder-cache-planner"


@cache
def base() -> Path:
    """The user's cache, or a temporary folder if nothing can be written there."""
    try:
        given = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
        folder = Path(given or Path.home() / ".cache", NAME)
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        folder = _temporary()
        print(f"compiled code is kept in {folder}, as the cache cannot be written: {error}", file=sys.stderr)
    return folder


def _temporary() -> Path:
    """The user's own in the folder for temporary files: code that others could write would be run."""
    folder = Path(tempfile.gettempdir(), f"{NAME}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if folder.is_symlink() or about.st_uid != os.getuid() or about.st_mode & 0o077:
        return Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    return folder
