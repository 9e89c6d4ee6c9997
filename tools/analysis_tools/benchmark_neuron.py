"""Time and memory of the LIF neuron alone, for several numbers of steps.

The unit is ``y.copy_(x)`` of the input's bytes, which no neuron can beat: it
reads and writes as much as a forward must. Every number is the median over
rounds in which all contenders run in turn, of the ratio to the copy of the
same round, in CPU seconds on a CPU and in wall seconds on CUDA.

    python tools/analysis_tools/benchmark_neuron.py --steps 3 --threads 1

Contenders: ours (eager, as it is chosen, compiled with the model), a loop in
plain PyTorch, and SpikingJelly's multi-step LIFNode where it is installed
(extra ``bench``), as it is and under torch.compile.
"""
import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import keep_freed_memory, machine, print_table
from torch import Tensor

from respike_mmaction.models.neurons import LIFNeuron, build_surrogate

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n')[0])
    parser.add_argument(
        '--steps', type=int, nargs='+', default=[1, 3, 4, 7, 16],
        help='numbers of steps S (default: 1 3 4 7 16)')
    parser.add_argument(
        '--neurons', type=int, default=802816,
        help='neurons, each with S inputs (default: 802816, that is 4 x 64 '
        'x 56 x 56)')
    parser.add_argument(
        '--batch', type=int, default=4,
        help='samples the neurons are split into (default: 4)')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument(
        '--repeat', type=int, default=2,
        help='calls of a contender in a round (default: 2)')
    parser.add_argument('--dtype', choices=DTYPES, default='fp32')
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--threads', type=int, help='CPU threads')
    parser.add_argument(
        '--default-malloc', action='store_true',
        help='leave the allocator as it is: then all pay for fresh pages')
    parser.add_argument(
        '--skip', nargs='+', default=[], metavar='NAME',
        help='contenders to leave out, such as "spikingjelly compiled"')
    parser.add_argument('--out', type=Path, help='write the figures as JSON')
    return parser.parse_args(args)


class _Spike(torch.autograd.Function):
    """A step's spike with its surrogate, as a step-by-step code has it."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx, grad):
        u, = ctx.saved_tensors
        return grad * build_surrogate().derivative(u)


def loop(x: Tensor, num_steps: int) -> Tensor:
    """The paper's neuron, one step after another."""
    v, spikes = 0., []
    for x_t in x.unflatten(0, (-1, num_steps)).unbind(1):
        h = v + (x_t - v) * 0.75
        s = _Spike.apply(h - 1)
        v = h * (1 - s.detach())
        spikes.append(s)
    return torch.stack(spikes, 1).flatten(0, 1)


def spikingjelly_node() -> Callable | None:
    """SpikingJelly's neuron on (S, B, N), or None where it is absent."""
    try:
        from spikingjelly.activation_based import neuron, surrogate
    except ImportError:
        return None
    node = neuron.LIFNode(
        tau=4 / 3, detach_reset=True, step_mode='m',
        surrogate_function=surrogate.ATan(alpha=2.0))

    def call(x: Tensor, num_steps: int) -> Tensor:
        node.reset()
        return node(x)

    return call


def ours(backend: str) -> Callable:
    """Our neuron on (B * S, N)."""
    neuron = LIFNeuron(backend=backend)
    return lambda x, num_steps: neuron(x, num_steps=num_steps)


def contenders(device: torch.device) -> dict[str, Callable]:
    """Functions of (x, S), by name."""
    compiles = device.type == 'cuda' or shutil.which('g++') is not None
    result = {'ours, torch': ours('torch'), 'ours, auto': ours('auto')}
    if compiles:
        result['ours, compiled'] = torch.compile(ours('torch'), dynamic=False)
    result['loop'] = loop
    node = spikingjelly_node()
    if node:
        result['spikingjelly'] = node
        if compiles:
            result['spikingjelly compiled'] = torch.compile(
                spikingjelly_node(), dynamic=False)
    return result


