"""Operations, spikes and energy of a recognizer."""
from .counter import Layer, OperationCounter
from .energy_models import ENERGY_MODELS, EnergyModel, energy_models
from .grouping import Group, grouping
from .measurement import measure
from .operations import Count
from .report import format_report, read_json, write_csv, write_json

__all__ = [
    'ENERGY_MODELS', 'Count', 'EnergyModel', 'Group', 'Layer',
    'OperationCounter', 'energy_models', 'format_report', 'grouping',
    'measure', 'read_json', 'write_csv', 'write_json'
]
