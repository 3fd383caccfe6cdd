"""Files of sources: they must be regular ones, because others may never end."""

from __future__ import annotations

import stat
from pathlib import Path


def unusable(path: Path, folder: bool = False) -> str:
    """Why a path cannot be read as a file (or as a folder, if allowed); '' if it can."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        return getattr(error, "strerror", None) or str(error)
    if stat.S_ISREG(mode) or (folder and stat.S_ISDIR(mode)):
        return ""
    if stat.S_ISDIR(mode):
        return "Is a directory: give a file"
    return "is a device or a pipe, which may never end: write what it gives into a file, and give that"
