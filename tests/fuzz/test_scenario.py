"""Scenario files: YAML as bytes, and as trees with other values; all that `validate` does with them."""

from __future__ import annotations

from pathlib import Path

from hypothesis.strategies import SearchStrategy

from sim.cli.shared import checked
from tests.fuzz import seeds
from tests.fuzz.damage import texts, trees, yaml_of
from tests.fuzz.frame import Target

KEYS = [
    b"trace: ",
    b"generate: {}",
    b"images: ",
    b"backends: ",
    b"null",
    b"<<: *flash",
    b"&flash ",
    b"*flash",
]


def _validate(path: Path) -> object:
    return checked(path, None, [])


def _texts() -> SearchStrategy[bytes]:
    shipped = (
        (seeds.SHIPPED / "generated.yaml")
        .read_bytes()
        .replace(b"creates_per_day: 250", b"creates_per_day: 9")
    )
    return texts([*map(yaml_of, (seeds.smallest(), seeds.generated(), seeds.whole())), shipped], KEYS)


def _trees() -> SearchStrategy[bytes]:
    return trees([seeds.smallest(), seeds.generated(), seeds.whole(), seeds.whole()]).map(yaml_of)


TEXTS = Target("scenario text", _texts, "scenario.yaml", _validate, seeds.beside)
TREES = Target("scenario values", _trees, "scenario.yaml", _validate, seeds.beside)


def test_texts() -> None:
    TEXTS.check(60, 1)


def test_values() -> None:
    TREES.check(60, 1)
