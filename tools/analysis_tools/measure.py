"""What the benchmarks share: models of a config, clips, time and memory."""
import copy
import ctypes
import platform
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from unittest import mock

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from respike_mmaction.apis.accelerate import fold_spiking
from respike_mmaction.models.neurons.neurons import BaseNeuron

BLOCK = 'respike_mmaction.models.layers.spiking_block'
RECOMPUTE = f'{BLOCK}.recompute'


class ReLU(nn.Module):
    """In the place of a neuron: the floor that no neuron can go below."""

    def forward(self, x, v=None, num_steps=1, return_v=False):
        return F.relu(x)


def load_model_config(path, **overrides):
    """Model config without weights to load, with overrides at its top."""
    model = Config.fromfile(path).model
    model = copy.deepcopy(model.to_dict())
    for part in ('backbone', 'key_backbone'):
        if 'pretrained' in model.get(part, {}):
            model[part]['pretrained'] = None
    model.update({k: v for k, v in overrides.items() if v is not None})
    return model


def build(model, device='cpu'):
    """Model of a config, with random weights of a fixed seed."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmaction'):
        return MODELS.build(copy.deepcopy(model)).to(device)


def to_floor(model):
    """Replace every neuron by a ReLU."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BaseNeuron):
                setattr(parent, name, ReLU())
    return model


@contextmanager
def kept_activations():
    """Nothing is computed again in backward, as usual for a ReLU network."""
    with mock.patch(RECOMPUTE, lambda function, *args, **kw: function(*args)):
        yield


class Variant:
    """A model under a name, and how one forward or training step runs.

    Args:
        name (str): Its name in tables.
        model (nn.Module): Takes frames (N, T, C, H, W), gives logits.
        context (Callable): Makes the context that its steps run in.
        amp (str, optional): ``'fp16'`` or ``'bf16'`` autocast.
        dtype (torch.dtype, optional): That the frames are given in.
    """

    def __init__(self, name, model, context=nullcontext, amp=None,
                 dtype=None):
        self.name = name
        self.dtype = dtype
        self.model = model
        self.context = context
        self.amp = dict(fp16=torch.float16, bf16=torch.bfloat16).get(amp)

    def _logits(self, x):
        with torch.autocast(x.device.type, self.amp,
                            enabled=self.amp is not None):
            return self.model(x if self.dtype is None else x.to(self.dtype))

    def forward(self, x):
        self.model.eval()
        with self.context(), torch.no_grad():
            self._logits(x)

    def train(self, x):
        self.model.train()
        with self.context():
            logits = self._logits(x)
            labels = torch.zeros(len(logits), dtype=torch.long,
                                 device=x.device)
            F.cross_entropy(logits.float(), labels).backward()
        self.model.zero_grad(set_to_none=True)

    def step(self, kind, x):
        getattr(self, kind)(x)


class Logits(nn.Module):
    """Recognizer as a function from frames to logits."""

    def __init__(self, recognizer):
        super().__init__()
        self.recognizer = recognizer

    def forward(self, x):
        return self.recognizer.extract_feat(x, stage='head')[0]


class SpikingBranch(nn.Module):
    """The spiking branch of a recognizer alone, without fusion."""

    def __init__(self, recognizer):
        super().__init__()
        self.recognizer = recognizer

    def forward(self, x):
        _, residuals = self.recognizer.split(x)
        return self.recognizer.residual_steps(
            residuals.flatten(0, 1), None).mean((2, 3))


class _Quantised(nn.Module):
    """A quantised stage in the place of a :class:`SpikingStage`."""

    num_states = 0

    def __init__(self, stage):
        super().__init__()
        self.stage = stage

    def forward(self, x, norm=None, **kwargs):
        return self.stage(x)


@torch.no_grad()
def quantised_floor(floor, x):
    """The ReLU twin after PyTorch's own post-training quantisation.

    Both branches in eight bits with the ranges of these frames, every
    convolution with its ReLU; the fusion between the stages, whose layer
    norms and softmax have no such kernels, stays in float32.

    Args:
        floor (nn.Module): Recognizer without spikes, in eval mode.
        x (Tensor): Frames to calibrate with.

    Returns:
        nn.Module: A copy.
    """
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
    twin = copy.deepcopy(floor).eval()
    mapping = get_default_qconfig_mapping('x86')
    fold_spiking(twin.backbone)
    names = [f'layer{i}' for i in range(1, 5)]
    with mock.patch(f'{BLOCK}._keep_or_recompute',
                    lambda function, *args: function(*args)):
        for name in names:
            stage = prepare_fx(nn.Sequential(getattr(twin.backbone, name)),
                               mapping, (x, ))
            setattr(twin.backbone, name, _Quantised(stage))
    twin.key_backbone = prepare_fx(twin.key_backbone, mapping, (x, ))
    Logits(twin)(x)
    for name in names:
        setattr(twin.backbone, name, _Quantised(
            convert_fx(getattr(twin.backbone, name).stage)))
    twin.key_backbone = convert_fx(twin.key_backbone)
    return twin


