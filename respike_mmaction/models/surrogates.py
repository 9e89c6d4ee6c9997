"""Surrogate gradients: what stands for the derivative of the spike.

A spike is the step function of ``u = H - v_threshold``, whose derivative is
zero almost everywhere. Backward uses the derivative of a smooth step ``g``
from 0 to 1 instead. ``alpha`` means what it means in SpikingJelly, so that
values can be carried over.
"""
import math
from dataclasses import dataclass

import torch
from torch import Tensor

_TYPES: dict[str, type['Surrogate']] = {}


@dataclass(frozen=True)
class Surrogate:
    """Base of the surrogate gradients; subclasses are known by their names.

    Args:
        alpha (float): Sharpness: the larger, the narrower around the
            threshold. Unit: one over the unit of the membrane potential.

    Raises:
        ValueError: If ``alpha`` is not positive.
    """
    alpha: float = 1.0

    def __init_subclass__(cls) -> None:
        _TYPES[cls.__name__] = cls  # a config's dict(type=...) finds it

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(
                f'alpha of the surrogate {type(self).__name__} must be '
                f'positive, got {self.alpha!r}')

    def derivative(self, u: Tensor) -> Tensor:
        """Derivative ``g'(u)``, taken for that of the spike in backward.

        Args:
            u (Tensor): Potential above threshold, any shape.

        Returns:
            Tensor: Like ``u``.
        """
        raise NotImplementedError

    def backward_(self, u: Tensor, grad: Tensor, factor: float) -> None:
        """Replace ``u`` by ``factor * grad * g'(u)``, in few passes.

        Args:
            u (Tensor): Potential above threshold, any shape; overwritten.
            grad (Tensor): Gradient to the spikes, like ``u``.
            factor (float): Constant factor.
        """
        u.copy_(self.derivative(u)).mul_(grad).mul_(factor)


@dataclass(frozen=True)
class ATan(Surrogate):
    r"""Arc tangent, the paper's surrogate (Fang et al., ICCV 2021).

    .. math::
        g(u) = \frac{1}{\pi}\arctan(\frac{\pi}{2}\alpha u) + \frac12, \quad
        g'(u) = \frac{\alpha / 2}{1 + (\frac{\pi}{2}\alpha u)^2}

    Args:
        alpha (float): Sharpness. Defaults to 2.0 (the paper's).
    """
    alpha: float = 2.0

    def derivative(self, u: Tensor) -> Tensor:
        """See :meth:`Surrogate.derivative`."""
        z = u * (math.pi / 2 * self.alpha)
        return self.alpha / 2 / (1 + z * z)

    def backward_(self, u: Tensor, grad: Tensor, factor: float) -> None:
        """See :meth:`Surrogate.backward_`."""
        one = 2 / (self.alpha * factor)
        square = one * (math.pi / 2 * self.alpha)**2
        torch.addcmul(u.new_full((), one), u, u, value=square, out=u)
        torch.div(grad, u, out=u)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    r"""Logistic function.

    .. math::
        g(u) = \frac{1}{1 + e^{-\alpha u}}, \quad
        g'(u) = \alpha\, g(u)\, (1 - g(u))

    Args:
        alpha (float): Sharpness. Defaults to 4.0 (SpikingJelly's; not used in
            the paper).
    """
    alpha: float = 4.0

    def derivative(self, u: Tensor) -> Tensor:
        """See :meth:`Surrogate.derivative`."""
        g = torch.sigmoid(u * self.alpha)
        return self.alpha * (g * (1 - g))

    def backward_(self, u: Tensor, grad: Tensor, factor: float) -> None:
        """See :meth:`Surrogate.backward_`."""
        u.mul_(self.alpha).sigmoid_()
        torch.ops.aten.sigmoid_backward.grad_input(grad, u, grad_input=u)
        u.mul_(self.alpha * factor)


@dataclass(frozen=True)
class PiecewiseQuadratic(Surrogate):
    r"""Triangle of height alpha and width 2 / alpha.

    .. math::
        g'(u) = \max(0,\; \alpha - \alpha^2 |u|), \quad
        g(u) = \frac12 + \alpha c - \frac{\alpha^2}{2} |c| c, \quad
        c = \mathrm{clip}(u, -1/\alpha, 1/\alpha)

    Args:
        alpha (float): Sharpness. Defaults to 1.0 (SpikingJelly's; not used in
            the paper).
    """
    alpha: float = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        """See :meth:`Surrogate.derivative`."""
        return (self.alpha - self.alpha**2 * u.abs()).clamp_min(0)

    def backward_(self, u: Tensor, grad: Tensor, factor: float) -> None:
        """See :meth:`Surrogate.backward_`."""
        height = self.alpha * factor
        u.abs_().clamp_max_(1 / self.alpha).mul_(-self.alpha * height)
        u.add_(height).mul_(grad)


@dataclass(frozen=True)
class Rectangular(Surrogate):
    r"""Box of height alpha and width 1 / alpha.

    .. math::
        g'(u) = \alpha \;[\,|u| < \tfrac{1}{2\alpha}\,], \quad
        g(u) = \mathrm{clip}(\alpha u + \tfrac12, 0, 1)

    Args:
        alpha (float): Sharpness. Defaults to 1.0 (ours; not used in the
            paper).
    """
    alpha: float = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        """See :meth:`Surrogate.derivative`."""
        return (u.abs() < 0.5 / self.alpha).to(u.dtype) * self.alpha

    def backward_(self, u: Tensor, grad: Tensor, factor: float) -> None:
        """See :meth:`Surrogate.backward_`."""
        half = 0.5 / self.alpha  # hardtanh passes grad where |u| < half
        torch.ops.aten.hardtanh_backward.grad_input(
            grad, u, -half, half, grad_input=u)
        u.mul_(self.alpha * factor)


SURROGATES = (ATan, Sigmoid, PiecewiseQuadratic, Rectangular)


def build_surrogate(cfg: dict | Surrogate | None = None) -> Surrogate:
    """Build a surrogate gradient from its config.

    Args:
        cfg (dict | Surrogate, optional): ``dict(type=..., alpha=...)``; type
            is one of ATan, Sigmoid, PiecewiseQuadratic, Rectangular.
            Defaults to None, ``dict(type='ATan', alpha=2.0)`` (the paper's).

    Returns:
        Surrogate: The surrogate.

    Raises:
        TypeError: If ``cfg`` is neither of these, or has unknown keys.
        ValueError: If the type is unknown or ``alpha`` is not positive.
    """
    if cfg is None:
        return ATan()
    if isinstance(cfg, Surrogate):
        return cfg
    if not isinstance(cfg, dict):
        raise TypeError(
            'surrogate must be None, a Surrogate or a dict with the keys '
            f'type and alpha, got {cfg!r}')
    args = dict(cfg)
    name = args.pop('type', None)
    if name not in _TYPES:
        raise ValueError(f'unknown surrogate type {name!r}: it must be one '
                         f'of {", ".join(_TYPES)}')
    if args.keys() - {'alpha'}:
        raise TypeError(f'surrogate {name} takes alpha only, got '
                        f'{sorted(args)}')
    return _TYPES[name](**args)
