"""Intervals hold what they promise, and a start is found where its definition says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.signal import lfilter

from sim.analysis.statistics import FEWEST, Estimate, Interval, Sample, holm, mser5

Floats = npt.NDArray[np.float64]
TRIALS = 400
DRAWS = 1000
SURE = 1 - 1e-6  # of a verdict of these tests
# The standard deviation of so many (nearly normal) draws is off by more only with probability 1 - SURE.
DRAWN = stats.norm.ppf((1 + SURE) / 2) / np.sqrt(2 * DRAWS)

finite = st.floats(-1e6, 1e6)


def textbook(values: Floats, confidence: float) -> Interval:
    error = float(stats.sem(values))
    if not error:  # of which scipy knows no interval
        return Interval(*[float(values.mean())] * 3)
    low, high = stats.t.interval(confidence, len(values) - 1, values.mean(), error)
    return Interval(float(values.mean()), float(low), float(high))


def close(found: Interval, expected: Interval, width: float) -> None:
    """Equal means, and bounds that differ by a share `width` of the half width."""
    tolerance = width * (expected.high - expected.low) / 2 + 1e-9 * (1 + abs(expected.mean))
    assert found.mean == pytest.approx(expected.mean)
    assert abs(found.low - expected.low) <= tolerance
    assert abs(found.high - expected.high) <= tolerance


@given(arrays(np.float64, st.integers(2, 12), elements=finite), st.sampled_from([0.5, 0.9, 0.95]))
def test_replications_have_students_interval(values: Floats, confidence: float) -> None:
    sample = Sample.of_replications(len(values))
    for estimate in (sample.mean(values), sample.total(values), sample.ratio(3 * values, 3.0)):
        close(sample.interval(estimate, confidence), textbook(values, confidence), 1e-9)


@given(arrays(np.float64, st.integers(2, 12), elements=finite))
def test_replications_have_students_p_value(values: Floats) -> None:
    sample = Sample.of_replications(len(values))
    if values.std() > 1e-6 * (1 + np.abs(values).max()):
        expected = float(stats.ttest_1samp(values, 0.0).pvalue)
        assert sample.p_value(sample.mean(values)) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert sample.p_value(sample.certain(0.0)) == 1.0 and sample.p_value(sample.certain(3.0)) == 0.0


def test_holm_rejects_as_in_its_definition() -> None:
    """0.005 <= 0.05 / 4 and 0.01 <= 0.05 / 3, but 0.03 > 0.05 / 2: this and all larger ones stay."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.04]) == [True] and holm([0.04, 0.04]) == [False, False] and holm([]) == []


def test_the_fewest_differences_are_those_of_which_a_sign_test_can_reject() -> None:
    assert stats.binomtest(FEWEST, FEWEST).pvalue <= 0.05 < stats.binomtest(FEWEST - 1, FEWEST - 1).pvalue


def test_blocks_of_equal_wholes_have_students_interval() -> None:
    values = np.random.default_rng(1).normal(5, 2, 30)
    sample, whole = Sample.of_blocks(30, DRAWS), np.full(30, 4.0)
    expected = textbook(values, 0.95)
    close(sample.interval(sample.mean(values)), expected, DRAWN)
    close(sample.interval(sample.ratio(4 * values, whole)), expected, DRAWN)
    total = sample.interval(sample.total(values))
    close(total, Interval(*(30 * x for x in (expected.mean, expected.low, expected.high))), DRAWN)


def covered(draw: Callable[[int], tuple[Interval, float]]) -> None:
    """An interval of 95 % holds the truth so often that no binomial test rejects 95 %."""
    hits = sum(one.low <= truth <= one.high for one, truth in map(draw, range(TRIALS)))
    share = stats.binomtest(hits, TRIALS).proportion_ci(SURE)
    assert share.low <= 0.95 <= share.high
    assert share.low > 0.75  # that many trials tell


