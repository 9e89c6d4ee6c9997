"""Recognizers."""
from .respike_recognizer import ReSpikeRecognizer

__all__ = ['ReSpikeRecognizer']
