"""Real images that hold data: made once, by qemu-img where they are qcow2."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from sim.inputs.images import Image

MIB = 1 << 20


def make(folder: Path, images: dict[str, Image]) -> dict[str, Path]:
    """A file for each image, in `folder`; those that are there already are kept.

    A raw image holds data from end to end. A qcow2 image holds as much data as the size of its file says,
    at the start of its disk; qcow2's own tables make its file a little larger.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {name: _made(folder, image) for name, image in images.items()}


def _made(folder: Path, image: Image) -> Path:
    path = folder / f"{image.image_id}-{image.size_bytes}-{image.virtual_size_bytes}.{image.disk_format}"
    if path.exists():
        return path
    raw = path.with_suffix(".making")
    data = random.Random(image.image_id).randbytes(MIB)
    with raw.open("wb") as file:
        for _ in range(image.size_bytes // MIB):
            file.write(data)
        file.truncate(image.virtual_size_bytes)
    if image.disk_format == "raw":
        return raw.rename(path)
    made = path.with_suffix(".part")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", image.disk_format, raw, made], check=True)
    raw.unlink()
    return made.rename(path)
