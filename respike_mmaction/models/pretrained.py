"""A strict check of the weights a key-frame backbone starts from."""
import re

from mmengine.runner.checkpoint import _load_checkpoint
from torch import nn

from ..state_dict import compare

__all__ = ['check_pretrained']

# Parts of an image classifier that a backbone does not have.
_CLASSIFIERS = ('fc.', 'classifier.', 'head.')


def _torchvision_name(name: str) -> str:
    """Name in torchvision's ResNet of a weight of MMAction2's ResNet."""
    name = name.replace('.net.', '.')  # TemporalShift wraps convolutions
    name = re.sub(r'downsample\.conv\.', 'downsample.0.', name)
    name = re.sub(r'downsample\.bn\.', 'downsample.1.', name)
    name = re.sub(r'conv(\d)\.conv\.', r'conv\1.', name)
    return re.sub(r'conv(\d)\.bn\.', r'bn\1.', name)


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
    stored = _load_checkpoint(path, map_location='cpu')
    stored = stored.get('state_dict', stored)
    rename = (_torchvision_name
              if getattr(backbone, 'torchvision_pretrain', False) else str)
    expected = {rename(name): value
                for name, value in backbone.state_dict().items()}
    stored = {re.sub(r'^module\.', '', name): value
              for name, value in stored.items()}
    found = compare(
        {name: value for name, value in stored.items()
         if name in expected or not name.startswith(_CLASSIFIERS)}, expected)
    if found:
        raise ValueError(f'the pretrained weights {path} do not fit '
                         f'{type(backbone).__name__}: {found}')
