"""Packages that only some exports need."""
from importlib import import_module
from types import ModuleType


def require(package: str, extra: str | None = None) -> ModuleType:
    """Import a package that is not always installed.

    Args:
        package (str): Its import name.
        extra (str, optional): The extra of ours that installs it. Defaults
            to None: it is in none of them.

    Returns:
        ModuleType: The package.

    Raises:
        ImportError: If it is not installed, saying how to.
    """
    try:
        return import_module(package)
    except ImportError as error:
        wanted = f"'respike-mmaction[{extra}]'" if extra else \
            package.split('.')[0]
        raise ImportError(f'{package} cannot be imported ({error}): '
                          f'pip install {wanted}') from error