def test_coverage_of_replications() -> None:
    def draw(trial: int) -> tuple[Interval, float]:
        rng, sample = np.random.default_rng([2, trial]), Sample.of_replications(8)
        wholes = rng.integers(200, 300, 8)
        return sample.interval(sample.ratio(rng.binomial(wholes, 0.7), wholes)), 0.7

    covered(draw)


@pytest.mark.parametrize("of", ["ratio", "mean", "difference"])
def test_coverage_of_blocks(of: str) -> None:
    def draw(trial: int) -> tuple[Interval, float]:
        rng, sample = np.random.default_rng([3, trial]), Sample.of_blocks(28, 400, seed=trial)
        wholes = rng.poisson(150, 28)
        share = rng.beta(40, 10, 28)  # a day's own
        part = rng.binomial(wholes, share)
        if of == "mean":
            return sample.interval(sample.mean(share)), 0.8
        if of == "ratio":
            return sample.interval(sample.ratio(part, wholes)), 0.8
        other = rng.binomial(wholes, share - 0.05)
        return sample.interval(sample.ratio(part, wholes) - sample.ratio(other, wholes)), 0.05

    covered(draw)


def test_pairs_are_told_apart_where_single_intervals_overlap() -> None:
    day = np.random.default_rng(4).uniform(0.2, 0.9, 20)
    for sample in (Sample.of_replications(20), Sample.of_blocks(20)):
        better, worse = sample.mean(day + 0.01), sample.mean(day)
        assert sample.interval(better).low < sample.interval(worse).high
        assert sample.interval(better - worse).low == pytest.approx(0.01)


@pytest.mark.parametrize("sample", [Sample.of_replications(6), Sample.of_blocks(6)], ids=["reps", "blocks"])
@given(
    arrays(np.float64, (2, 3, 6), elements=finite),
    arrays(np.float64, 6, elements=st.floats(1, 1e3)),
)
def test_estimates_are_linear(sample: Sample, values: Floats, whole: Floats) -> None:
    def of(kind: str, data: Floats) -> Estimate:
        return sample.ratio(data, whole) if kind == "ratio" else getattr(sample, kind)(data)

    one, other = values
    scale = 1 + np.abs(values).max()
    for kind in ("mean", "total", "ratio"):
        for found, expected in (
            (of(kind, one) + of(kind, other), of(kind, one + other)),
            (of(kind, one) - of(kind, other), of(kind, one - other)),
        ):
            assert found.point.shape == (3,)
            assert np.allclose(found.point, expected.point, rtol=0, atol=1e-12 * scale * 6)
            assert np.allclose(found.deviations, expected.deviations, rtol=0, atol=1e-12 * scale * 6)


def test_several_at_once_are_each_alone() -> None:
    rng = np.random.default_rng(5)
    parts, wholes = rng.integers(0, 9, (3, 7)), rng.integers(9, 20, (3, 7))
    for sample in (Sample.of_replications(7), Sample.of_blocks(7)):
        many = sample.ratio(parts, wholes)
        for row, (part, whole) in enumerate(zip(parts, wholes, strict=True)):
            alone = sample.ratio(part, whole)
            assert many.point[row] == pytest.approx(float(alone.point))
            assert many.deviations[row] == pytest.approx(alone.deviations)


def test_what_does_not_tell_is_left_out() -> None:
    sample = Sample.of_replications(4)
    told = np.array([0.5, 0.25, 0.75])
    found = sample.ratio(np.array([1, 0, 1, 3]), np.array([2, 0, 4, 4]))
    assert float(found.point) == pytest.approx(told.mean())
    assert np.linalg.norm(found.deviations) == pytest.approx(stats.sem(told))
    one = sample.interval(sample.mean([np.nan, 3, np.nan, np.nan]))
    assert one.mean == 3 and np.isnan(one.low) and np.isnan(one.high)
    assert np.isnan(sample.interval(sample.mean([np.nan] * 4)).mean)


