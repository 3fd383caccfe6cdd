"""Columns of names: what is asked of millions of cells is asked once of each name or pair of names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from sim.inputs.texts import texts

Mask = npt.NDArray[np.bool_]
Names = pd.Series  # of texts, or a category of them


def among(names: Names[Any], known: Iterable[str]) -> Mask:
    """Whether each name is one of those known. `Series.isin` would make Python's objects of these."""
    some = known if isinstance(known, pd.Series) else pd.Series(list(known), dtype="str")
    if not len(names) or not len(some):
        return np.zeros(len(names), dtype=bool)
    mine, theirs = texts(names.astype("str")), texts(some.astype("str"))
    if len(mine) < len(theirs):  # a set of a few is made sooner than one of millions
        theirs = theirs.filter(pc.is_in(theirs, value_set=mine))
    return np.asarray(pc.is_in(mine, value_set=theirs).to_numpy(zero_copy_only=False), dtype=bool)


def mapped(names: Names[Any], of: Callable[[str], str]) -> pd.Series[str]:
    """What `of` gives for each name."""
    codes, known = pd.factorize(names)
    given = pd.Series([of(str(name)) for name in known], dtype="str")
    return given.take(codes).set_axis(names.index)


Coded = tuple[npt.NDArray[np.intp], "pd.Index[Any]"]  # a column's `pd.factorize`


def by_pair(first: Coded, second: Coded, holds: Callable[[str, str], bool]) -> Mask:
    """Whether `holds` says yes of each pair of names, one of each column."""
    (left, lefts), (right, rights) = first, second
    codes, pairs = pd.factorize(left * len(rights) + right)
    said = [
        holds(str(one), str(other))
        for one, other in zip(lefts[pairs // len(rights)], rights[pairs % len(rights)], strict=True)
    ]
    return np.array(said, dtype=bool)[codes]
