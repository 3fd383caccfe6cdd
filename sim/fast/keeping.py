"""Compiled code is kept on disk, for all processes to come.

Numba's own cache looks at the file of one function, not at those of the functions that it calls, and every
comment makes it compile again. Here the key is what the code says: the syntax trees of the function's module
and of all that it is compiled with (`sim.model.sources`). A folder has the code of one key; the three used
last are kept for each module. What is damaged is compiled again. Code that cannot be kept in the user's cache
is kept in a temporary folder of the user's own.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

from sim.model.kept import base
from sim.model.sources import digest_of

VERSIONS = 3  # of a module's code that are kept


def keep(function: Any) -> None:
    """Let a function that Numba is to compile keep its code, and use what is kept."""
    function._cache = Kept(function.py_func)


def is_kept(function: Any) -> bool:
    """Whether the code of a function is kept; where nothing is compiled, there is none to keep."""
    if not hasattr(function, "py_func"):
        return True
    folder, _ = folder_of(function.__module__)
    return any(folder.glob(f"*.{function.__name__}-*.nbi"))


class Locator:
    """The place in which Numba finds the code of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._folder, self._key = folder_of(function.__module__)

    @classmethod
    def from_function(cls, function: Callable[..., Any], _: str) -> Locator:
        """Make a locator, as Numba asks for one."""
        return cls(function)

    def get_cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def ensure_cache_path(self) -> None:
        """Make the folder, which another process may have removed."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_source_stamp(self) -> str:
        """The key; code with another key is outdated."""
        return self._key

    def get_disambiguator(self) -> str:
        """Functions of a module have different names."""
        return "0"


class Implementation(CompileResultCacheImpl):
    """A function's code in its file, with a checksum: what is damaged would crash the process."""

    _locator_classes = (Locator,)

    def reduce(self, result: Any) -> tuple[bytes, bytes]:
        """The content of the file."""
        code = dumps(super().reduce(result))
        return hashlib.sha256(code).digest(), code

    def rebuild(self, target: Any, kept: tuple[bytes, bytes]) -> Any:
        """The code again. Raises ValueError if it is damaged."""
        checksum, code = kept
        if hashlib.sha256(code).digest() != checksum:
            raise ValueError("damaged")
        return super().rebuild(target, pickle.loads(code))


class Kept(FunctionCache):
    """The code of a function: for each signature what is kept, or None."""

    _impl_class = Implementation

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Kept code; None, and nothing is kept any more, if the files are not what they should be.

        Unlike Numba's, it leaves the compiler asleep: to wake it takes 30 MiB, and kept code calls nothing of
        Numba's runtime, which is compiled then.
        """
        try:
            return self._load_overload(signature, target)
        except Exception:  # whatever `pickle` raises on bytes that it did not write
            self.flush()
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep code. If that fails, the run goes on all the same."""
        try:
            super().save_overload(signature, result)
        except OSError as error:
            print(f"compiled code cannot be kept: {error}", file=sys.stderr)

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        """Numba's, less the function's bytecode: the key has counted it, and docstrings change it."""
        return signature, codegen.magic_tuple()


@cache
def folder_of(module: str) -> tuple[Path, str]:
    """The folder of a module's code, now the one that was used last, and its key."""
    said = digest_of(module, module.rpartition(".")[0])
    about = (said, numba.__version__, bool(numba.config.BOUNDSCHECK))  # checks are compiled in
    key = hashlib.sha256(repr(about).encode()).hexdigest()[:16]
    name = module.rpartition(".")[2]
    folder = base() / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    versions = sorted(folder.parent.glob(f"{name}-*"), key=_used, reverse=True)
    for old in versions[VERSIONS:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder, key


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another process has just removed it
        return 0.0
