"""The neurons once more, in scalar Python: an independent reference."""
import math

SURROGATES = {
    'ATan': lambda u, a: a / 2 / (1 + (math.pi / 2 * a * u)**2),
    'Sigmoid': lambda u, a: a * math.exp(-a * u) / (1 + math.exp(-a * u))**2,
    'PiecewiseQuadratic':
    lambda u, a: a - a * a * abs(u) if abs(u) <= 1 / a else 0.,
    'Rectangular': lambda u, a: a if abs(u) < 0.5 / a else 0.,
}


def scan(x, v, tau, v_threshold, v_reset, reset):
    """Potentials H, spikes S and last V of one neuron, x a list.

    ``tau`` None is the neuron without leak.
    """
    hs, spikes = [], []
    for x_t in x:
        h = v + x_t if tau is None else v + (x_t - (v - v_reset)) / tau
        s = 1. if h >= v_threshold else 0.
        if reset == 'hard':
            v = v_reset if s else h
        else:
            v = h - s * (v_threshold - v_reset)
        hs.append(h)
        spikes.append(s)
    return hs, spikes, v


def gradients(x, v, tau, v_threshold, v_reset, reset, surrogate, alpha,
              grad, grad_v):
    """Gradients to x (a list), v and 1 / tau, from those of spikes and V."""
    hs, spikes, _ = scan(x, v, tau, v_threshold, v_reset, reset)
    before = [v]  # V_{t-1} of every step
    for h, s in zip(hs, spikes, strict=True):
        if reset == 'hard':
            before.append(v_reset if s else h)
        else:
            before.append(h - s * (v_threshold - v_reset))
    grad_x, grad_rate = [0.] * len(x), 0.
    for t in range(len(x) - 1, -1, -1):
        through_reset = 1 - spikes[t] if reset == 'hard' else 1.
        grad_h = (grad[t] * SURROGATES[surrogate](hs[t] - v_threshold, alpha)
                  + grad_v * through_reset)
        rate = 1. if tau is None else 1 / tau
        grad_x[t] = grad_h * rate
        grad_v = grad_h if tau is None else grad_h * (1 - rate)
        grad_rate += grad_h * (x[t] - (before[t] - v_reset))
    return grad_x, grad_v, grad_rate
