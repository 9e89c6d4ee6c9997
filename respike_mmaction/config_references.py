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
by ``Config.merge_from_dict`` (``--cfg-options clip.stride=2``). The config
remembers the text of each; a value typed in its place is an ordinary one.
What ``Config.dump`` writes to a ``.py`` file holds the references again. A
config without references is not touched.

MMEngine imports the plugin (``custom_imports``) after it has read the files
of a config and before it makes the :class:`Config`, so :func:`install` comes
in time.
"""
import copy
import re
from collections.abc import Iterator
from functools import wraps
from typing import Any

from mmengine.config import Config, ConfigDict

_LONGEST = 4096  # characters: texts of texts could grow without end
REFERENCE = re.compile(r'\$\{([a-z_]\w*(?:\.\w+)*)\}')


class _Resolver:
    """Looks names up in a config, each once.

    Args:
        values (dict): The config, its references as texts or as values.
    """

    def __init__(self, values: dict) -> None:
        self.values = values
        self.known: dict[str, Any] = {}

    def resolve(self, text: Any, seen: tuple[str, ...] = ()) -> Any:
        """A text with its references replaced; anything else as it is."""
        if not isinstance(text, str):
            return text
        whole = REFERENCE.fullmatch(text)
        value = self._look_up(whole[1], seen) if whole else REFERENCE.sub(
            lambda match: str(self._look_up(match[1], seen)), text)
        if isinstance(value, str) and value != text and \
                len(value) > _LONGEST:
            raise ValueError(f'{text[:60]!r} gives {len(value)} characters, '
                             f'allowed are {_LONGEST}')
        return value

    def _look_up(self, name: str, seen: tuple[str, ...]) -> Any:
        """The value of a dotted name."""
        if name in self.known:
            return self.known[name]
        if name in seen:
            raise ValueError(f"'${{{name}}}' refers to itself: "
                             f"{' -> '.join((*seen, name))}")
        value: Any = self.values
        for key in name.split('.'):
            if not isinstance(value, dict) or key not in value:
                raise ValueError(f"'${{{name}}}' names nothing: there is no "
                                 f'{key!r}')
            value = value[key]
        if type(value) not in (int, float, str):
            raise ValueError(f"'${{{name}}}' names {value!r}: a reference "
                             'takes a number or a text')
        self.known[name] = self.resolve(value, (*seen, name))
        return self.known[name]


def _leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Path (``'model.stride'``, ``'pipeline[7].stride'``) and value of all."""
    if isinstance(node, dict):
        for key, value in dict.items(node):
            yield from _leaves(value, f'{path}.{key}' if path else str(key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _leaves(value, f'{path}[{i}]')
    else:
        yield path, node


def _replace(node: Any, new: dict[str, Any], path: str = '') -> Any:
    """Put other values at some paths; dicts stay the same objects."""
    if isinstance(node, dict):
        for key, value in dict.items(node):
            dict.__setitem__(node, key, _replace(
                value, new, f'{path}.{key}' if path else str(key)))
        return node
    if isinstance(node, list | tuple):
        return type(node)(
            _replace(value, new, f'{path}[{i}]')
            for i, value in enumerate(node))
    return new.get(path, node)


# A config and its links, {path: (text, value)} -------------------------------


def _links(config: Config) -> dict[str, tuple[str, Any]]:
    """The texts that values of a config come from, where none was typed."""
    links = config.__dict__.get('_links', {})
    return {
        path: links[path] for path, value in _leaves(config._cfg_dict)
        if path in links and links[path][1] == value
    } if links else {}


def _link(config: Config) -> None:
    """Replace the references of a config by values, and remember them."""
    values = config._cfg_dict
    resolve = _Resolver(values).resolve
    try:
        links = {
            path: (text, resolve(text))
            for path, text in _leaves(values)
            if isinstance(text, str) and REFERENCE.search(text)
        }
    except ValueError as error:
        raise ValueError(
            f'{config.filename or "the config"}: {error}') from None
    if links:
        _replace(values, {path: value for path, (_, value) in links.items()})
    object.__setattr__(config, '_links', links)


def outdated(config: Config) -> Iterator[tuple[str, str, Any]]:
    """Values whose source was changed without ``merge_from_dict``.

    Args:
        config (Config): The config, after ``config.clip.stride = 2``, say.

    Yields:
        tuple: Path, text with references, and value.
    """
    resolve = _Resolver(config._cfg_dict).resolve
    for path, (text, value) in _links(config).items():
        try:
            if resolve(text) == value:
                continue
        except ValueError:  # the source is gone
            pass
        yield path, text, value


def install() -> None:
    """Let every :class:`Config` made from now on replace its references."""
    if hasattr(Config, '_replaces_references'):
        return
    Config._replaces_references = True
    init, merge = Config.__init__, Config.merge_from_dict
    pretty_text = Config.pretty_text.fget

    @wraps(init)
    def linked_init(self: Config, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        _link(self)

    @wraps(merge)
    def linked_merge(self: Config, *args: Any, **kwargs: Any) -> None:
        texts = {path: text for path, (text, _) in _links(self).items()}
        if texts:
            _replace(self._cfg_dict, texts)
        try:
            merge(self, *args, **kwargs)
        finally:
            _link(self)

    @wraps(pretty_text)
    def text_with_references(self: Config) -> str:
        old = {path for path, *_ in outdated(self)}
        texts = {path: text for path, (text, _) in _links(self).items()
                 if path not in old}
        if texts:
            self = copy.copy(self)
            object.__setattr__(self, '_cfg_dict', ConfigDict(
                _replace(self.to_dict(), texts)))
        return pretty_text(self)

    Config.__init__, Config.merge_from_dict = linked_init, linked_merge
    Config.pretty_text = property(text_with_references)
