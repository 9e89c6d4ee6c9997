"""Key-frame backbones of MMAction2, timm and torchvision."""
from importlib import import_module
from typing import Any

from mmaction.registry import MODELS
from torch import Tensor, nn

PACKAGES = ('timm', 'torchvision')
# torchvision's ResNets; other networks need ``return_nodes``
STAGES = ('layer1', 'layer2', 'layer3', 'layer4')


class TorchvisionMaps(nn.Module):
    """A torchvision network that returns four maps as a tuple."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of the nodes asked for, (B, C', h, w) each."""
        return tuple(self.body(x).values())


def package_of(kind: Any) -> str | None:
    """The package that a ``type`` names, None for a registered model.

    Args:
        kind (str | type): Such as ``'timm.resnet18'``, as MMAction2's own
            recognizers take it.

    Returns:
        str, optional: ``'timm'`` or ``'torchvision'``.
    """
    name = kind.partition('.')[0] if isinstance(kind, str) else None
    return name if name in PACKAGES else None


def build_key_backbone(cfg: dict) -> nn.Module:
    """Build the network that reads the key frames.

    Args:
        cfg (dict): A registered backbone; or ``type='timm.NAME'`` with
            arguments of ``timm.create_model``, whose last four maps are
            taken; or ``type='torchvision.NAME'`` with arguments of that
            function and ``return_nodes``, the four nodes whose outputs are
            taken (by default those of a ResNet).

    Returns:
        nn.Module: A network from (B, 3, H, W) to a sequence of four maps.

    Raises:
        ImportError: If the package is not installed or does not load.
        ValueError: If the package has no such network, or no such nodes.
    """
    package = package_of(cfg['type'])
    if package is None:
        return MODELS.build(cfg)
    options = dict(cfg)
    kind = options.pop('type')
    name = kind.partition('.')[2]
    try:
        module = import_module(
            'timm' if package == 'timm' else 'torchvision.models')
    except (ImportError, RuntimeError) as error:  # operators that are absent
        raise ImportError(f'key_backbone of type {kind!r} needs {package}, '
                          f'which does not load here: {error}') from error
    build = _of_timm if package == 'timm' else _of_torchvision
    try:
        return build(module, name, options)
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f'key_backbone of type {kind!r} cannot be built '
                         f'with {options}: {error}') from error


def _of_timm(timm: Any, name: str, options: dict) -> nn.Module:
    options = dict(dict(out_indices=(-4, -3, -2, -1)), **options)
    return timm.create_model(name, features_only=True, **options)


def _of_torchvision(models: Any, name: str, options: dict) -> nn.Module:
    extraction = import_module('torchvision.models.feature_extraction')
    options = dict(options)
    nodes = options.pop('return_nodes', STAGES)
    network = getattr(models, name)(**options)
    return TorchvisionMaps(
        extraction.create_feature_extractor(network, list(nodes)))
