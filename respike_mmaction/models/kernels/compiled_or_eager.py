"""What 'auto' runs on a CPU: compiled, or eager once a compilation failed.

A compiler that works on a trial can still fail on a scan, or meet a cache
that another process left broken; a training must not end for that.
"""
import warnings

from torch import Tensor

from . import compiled, eager

_failed = False


def _run(name: str, *args) -> tuple[Tensor | None, ...]:
    global _failed
    if not _failed:
        # not at the top: importing the package starts no compiler
        from torch._dynamo.exc import TorchDynamoException
        try:
            return getattr(compiled, name)(*args)
        except TorchDynamoException as error:
            _failed = True
            warnings.warn(
                'torch.compile failed on the scan of a neuron, which runs in '
                f'plain PyTorch from now on ({type(error).__name__}: '
                f'{str(error).splitlines()[0]})',
                stacklevel=2)
    return getattr(eager, name)(*args)


def forward(*args) -> tuple[Tensor, Tensor | None]:
    """See :func:`.plain.forward`."""
    return _run('forward', *args)


def backward(*args) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """See :func:`.plain.backward`."""
    return _run('backward', *args)
