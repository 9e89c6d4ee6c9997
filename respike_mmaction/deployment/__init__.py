"""Trained networks in other formats; imported by no training."""
from .export import (
    export_clips,
    export_steps,
    normalised,
    run_steps,
    scores_of_clips,
)
from .nir_graph import to_nir
from .programs import ClipProgram, KeyProgram, ResidualProgram, state_names
from .writing import FORMATS, OPSETS, load, write

__all__ = [
    'FORMATS', 'OPSETS', 'ClipProgram', 'KeyProgram', 'ResidualProgram',
    'export_clips', 'export_steps', 'load', 'normalised', 'run_steps',
    'scores_of_clips', 'state_names', 'to_nir', 'write'
]
