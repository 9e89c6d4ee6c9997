"""Data preprocessors."""
from .respike_data_preprocessor import ReSpikeDataPreprocessor

__all__ = ['ReSpikeDataPreprocessor']
