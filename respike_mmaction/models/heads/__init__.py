"""Recognizer heads."""
from .cross_attention_fusion import CrossAttentionFusion

__all__ = ['CrossAttentionFusion']
