# SPDX-License-Identifier: MIT
"""tools/floe/bench/statistics.py against values that are known."""

from __future__ import annotations

import random

import pytest

from floe.bench import statistics
from floe.bench.statistics import Ratio, Summary


def test_of_a_few_figures_there_is_no_interval() -> None:
    assert statistics.summarise([5.0, 1.0, 2.0, 3.0, 4.0]) == Summary(3.0, 1.0, 5.0, 5, None, None)
    assert statistics.ratio([1.0] * 5, [2.0] * 5) == Ratio(0.5, 5, None, None)
    assert statistics.summarise([4.0, 2.0, 4.0, 2.0, 4.0, 2.0]).low is not None
    assert statistics.summarise([5.0]) == Summary(5.0, 5.0, 5.0, 1, None, None)
    assert statistics.summarise([4.0, 1.0]) == Summary(2.5, 1.0, 4.0, 2, None, None)


def test_of_figures_that_are_equal_the_interval_is_a_point() -> None:
    assert statistics.summarise([3.0] * 7) == Summary(3.0, 3.0, 3.0, 7, 3.0, 3.0)


def test_no_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="no figure"):
        statistics.summarise([])
    with pytest.raises(ValueError, match="same rounds"):
        statistics.ratio([1.0], [1.0, 2.0])


def test_the_interval_of_nine_figures_is_that_of_their_order() -> None:
    """For a median the bootstrap's answer is known: it is at most the k-th of n figures when more than half of the draws
    come from the first k. For n = 9 that happens to the first in 0.1 % and to the second in 3 %: so 2.5 % are at the
    second, and by symmetry the others at the eighth."""
    found = statistics.summarise([float(n) for n in range(1, 10)])
    assert (found.median, found.min, found.max, found.count) == (5.0, 1.0, 9.0, 9)
    assert (found.low, found.high) == (2.0, 8.0)


def test_the_interval_does_not_hang_on_the_order_of_figures_nor_on_others_draws() -> None:
    figures = [7.0, 3.5, 9.1, 4.4, 6.0, 5.2, 8.8]
    once = statistics.summarise(figures)
    random.seed(1)
    assert statistics.summarise(figures) == once


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    """50 samples of 15 from a normal distribution; the percentile bootstrap of so few covers some 90 to 97 %."""
    drawing = random.Random(4)
    covered = 0
    for _ in range(50):
        found = statistics.summarise([drawing.gauss(10, 2) for _ in range(15)])
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 10 <= found.high
    assert 42 <= covered <= 50


def test_two_that_are_alike_are_seldom_told_apart() -> None:
    """Of as few rounds as there is an interval for: some 7 of 100 times. Of three rounds it would be 26."""
    drawing = random.Random(9)
    apart = 0
    for _ in range(100):
        ours, theirs = ([drawing.gauss(10, 1) for _ in range(statistics.LEAST)] for _ in range(2))
        found = statistics.ratio(ours, theirs)
        assert found is not None and found.low is not None and found.high is not None
        apart += not found.low <= 1 <= found.high
    assert apart <= 12


def test_a_ratio_of_paired_rounds_is_not_widened_by_what_disturbs_both() -> None:
    theirs = [10.0, 20.0, 40.0, 10.0, 80.0, 15.0]
    found = statistics.ratio([2 * value for value in theirs], theirs)
    assert found == Ratio(2.0, 6, 2.0, 2.0)


def test_a_ratio_is_of_the_medians() -> None:
    found = statistics.ratio([1.0, 2.0, 30.0], [4.0, 4.0, 1.0])
    assert found is not None
    assert found.ratio == 0.5


@pytest.mark.parametrize("theirs", [[0.0, 1.0], [-1.0, 1.0]])
def test_there_is_no_ratio_to_what_is_not_positive(theirs: list[float]) -> None:
    assert statistics.ratio([1.0, 1.0], theirs) is None