def kept(function: Callable, x: Tensor, S: int) -> float:
    """Bytes kept for backward, in units of the input's."""
    storages = {}

    def pack(z):
        storage = z.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return z

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda z: z):
        out = function(x, S)
    del out
    return sum(storages.values()) / x.nbytes


def clock(device: torch.device) -> tuple[float, float]:
    """CPU seconds and wall seconds, after what CUDA still has to do."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.process_time(), time.perf_counter()


def measure(S: int, args: argparse.Namespace) -> list[dict]:
    """Rows of the table for S steps."""
    device = torch.device(args.device)
    x = torch.randn(args.batch * S, args.neurons // args.batch,
                    device=device, dtype=DTYPES[args.dtype])
    y, grad = torch.empty_like(x), torch.randn_like(x)
    leaf = x.clone().requires_grad_()
    # SpikingJelly's layout is (S, B, N)
    swapped = leaf.detach().view(S, args.batch, -1).requires_grad_()
    calls, rows = dict(copy=lambda: y.copy_(x)), {}
    for name, function in contenders(device).items():
        if name in args.skip:
            continue
        z = swapped if name.startswith('spikingjelly') else leaf

        def forward(function=function, z=z):
            with torch.no_grad():
                function(z, S)

        def training(function=function, z=z):
            z.grad = None
            function(z, S).backward(grad.view(z.shape))

        calls[name, 'forward'] = forward
        calls[name, 'training'] = training
        for _ in range(3):  # compile, allocate
            forward()
            training()
        rows[name] = dict(contender=name, steps=S, kept=kept(function, z, S))
    times = {key: [] for key in calls}
    for _ in range(args.rounds):
        for key, call in calls.items():
            start = clock(device)
            for _ in range(args.repeat):
                call()
            times[key].append([(b - a) / args.repeat for a, b in zip(
                start, clock(device), strict=True)])
    which = 1 if device.type == 'cuda' else 0
    for (name, kind), values in list(times.items())[1:]:
        rows[name].update({
            kind: statistics.median(
                a[which] / b[which]
                for a, b in zip(values, times['copy'], strict=True)),
            f'{kind}_cpu_seconds': statistics.median(v[0] for v in values),
            f'{kind}_wall_seconds': statistics.median(v[1] for v in values)
        })
    copy = statistics.median(v[which] for v in times['copy'])
    for row in rows.values():
        # forward reads and writes, as a copy does; backward reads input
        # and gradient, and writes a gradient
        row.update(copy_seconds=copy, copy_gb_per_second=2 * x.nbytes / copy
                   / 1e9, forward_bandwidth=1 / row['forward'],
                   training_bandwidth=2.5 / row['training'])
    return list(rows.values())


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if not args.default_malloc:
        keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = []
    for S in args.steps:
        torch.compiler.reset()  # its versions of one function are limited
        rows += measure(S, args)
    print(f'{args.neurons} neurons, {args.dtype}, '
          f'{machine(torch.device(args.device).type)}; copy of S = '
          f'{args.steps[-1]}: {rows[-1]["copy_gb_per_second"]:.1f} GB/s\n')
    print_table(
        ['S', 'neuron', 'forward, copies', 'training, copies',
         'kept, inputs', "forward, % of copy's GB/s",
         "training, % of copy's GB/s"],
        [[row['steps'], row['contender'], f'{row["forward"]:.2f}',
          f'{row["training"]:.2f}', f'{row["kept"]:.2f}',
          f'{row["forward_bandwidth"]:.0%}',
          f'{row["training_bandwidth"]:.0%}'] for row in rows])
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        settings = {k: str(v) for k, v in vars(args).items()}
        args.out.write_text(
            json.dumps(dict(settings=settings, rows=rows), indent=2) + '\n')


if __name__ == '__main__':
    main()
