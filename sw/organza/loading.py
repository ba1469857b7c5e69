"""The user's own files: a generator's Python source with its weights, and arrays of inputs.

`load_generator` runs the given Python file, so it is for files you would run yourself. Weights and
arrays never run anything: pickles are refused.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
from torch import nn

from organza.checkpoint import load_checkpoint, load_into
from organza.errors import UserError


def load_generator(spec: str, weights: str | Path | None = None) -> nn.Module:
    """The module that a factory makes, in evaluation mode.

    Parameters
    ----------
    spec : "path/to/file.py:function", e.g. "my_model.py:make_generator". The file is executed and
        the function called without arguments; it must return a torch.nn.Module.
    weights : safetensors file with exactly the module's tensors, or None to keep those of the
        factory.

    Raises
    ------
    TypeError : a `spec` that is no text.
    UserError : naming the file, the function or the tensor, and what to do.
    """
    if not isinstance(spec, str):
        raise TypeError(f"generator must be given as 'file.py:function', not {spec!r}")
    file, _, function = spec.rpartition(":")
    if not file or not function.isidentifier():
        raise UserError(
            f"generator must be given as 'file.py:function', not {spec!r}; "
            "name a function without arguments that returns the module"
        )
    path = Path(file)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the Python file that makes the generator")
    factory = getattr(_execute(path), function, None)
    if factory is None:
        raise UserError(
            f"{path}: has no function '{function}'; add it or name another after the ':'"
        )
    if not callable(factory):
        raise UserError(f"{path}: '{function}' must be a function, not {type(factory).__name__}")
    try:
        module = factory()
    except Exception as error:  # the user's own code may raise anything
        raise UserError(f"{path}: {function}() raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise UserError(
            f"{path}: {function}() must return a torch.nn.Module, not {type(module).__name__}"
        )
    if weights is not None:
        load_weights(module, weights)
    return module.eval()


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Copy a safetensors file into `module`, which must have exactly its tensors.

    Raises `UserError` naming the file and tensor that is missing, extra, wrongly shaped or not
    finite, or saying how to convert a pickle.
    """
    try:
        tensors, _ = load_checkpoint(path)
        load_into(module, tensors, path)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _execute(path: Path):
    """The module of a Python file, outside any package; its own folder is importable from it."""
    spec = importlib.util.spec_from_file_location(f"_organza_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: must be a Python file ending in .py")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    # Registered under its name, because dataclasses look their module up there.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        del sys.modules[spec.name]
        raise UserError(f"{path}: raised {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    return module


def load_array(path: str | Path) -> np.ndarray:
    """Real inputs of a .npy file, float64, shape (N, ...) with N ≥ 1.

    Raises TypeError for a path of the wrong kind, `UserError` naming the file and what is wrong
    with it.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"path must be a str or Path, not {type(path).__name__}")
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    advice = "write it with numpy.save(path, array), an array of numbers"
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: must be a .npy file without objects; {advice}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path}: must be a .npy file, not a .npz archive; {advice}")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise UserError(f"{path}: must hold real numbers, not {array.dtype}")
    if array.ndim < 2 or not array.size:
        raise UserError(
            f"{path}: must have shape (N, ...) with N ≥ 1, not {array.shape}; add the batch dimension"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise UserError(f"{path}: must be finite, but holds NaN or an infinity")
    return array
