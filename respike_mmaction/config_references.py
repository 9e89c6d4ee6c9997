"""References between the values of a config: ``stride='${clip.stride}'``.

Why this exists: a clip's stride, length and size belong to the model and to
the pipelines of training, validation and test. A Python variable or
``{{_base_.x}}`` of MMEngine is replaced while its own file is read, so a
child config or ``--cfg-options`` that changes the variable changes nothing
else, and each value has to be typed again at every place.

With this module a text in a config may hold references (OmegaConf's syntax)::

    clip = dict(num_frames=16, stride=4)
    model = dict(stride='${clip.stride}', num_frames='${clip.num_frames}')
    ann_file = '${data_root}train.txt'

They are replaced by values once all files of a config are merged, and again
by ``Config.merge_from_dict`` (``--cfg-options clip.stride=2``): a replaced
value remembers its text. A value typed in its place is an ordinary one. What
``Config.dump`` writes holds the references again. A config without references
is not touched.

MMEngine imports the plugin (``custom_imports``) after it has read the files
of a config and before it makes the :class:`Config`, so :func:`install` comes
in time.
"""
import copy
import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from mmengine.config import Config, ConfigDict

__all__ = ['install', 'leaves', 'outdated']

_LONGEST = 4096  # characters: texts of texts could grow without end
REFERENCE = re.compile(r'\$\{([a-z_]\w*(?:\.\w+)*)\}')


class Linked:
    """A number or text that remembers how it was written in the config.

    Equal to the plain value, and pickled as one.
    """

    plain: type  # int, float or str
    template: str

    def __deepcopy__(self, memo: dict) -> 'Linked':
        return self

    def __reduce__(self) -> tuple:
        return self.plain, (self.plain(self), )


LINKED = {
    plain: type(f'Linked{plain.__name__.title()}', (Linked, plain),
                dict(plain=plain))
    for plain in (int, float, str)
}


def _template(value: Any) -> str | None:
    """The text with references that a value is or comes from, if any."""
    if isinstance(value, Linked):
        return value.template
    if isinstance(value, str) and REFERENCE.search(value):
        return value
    return None


def _look_up(name: str, config: dict, seen: tuple[str, ...],
             known: dict[str, Any]) -> Any:
    """The plain value of a dotted name; the known ones are kept."""
    if name in known:
        return known[name]
    if name in seen:
        raise ValueError(
            f"'${{{name}}}' refers to itself: {' -> '.join((*seen, name))}")
    value: Any = config
    for key in name.split('.'):
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f"'${{{name}}}' names nothing: there is no "
                             f'{key!r}')
        value = value[key]
    template = _template(value)
    if template is not None:
        value = _resolve(template, config, known, (*seen, name))
    if isinstance(value, Linked):
        value = value.plain(value)
    if type(value) not in LINKED:
        raise ValueError(f"'${{{name}}}' names {value!r}: a reference takes "
                         'a number or a text')
    known[name] = value
    return value


def _resolve(template: str, config: dict, known: dict[str, Any],
             seen: tuple[str, ...] = ()) -> Any:
    """The value of a text with references, linked to it."""
    whole = REFERENCE.fullmatch(template)
    value = (
        _look_up(whole[1], config, seen, known) if whole else REFERENCE.sub(
            lambda match: str(_look_up(match[1], config, seen, known)),
            template))
    if isinstance(value, str) and len(value) > _LONGEST:
        raise ValueError(f'{template[:60]!r} gives {len(value)} characters, '
                         f'allowed are {_LONGEST}')
    linked = LINKED[type(value)](value)
    linked.template = template
    return linked


def _replace(node: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to every value; dicts stay the same objects."""
    if isinstance(node, dict):
        for key, value in dict.items(node):
            dict.__setitem__(node, key, _replace(value, function))
        return node
    if isinstance(node, list | tuple):
        return type(node)(_replace(value, function) for value in node)
    return function(node)


def leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Every value of a config and its path.

    Args:
        node (dict): The config.
        path (str): What comes before. Defaults to nothing.

    Yields:
        tuple: ``'train_dataloader.dataset.pipeline[7].stride'`` and 4, say.
    """
    if isinstance(node, dict):
        for key, value in dict.items(node):
            yield from leaves(value, f'{path}.{key}' if path else str(key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from leaves(value, f'{path}[{i}]')
    else:
        yield path, node


def _link(config: Config) -> None:
    """Replace the references of a config by values."""
    values = config._cfg_dict
    known: dict[str, Any] = {}

    def linked(value: Any) -> Any:
        template = _template(value)
        return (value if template is None else
                _resolve(template, values, known))

    if any(_template(value) for _, value in leaves(values)):
        try:
            _replace(values, linked)
        except ValueError as error:
            raise ValueError(
                f'{config.filename or "the config"}: {error}') from None


def outdated(config: Config) -> Iterator[tuple[str, Any]]:
    """Values whose source was changed without ``merge_from_dict``.

    Args:
        config (Config): The config, after changes such as
            ``config.clip.stride = 2``.

    Yields:
        tuple[str, Linked]: Path and value.
    """
    known: dict[str, Any] = {}
    for path, value in leaves(config._cfg_dict):
        if isinstance(value, Linked):
            try:
                if _resolve(value.template, config._cfg_dict,
                            known) == value:
                    continue
            except ValueError:  # the source is gone
                pass
            yield path, value


def _written(config: Config) -> Config:
    """A copy of a config in which values are references where they hold."""
    old = {value.template for _, value in outdated(config)}

    def text(value: Any) -> Any:
        holds = isinstance(value, Linked) and value.template not in old
        return value.template if holds else value

    written = copy.copy(config)
    object.__setattr__(written, '_cfg_dict',
                       ConfigDict(_replace(config.to_dict(), text)))
    return written


def install() -> None:
    """Let every :class:`Config` made from now on replace its references."""
    if hasattr(Config, '_replaces_references'):
        return
    Config._replaces_references = True

    def linking(upstream: Callable) -> Callable:

        @wraps(upstream)
        def method(self: Config, *args, **kwargs) -> None:
            upstream(self, *args, **kwargs)
            _link(self)

        return method

    pretty_text = Config.pretty_text.fget
    Config.__init__ = linking(Config.__init__)
    Config.merge_from_dict = linking(Config.merge_from_dict)
    Config.pretty_text = property(
        lambda self: pretty_text(_written(self)), doc=pretty_text.__doc__)
