"""What is counted: the classes of operations and the count of a layer."""
import math
from collections import Counter
from dataclasses import dataclass, field, fields, replace

# Scalar operations of one element, by ATen operator: (class, operations,
# 'out' or 'in': elements of the output or of the first input). Every
# addition, multiplication, comparison, exponential, ... is one operation.
# A norm in evaluation over stored statistics is a scale and a shift; one
# over the input is mean 1, centre 1, variance 2, scale by 1 / sigma 1,
# weight 1, bias 1. Softmax: maximum, subtraction, exponential, sum, division.
# GELU: scale, erf, addition and two multiplications.
ELEMENT_OPERATIONS: dict[str, tuple[str, int, str]] = {
    **dict.fromkeys(
        ('native_batch_norm', 'cudnn_batch_norm', 'miopen_batch_norm',
         '_native_batch_norm_legit', '_native_batch_norm_legit_no_training',
         '_batch_norm_no_update'), ('batch norm', 2, 'out')),
    'native_layer_norm': ('layer norm', 7, 'out'),
    'native_group_norm': ('group norm', 7, 'out'),
    '_softmax': ('softmax', 5, 'out'),
    '_safe_softmax': ('softmax', 5, 'out'),
    'gelu': ('GELU', 5, 'out'),
    'relu': ('ReLU', 1, 'out'),
    'hardtanh': ('ReLU', 2, 'out'),
    'leaky_relu': ('ReLU', 2, 'out'),
    'sigmoid': ('sigmoid', 4, 'out'),
    'tanh': ('sigmoid', 4, 'out'),
    'silu': ('sigmoid', 5, 'out'),
    'hardsigmoid': ('sigmoid', 4, 'out'),
    'hardswish': ('sigmoid', 5, 'out'),
    **dict.fromkeys(
        ('add', 'sub', 'rsub', 'mul', 'div', 'neg', 'maximum', 'minimum',
         'sqrt', 'rsqrt', 'pow', 'exp', 'log', 'abs', 'sin', 'cos', 'clamp',
         'clamp_min', 'clamp_max', 'reciprocal', 'erf', 'square'),
        ('element-wise', 1, 'out')),
    **dict.fromkeys(('mean', 'sum', 'amax', 'amin', 'max', 'min'),
                    ('reduction', 1, 'in')),
    '_adaptive_avg_pool2d': ('average pooling', 1, 'in'),
    '_adaptive_avg_pool3d': ('average pooling', 1, 'in'),
    'linalg_vector_norm': ('reduction', 2, 'in'),
    'upsample_linear1d': ('interpolation', 3, 'out'),
    'upsample_bilinear2d': ('interpolation', 7, 'out'),
    'upsample_trilinear3d': ('interpolation', 15, 'out'),
}

# Pools over windows: the taps of the kernel (second argument) an output.
WINDOW_OPERATIONS = {
    'avg_pool2d': 'average pooling',
    'avg_pool3d': 'average pooling',
    'max_pool2d_with_indices': 'max pooling',
    'max_pool3d_with_indices': 'max pooling',
    'max_pool2d': 'max pooling',
}

# Operators that hand on the values of their first input, or list of inputs.
VALUE_PRESERVING = frozenset(
    ('view', '_unsafe_view', '_reshape_alias', 'permute', 'transpose', 't',
     'expand', 'clone', '_to_copy', 'slice', 'select', 'split',
     'split_with_sizes', 'unbind', 'unfold', 'squeeze', 'unsqueeze', 'detach',
     'alias', 'as_strided', 'cat', 'stack', 'index', 'index_select', 'gather',
     'flip', 'roll', 'repeat', 'constant_pad_nd', 'reflection_pad1d',
     'reflection_pad2d', 'reflection_pad3d', 'replication_pad1d',
     'replication_pad2d', 'replication_pad3d'))

