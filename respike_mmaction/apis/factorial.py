"""Two-level factorial experiments: which of several changes help."""
from collections.abc import Sequence
from itertools import product

import numpy as np


def factorial_design(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Which of some factors are on in each run of a two-level factorial.

    Up to four factors: every combination. Five to eight: the sixteen runs of
    the fraction of resolution IV with the generators BCD, ACD, ABC and ABD,
    in which no main effect is mixed up with what two factors do together
    (Box, Hunter and Hunter, Statistics for Experimenters).

    Args:
        names (Sequence[str]): Of the factors, one to eight.

    Returns:
        list[tuple[str]]: The names of those that are on, run by run.

    Raises:
        ValueError: For none, more than eight, or one named twice.
    """
    if not 1 <= len(names) <= 8 or len(set(names)) < len(names):
        raise ValueError(f'factors {tuple(names)} are not allowed: one to '
                         'eight, each named once')
    runs = []
    for basic in product((-1, 1), repeat=min(len(names), 4)):
        levels = [*basic]
        if len(names) > 4:
            a, b, c, d = basic
            levels += b * c * d, a * c * d, a * b * c, a * b * d
        runs.append(tuple(name for name, level in zip(
            names, levels[:len(names)], strict=True) if level > 0))
    return runs


def main_effects(names: Sequence[str],
                 runs: Sequence[tuple[Sequence[str], float]]
                 ) -> dict[str, tuple[float, float | None]]:
    """What each factor adds to the accuracy, the others on or off alike.

    Args:
        names (Sequence[str]): Of the factors.
        runs (Sequence[tuple]): What was on in a run, and its accuracy, for
            all runs of :func:`factorial_design`, once for each seed.

    Returns:
        dict: By name the effect, a mean difference, and its standard error,
        of what the sum of all effects leaves over; None without any run more
        than effects.
    """
    signs = np.array([[1, *(1 if name in on else -1 for name in names)]
                      for on, _ in runs])
    accuracies = np.array([accuracy for _, accuracy in runs])
    halves = np.linalg.lstsq(signs, accuracies, rcond=None)[0]
    free = len(runs) - len(halves)
    error = None
    if free > 0:
        rest = accuracies - signs @ halves
        error = float(2 * np.sqrt(rest @ rest / free / len(runs)))
    return {name: (float(2 * half), error)
            for name, half in zip(names, halves[1:], strict=True)}


def effects_table(effects: dict[str, tuple[float, float | None]]) -> str:
    """Main effects as a table in Markdown, largest first.

    Args:
        effects (dict): Of :func:`main_effects`.

    Returns:
        str: Points of accuracy.
    """
    lines = ['| factor | effect / points | standard error |',
             '| --- | ---: | ---: |']
    for name, (effect, error) in sorted(
            effects.items(), key=lambda item: -item[1][0]):
        shown = '' if error is None else f'{error:.1f}'
        lines.append(f'| {name} | {effect:+.1f} | {shown} |')
    return '\n'.join(lines) + '\n'
