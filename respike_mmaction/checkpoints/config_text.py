"""Configs out of checkpoints, read as data: nothing in them is executed.

MMEngine keeps a config as Python text in every checkpoint and runs that text
to read it. And a config that is mere data can still call anything: MMEngine's
registries answer ``type='os.system'`` with that function.
"""
import ast
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

_LONGEST = 2**20  # characters; the longest config of MMAction2's zoo has 2**15


def config_of(checkpoint: dict, source: str = 'the checkpoint') -> Config:
    """Read the config that a checkpoint of MMEngine was trained with.

    Nothing is executed, included or imported, and every ``type`` in it is
    that of a registered class. The parts are as those of
    ``Config.fromfile``, so ``MODELS.build(config.model)`` works.

    Args:
        checkpoint (dict): What the file holds.
        source (str): Its name, for errors. Defaults to
            ``'the checkpoint'``.

    Returns:
        Config: The config.

    Raises:
        ValueError: If the checkpoint holds no config, or one that is more
            than data or names what is not registered.
    """
    found: Any = checkpoint
    for path in (('message_hub', 'runtime_info', 'cfg'), ('meta', 'cfg'),
                 ('meta', 'config')):
        found = checkpoint
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            return read_config_text(found, f'{source}, {".".join(path)}')
    raise ValueError(f'{source} holds no config: allowed is a checkpoint of '
                     "MMEngine's, with a text in meta['cfg']")


def read_config_text(text: str, source: str = 'the config text') -> Config:
    """Read the text that ``Config.dump`` writes, without executing it.

    Args:
        text (str): Assignments of numbers, strings, None, booleans, lists,
            tuples, sets and dicts, also as ``dict(key=value)``, to names.
        source (str): Where it comes from, for errors. Defaults to
            ``'the config text'``.

    Returns:
        Config: The config.

    Raises:
        ValueError: If the text is anything else, or names a ``type`` or a
            scope that is not registered.
    """
    if len(text) > _LONGEST:
        raise ValueError(f'{source} is refused: it has {len(text)} '
                         f'characters, allowed are {_LONGEST}')
    try:
        values = dict(map(_assignment, ast.parse(text).body))
        config = Config(values, cfg_text=text)
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError,
            MemoryError) as error:
        raise ValueError(
            f'{source} is refused and was not executed: '
            f'{error if str(error) else type(error).__name__}. Allowed are '
            'assignments of plain values, as Config.dump writes them; the '
            'config of a person you trust can be given as a file') from error
    _check_names(config, source)
    return config


# The text --------------------------------------------------------------------


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    match statement:
        case ast.Assign([ast.Name(name)], value) if name != '_base_':
            return name, _value(value)
    raise ValueError(f'line {statement.lineno}: no assignment to one name '
                     'other than _base_')


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(ast.Name('dict'), [], pairs) if all(
                pair.arg for pair in pairs):
            return {pair.arg: _value(pair.value) for pair in pairs}
        case ast.Call(ast.Name('dict'), [ast.Dict() as mapping], []):
            return _value(mapping)
        case ast.Dict(keys, values) if None not in keys:  # {**other}
            return {_value(key): _value(value)
                    for key, value in zip(keys, values, strict=True) if key}
        case ast.List(elements):
            return [_value(element) for element in elements]
        case ast.Tuple(elements):
            return tuple(_value(element) for element in elements)
        case ast.Set(elements):
            return {_value(element) for element in elements}
    with suppress(ValueError):  # constants and signed numbers
        return ast.literal_eval(node)
    raise ValueError(f'line {node.lineno}: {ast.unparse(node)[:60]!r} is no '
                     'plain value')


# The names in it -------------------------------------------------------------


def _registries() -> Iterator[Registry]:
    """All registries of MMEngine and of the libraries imported so far."""
    waiting = [found for found in vars(mmengine.registry).values()
               if isinstance(found, Registry)]
    while waiting:
        registry = waiting.pop()
        # the library's own modules; mmaction's FUNCTION names one it lacks
        with suppress(ImportError):
            registry.import_from_location()
        waiting += registry.children.values()
        yield registry


def _check_names(config: Config, source: str) -> None:
    """Refuse names that a registry would import to find them."""
    scopes, names, objects = set(), set(), []
    for registry in _registries():
        scopes.add(registry.scope)
        for name, value in registry.module_dict.items():
            names |= {name, f'{registry.scope}.{name}'}
            objects.append(value)
    roots = {value.__module__.partition('.')[0] for value in objects
             if getattr(value, '__module__', None)}

    def is_harmless(name: str, known: set[str]) -> bool:
        root, dot, _ = name.partition('.')
        if name in known or not _is_importable(root):
            return True
        # 'mmaction.models.ResNet', as a config in Python style is dumped:
        # submodules of what registered something may be imported
        return bool(dot) and root in roots and any(
            get_object_from_string(name) is value for value in objects)

    for key, name in _named(config.to_dict()):
        if not is_harmless(name, names if key == 'type' else scopes):
            raise ValueError(
                f'{source} is refused: {key}={name!r} is not registered. '
                'Allowed is what a registry knows; import the package that '
                'registers it first (custom_imports='
                f'{config.get("custom_imports")})')


def _is_importable(root: str) -> bool:
    try:
        return find_spec(root) is not None
    except (ValueError, ImportError):  # '' or a module without a spec
        return True


def _named(node: Any) -> Iterator[tuple[str, str]]:
    """Every name of a class or scope, with its key."""
    if isinstance(node, dict):
        for key in ('type', '_scope_', 'default_scope'):
            if isinstance(node.get(key), str):
                yield key, node[key]
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for value in node:
        yield from _named(value)
