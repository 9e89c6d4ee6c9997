"""The firing rate below which a spiking layer is cheaper than its twins."""
from collections.abc import Iterable

from .counter import Layer
from .energy_models import PJ_PER_MJ, EnergyModel
from .operations import Count


def break_even(energy: EnergyModel, spiking: Count,
               twin_mj: float | None) -> float | None:
    r"""Firing rate at which a spiking layer costs what its twin costs.

    All but the synaptic operations is fixed, and these grow with the rate
    :math:`r` at their true fan-out, so that
    :math:`E_{fixed} + r\,E_{ops}(1) = E_{twin}`.

    Args:
        energy (EnergyModel): The energy model.
        spiking (Count): The layer and the neurons before it.
        twin_mj (float, optional): Energy of the twin in mJ. Defaults to
            None, not known.

    Returns:
        float | None: From 0, where the layer loses at any rate, to 1, where
        it wins at any; None where the twin's energy is not known.
    """
    if twin_mj is None:
        return None
    of_acs = spiking.acs * energy.pj_per_ac / PJ_PER_MJ
    fixed = energy.energy(spiking) - of_acs
    # silent layers tell no fan-out: that of every position then
    at_full_rate = (of_acs / spiking.firing_rate if spiking.acs else
                    spiking.dense * energy.pj_per_ac / PJ_PER_MJ)
    if at_full_rate == 0:
        return float(fixed <= twin_mj)
    return min(max((twin_mj - fixed) / at_full_rate, 0.), 1.)


def break_even_rates(layers: dict[Layer, Count],
                     energies: Iterable[EnergyModel]) -> list[dict]:
    """Break-even rates of every spike-driven layer, in order of execution.

    A layer is counted with the neurons that ran before it: their operations
    and membrane traffic are the price of its spikes.

    Args:
        layers (dict[Layer, Count]): Counts in order of execution.
        energies (Iterable[EnergyModel]): Energy models.

    Returns:
        list[dict]: ``layer``, ``firing_rate``, and ``break_even`` by energy
        model: ``dense`` against the same layer with real-valued inputs,
        ``quantised`` against that in eight bits, None where the model does
        not tell it.
    """
    energies = list(energies)
    rows: list[dict] = []
    neurons = Count()
    for layer, count in layers.items():
        if count.operations.get('neuron'):
            neurons = count
        if not count.spike_positions:
            continue
        spiking = count + neurons
        neurons = Count()  # paid once
        dense = spiking.as_dense()
        rows.append(dict(
            layer=layer.name,
            firing_rate=count.firing_rate,
            break_even={
                energy.name: dict(
                    dense=break_even(energy, spiking, energy.energy(dense)),
                    quantised=break_even(energy, spiking,
                                         energy.quantised(dense)))
                for energy in energies
            }))
    return rows