class StageTimes:
    """CPU seconds of the parts of a recognizer, collected while it runs.

    Args:
        recognizer (nn.Module): A :class:`ReSpikeRecognizer` or its twin; an
            accelerated one runs its stem in stage 1.
    """

    def __init__(self, recognizer):
        self.seconds = {}
        parts = {'key branch': recognizer.key_backbone,
                 'stem': recognizer.backbone.conv1}
        for i in range(1, 5):
            parts[f'stage {i}'] = getattr(recognizer.backbone, f'layer{i}')
        for stage, fusion in recognizer.cls_head.fusions.items():
            parts[f'fusion {stage[-1]}'] = fusion
        if isinstance(parts['stem'], nn.Identity):  # accelerated
            del parts['stem']
        for name, part in parts.items():
            part.register_forward_pre_hook(
                lambda *_, name=name: self._begin(name))
            part.register_forward_hook(lambda *_, name=name: self._end(name))

    def _begin(self, name):
        self._began = time.process_time()

    def _end(self, name):
        self.seconds.setdefault(name, []).append(
            time.process_time() - self._began)

    def medians(self):
        """Of each part, in the order they ran."""
        return {name: statistics.median(times)
                for name, times in self.seconds.items()}


def clips(batch_size, num_frames, size, device='cpu'):
    """Normalised frames that move a little, (N, T, 3, H, W)."""
    torch.manual_seed(1)
    x = torch.randn(batch_size, num_frames, 3, size, size)
    x[:, 1:] *= 0.5
    return x.cumsum(1).to(device)


def _synchronize(x):
    if x.is_cuda:
        torch.cuda.synchronize()


def interleaved(variants, kind, x, rounds, warmup=1):
    """Median CPU and wall seconds of each variant, measured in turn."""
    for variant in variants:
        for _ in range(warmup):
            variant.step(kind, x)
    times = {variant.name: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            _synchronize(x)
            cpu, wall = time.process_time(), time.perf_counter()
            variant.step(kind, x)
            _synchronize(x)
            times[variant.name].append((time.process_time() - cpu,
                                        time.perf_counter() - wall))
    return {
        name: dict(
            cpu_s=statistics.median(t[0] for t in pairs),
            wall_s=statistics.median(t[1] for t in pairs),
            clips_per_s=len(x) / statistics.median(t[1] for t in pairs))
        for name, pairs in times.items()
    }


def peak_live_bytes(variant, kind, x):
    """Most bytes of tensors alive at once above the resting model's.

    On a CPU from the allocations that the profiler records, on a GPU from
    its allocator.
    """
    variant.step(kind, x)
    if x.is_cuda:
        torch.cuda.synchronize()
        rest = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        variant.step(kind, x)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - rest
    with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU],
            profile_memory=True) as profile:
        variant.step(kind, x)
    live = peak = 0
    events = [e for e in profile.profiler.kineto_results.events()
              if e.name() == '[memory]']
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def keep_freed_memory():
    """Let malloc keep what is freed, where it is glibc's.

    A page that is mapped anew costs more time than a neuron spends on it,
    and which network meets how many is a matter of luck.
    """
    if platform.libc_ver()[0] == 'glibc':
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX
        libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD


def rss_in_fresh_process(args):
    """Peak resident bytes of this script run anew with other arguments."""
    out = subprocess.run([sys.executable, sys.argv[0], *args], check=True,
                         capture_output=True, text=True).stdout
    return int(out.strip().splitlines()[-1])


def machine(device):
    """What the figures were measured on."""
    if device == 'cuda':
        return f'{torch.cuda.get_device_name()}, PyTorch {torch.__version__}'
    return (f'{platform.machine()} CPU, {torch.get_num_threads()} threads, '
            f'PyTorch {torch.__version__}')


def markdown(header, rows):
    """Markdown table with columns aligned."""
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ['-' * w for w in widths])
    return '\n'.join('| ' + ' | '.join(
        c.ljust(w) for c, w in zip(row, widths, strict=True)) + ' |'
        for row in cells)


def print_table(header, rows):
    """Print :func:`markdown`."""
    print(markdown(header, rows))
