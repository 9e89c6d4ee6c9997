"""Whether weights fit a network: the one comparison of state dicts."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

_COUNTER = 'num_batches_tracked'  # weights of PyTorch < 0.4.1 lack it
_SHOWN = 5


@dataclass(frozen=True)
class Differences:
    """What keeps weights from fitting a network; false if nothing does.

    Args:
        missing (list[str]): Names that the weights lack.
        unknown (list[str]): Names that the network lacks.
        shapes (dict[str, str]): Names of another shape, and both shapes.
        not_finite (list[str]): Names with a NaN or an infinite value.
    """

    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    shapes: dict[str, str] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        kinds = (('missing', self.missing), ('unknown', self.unknown),
                 ('of another shape',
                  [f'{name} {what}' for name, what in self.shapes.items()]),
                 ('not finite', self.not_finite))
        return '; '.join(
            f'{len(found)} {kind}: ' + ', '.join(found[:_SHOWN]) +
            (' ...' if len(found) > _SHOWN else '')
            for kind, found in kinds if found)


def compare(stored: Mapping[str, Any],
            expected: Mapping[str, Tensor]) -> Differences:
    """Compare weights with those of a network.

    Args:
        stored (Mapping): Names and tensors, as a file gives them.
        expected (Mapping): The ``state_dict`` of the network, by the same
            names; on any device.

    Returns:
        Differences: In the order of names. A counter of batches may be
        missing.
    """
    def shape(value: Any) -> tuple[int, ...] | str:
        return (tuple(value.shape) if isinstance(value, Tensor) else
                type(value).__name__)

    both = sorted(stored.keys() & expected.keys())
    shapes = {
        name: f'{shape(stored[name])} instead of {shape(expected[name])}'
        for name in both if shape(stored[name]) != shape(expected[name])
    }
    return Differences(
        missing=sorted(name for name in expected.keys() - stored.keys()
                       if not name.endswith(_COUNTER)),
        unknown=sorted(stored.keys() - expected.keys()),
        shapes=shapes,
        not_finite=[name for name in both if name not in shapes
                    and not stored[name].is_meta
                    and not torch.isfinite(stored[name]).all()])


class RefusesUnfitWeights(nn.Module):
    """A network that refuses weights which do not fit, naming them.

    MMEngine's ``load_checkpoint`` loads what fits and only logs the rest, so
    a test or an inference would run on the random numbers that a network is
    made of. A network whose ``init_weights`` was never called has nothing
    else, and all of its weights must come from the file. Training calls
    ``init_weights`` before it loads: there, weights may be loaded in part.
    Values that are not finite are refused in both.
    ``load_state_dict(..., strict=False)`` of the network itself stays what
    it is in PyTorch: the caller's choice.
    """

    is_init: bool
    _choice_of_caller = False

    def load_state_dict(self, state_dict: Mapping[str, Any],
                        strict: bool = True, assign: bool = False) -> Any:
        """As in PyTorch, which tells no module whether it is strict."""
        parts = [module for module in self.modules()
                 if isinstance(module, RefusesUnfitWeights)]
        for part in parts:
            part._choice_of_caller = not strict
        try:
            return super().load_state_dict(state_dict, strict, assign)
        finally:
            for part in parts:
                del part._choice_of_caller

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str,
                              local_metadata: dict, strict: bool,
                              missing_keys: list[str],
                              unexpected_keys: list[str],
                              error_msgs: list[str]) -> None:
        """Compare first; called by MMEngine and PyTorch for every module."""
        if not self._choice_of_caller:
            self._refuse(prefix, compare(
                {name: value for name, value in state_dict.items()
                 if name.startswith(prefix)},
                {prefix + name: value
                 for name, value in self.state_dict().items()}))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys,
            unexpected_keys, error_msgs)

    def _refuse(self, prefix: str, found: Differences) -> None:
        if self.is_init:
            found = Differences(not_finite=found.not_finite)
        if found:
            place = f' ({prefix[:-1]})' if prefix else ''
            raise ValueError(
                f'the weights do not fit {type(self).__name__}{place}: '
                f'{found}. Weights may be loaded in part where a training '
                'starts (load_from, NewClassifierHook), after init_weights(), '
                'or by load_state_dict(..., strict=False)')
