"""Weights of an image network that a branch starts from."""
import re

import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import _load_checkpoint
from torch import Tensor, nn

from ..state_dict import compare

_FIRST_SHORTCUT = 'layer1.0.downsample.1.weight'

# Parts of an image classifier that a backbone does not have.
_CLASSIFIERS = ('fc.', 'classifier.', 'head.')


def _torchvision_name(name: str) -> str:
    """Name in torchvision's ResNet of a weight of MMAction2's ResNet."""
    name = name.replace('.net.', '.')  # TemporalShift wraps convolutions
    name = re.sub(r'downsample\.conv\.', 'downsample.0.', name)
    name = re.sub(r'downsample\.bn\.', 'downsample.1.', name)
    name = re.sub(r'conv(\d)\.conv\.', r'conv\1.', name)
    return re.sub(r'conv(\d)\.bn\.', r'bn\1.', name)


def _stored(path: str) -> dict[str, Tensor]:
    stored = _load_checkpoint(path, map_location='cpu')
    stored = stored.get('state_dict', stored)
    return {re.sub(r'^module\.', '', name): value
            for name, value in stored.items()}


def load_convolutions(network: nn.Module, path: str) -> None:
    """Start a spiking ResNet from the convolutions of an ordinary one.

    The blocks' convolutions and shortcuts have the same shapes; the stem's
    7x7 filters shrink to 3x3 by averaging, and the shortcut of the first
    block, which an ordinary ResNet has not, starts as the identity. BatchNorm
    stays as it was: it sets the scale of what neurons with a threshold read,
    which an ordinary ResNet has not either.

    Args:
        network (nn.Module): A ``SpikingResNet``.
        path (str): File or URL of weights in torchvision's layout.

    Raises:
        ValueError: If a convolution is missing in the file, has another
            shape or is not finite.
    """
    stored = _stored(path)
    weights = {name.replace('.downsample.0.', '.downsample.1.'): value
               for name, value in stored.items() if value.ndim == 4}
    expected = {name: value for name, value in network.state_dict().items()
                if value.ndim == 4}
    if 'conv1.weight' in weights:
        weights['conv1.weight'] = F.adaptive_avg_pool2d(
            weights['conv1.weight'].float(), 3)
    identity = torch.zeros_like(expected[_FIRST_SHORTCUT])
    weights[_FIRST_SHORTCUT] = nn.init.dirac_(identity)
    weights = {name: weights[name] for name in expected if name in weights}
    found = compare(weights, expected)
    if found:
        raise ValueError(f'the pretrained weights {path} do not fit the '
                         f'convolutions of {type(network).__name__}: {found}')
    with torch.no_grad():
        for name, value in expected.items():
            value.copy_(weights[name])  # shares the parameter's memory


def check_pretrained(backbone: nn.Module) -> None:
    """Refuse pretrained weights that do not fit a backbone.

    To be called before ``init_weights``: MMAction2 leaves a weight of another
    shape or name as it was initialised and says so, if at all, in one line of
    the log. Does nothing for a backbone without ``pretrained``.

    Args:
        backbone (nn.Module): The backbone; ``backbone.pretrained`` names a
            file or a URL, in torchvision's layout if
            ``backbone.torchvision_pretrain`` is true.

    Raises:
        ValueError: If a weight of the backbone is missing in the file, is
            unknown to the backbone (other than the classifier), has
            another shape or is not finite; all of them are counted, some
            named.
    """
    path = getattr(backbone, 'pretrained', None)
    if not path:
        return
    stored = _stored(path)
    rename = (_torchvision_name
              if getattr(backbone, 'torchvision_pretrain', False) else str)
    expected = {rename(name): value
                for name, value in backbone.state_dict().items()}
    found = compare(
        {name: value for name, value in stored.items()
         if name in expected or not name.startswith(_CLASSIFIERS)}, expected)
    if found:
        raise ValueError(f'the pretrained weights {path} do not fit '
                         f'{type(backbone).__name__}: {found}')
