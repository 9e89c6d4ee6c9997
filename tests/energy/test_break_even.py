"""Break-even rates by hand."""
from collections import Counter

import pytest

from respike_mmaction.energy import Count, EnergyModel, Layer
from respike_mmaction.energy.break_even import break_even, break_even_rates

COMPUTE = EnergyModel(
    name='compute', technology='t', precision='p', source='s', covers='c',
    pj_per_mac=4., pj_per_ac=2., pj_per_int8_mac=.5)
MEMORY = EnergyModel(
    name='memory', technology='t', precision='p', source='s', covers='c',
    pj_per_mac=4., pj_per_ac=2., pj_per_activation_byte=10.)

# a tenth of 100 positions fire, each into 10 synapses
LAYER = Count(dense=1000, acs=100, rate_acs=100, spikes=10,
              spike_positions=100, spike_bytes=400, activation_bytes=40)
NEURONS = Count(membrane_bytes=160, operations=Counter(neuron=500))


def test_compute_alone():
    # r * 1000 * 2 = 1000 * 4: never dearer; = 1000 * .5 in eight bits
    rows = break_even_rates({Layer('n'): NEURONS, Layer('c'): LAYER},
                            [COMPUTE])
    assert rows == [dict(layer='c', firing_rate=.1, break_even=dict(
        compute=dict(dense=1., quantised=pytest.approx(.25))))]


def test_membranes_and_spike_maps_are_paid_at_any_rate():
    row, = break_even_rates({Layer('n'): NEURONS, Layer('c'): LAYER},
                            [MEMORY])
    # 40 bytes of the map, 160 of potentials, 100 bits of spikes; the twin
    # 4000 pJ and 440 bytes
    fixed, twin = 10 * (40 + 160 + 100 / 8), 4000 + 10 * 440
    assert (twin - fixed) / 2000 > 1
    assert row['break_even'] == dict(memory=dict(dense=1., quantised=None))
    expensive = NEURONS.scaled(1)
    expensive.membrane_bytes = 700
    row, = break_even_rates({Layer('n'): expensive, Layer('c'): LAYER},
                            [MEMORY])
    fixed = 10 * (40 + 700 + 100 / 8)
    assert row['break_even']['memory']['dense'] == pytest.approx(
        (twin - fixed) / 2000)


def test_at_the_break_even_rate_both_cost_the_same():
    """Counted again with as many spikes as that rate gives."""
    spiking = LAYER + Count(membrane_bytes=700)
    twin = MEMORY.energy(spiking.as_dense())
    rate = break_even(MEMORY, spiking, twin)
    assert 0 < rate < 1
    again = LAYER + Count(membrane_bytes=700, acs=rate * 1000 - 100)
    assert MEMORY.energy(again) == pytest.approx(twin)


def test_silent_layers_and_hopeless_ones():
    silent = Count(dense=1000, spike_positions=100)
    assert break_even(COMPUTE, silent, 1e-6) == pytest.approx(.5)
    assert break_even(COMPUTE, silent, None) is None
    assert break_even(MEMORY, LAYER, 0.) == 0
    free = EnergyModel(name='free', technology='t', precision='p', source='s',
                       covers='c', pj_per_mac=1, pj_per_ac=0)
    assert break_even(free, LAYER, 1.) == 1


def test_neurons_are_paid_by_the_layer_behind_them_alone():
    layers = {Layer('n'): NEURONS, Layer('c'): LAYER, Layer('d'): LAYER}
    first, second = break_even_rates(layers, [MEMORY])
    assert (first['layer'], second['layer']) == ('c', 'd')
    costly = {**layers, Layer('n'): Count(
        membrane_bytes=800, operations=Counter(neuron=500))}
    again = break_even_rates(costly, [MEMORY])
    assert again[0]['break_even'] != first['break_even']
    assert again[1] == second
