"""Fine-tuning on a data set with other classes."""
import re

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

__all__ = ['NewClassifierHook']


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
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        weights = checkpoint.get('state_dict', checkpoint)
        stored = {re.sub(r'^module\.', '', name): (name, value.shape)
                  for name, value in weights.items()
                  if hasattr(value, 'shape')}
        expected = {name: value.shape
                    for name, value in model.state_dict().items()}
        source = f'the checkpoint {runner._load_from}'
        layer = f'{self.classifier}.weight'
        for names, owner in ((expected, 'the model'), (stored, source)):
            if layer not in names:
                raise ValueError(f'{owner} has no weights {layer!r}; '
                                 'classifier names the last layer of the '
                                 'model')

        different = [
            name for name in {**stored, **expected}
            if name not in stored or stored[name][1] != expected.get(name)
        ]
        other = sorted(name for name in different
                       if not name.startswith(f'{self.classifier}.')
                       or name not in stored or name not in expected)
        if other:
            raise ValueError(
                f'{source} differs from the model '
                f'in more than {self.classifier}: {len(other)} weights are '
                'missing, unknown or of another shape, among them '
                f'{", ".join(other[:5])}')
        if different:
            for name in different:
                key = stored[name][0]
                weights[key] = model.state_dict()[name].detach().clone()
            runner.logger.info(
                f'{self.classifier} is made anew: {expected[layer][0]} '
                f'classes, the checkpoint has {stored[layer][1][0]}')
