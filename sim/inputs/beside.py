"""Files that appear whole: each is written beside its place and moved there.

What is written has the name `.NAME.PID`. If the process is killed, the next one that writes NAME removes it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sim.inputs.problems import printable

_TEMPORARY = "cinder-cache"
_KEPT = 60  # letters of a name, so that a file system takes the longer one
_open: set[Path] = set()
_made: list[Path] = []  # folders for what is written, the innermost first


@contextlib.contextmanager
def beside(*targets: Path, clean: bool = True) -> Iterator[list[Path]]:
    """Paths to write in place of `targets`, which they replace at the end, all or none.

    A folder may be written in place of a folder that is empty or not there. Missing parents are made, and go
    again if they stay empty. `clean`: what others left goes first; to look for it takes long where there are
    thousands of files. Raises OSError, with the name of a target.
    """
    made: list[Path] = []
    lacking: list[Path] = []
    try:
        for target in targets:
            lacking += [each for each in target.parents if each not in lacking and not each.exists()]
            _made.extend(each for each in lacking if each not in _made)
            target.parent.mkdir(parents=True, exist_ok=True)
            if clean:
                remove_left(target.parent, glob.escape(target.name[:_KEPT]))
            made.append(target.with_name(f".{target.name[:_KEPT]}.{os.getpid()}"))
        _open.update(made)
        yield made
        for path, target in zip(made, targets, strict=True):
            path.replace(target)
    except OSError as error:
        if error.filename is not None and Path(error.filename) not in made:
            raise
        where = targets[made.index(Path(error.filename))] if error.filename else targets[0]
        raise OSError(error.errno, error.strerror or str(error), str(where)) from error
    finally:
        for path in made:
            _remove(path)
            _open.discard(path)
        _remove_empty(lacking)


@contextlib.contextmanager
def scratch(folder: Path, name: str = "writing") -> Iterator[Path]:
    """A folder in `folder`, which is made, for files that are moved to their places. Raises OSError.

    What was made of `folder` and its parents goes again if it stays empty.
    """
    lacking = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    remove_left(folder, name)
    new = folder / f".{name}.{os.getpid()}"
    _open.add(new)
    _made.extend(lacking)
    try:
        new.mkdir()
        yield new
    except OSError as error:
        if error.filename is not None and new not in Path(error.filename).parents:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from error
    finally:
        _remove(new)
        _open.discard(new)
        _remove_empty(lacking)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of the user's own for temporary files."""
    for left in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}-*-*"):
        if left.lstat().st_uid == os.getuid() and _left(left, left.name.split("-")[2]):
            _remove(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}-{os.getpid()}-"))
    _open.add(folder)
    try:
        yield folder
    finally:
        _remove(folder)
        _open.discard(folder)


def remove_all() -> None:
    """Remove what this process is writing, before it ends at once."""
    for path in list(_open):
        _remove(path)
    _remove_empty(list(_made))


def remove_left(folder: Path, name: str) -> None:
    """Remove what processes that are gone left in `folder`; `name` is a pattern of `glob`.

    What was written beside `.NAME.PID` itself has the name `..NAME.PID.PID`.
    """
    for path in (*folder.glob(f".{name}.*"), *folder.glob(f"..{name}.*")):
        if _left(path, path.name.rpartition(".")[2]):
            _remove(path)


def unwritable(out: Path, is_file: bool = False) -> list[str]:
    """Why a folder (or a file) cannot be written at `out`: a line for `--out`, or none."""
    why = _unwritable(out, is_file)
    return [f"--out: {why}"] if why else []


def _unwritable(out: Path, is_file: bool) -> str:
    name = printable(str(out))
    try:
        mode = out.stat().st_mode
    except FileNotFoundError:
        before = (Path(*out.parts[:at]) for at, part in enumerate(out.parts) if part == "..")
        if lacking := [folder for folder in before if not folder.exists()]:
            return f"{name} goes up from {printable(str(lacking[0]))}, which does not exist"
        return f"{name} is a link to what does not exist" if out.is_symlink() else _closed(out.parent)
    except NotADirectoryError:
        return _closed(out.parent)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        return f"{name} cannot be used: {getattr(error, 'strerror', None) or error}"
    if not is_file:
        return _closed(out)
    if stat.S_ISDIR(mode):
        return f"{name} is a directory"
    return _closed(out.parent) if stat.S_ISREG(mode) else f"{name} is a device or the like, not a file"


def _closed(folder: Path) -> str:
    """Why nothing can be made in a folder, or in its nearest ancestor that exists.

    Something is made there, because root may write where nothing can be written.
    """
    while not (folder.exists() or folder.is_symlink()) and folder != folder.parent:
        folder = folder.parent
    name = printable(str(folder))
    if not folder.is_dir():
        return f"{name} is not a directory"
    probe = folder / f".{_TEMPORARY}.{os.getpid()}"
    remove_left(folder, _TEMPORARY)
    _open.add(probe)
    try:
        probe.mkdir()
    except OSError:
        return f"{name} is not writable"
    finally:
        _remove(probe)
        _open.discard(probe)
    return ""


def _left(path: Path, pid: str) -> bool:
    """Whether the process of that number is gone, and left a file or folder."""
    if not pid.isdecimal() or path in _open:
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return int(pid) == os.getpid()


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
        if folder in _made:
            _made.remove(folder)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
