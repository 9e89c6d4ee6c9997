"""Counts the operations of a forward, layer by layer, at ATen level."""
from collections import Counter, defaultdict
from contextlib import ExitStack
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
)
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ..models.layers.int8_spike_conv import Int8SpikeConv2d
from ..models.layers.packed import PackedConv2d, PackedLinear
from ..models.neurons import BaseNeuron
from .fan_out import (
    convolution_synaptic_operations,
    matmul_synaptic_operations,
)
from .operations import (
    DATA_MOVEMENT,
    ELEMENT_OPERATIONS,
    NEURON_OPERATIONS,
    VALUE_PRESERVING,
    WINDOW_OPERATIONS,
    Count,
)

aten = torch.ops.aten
SPIKES, WEIGHT = 'spikes', 'weight'


def _self_attention(query: Tensor, *args: Any, out_val: Any) -> int:
    """Fused self-attention of ``nn.MultiheadAttention``, projections too."""
    batch, tokens, channels = query.shape
    return 4 * batch * tokens * channels * (2 * channels + tokens)


# PyTorch's own formulas (two operations a MAC), and what they lack.
FLOPS = {
    aten._scaled_dot_product_flash_attention_for_cpu:
    flop_registry[aten._scaled_dot_product_flash_attention],
    aten._native_multi_head_attention: _self_attention,
    **flop_registry
}
# products whose accumulations are counted spike by spike
SYNAPTIC = (aten.convolution, aten.mm, aten.addmm, aten.bmm, aten.baddbmm)


class Layer(NamedTuple):
    """Where an operation ran.

    Attributes:
        name: The innermost module, as in ``named_modules()``.
        after: If that module has children, the module that finished last
            within it: tells its own operations apart.
    """

    name: str
    after: str = ''


