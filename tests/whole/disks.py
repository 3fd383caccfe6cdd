"""The nodes' disks for image conversion: Cinder's own temporary files, each as large as it would be."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import greenlet

from .arrays import GIB


class Disks:
    """Every node has a disk of its own, though their files lie in one folder."""

    def __init__(self, nodes: Mapping[str, Any]) -> None:
        self.nodes = nodes
        self.of: dict[Path, str] = {}  # the node of each file that was ever written

    def usage(self, _path: str) -> Any:
        """`shutil.disk_usage` of the current greenlet's node."""
        return SimpleNamespace(free=self.free(_here()))

    def free(self, node: str) -> float:
        limit = self.nodes[node].image_conversion_gib if node in self.nodes else None
        if limit is None:
            return float("inf")
        there = [path for path, of in self.of.items() if of == node and path.exists()]
        return int(limit * GIB) - sum(path.stat().st_size for path in there)

    def write(self, path: str, size_bytes: int) -> None:
        """Let a file be as large as its data, if its node has room."""
        if size_bytes > self.free(_here()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.of[Path(path)] = _here()
        os.truncate(path, size_bytes)


def _here() -> str:
    current: Any = greenlet.getcurrent()
    return str(current.node)