def test_a_resampled_history_of_nothing_counts_as_the_history() -> None:
    sample = Sample.of_blocks(3, DRAWS)
    found = sample.ratio(np.array([0, 0, 4]), np.array([0, 0, 5]))
    assert float(found.point) == 0.8
    assert np.linalg.norm(found.deviations) == pytest.approx(0)
    assert np.isnan(sample.interval(sample.ratio(np.zeros(3), np.zeros(3))).mean)


def test_the_same_seed_draws_the_same() -> None:
    values = np.arange(10.0)
    one, same, other = (Sample.of_blocks(10, seed=seed).mean(values) for seed in (1, 1, 2))
    assert np.array_equal(one.deviations, same.deviations)
    assert not np.array_equal(one.deviations, other.deviations)


def test_confidence_zero_is_the_point() -> None:
    sample = Sample.of_replications(3)
    assert sample.interval(sample.mean([1, 2, 6]), 0) == Interval(3, 3, 3)


def test_one_unit_tells_nothing() -> None:
    for units in (0, 1):
        with pytest.raises(ValueError, match=f"{units} blocks are too few"):
            Sample.of_blocks(units)
    with pytest.raises(ValueError, match="0 replications are too few"):
        Sample.of_replications(0)
    one = Sample.of_replications(1)
    interval = one.interval(one.mean([3.0]))
    assert interval.mean == 3 and np.isnan([interval.low, interval.high]).all()


# -- MSER-5 --------------------------------------------------------------------------------------------


def by_definition(values: Floats) -> list[float]:
    """The squared standard error of the truncated mean of batches of five, by how many are left out."""
    batches = [float(np.mean(values[at : at + 5])) for at in range(0, len(values) - 4, 5)]
    errors = []
    for out in range(len(batches) // 2 + 1 if batches else 0):
        kept = np.array(batches[out:])
        errors.append(float(((kept - kept.mean()) ** 2).sum() / len(kept) ** 2))
    return errors


@given(arrays(np.float64, st.integers(5, 120), elements=st.floats(-100, 100)))
def test_mser5_is_the_least_of_its_definition(values: Floats) -> None:
    errors, found = by_definition(values), mser5(values)
    assert found % 5 == 0
    assert errors[found // 5] <= min(errors) * (1 + 1e-9) + 1e-18 * np.abs(values).max() ** 2


@given(arrays(np.int8, st.integers(0, 200), elements=st.integers(0, 1)))
def test_mser5_of_hits_and_misses(values: npt.NDArray[np.int8]) -> None:
    errors = by_definition(values.astype(float)) or [0.0]
    least = next(out for out, error in enumerate(errors) if error <= min(errors) * (1 + 1e-9) + 1e-15)
    assert mser5(values) == 5 * least


def test_mser5_finds_a_start() -> None:
    """An AR(1) series whose start decays from 20 deviations by a factor e every 50 values.

    Left out is more than what decays to two deviations, and hardly any of the series without a start.
    """
    rng, length, decay = np.random.default_rng(6), 4000, 50
    begin, kept = [], []
    for _ in range(50):
        steady = lfilter([1], [1, -0.6], rng.normal(0, np.sqrt(1 - 0.36), length))
        begin.append(mser5(steady + 20 * np.exp(-np.arange(length) / decay)))
        kept.append(mser5(steady))
    assert min(begin) > decay * np.log(10)
    assert np.median(begin) < decay * np.log(20 * length)
    assert np.median(kept) < min(begin)


def test_mser5_of_no_start_and_of_a_step() -> None:
    assert mser5([]) == mser5([1, 0, 1]) == mser5(np.ones(100)) == 0
    assert mser5(np.repeat([0.0, 1.0], [33, 300])) == 35
    assert mser5(np.repeat([0.0, 1.0], [200, 100])) <= 150  # only the first half counts
