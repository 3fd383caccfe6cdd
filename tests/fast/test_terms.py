"""What creates ask for besides an image and a size is told apart by number."""

from __future__ import annotations

import pandas as pd
import pytest

from sim.fast import names
from sim.fast.names import TERMS, numbers_of_terms


@pytest.mark.parametrize("most_keys", [names.MOST_KEYS, 6])
def test_rows_have_one_number_if_all_terms_are_the_same(
    most_keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_KEYS", most_keys)  # fewer: keys are numbered anew on the way
    events = pd.DataFrame(
        [
            ("disk", "a#p", "", "", "one", False),
            ("disk", "", "a#p", "", "one", False),
            ("disk", "a#p", "", "", "one", False),
            ("disk", "a#p", "", "", "two", False),
            ("disk", "a#p", "", "nova", "one", False),
            ("disk", "a#p", "", "", "one", True),
            ("disk", None, "a#p", "", "one", False),
            ("flash", "a#p", "", "", "one", False),
            ("disk", "", "a#p", "", "one", False),
        ],
        columns=list(TERMS),
    ).astype(dict.fromkeys(TERMS[:-1], "category"))
    numbers, rows = numbers_of_terms(events)
    assert numbers.tolist() == [0, 1, 0, 2, 3, 4, 5, 6, 1]
    for number, row in zip(numbers, events.itertuples(index=False), strict=True):
        pd.testing.assert_series_equal(events.iloc[rows[number]], pd.Series(row._asdict()), check_names=False)
