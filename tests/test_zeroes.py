"""Images with holes: what the model says is written, against qemu-img as Cinder calls it, and by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cinder.image import image_utils
from properties.cases import GIB, case_of, create, image, one_pool
from pydantic import ValidationError

from sim.cinder import engine as cinder
from sim.fast import engine as fast
from sim.inputs.images import Image, read_images, write_images
from sim.inputs.problems import Problems
from sim.inputs.scenario import Case
from sim.inputs.units import MIB
from sim.model.arrays import content_of, file_of, written_bytes

ENGINES = (cinder.run, fast.run)
NAMES = ("skipped", "written")
qemu_img = pytest.mark.skipif(
    shutil.which("qemu-img") is None and not os.environ.get("REQUIRE_SERVERS"), reason="needs qemu-img"
)
# The file systems of both ends keep some blocks of their own, and qemu-img looks at 4 KiB at a time.
ALLOWED = MIB


def holed(case: Case, how: str, data: int, fmt: str = "qcow2") -> tuple[Any, Image]:
    """The backend of a case, and an image of 64 MiB with so many bytes of data."""
    spec = case.scenario.backends["a"].model_copy(update={"write_zeroes": how})
    sizes = {"size_bytes": 64 * MIB, "virtual_size_bytes": 64 * MIB, "allocated_bytes": data}
    return spec, Image(**image("i", fmt=fmt) | sizes)


def source(folder: Path, data: int, fmt: str) -> Path:
    """An image of 64 MiB whose second half begins with so many bytes of data; a raw one has no holes in its
    file, as Cinder downloads it."""
    raw = folder / "image.raw"
    raw.write_bytes(bytes(32 * MIB) + os.urandom(data) + bytes(32 * MIB - data))
    if fmt == "raw":
        return raw
    subprocess.run(["qemu-img", "convert", "-O", fmt, raw, folder / "image"], check=True)
    return folder / "image"


@qemu_img
@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
@pytest.mark.parametrize("data", [0, 5 * MIB, 30 * MIB])
@pytest.mark.parametrize("how", NAMES)
def test_qemu_img_writes_what_the_model_says(tmp_path: Path, fmt: str, data: int, how: str) -> None:
    """Cinder's command, with and without the `-S 0` that keeps zeros; the blocks that the target takes."""
    spec, of = holed(case_of(one_pool(), [image("i")], [create(0, "v", "i")]), how, data, fmt)
    target = tmp_path / "volume"
    command = image_utils._get_qemu_convert_cmd(
        str(source(tmp_path, data, fmt)),
        str(target),
        out_format="raw",
        src_format=fmt,
        disable_sparse=how == "written",
    )
    subprocess.run(command, check=True)
    assert abs(target.stat().st_blocks * 512 - written_bytes(of, spec)) < ALLOWED


@qemu_img
def test_qemu_img_skips_zeros_of_a_target_that_can_zero_itself(tmp_path: Path) -> None:
    """A volume that holds other data, as a recycled one: it is made zero first, and holes are not written."""
    target = tmp_path / "volume"
    target.write_bytes(b"\xff" * 64 * MIB)
    command = image_utils._get_qemu_convert_cmd(
        str(source(tmp_path, 5 * MIB, "qcow2")), str(target), "raw", src_format="qcow2", skip_create=True
    )
    subprocess.run(command, check=True)
    assert abs(target.stat().st_blocks * 512 - 5 * MIB) < ALLOWED
    assert not any(target.read_bytes()[: 32 * MIB])


def one_create(fmt: str, how: str, **backend: Any) -> Case:
    """One download of an image of 4 GiB, 1 GiB of it data; its file has 4 or 2 GiB."""
    spec = one_pool(write_mib_s=256, convert_mib_s=512, write_zeroes=how, **backend)
    return case_of(spec, [image("i", 4, fmt, allocated_bytes=GIB)], [create(0, "v", "i")])


@pytest.mark.parametrize("run", ENGINES)
@pytest.mark.parametrize("backend", [{}, {"array_mib_s": 1000}])
@pytest.mark.parametrize(
    ("fmt", "how", "seconds", "gib"),
    [
        ("raw", "skipped", 4.0, 1.0),
        ("raw", "written", 16.0, 4.0),
        ("qcow2", "skipped", 4.0 + 2.0, 1.0),
        ("qcow2", "written", 16.0 + 2.0, 4.0),
    ],
)
def test_holes_by_hand(
    run: Any, backend: dict[str, Any], fmt: str, how: str, seconds: float, gib: float
) -> None:
    """Data are converted, and written with or without the holes; a thin pool holds what is written."""
    records = run(one_create(fmt, how, **backend), "none")
    assert records.requests["end"].tolist() == pytest.approx([seconds])
    usage = records.usage.set_index(["scope", "kind"])
    assert usage.loc[("all", "user"), "physical_gib_end"] == gib


@pytest.mark.parametrize("run", ENGINES)
@pytest.mark.parametrize("how", NAMES)
def test_without_holes_nothing_changes(run: Any, how: str) -> None:
    """All of the virtual size is data: `write_zeroes` says nothing."""
    events = [create(10.0 * n, f"v{n}", "i") for n in range(4)]
    spec = {"write_mib_s": 256, "convert_mib_s": 512, "image_volume_cache_max_count": 2}
    tables = [
        run(case_of(one_pool(**spec, **more), [image("i", 4, "qcow2", **sizes)], events), "cache-only")
        for more, sizes in (({}, {}), ({"write_zeroes": how}, {"allocated_bytes": 4 * GIB}))
    ]
    for name in ("requests", "cache_events", "usage", "space"):
        assert getattr(tables[0], name).equals(getattr(tables[1], name))


def test_the_stores_raw_file_has_its_holes() -> None:
    """glance_store writes every byte of a file, so its data are not those of a download that skips holes."""
    case = case_of(one_pool(), [image("i")], [create(0, "v", "i")])
    skipped, written = (
        [make(of, 1, spec) for make in (content_of, file_of)]
        for spec, of in (holed(case, how, MIB, "raw") for how in NAMES)
    )
    assert skipped[0].key != skipped[1].key
    assert written[0] == written[1] and skipped[1].gib == written[1].gib


def test_the_list_has_the_column(tmp_path: Path) -> None:
    images = [Image(**image(name) | more) for name, more in (("i", {"allocated_bytes": 0}), ("j", {}))]
    write_images(images, tmp_path / "images.csv")
    problems = Problems()
    assert list(read_images(tmp_path / "images.csv", None, problems)[0].values()) == images
    assert images[0].as_raw().data_bytes == 0 and images[1].data_bytes == GIB
    write_images(images[1:], tmp_path / "plain.csv")
    assert "allocated_bytes" not in (tmp_path / "plain.csv").read_text()


@pytest.mark.parametrize("wrong", [-1, GIB + 1, "1.5", "many"])
def test_more_data_than_fit_are_refused(wrong: object) -> None:
    with pytest.raises(ValidationError, match="allocated_bytes"):
        Image(**image("i", allocated_bytes=wrong))
