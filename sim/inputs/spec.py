"""The common base of all specs: the base class, checked types, and errors as problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sized
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sim.inputs.hosts import parts_of
from sim.inputs.problems import Problems, printable, quoted

V = TypeVar("V", bound=Sized)


def _host_part(name: str) -> str:
    if not name or any(char in "#@/" or char.isspace() for char in name):
        raise ValueError("a name may not be empty nor have '#', '@', '/' or white space in it")
    return name


def _host(host: str) -> str:
    if not all(parts_of(host)):
        raise ValueError("a host is written backend#pool")
    return host


def _tier(name: str) -> str:
    if name == "all":
        raise ValueError("'all' is the name of all tiers together in results")
    if ";" in name:
        raise ValueError("a tier's name may not have ';' in it, which stands between tiers in pools.csv")
    return name


def once(names: tuple[str, ...]) -> tuple[str, ...]:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"given twice: {', '.join(map(quoted, repeated))}")
    return names


def some(values: V) -> V:
    """Require at least one value."""
    if not values:
        raise ValueError("at least one is needed")
    return values


def _date(text: object) -> object:
    if isinstance(text, str):
        try:
            date = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{quoted(text)} is not an ISO 8601 date") from None
        if not 1000 <= date.year <= 9000:
            raise ValueError(f"{quoted(text)} is too far away: the years 1000 to 9000 are known")
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return text


def listed(separator: str | None, names: object) -> object:
    """One name, or several in a text, as a list."""
    if not isinstance(names, str):
        return names
    return names.split(separator) if names and separator else [names] if names else []


Date = Annotated[datetime, BeforeValidator(_date)]
LONGEST_NAME = 255  # as long as Cinder's database keeps it
Name = Annotated[str, Field(min_length=1)]
HostPart = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_host_part)]
Host = Annotated[str, AfterValidator(_host)]
TierName = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_tier)]
Names = Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(once)]
Hosts = Annotated[tuple[Host, ...], Field(strict=False), AfterValidator(once)]
# The bounds of numbers. A float of seconds can distinguish all instants within them; counts and GiB fit
# Cinder's columns; and no sum or product of them leaves what 64 bits hold.
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Rate = Annotated[float, Field(ge=1e-3, le=1e9)]
Price = Annotated[float, Field(ge=0, le=1e9)]
Capacity = Annotated[float, Field(gt=0, le=2**31 - 1)]
Ratio = Annotated[float, Field(ge=1, le=1e9)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Limit = Annotated[int, Field(ge=0, le=2**31 - 1)]
Bytes = Annotated[int, Field(ge=1, le=2**60)]


def _unlimited(quota: object) -> object:
    """Cinder writes -1 for a quota without limit."""
    return None if quota == -1 and not isinstance(quota, bool) else quota


Quota = Annotated[Limit | None, BeforeValidator(_unlimited)]


class Spec(BaseModel):
    """A part of a scenario. Unknown keys, inf, nan, text and booleans for numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Spec)


def validated(
    spec: type[S],
    raw: object,
    file: Path,
    where: str,
    problems: Problems,
    told: Container[str] = (),
) -> S | None:
    """The spec made from `raw`, or None with all its errors noted except those in keys of `told`."""
    try:
        return spec.model_validate(raw)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_context=False, include_input=False):
            loc = [str(part) for part in error["loc"] if part != "[key]"]
            if loc[:1] == ["images"]:
                del loc[1:2]  # pydantic's name of the kind of images (file or list) is ours, not the user's
            if loc and loc[0] in told:
                continue
            what = error["msg"].removeprefix("Value error, ")
            if error["type"] == "extra_forbidden":
                what = "unknown key"
            place = [part for part in (where, printable(".".join(loc))) if part]
            problems.add(file, ": ".join(place), what)
    return None