# Operators without arithmetic.
DATA_MOVEMENT = VALUE_PRESERVING | frozenset(
    ('index_put', 'scatter', 'embedding', 'where', 'masked_fill', 'copy',
     'fill', 'zero', 'zeros', 'zeros_like', 'ones', 'ones_like', 'full',
     'full_like', 'empty', 'empty_like', 'empty_strided', 'new_empty',
     'new_empty_strided', 'new_zeros', 'new_ones', 'new_full', 'arange',
     'linspace', 'scalar_tensor', 'lift', 'lift_fresh', 'upsample_nearest1d',
     'upsample_nearest2d', 'upsample_nearest3d', '_local_scalar_dense', 'eq',
     'ne', 'lt', 'le', 'gt', 'ge', 'equal', 'item', 'is_same_size', 'sym_size',
     'pixel_shuffle', 'tril', 'triu', 'meshgrid', 'resize', 'set', 'argmax',
     'sort', 'topk'))

# One step of a neuron: decay, gain, sum, comparison, reset.
NEURON_OPERATIONS = 5

# What no figure holds; a report adds the operators it does not know.
LEFT_OUT = (
    'decoding, resizing, cropping, normalisation and the split into key and '
    'residual frames: everything before the network',
    'reading the input of element-wise operations, norms, poolings, softmax '
    'and neurons, and writing their output: taken as done on the way out of '
    'the layer before',
    'writing spikes as bits: a map whose only reader is a neuron, be it '
    'through BatchNorm, is written in float32 as any other (against the '
    'spiking branch), and its spikes are charged where the next layer reads '
    'them',
    'spikes that pass through max pooling or arithmetic: the layer behind '
    'counts as one of real-valued inputs',
    'additions of biases, and moves that compute nothing: copies, '
    'concatenations, layout changes, shifts along time, index arithmetic',
    'partial sums that do not fit on the chip, control, addressing of sparse '
    'spikes, leakage and clock power',
)


@dataclass
class Count:
    """Operations and traffic of a layer, or of several added up.

    Attributes:
        macs: Multiply-accumulates of real-valued inputs, padding included,
            as every FLOP counter has them.
        dense: The same of layers whose input is spikes: what they would cost
            without sparsity.
        acs: Synaptic operations: accumulations that spikes really caused.
        rate_acs: Firing rate times ``dense``, the usual estimate of ``acs``.
        spikes: Spikes that went into spike-driven layers.
        spike_positions: Positions where a spike could have been, moved.
        spike_bytes: Bytes of these positions as the tensors held them.
        activation_bytes: Real-valued maps read and written by layers with
            MACs or ACs, each once.
        membrane_bytes: Membrane potentials written after a step and read
            before the next.
        parameters: Parameters.
        weight_bytes: Parameters moved: each once a view.
        operations: Scalar operations other than MACs and ACs, by class.
    """

    macs: float = 0
    dense: float = 0
    acs: float = 0
    rate_acs: float = 0
    spikes: float = 0
    spike_positions: float = 0
    spike_bytes: float = 0
    activation_bytes: float = 0
    membrane_bytes: float = 0
    parameters: int = 0
    weight_bytes: float = 0
    operations: Counter = field(default_factory=Counter)

    def __add__(self, other: 'Count') -> 'Count':
        """Both together; parameters too, so add different layers."""
        return Count(**{
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
        })

    def scaled(self, factor: float) -> 'Count':
        """Everything but the parameters, times a factor."""
        values = {
            f.name: getattr(self, f.name) * factor for f in fields(self)
            if f.name not in ('parameters', 'operations')}
        return replace(self, **values, operations=Counter({
            name: n * factor for name, n in self.operations.items()}))

    @property
    def firing_rate(self) -> float:
        """Spikes over positions; nan for a layer without spikes."""
        if not self.spike_positions:
            return math.nan
        return self.spikes / self.spike_positions

    def as_dense(self) -> 'Count':
        """The same layers with real-valued inputs: the non-spiking twin.

        Synaptic operations become MACs on every position, spikes become
        real-valued maps, neurons become ReLUs without a membrane.
        """
        operations = Counter(self.operations)
        neurons = operations.pop('neuron', 0)
        if neurons:
            # a mean over videos is a fraction, which Counter takes, too
            operations['ReLU'] += neurons / NEURON_OPERATIONS  # type: ignore[assignment]  # noqa: E501
        return Count(
            macs=self.macs + self.dense,
            activation_bytes=self.activation_bytes + self.spike_bytes,
            parameters=self.parameters,
            weight_bytes=self.weight_bytes,
            operations=operations)
