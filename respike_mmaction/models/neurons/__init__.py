"""Spiking neurons and their surrogate gradients."""
from ..surrogates import (
    ATan,
    PiecewiseQuadratic,
    Rectangular,
    Sigmoid,
    Surrogate,
    build_surrogate,
)
from .neurons import (
    SPIKING_NEURONS,
    BaseNeuron,
    IFNeuron,
    LIFNeuron,
    ParametricLIFNeuron,
    build_neuron,
)

__all__ = [
    'SPIKING_NEURONS', 'ATan', 'BaseNeuron', 'IFNeuron', 'LIFNeuron',
    'ParametricLIFNeuron', 'PiecewiseQuadratic', 'Rectangular', 'Sigmoid',
    'Surrogate', 'build_neuron', 'build_surrogate'
]
