"""What was counted, added up by layer, group and branch, and its energy."""
from dataclasses import asdict
from typing import Any

from torch import nn

from .break_even import break_even_rates
from .counter import Layer
from .energy_models import EnergyModel
from .grouping import grouping
from .operations import LEFT_OUT, Count


def make_report(model: nn.Module, layers: dict[Layer, Count],
                energies: tuple[EnergyModel, ...], views: float,
                **about: Any) -> dict:
    """Everything measured, as plain data.

    Args:
        model (nn.Module): The recognizer.
        layers (dict[Layer, Count]): Its layers, for one video.
        energies (tuple[EnergyModel]): Energy models.
        views (float): Views a video.
        **about: What was measured.

    Returns:
        dict: ``about``; the counts of a video in ``total``, ``branches``,
        ``groups`` and ``layers``; and ``energy`` by model.
    """
    group_of = grouping(model)
    groups: dict = {}
    for layer, of_layer in layers.items():
        group = group_of(layer)
        groups[group] = groups.get(group, Count()) + of_layer
    groups = dict(sorted(groups.items(), key=_order))
    branches: dict = {}
    for group, of_group in groups.items():
        branches[group.branch] = branches.get(group.branch,
                                              Count()) + of_group
    total = sum(branches.values(), Count())
    left_out = list(LEFT_OUT)
    unknown = about.pop('unknown')
    left_out += [
        f'operator {name} ({number} elements): not known to the counter'
        for name, number in sorted(unknown.items())
    ]
    return dict(
        about,
        views_per_video=views,
        left_out=left_out,
        total=_plain(total),
        branches=[
            dict(branch=branch, **_plain(of_branch))
            for branch, of_branch in branches.items()
        ],
        groups=[
            dict(group._asdict(), **_plain(of_group))
            for group, of_group in groups.items()
        ],
        layers=[
            dict(
                name=layer.name or type(model).__name__,
                after=layer.after,
                **group_of(layer)._asdict(),
                **_plain(of_layer)) for layer, of_layer in layers.items()
        ],
        break_even=break_even_rates(layers, energies),
        energy={
            energy.name: _energy(energy, branches, views)
            for energy in energies
        })


def _plain(of_layer: Count) -> dict:
    rate = of_layer.firing_rate
    return dict(
        asdict(of_layer),
        operations=dict(of_layer.operations),
        firing_rate=None if rate != rate else rate)


def _order(item: tuple) -> tuple:
    branches = ('key branch', 'spiking branch', 'backbone', 'fusion', 'neck',
                'head')
    branch, stage, part = item[0]
    place = branches.index(branch) if branch in branches else len(branches)
    return place, branch, stage != 'stem', stage, part


def _energy(energy: EnergyModel, branches: dict[str, Count],
            views: float) -> dict:
    total = sum(branches.values(), Count())
    result = dict(
        model=asdict(energy),
        mj_per_video=energy.energy(total),
        mj_per_view=energy.energy(total) / views,
        mj_compute=energy.compute(total),
        mj_memory=energy.memory(total),
        mj_by_branch={
            branch: energy.energy(of_branch)
            for branch, of_branch in branches.items()
        })
    spiking = branches.get('spiking branch')
    if spiking:
        result['spiking_branch'] = _against_dense(energy, spiking)
    return result


def _against_dense(energy: EnergyModel, spiking: Count) -> dict:
    dense = spiking.as_dense()
    mj, mj_as_dense = energy.energy(spiking), energy.energy(dense)
    return dict(
        mj=mj,
        mj_as_dense=mj_as_dense,
        loses=mj > mj_as_dense,
        mj_compute=energy.compute(spiking),
        mj_compute_as_dense=energy.compute(dense),
        mj_memory=energy.memory(spiking),
        mj_memory_as_dense=energy.memory(dense))
