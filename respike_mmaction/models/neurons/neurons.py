"""Spiking neurons over folded steps, without state between calls."""
import math
from collections.abc import Iterator
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from ..kernels import BACKENDS, plain, spike_scan
from ..kernels.plain import Neuron, membrane_dtype
from ..surrogates import Surrogate, build_surrogate

RESETS = ('hard', 'soft')


class BaseNeuron(nn.Module):
    r"""Base of the neurons: charge, fire and reset, step after step.

    .. math::
        H_t &= V_{t-1} + (X_t - (V_{t-1} - v_{reset})) / \tau
            \quad\text{(IF: } V_{t-1} + X_t) \\
        S_t &= [H_t \ge v_{threshold}] \\
        V_t &= (1 - S_t) H_t + S_t v_{reset} \;\text{(hard), or}\;
            H_t - S_t (v_{threshold} - v_{reset}) \;\text{(soft)}

    No state is kept between calls. ``as_bytes``, set by
    :func:`respike_mmaction.apis.accelerate`, gives spikes as ``uint8``,
    without a gradient. The reset is detached: no gradient flows
    through :math:`S_t` of the third line.

    Args:
        v_threshold (float): Firing threshold. Defaults to 1.0 (the paper's).
        v_reset (float): Resting potential, the value before the first step
            and after a hard reset. Defaults to 0.0 (the paper's).
        reset (str): 'hard', to ``v_reset``, or 'soft', by subtraction of
            ``v_threshold - v_reset``. Defaults to 'hard' (the paper's).
        surrogate (dict, optional): Surrogate gradient,
            ``dict(type=..., alpha=...)`` with type ATan, Sigmoid,
            PiecewiseQuadratic or Rectangular. Defaults to None,
            ``dict(type='ATan', alpha=2.0)`` (the paper's).
        backend (str): Kernel: 'auto', 'torch' or 'triton', see
            :func:`respike_mmaction.models.kernels.spike_scan`. Defaults to
            'auto'.

    Raises:
        ValueError: If an argument is outside of its allowed values.
    """

    def __init__(self,
                 v_threshold: float = 1.0,
                 v_reset: float = 0.0,
                 reset: str = 'hard',
                 surrogate: dict | Surrogate | None = None,
                 backend: str = 'auto') -> None:
        super().__init__()
        if not v_threshold > v_reset:
            raise ValueError(f'v_threshold must be greater than v_reset, got '
                             f'{v_threshold!r} and {v_reset!r}')
        if reset not in RESETS:
            raise ValueError(
                f'reset must be one of {RESETS}, got {reset!r}')
        if backend not in BACKENDS:
            raise ValueError(
                f'backend must be one of {BACKENDS}, got {backend!r}')
        self.v_threshold = float(v_threshold)
        self.v_reset = float(v_reset)
        self.reset = reset
        self.surrogate = build_surrogate(surrogate)
        self.backend = backend
        self.as_bytes = False

    def decay(self) -> float | Tensor | None:
        """Decay of the potential in a step, 1 - 1 / tau; None for no leak."""
        raise NotImplementedError

    def forward(self,
                x: Tensor,
                v: Tensor | None = None,
                *,
                num_steps: int = 1,
                return_v: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Spikes of all steps.

        Args:
            x (Tensor): Input current (B * num_steps, ...), step fastest, of
                any memory format.
            v (Tensor, optional): Membrane potential before the first step
                (B, ...). Defaults to None, ``v_reset`` everywhere.
            num_steps (int): Number of steps S. Defaults to 1.
            return_v (bool): Also return the membrane potential after the
                last step. Defaults to False.

        Returns:
            Tensor | tuple[Tensor, Tensor]: Spikes, 0 or 1, of the shape,
            dtype and memory format of ``x``; with ``return_v`` also the
            membrane potential (B, ...), float32 for half precision inputs.

        Raises:
            ValueError: If the shapes do not fit.
            TypeError: If ``x`` is not a floating point tensor.
        """
        if v is not None and self.v_reset:
            v = v - self.v_reset
        out = spike_scan(
            x,
            num_steps,
            decay=self.decay(),
            threshold=self.v_threshold - self.v_reset,
            reset=self.reset,
            surrogate=self.surrogate,
            v=v,
            return_v=return_v,
            as_bytes=self.as_bytes,
            backend=self.backend)
        if not (return_v and self.v_reset):
            return out
        spikes, v_last = out
        return spikes, v_last + self.v_reset

    def potentials(self,
                   x: Tensor,
                   v: Tensor | None = None,
                   *,
                   num_steps: int = 1,
                   **_: Any) -> Iterator[Tensor]:
        """Potentials H before the reset, step after step.

        Takes the arguments of :meth:`forward`, of which it is the first two
        equations.

        Args:
            x (Tensor): Input current (B * num_steps, ...), step fastest.
            v (Tensor, optional): Membrane potential before the first step
                (B, ...). Defaults to None, ``v_reset`` everywhere.
            num_steps (int): Number of steps S. Defaults to 1.

        Yields:
            Tensor: (B, ...), float32 for half precision inputs.
        """
        if v is not None:
            v = v.to(membrane_dtype(x.dtype)) - self.v_reset
        rules = Neuron(self.v_threshold - self.v_reset, self.reset,
                       self.surrogate)
        steps = x.unflatten(0, (-1, num_steps))
        for h in plain.potentials(steps, v, self.decay(), rules):
            yield h + self.v_reset

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return (f'v_threshold={self.v_threshold}, v_reset={self.v_reset}, '
                f'reset={self.reset!r}, surrogate={self.surrogate}, '
                f'backend={self.backend!r}')


@MODELS.register_module()
class LIFNeuron(BaseNeuron):
    r"""Leaky integrate-and-fire neuron (Sec. 3 of the paper).

    .. math::
        H_t = V_{t-1} + \frac{X_t - (V_{t-1} - v_{reset})}{\tau}

    Args:
        tau (float): Membrane time constant in steps, greater than 1.
            Defaults to 4 / 3 (the paper's): H = 0.25 V + 0.75 X.
        **kwargs: Arguments of :class:`BaseNeuron`.

    Raises:
        ValueError: If ``tau`` is not greater than 1.
    """

    def __init__(self, tau: float = 4 / 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tau = _check_tau('tau', tau)

    def decay(self) -> float:
        """See :meth:`BaseNeuron.decay`."""
        return 1 - 1 / self.tau

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return f'tau={self.tau}, {super().extra_repr()}'


@MODELS.register_module()
class IFNeuron(BaseNeuron):
    r"""Integrate-and-fire neuron, without leak: H_t = V_{t-1} + X_t."""

    def decay(self) -> None:
        """See :meth:`BaseNeuron.decay`."""
        return None


@MODELS.register_module()
class ParametricLIFNeuron(BaseNeuron):
    r"""LIF neuron with a learnt time constant (Fang et al., ICCV 2021).

    .. math::
        H_t = V_{t-1} + \sigma(w) (X_t - (V_{t-1} - v_{reset}))

    Args:
        init_tau (float): First value of the membrane time constant
            :math:`1 / \sigma(w)` in steps, greater than 1. Defaults to 4 / 3,
            the fixed one of the paper's :class:`LIFNeuron`.
        **kwargs: Arguments of :class:`BaseNeuron`.

    Attributes:
        w (nn.Parameter): Scalar; weight decay pulls it, and so tau to 2.

    Raises:
        ValueError: If ``init_tau`` is not greater than 1.
    """

    def __init__(self, init_tau: float = 4 / 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        init_tau = _check_tau('init_tau', init_tau)
        self.w = nn.Parameter(torch.tensor(-math.log(init_tau - 1)))

    def decay(self) -> Tensor:
        """See :meth:`BaseNeuron.decay`."""
        return (-self.w).sigmoid()  # 1 - sigmoid(w)

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        tau = 1 / self.w.sigmoid().item()
        return f'tau={tau:.4g}, {super().extra_repr()}'


SPIKING_NEURONS = ('LIFNeuron', 'IFNeuron', 'ParametricLIFNeuron')


def _check_tau(name: str, tau: float) -> float:
    if not tau > 1 or math.isinf(tau):
        raise ValueError(f'{name} must be finite and greater than 1, got '
                         f'{tau!r}')
    return float(tau)


def build_neuron(cfg: dict) -> nn.Module:
    """Build a neuron from its config.

    Args:
        cfg (dict): ``dict(type=..., **arguments)`` with type LIFNeuron,
            IFNeuron or ParametricLIFNeuron, or any module of the MODELS
            registry that subclasses :class:`BaseNeuron`; or ``ReLU``, which
            makes the twin of a network without spikes and membranes.

    Returns:
        nn.Module: The neuron.

    Raises:
        ValueError: If the type is not a spiking neuron.
        TypeError: If ``cfg`` is not a dict.
    """
    if not isinstance(cfg, dict):
        raise TypeError(f'neuron must be a dict with the key type, got '
                        f'{cfg!r}')
    name = cfg.get('type')
    cls = MODELS.get(name) if isinstance(name, str) else name
    if not (isinstance(cls, type) and issubclass(cls, (BaseNeuron, nn.ReLU))):
        raise ValueError(f'unknown neuron type {name!r}: it must be one of '
                         f'{", ".join(SPIKING_NEURONS)}, or ReLU')
    return MODELS.build(cfg)
