"""The scripts of tools/, imported as modules."""
import importlib.util
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def load_script(name):
    """``tools/NAME.py`` as a module; its ``main`` does not run."""
    spec = importlib.util.spec_from_file_location(
        Path(name).name, TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
