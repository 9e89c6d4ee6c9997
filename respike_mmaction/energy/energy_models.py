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

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type is str or f.type == 'str':
                if not isinstance(value, str) or not value:
                    raise ValueError(f'{f.name}={value!r} of an energy model '
                                     'is not allowed: it is a text')
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


_HOROWITZ = ('M. Horowitz, "Computing\'s Energy Problem (and what we can do '
             'about it)", ISSCC 2014, fig. 1.1.9')

ENERGY_MODELS = (
    EnergyModel(
        name='horowitz_45nm',
        technology='45 nm CMOS, 0.9 V',
        precision='float32',
        source=f'{_HOROWITZ}: multiplication 3.7 pJ, addition 0.9 pJ',
        covers='MACs (3.7 + 0.9 pJ) and synaptic operations (0.9 pJ) alone, '
        'the default of the field; no memory, no other operation',
        pj_per_mac=4.6,
        pj_per_ac=0.9),
    EnergyModel(
        name='horowitz_45nm_sram',
        technology='45 nm CMOS, 0.9 V; 1 MB SRAM',
        precision='float32; spikes as bit maps',
        source=f'{_HOROWITZ}: 1 MB cache 100 pJ per 64 bit',
        covers='MACs, synaptic operations, other operations (as one float32 '
        'multiplication each), weights once a view and maps once in and once '
        'out of a layer, all from SRAM: the lower end of memory',
        pj_per_mac=4.6,
        pj_per_ac=0.9,
        pj_per_operation=3.7,
        pj_per_weight_byte=100 / 8,
        pj_per_activation_byte=100 / 8),
    EnergyModel(
        name='horowitz_45nm_dram',
        technology='45 nm CMOS, 0.9 V; DRAM',
        precision='float32; spikes as bit maps',
        source=f'{_HOROWITZ}: DRAM 1.3 to 2.6 nJ per 64 bit, here the lower',
        covers='as horowitz_45nm_sram with weights and maps from DRAM',
        pj_per_mac=4.6,
        pj_per_ac=0.9,
        pj_per_operation=3.7,
        pj_per_weight_byte=1300 / 8,
        pj_per_activation_byte=1300 / 8),
    EnergyModel(
        name='horowitz_45nm_dram_high',
        technology='45 nm CMOS, 0.9 V; DRAM',
        precision='float32; spikes as bit maps',
        source=f'{_HOROWITZ}: DRAM 1.3 to 2.6 nJ per 64 bit, here the higher',
        covers='as horowitz_45nm_dram: the upper end of memory',
        pj_per_mac=4.6,
        pj_per_ac=0.9,
        pj_per_operation=3.7,
        pj_per_weight_byte=2600 / 8,
        pj_per_activation_byte=2600 / 8),
    EnergyModel(
        name='horowitz_45nm_event_driven',
        technology='45 nm CMOS, 0.9 V; 8 KB SRAM beside the adder, 1 MB SRAM',
        precision='float32; spikes as bit maps',
        source=f'{_HOROWITZ}: 8 KB cache 10 pJ per 64 bit',
        covers='as horowitz_45nm_sram, where each synaptic operation reads a '
        'weight and reads and writes a potential of 32 bit in 8 KB SRAM (3 x '
        '5 pJ), as event-driven hardware does that takes spikes as they come; '
        'MACs reuse their operands in registers',
        pj_per_mac=4.6,
        pj_per_ac=0.9 + 3 * 5,
        pj_per_operation=3.7,
        pj_per_weight_byte=100 / 8,
        pj_per_activation_byte=100 / 8),
)


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
