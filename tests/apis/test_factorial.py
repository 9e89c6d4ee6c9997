"""Factorial designs and what they tell, against numbers made by hand."""
from itertools import combinations

import numpy as np
import pytest

from respike_mmaction.apis import (
    effects_table,
    factorial_design,
    main_effects,
)


def columns(names):
    return np.array([[1 if name in on else -1 for name in names]
                     for on in factorial_design(names)])


@pytest.mark.parametrize('count, runs', [
    (1, 2), (2, 4), (3, 8), (4, 16), (5, 16), (6, 16), (7, 16), (8, 16)])
def test_every_effect_is_clear_of_all_others_and_of_their_pairs(count, runs):
    levels = columns('abcdefgh'[:count])
    assert levels.shape == (runs, count)
    assert len({*map(tuple, levels)}) == runs
    np.testing.assert_array_equal(levels.T @ levels, runs * np.eye(count))
    assert not levels.sum(0).any()  # each on in half of the runs
    for i, j in combinations(range(count), 2):
        pair = levels[:, i] * levels[:, j]
        assert not (levels.T @ pair).any()


@pytest.mark.parametrize('names', ['', 'abcdefghi', 'aa'])
def test_factors_that_make_no_design(names):
    with pytest.raises(ValueError, match='one to eight, each named once'):
        factorial_design(names)


def test_effects_and_error_by_hand():
    # 50, and 4 for a; 2 left over with alternating sign
    runs = [((), 52.), (('b', ), 48.), (('a', ), 52.), (('a', 'b'), 56.)]
    effects = main_effects('ab', runs)
    assert effects['a'][0] == pytest.approx(4)
    assert effects['b'][0] == pytest.approx(0)
    # residuals of 2 in four runs, one more than there are effects:
    # deviation 4, of the difference of two means of two 4 / sqrt(1)
    assert effects['a'][1] == pytest.approx(4)
    twice = main_effects('ab', runs * 2)  # two seeds
    assert twice['a'] == pytest.approx((4, 2 * (32 / 5 / 8)**.5))


def test_no_error_without_runs_to_spare():
    assert main_effects('a', [((), 50.), (('a', ), 53.)]) == {
        'a': (pytest.approx(3), None)}


def test_table_largest_first():
    table = effects_table(dict(a=(-1.26, 2.), b=(3., None)))
    assert table.splitlines()[2:] == ['| b | +3.0 |  |', '| a | -1.3 | 2.0 |']
