"""Energy models: small data with provenance."""
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from .operations import Count

PJ_PER_MJ = 1e9


@dataclass(frozen=True, kw_only=True)
class EnergyModel:
    """Energy of operations and moved bytes on one technology.

    Args:
        name (str): Unique name.
        technology (str): Process and circuit, such as ``'45 nm CMOS'``.
        precision (str): Number format of operands, such as ``'float32'``.
        source (str): Where the numbers come from.
        covers (str): What is charged and what is not.
        pj_per_mac (float): pJ of a multiply-accumulate.
        pj_per_ac (float): pJ of a synaptic operation (accumulation).
        pj_per_operation (float): pJ of any other scalar operation (norms,
            softmax, GELU, neurons, ...). Defaults to 0, not charged.
        pj_per_weight_byte (float): pJ to move a byte of weights. Defaults to
            0, not charged.
        pj_per_activation_byte (float): pJ to move a byte of activations,
            membrane potentials or spikes. Defaults to 0, not charged.
        bits_per_spike (int): Bits that a position of a spike map takes when
            moved. Defaults to 1, a bit map; 32 if spikes are kept as float32.
        pj_per_int8_mac (float, optional): pJ of a multiply-accumulate of 8
            bit numbers, for quantised twins. Defaults to None, not known.

    Raises:
        ValueError: If a text is empty or a number negative.
    """

    name: str
    technology: str
    precision: str
    source: str
    covers: str
    pj_per_mac: float
    pj_per_ac: float
    pj_per_operation: float = 0.
    pj_per_weight_byte: float = 0.
    pj_per_activation_byte: float = 0.
    bits_per_spike: int = 1
    pj_per_int8_mac: float | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type is str or f.type == 'str':
                if not isinstance(value, str) or not value:
                    raise ValueError(f'{f.name}={value!r} of an energy model '
                                     'is not allowed: it is a text')
            elif value is None and f.default is None:
                continue
            elif not isinstance(value, (int, float)) or not value >= 0:
                raise ValueError(
                    f'{f.name}={value!r} of energy model {self.name!r} is '
                    'not allowed: it is a number that is not negative')

    def compute(self, count: Count) -> float:
        """Energy of all operations in mJ."""
        return (count.macs * self.pj_per_mac + count.acs * self.pj_per_ac +
                sum(count.operations.values()) * self.pj_per_operation
                ) / PJ_PER_MJ

    def memory(self, count: Count) -> float:
        """Energy of all moved bytes in mJ."""
        moved = (
            count.activation_bytes + count.membrane_bytes +
            count.spike_positions * self.bits_per_spike / 8)
        return (count.weight_bytes * self.pj_per_weight_byte +
                moved * self.pj_per_activation_byte) / PJ_PER_MJ

    def energy(self, count: Count) -> float:
        """Compute and memory, in mJ."""
        return self.compute(count) + self.memory(count)

    def quantised(self, dense: Count) -> float | None:
        """Energy in mJ of a dense layer whose numbers have eight bits.

        Its MACs are those of ``pj_per_int8_mac``, it moves a quarter of the
        bytes, and its other operations cost the same.

        Args:
            dense (Count): Of real-valued inputs, see
                :meth:`Count.as_dense`; bytes as of float32.

        Returns:
            float | None: None where the energy of a MAC is not known.
        """
        if self.pj_per_int8_mac is None:
            return None
        moved = (dense.weight_bytes * self.pj_per_weight_byte +
                 dense.activation_bytes * self.pj_per_activation_byte) / 4
        return (dense.macs * self.pj_per_int8_mac + moved +
                sum(dense.operations.values()) * self.pj_per_operation
                ) / PJ_PER_MJ


_HOROWITZ = ('M. Horowitz, "Computing\'s Energy Problem (and what we can do '
             'about it)", ISSCC 2014, fig. 1.1.9')

# an 8 bit multiplication 0.2 pJ, a 32 bit addition 0.1 pJ
_INT8_MAC = .3


def _with_memory(pj: float, name: str, memory: str, source: str, covers: str,
                 pj_per_ac: float = .9) -> EnergyModel:
    """Float32 of Horowitz; 64 bits of the memory cost so many pJ."""
    return EnergyModel(
        name=name,
        technology=f'45 nm CMOS, 0.9 V; {memory}',
        precision='float32; spikes as bit maps',
        source=f'{_HOROWITZ}: {source}',
        covers=covers,
        pj_per_mac=4.6,
        pj_per_int8_mac=_INT8_MAC,
        pj_per_ac=pj_per_ac,
        pj_per_operation=3.7,
        pj_per_weight_byte=pj / 8,
        pj_per_activation_byte=pj / 8)