class OperationCounter(TorchDispatchMode):
    """Context in which the forwards of a network are counted.

    Runs below autograd and above the kernels, so it sees functional calls
    (attention, pooling, interpolation) as well as modules. Spikes are known
    from the layer that made them: the output of a :class:`BaseNeuron`, and
    what only reshapes, copies, joins or pads it; values are never looked at
    to decide. Outputs are not touched, and hooks are gone on leaving.

    Args:
        model (nn.Module): The network; in evaluation mode.

    Attributes:
        layers (dict[Layer, Count]): Counts in order of execution, without
            parameters and weights.
        unknown (Counter): Output elements of operators outside of every
            class, by name.

    Raises:
        ValueError: If the network is in training mode, or accelerated.

    Example:
        >>> with torch.no_grad(), OperationCounter(model) as counter:
        ...     model(x)
        >>> sum(count.macs for count in counter.layers.values())
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if model.training:
            raise ValueError(
                'OperationCounter counts inference: call model.eval() first')
        if any(isinstance(m, Int8SpikeConv2d | PackedConv2d | PackedLinear)
               for m in model.modules()):
            raise ValueError(
                f'OperationCounter got an accelerated {type(model).__name__}, '
                'whose operators it cannot see into: give the model that it '
                'was made of')
        self.model = model
        self.layers: dict[Layer, Count] = defaultdict(Count)
        self.unknown: Counter = Counter()

    def __enter__(self) -> 'OperationCounter':
        # one frame for every module being run: [name, last child finished]
        self._frames: list[list[str]] = [['', '']]
        self._paused = ExitStack()  # holds while a neuron runs
        self._tags: dict[int, tuple] = {}
        for parameter in self.model.parameters():
            self._tag(parameter, WEIGHT)
        self._containers = {
            name
            for name, module in self.model.named_modules()
            if next(module.children(), None) is not None
        }
        self._stack = ExitStack()
        for name, module in self.model.named_modules():
            self._hook(name, module)
        super().__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._paused.close()
        super().__exit__(*exc)
        self._stack.close()
        del self._tags

    def _hook(self, name: str, module: nn.Module) -> None:
        is_neuron = isinstance(module, BaseNeuron)

        def before(*_: Any) -> None:
            self._frames.append([name, ''])
            if is_neuron:  # counted as a whole; compiled kernels need it
                self._paused.enter_context(_disable_current_modes())

        def after(module: nn.Module, args: tuple, kwargs: dict,
                  output: Any) -> None:
            self._frames.pop()
            self._frames[-1][1] = name
            if is_neuron:
                self._paused.close()
                self._count_neuron(name, kwargs.get('num_steps', 1), output)

        for handle in (module.register_forward_pre_hook(before),
                       module.register_forward_hook(after, with_kwargs=True)):
            self._stack.callback(handle.remove)

    # Tags: what a storage holds, so that views have it too; forgotten once
    # it is written to. A weak reference keeps its address from being reused.
    def _tag(self, tensor: Tensor, tag: str) -> None:
        storage = StorageWeakRef(tensor.untyped_storage())
        self._tags[storage.cdata] = tag, storage

    def _tag_of(self, tensor: Any) -> str | None:
        if not isinstance(tensor, Tensor):
            return None
        return self._tags.get(tensor.untyped_storage()._cdata, (None, ))[0]

    def _forget_written(self, func: Any, args: tuple, kwargs: dict) -> None:
        for i, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            for tensor in tree_leaves(value):
                if isinstance(tensor, Tensor):
                    self._tags.pop(tensor.untyped_storage()._cdata, None)

    def _count_neuron(self, name: str, num_steps: int, output: Any) -> None:
        spikes = output[0] if isinstance(output, tuple) else output
        self._tag(spikes, SPIKES)
        count = self.layers[Layer(name)]
        count.operations['neuron'] += NEURON_OPERATIONS * spikes.numel()
        # float32 potentials; none is kept before the first or after the
        # last step
        kept = spikes.numel() // num_steps * (num_steps - 1)
        count.membrane_bytes += 2 * 4 * kept

    def __torch_dispatch__(self,
                           func: Any,
                           types: Any,
                           args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._schema.is_mutable:
            self._forget_written(func, args, kwargs)
        name = func.overloadpacket.__name__
        name = name if name.startswith('__') else name.rstrip('_')
        if name in VALUE_PRESERVING:
            self._hand_on(name, args, out)
        else:
            self._count(func, name, args, kwargs, out)
        return out

    def _hand_on(self, name: str, args: tuple, out: Any) -> None:
        # cat and stack have several inputs
        tags = {self._tag_of(x) for x in tree_leaves(args[0])}
        tag = tags.pop() if len(tags) == 1 else None
        padding = args[2] if len(args) > 2 else 0
        if tag is None or (name == 'constant_pad_nd' and padding):
            return
        for tensor in tree_leaves(out):
            self._tag(tensor, tag)

    def _here(self) -> Count:
        name, after = self._frames[-1]
        return self.layers[Layer(name,
                                 after if name in self._containers else '')]

    def _count(self, func: Any, name: str, args: tuple, kwargs: dict,
               out: Any) -> None:
        if func.overloadpacket in FLOPS:
            self._count_product(func, args, kwargs, out)
        elif name == 'add' and WEIGHT in map(self._tag_of, args):
            pass  # a bias: left out, as where it is part of the product
        elif name in ELEMENT_OPERATIONS:
            kind, each, which = ELEMENT_OPERATIONS[name]
            elements = _numel(args[0] if which == 'in' else out)
            self._here().operations[kind] += each * elements
        elif name in WINDOW_OPERATIONS:
            x, kernel = args[:2]
            axes = 3 if '3d' in name else 2
            taps = prod(kernel) if len(kernel) > 1 else kernel[0]**axes
            self._here().operations[
                WINDOW_OPERATIONS[name]] += taps * _numel(out)
        elif name not in DATA_MOVEMENT:
            self.unknown[name] += _numel(out)

    def _count_product(self, func: Any, args: tuple, kwargs: dict,
                       out: Any) -> None:
        count = self._here()
        packet = func.overloadpacket
        products = FLOPS[packet](*args, **kwargs, out_val=out) // 2
        operands = [x for x in args if isinstance(x, Tensor)]
        spikes = [x for x in operands if self._tag_of(x) == SPIKES]
        if spikes and packet in SYNAPTIC:
            count.dense += products
            count.acs += self._synaptic_operations(packet, args, out)
            spiking = sum(int((x != 0).sum()) for x in spikes)
            positions = sum(x.numel() for x in spikes)
            count.spikes += spiking
            count.spike_positions += positions
            count.spike_bytes += sum(_bytes(x) for x in spikes)
            count.rate_acs += products * spiking / positions
        else:
            count.macs += products
            count.activation_bytes += sum(_bytes(x) for x in spikes)
        first = tree_leaves(out)[0]
        count.activation_bytes += _bytes(first) + sum(
            _bytes(x) for x in operands if self._tag_of(x) is None)
        if 'scaled_dot_product' in packet.__name__:
            queries, keys = operands[:2]
            scores = prod(queries.shape[:-1]) * keys.shape[-2]
            count.operations['softmax'] += 5 * scores
        elif packet is aten._native_multi_head_attention:
            batch, tokens, _ = operands[0].shape
            count.operations['softmax'] += 5 * args[4] * batch * tokens**2

    def _synaptic_operations(self, packet: Any, args: tuple,
                             out: Tensor) -> int:
        if packet is aten.convolution:
            x, weight, _, stride, padding, dilation, transposed, _, groups = \
                args
            return convolution_synaptic_operations(
                x, weight, out.shape, stride, padding, dilation, transposed,
                groups)
        left, right = args[-2:]
        return matmul_synaptic_operations(
            left, right, *(self._tag_of(x) == SPIKES for x in (left, right)))


def _numel(out: Any) -> int:
    first = next((x for x in tree_leaves(out) if isinstance(x, Tensor)), None)
    return 0 if first is None else first.numel()


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()
