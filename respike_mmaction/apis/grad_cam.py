"""Grad-CAM of the key branch and of the spiking branch."""
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .stream import StreamingRecognizer


def grad_cam(model: Any, frames: Tensor,
             label: int | None = None) -> list[dict[int, np.ndarray]]:
    """Where the evidence for a class is, in every frame and stage.

    Grad-CAM (arXiv 1610.02391) of the maps A of a stage of the key branch
    for key frames, of the spiking branch before fusion for residual frames,

        relu(sum over c of A_c * mean over positions of d logit / d A_c),

    with the surrogate gradients of training through the spikes. MMAction2's
    own ``GradCAM`` hooks one layer of a Recognizer2D or 3D; this one needs
    the split into branches.

    Args:
        model (ReSpikeRecognizer): In eval mode, not accelerated.
        frames (Tensor): (1, T, C, H, W) uint8.
        label (int, optional): The class. Defaults to None, the answer.

    Returns:
        list[dict[int, np.ndarray]]: For each of the four stages the map
        (h, w) of every frame by its number.

    Raises:
        ValueError: If a stream does not fit the network, see
            :class:`StreamingRecognizer`, or there is no such class.
    """
    groups = frames[0].unflatten(0, (model.num_groups, model.stride))
    key, residuals = StreamingRecognizer(model).normalised(groups)
    number = model.cls_head.num_classes
    if label is not None and not 0 <= label < number:
        raise ValueError(f'label={label} is not allowed: classes are 0 to '
                         f'{number - 1}')
    spiking: list[Tensor] = []
    with torch.enable_grad():
        keys = model.key_maps(key.requires_grad_())
        fuse = model.cls_head.fuse_with(key_maps=keys)

        def keep(stage: int, feature: Tensor) -> Tensor:
            spiking.append(feature)
            return fuse(stage, feature)

        last = model.residual_steps(residuals.requires_grad_(), keep)
        logits = model.cls_head((keys[-1], last), num_groups=len(key))[0]
        chosen = logits[logits.argmax() if label is None else label]
        maps = [*keys, *spiking]
        gradients = torch.autograd.grad(chosen, maps)
    cams = [_cam(*pair) for pair in zip(maps, gradients, strict=True)]
    steps = np.arange(model.num_frames) % model.stride
    return [
        {int(t): cam for numbers, found in (
            (np.flatnonzero(steps == 0), key_cams),
            (np.flatnonzero(steps), spiking_cams))
         for t, cam in zip(numbers, found, strict=True)}
        for key_cams, spiking_cams in zip(
            cams[:len(keys)], cams[len(keys):], strict=True)]


@torch.no_grad()
def _cam(activations: Tensor, gradients: Tensor) -> np.ndarray:
    weights = gradients.mean((2, 3), keepdim=True)
    return (weights * activations).sum(1).relu().cpu().numpy()
