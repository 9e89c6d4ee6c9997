"""Energy by hand, and what a user may add."""
from collections import Counter

import pytest

from respike_mmaction.energy import ENERGY_MODELS, Count, energy_models
from respike_mmaction.energy.energy_models import EnergyModel
from respike_mmaction.energy.report import _energy_lines
from respike_mmaction.energy.summary import _energy

COUNT = Count(
    macs=1e9,
    dense=2e9,
    acs=3e8,
    spikes=1e6,
    spike_positions=8e6,
    spike_bytes=32e6,
    activation_bytes=5e6,
    membrane_bytes=4e6,
    weight_bytes=2e6,
    operations=Counter({'neuron': 5e6, 'batch norm': 1e6}))
MINE = dict(
    name='mine', technology='paper and pencil', precision='int8',
    source='this test', covers='everything', pj_per_mac=2, pj_per_ac=1)


def by_name(name):
    return next(m for m in ENERGY_MODELS if m.name == name)


def test_horowitz():
    model = by_name('horowitz_45nm')
    assert model.energy(COUNT) == pytest.approx(4.6 * 1 + .9 * .3)  # mJ
    assert model.memory(COUNT) == 0


@pytest.mark.parametrize('name, pj_per_byte', [
    ('horowitz_45nm_sram', 100 / 8), ('horowitz_45nm_dram', 1300 / 8),
    ('horowitz_45nm_dram_high', 2600 / 8)])
def test_memory_aware(name, pj_per_byte):
    model = by_name(name)
    compute = 4.6 + .9 * .3 + 3.7 * .006
    moved = (2 + 5 + 4 + 8 / 8) * 1e6  # a bit for a position
    assert model.compute(COUNT) == pytest.approx(compute)
    assert model.memory(COUNT) == pytest.approx(moved * pj_per_byte / 1e9)
    assert model.energy(COUNT) == pytest.approx(
        compute + moved * pj_per_byte / 1e9)


def test_only_the_most_expensive_memory_is_called_the_upper_end():
    prices = {m.pj_per_activation_byte: m for m in ENERGY_MODELS}
    assert [m.name for m in ENERGY_MODELS if 'upper end' in m.covers] == [
        prices[max(prices)].name]


def test_eight_bits():
    model = by_name('horowitz_45nm_int8')
    assert model.energy(COUNT) == pytest.approx(.3 * 1 + .1 * .3)
    dense = COUNT.as_dense()
    assert model.quantised(dense) == pytest.approx(.3 * 3)
    assert by_name('horowitz_45nm').quantised(dense) == pytest.approx(.3 * 3)
    # weights and real-valued maps, the spikes' among them, in a byte each
    moved = (2 + 5 + 32) * 1e6 / 4 * 100 / 8 / 1e9
    assert by_name('horowitz_45nm_sram').quantised(dense) == pytest.approx(
        .3 * 3 + 3.7 * .002 + moved)
    assert by_name('lemaire_45nm').quantised(dense) is None


def test_lemaire_reads_memory_for_every_operation():
    model = by_name('lemaire_45nm')
    assert model.energy(COUNT) == pytest.approx(
        1 * (3.1 + .1 + 2 * 20) + .3 * (.1 + .1 + 3 * 20))


def test_event_driven_charges_local_memory():
    model = by_name('horowitz_45nm_event_driven')
    assert model.pj_per_ac == pytest.approx(.9 + 3 * 10 / 2)


def test_every_model_names_its_origin():
    for model in ENERGY_MODELS:
        assert 'ISSCC 2014' in model.source or 'arXiv' in model.source


def test_dense_twin():
    twin = COUNT.as_dense()
    assert twin.macs == 3e9 and twin.acs == twin.dense == 0
    assert twin.activation_bytes == 37e6 and twin.membrane_bytes == 0
    assert twin.operations == {'batch norm': 1e6, 'ReLU': 1e6}
    assert twin.weight_bytes == COUNT.weight_bytes


def test_spiking_branch_loses_to_its_membranes():
    count = Count(dense=1e6, acs=1e5, spike_positions=1e6, spike_bytes=4e6,
                  membrane_bytes=6e6)
    free = EnergyModel(**MINE)
    charged = EnergyModel(**MINE, pj_per_activation_byte=100.)
    results = [_energy(m, {'spiking branch': count}, views=2)
               for m in (free, charged)]
    assert [r['spiking_branch']['loses'] for r in results] == [False, True]
    # 6 MB of potentials and 1 Mbit of spikes against 4 MB of real maps
    assert results[1]['spiking_branch']['mj'] == pytest.approx(
        (.1e6 + 100 * (6e6 + 1e6 / 8)) / 1e9)
    assert results[1]['spiking_branch']['mj_as_dense'] == pytest.approx(
        (2e6 + 100 * 4e6) / 1e9)
    assert results[1]['mj_per_view'] == results[1]['mj_per_video'] / 2


@pytest.mark.parametrize('membrane_bytes, mj_memory, verdict', [
    (0, 100 * 1e6 / 8, 'wins'), (6e6, 100 * (6e6 + 1e6 / 8), 'LOSES')])
def test_memory_alone_may_lose_where_the_whole_wins(membrane_bytes,
                                                    mj_memory, verdict):
    count = Count(dense=1e9, spike_positions=1e6, spike_bytes=4e6,
                  membrane_bytes=membrane_bytes)
    energy = _energy(EnergyModel(**MINE, pj_per_activation_byte=100.),
                     {'spiking branch': count}, views=1)
    spiking = energy['spiking_branch']
    assert not spiking['loses']  # 2 mJ of MACs are saved
    assert spiking['mj_compute'] == 0
    assert spiking['mj_compute_as_dense'] == pytest.approx(2)
    assert spiking['mj_memory'] == pytest.approx(mj_memory / 1e9)
    assert spiking['mj_memory_as_dense'] == pytest.approx(.4)
    whole, memory = _energy_lines('mine', energy)[-2:]
    assert 'spiking branch wins' in whole and 'against 2.40 mJ' in whole
    assert memory == (f'  memory alone: {mj_memory / 1e9:.2f} against '
                      f'0.40 mJ ({verdict})')


def test_no_word_on_memory_where_it_costs_nothing():
    count = Count(dense=1e6, acs=2e6, spike_bytes=4e6, membrane_bytes=6e6)
    energy = _energy(EnergyModel(**MINE), {'spiking branch': count}, 1)
    text = '\n'.join(_energy_lines('mine', energy))
    assert 'memory alone' not in text and 'spiking branch wins' in text
    count.acs = 3e6
    energy = _energy(EnergyModel(**MINE), {'spiking branch': count}, 1)
    assert 'spiking branch LOSES' in _energy_lines('mine', energy)[-1]


def test_users_add_their_own():
    models = energy_models([MINE])
    assert models[:-1] == ENERGY_MODELS
    assert models[-1].energy(COUNT) == pytest.approx(2 + .3)


@pytest.mark.parametrize('change, message', [
    (dict(name='horowitz_45nm'), 'taken'),
    (dict(pj_per_mac=-1), 'pj_per_mac=-1'),
    (dict(pj_per_ac='cheap'), "pj_per_ac='cheap'"),
    (dict(source=''), 'source'),
    (dict(pj_per_flop=1), 'pj_per_flop'),
])
def test_refuses_bad_models(change, message):
    with pytest.raises(ValueError, match=message):
        energy_models([{**MINE, **change}])


def test_refuses_a_model_without_provenance():
    with pytest.raises(ValueError, match='technology'):
        energy_models([dict(name='x', pj_per_mac=1, pj_per_ac=1)])
