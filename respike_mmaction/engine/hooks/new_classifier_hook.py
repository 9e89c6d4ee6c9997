"""Fine-tuning on a data set with other classes."""
import re
from dataclasses import replace

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...state_dict import compare
from ..unwrapped import model_of


@HOOKS.register_module()
class NewClassifierHook(Hook):
    """Load all of a checkpoint but the classifier, and say so.

    ``load_from`` of MMEngine loads what fits and warns about the rest, so a
    checkpoint of another model is loaded in part, too. Here the classifier
    alone may differ, in the number of classes; it is then left as
    initialised. Anything else that differs is an error.

    Args:
        classifier (str): Name of the layer. Defaults to ``'cls_head.fc_cls'``.
    """

    priority = 'HIGH'  # before EMAHook, which loads the same weights

    def __init__(self, classifier: str = 'cls_head.fc_cls') -> None:
        self.classifier = classifier

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare a checkpoint with the model before it is loaded.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What the file holds, weights alone or under
                ``'state_dict'``; an unfit classifier in it is replaced.

        Raises:
            ValueError: If anything but the classifier differs, or there is
                no classifier.
        """
        weights = checkpoint.get('state_dict', checkpoint)
        keys = {re.sub(r'^module\.', '', name): name for name in weights}
        stored = {name: weights[key] for name, key in keys.items()}
        expected = model_of(runner).state_dict()
        source = f'the checkpoint {runner._load_from}'
        layer = f'{self.classifier}.weight'
        for names, owner in ((expected, 'the model'), (stored, source)):
            if layer not in names:
                raise ValueError(f'{owner} has no weights {layer!r}; '
                                 'classifier names the last layer of the '
                                 'model')

        found = compare(stored, expected)
        anew = {name for name in found.shapes
                if name.startswith(f'{self.classifier}.')}
        other = replace(found, shapes={
            name: what for name, what in found.shapes.items()
            if name not in anew})
        if other:
            raise ValueError(f'{source} differs from the model in more than '
                             f'{self.classifier}: {other}')
        for name in anew:
            weights[keys[name]] = expected[name].detach().clone()
        if anew:
            runner.logger.info(
                f'{self.classifier} is made anew: {len(expected[layer])} '
                f'classes, the checkpoint has {len(stored[layer])}')