ENERGY_MODELS = (
    EnergyModel(
        name='horowitz_45nm',
        technology='45 nm CMOS, 0.9 V',
        precision='float32',
        source=f'{_HOROWITZ}: multiplication 3.7 pJ, addition 0.9 pJ',
        covers='MACs (3.7 + 0.9 pJ) and synaptic operations (0.9 pJ) alone, '
        'the default of the field; no memory, no other operation',
        pj_per_mac=4.6,
        pj_per_int8_mac=_INT8_MAC,
        pj_per_ac=0.9),
    EnergyModel(
        name='horowitz_45nm_int8',
        technology='45 nm CMOS, 0.9 V',
        precision='int8 weights and activations, int32 sums and potentials',
        source=f'{_HOROWITZ}: 8 bit multiplication 0.2 pJ, 32 bit addition '
        '0.1 pJ',
        covers='MACs (0.2 + 0.1 pJ) and synaptic operations (0.1 pJ) alone: '
        'the whole network in eight bits; no memory, no other operation',
        pj_per_mac=_INT8_MAC,
        pj_per_int8_mac=_INT8_MAC,
        pj_per_ac=.1),
    _with_memory(
        100, 'horowitz_45nm_sram', '1 MB SRAM', '1 MB cache 100 pJ per 64 bit',
        'MACs, synaptic operations, other operations (as one float32 '
        'multiplication each), weights once a view and maps once in and once '
        'out of a layer, all from SRAM: the lower end of memory'),
    _with_memory(
        1300, 'horowitz_45nm_dram', 'DRAM',
        'DRAM 1.3 to 2.6 nJ per 64 bit, here the lower',
        'as horowitz_45nm_sram with weights and maps from DRAM'),
    _with_memory(
        2600, 'horowitz_45nm_dram_high', 'DRAM',
        'DRAM 1.3 to 2.6 nJ per 64 bit, here the higher',
        'as horowitz_45nm_dram: the upper end of memory'),
    _with_memory(
        100, 'horowitz_45nm_event_driven',
        '8 KB SRAM beside the adder, 1 MB SRAM', '8 KB cache 10 pJ per 64 bit',
        'as horowitz_45nm_sram, where each synaptic operation reads a '
        'weight and reads and writes a potential of 32 bit in 8 KB SRAM (3 x '
        '5 pJ), as event-driven hardware does that takes spikes as they come; '
        'MACs reuse their operands in registers',
        pj_per_ac=0.9 + 3 * 5),
    EnergyModel(
        name='lemaire_45nm',
        technology='45 nm CMOS; 32 KB SRAM, nothing reused in registers',
        precision='int32',
        source='E. Lemaire et al., "An Analytical Estimation of Spiking '
        'Neural Networks Energy Efficiency", ICONIP 2022 (arXiv 2210.13107): '
        'int32 addition 0.1 pJ, multiplication 3.1 pJ, an access to 8 KB, 32 '
        'KB, 1 MB SRAM 10, 20, 100 pJ',
        covers='its terms that grow with the operations, all memories of 32 '
        'KB: a MAC reads an input and a weight, a synaptic operation '
        'addresses (an addition) and reads a weight, reads and writes a '
        'potential; not its terms of a neuron (leak, reset, bias, output)',
        pj_per_mac=3.1 + .1 + 2 * 20,
        pj_per_ac=.1 + .1 + 3 * 20),
)

# What an accelerated network runs; see `measurement.accelerated`.
ACCELERATED_MODELS = tuple(
    EnergyModel(
        name=f'{name}_accelerated',
        technology=technology,
        precision='bfloat16 with float32 sums; spikes with int8 weights and '
        'int32 sums',
        source=f'{_HOROWITZ}: 16 bit floating-point multiplication 1.1 pJ (of '
        'float16; bfloat16 has a shorter one), float32 addition 0.9 pJ, 32 '
        f'bit integer addition 0.1 pJ{memory}',
        covers=f'what respike_mmaction.apis.accelerate runs: MACs (1.1 + 0.9 '
        'pJ) and synaptic operations (0.1 pJ an integer), the first shortcut '
        f'as the layers that run as one{covers}',
        pj_per_mac=2.,
        pj_per_int8_mac=_INT8_MAC,
        pj_per_ac=.1,
        pj_per_operation=3.7 if byte else 0.,
        pj_per_weight_byte=byte,
        pj_per_activation_byte=byte,
        bits_per_spike=8)
    for name, technology, memory, covers, byte in (
        ('horowitz_45nm', '45 nm CMOS, 0.9 V', '',
         ' alone; no memory, no other operation', 0.),
        ('horowitz_45nm_dram', '45 nm CMOS, 0.9 V; DRAM',
         '; DRAM 1.3 to 2.6 nJ per 64 bit, here the lower',
         ', other operations (as one float32 multiplication each), weights '
         'of one or two bytes, maps of two, spikes of one, potentials of '
         'four, from DRAM', 1300 / 8)))


def energy_models(extra: Iterable[Mapping] = ()) -> tuple[EnergyModel, ...]:
    """The energy models above and those of a user.

    Args:
        extra (Iterable[Mapping]): Arguments of :class:`EnergyModel`, such as
            ``energy_models = [dict(name=...)]`` of a config. Defaults to
            none.

    Returns:
        tuple[EnergyModel]: All of them.

    Raises:
        ValueError: If an argument is unknown, missing or not allowed, or a
            name is taken.
    """
    allowed = {f.name for f in fields(EnergyModel)}
    models = list(ENERGY_MODELS)
    for entry in extra:
        unknown = set(entry) - allowed
        if unknown:
            raise ValueError(
                f'{sorted(unknown)} of energy model {entry.get("name")!r} '
                f'are not allowed: they are {sorted(allowed)}')
        try:
            model = EnergyModel(**entry)
        except TypeError as error:
            raise ValueError(
                f'energy model {entry.get("name")!r}: {error}') from error
        if model.name in {known.name for known in models}:
            raise ValueError(f'name={model.name!r} of an energy model is '
                             'not allowed: it is taken')
        models.append(model)
    return tuple(models)
