"""Columns of texts in Arrow's memory: no Python object for each cell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

TEXT = pa.large_string()
MOST_BLANKS = 2**16  # that lie in memory


def texts(names: Iterable[str]) -> pa.Array:
    """Texts of a list, of an array, or of a column that is no category."""
    found = pa.array(names, TEXT)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def joined(*parts: pa.Array) -> pa.Array:
    """Texts one after another."""
    some = [part for part in parts if len(part)] or list(parts[:1])
    return some[0] if len(some) == 1 else pa.concat_arrays(some)


def named(codes: npt.NDArray[np.integer[Any]], names: pa.Array) -> pa.Array:
    """The name of each code, '' of those below 0. Names that follow one another are a view of `names`."""
    first = int(codes[0]) if len(codes) else -1
    if first >= 0 and codes[-1] == first + len(codes) - 1 and bool((np.diff(codes) == 1).all()):
        return names.slice(first, len(codes))
    below = codes < 0
    if not below.any():
        return names.take(pa.array(codes))
    return pc.fill_null(names.take(pa.array(codes, mask=below)), "")


def column(found: pa.Array) -> pd.Series[str]:
    """Texts as a column."""
    return pd.Series(pd.array(found, dtype="str"))


def blanks(rows: int) -> pd.Series[str]:
    """A column of empty texts: many views of a few, as Arrow needs some bytes for each text."""
    few = pa.repeat(pa.scalar("", TEXT), min(rows, MOST_BLANKS))
    parts = [few.slice(0, rows - first) for first in range(0, rows, MOST_BLANKS)]
    return column(pa.chunked_array(parts, TEXT))


def plain(names: pd.Series[Any]) -> pd.Series[str]:
    """A column of names, or a category of them, as texts; its index goes. `astype` takes longer."""
    if isinstance(names.dtype, pd.CategoricalDtype):
        return column(named(names.cat.codes.to_numpy(), texts(names.cat.categories)))
    return names.astype("str").reset_index(drop=True)


def few(codes: npt.NDArray[np.integer[Any]], names: Iterable[str]) -> pd.Series[Any]:
    """The name of each code, '' of -1, as a category of sorted names: a tenth of the memory of texts."""
    given = [*names, ""]  # the last one is that of -1
    known = pd.Index(sorted(set(given)), dtype="str")
    places = known.get_indexer(pd.Index(given, dtype="str")).astype(np.min_scalar_type(-len(known)))
    return pd.Series(pd.Categorical.from_codes(places[codes], known))


def in_few(names: pd.Series[Any]) -> pd.Series[Any]:
    """A column of few names, or a category of them, as `few` gives it; its index goes."""
    category = names if isinstance(names.dtype, pd.CategoricalDtype) else names.astype("category")
    return few(category.cat.codes.to_numpy(), category.cat.categories)


def in_texts(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose categories are columns of texts."""
    categories = table.select_dtypes("category").items()
    return table.assign(**{str(name): plain(names).set_axis(table.index) for name, names in categories})
