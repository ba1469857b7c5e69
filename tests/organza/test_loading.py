"""Users' generators, weights and arrays: what loads, and what is said when it does not."""

import pickle
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from organza.errors import UserError
from organza.loading import load_array, load_generator

SOURCE = """
from dataclasses import dataclass
from torch import nn
import helper

@dataclass
class Config:
    width: int = helper.WIDTH

def make():
    return nn.Sequential(nn.ConvTranspose2d(4, Config().width, 3), nn.BatchNorm2d(2)).train()

def broken():
    raise RuntimeError("no data")

def number():
    return 3

constant = 5
"""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "helper.py").write_text("WIDTH = 2\n")
    path = tmp_path / "my_model.py"
    path.write_text(SOURCE)
    return path


def _tensors() -> dict[str, torch.Tensor]:
    model = nn.Sequential(nn.ConvTranspose2d(4, 2, 3), nn.BatchNorm2d(2))
    return {key: torch.full_like(value, 2) for key, value in model.state_dict().items()}


def test_factory_and_weights(source, tmp_path):
    weights = tmp_path / "w.safetensors"
    save_file(_tensors(), weights)
    model = load_generator(f"{source}:make", weights)
    assert not model.training and not any(m.training for m in model.modules())
    for value in model.state_dict().values():
        assert (value == 2).all()


def test_factory_alone(source):
    torch.manual_seed(0)
    first = load_generator(f"{source}:make")
    torch.manual_seed(0)
    second = load_generator(f"{source}:make", None)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_search_path_is_left_alone(source):
    import sys

    before = list(sys.path)
    load_generator(f"{source}:make")
    assert sys.path == before


@pytest.mark.parametrize(
    "function, message",
    [
        ("missing", r"{}: has no function 'missing'; add it or name another after the ':'"),
        ("constant", r"{}: 'constant' must be a function, not int"),
        ("broken", r"{}: broken\(\) raised RuntimeError: no data"),
        ("number", r"{}: number\(\) must return a torch\.nn\.Module, not int"),
    ],
)
def test_factories_that_do_not_work(source, function, message):
    with pytest.raises(UserError, match="^" + message.format(re.escape(str(source))) + "$"):
        load_generator(f"{source}:{function}")


@pytest.mark.parametrize("spec", ["model.py", "", ":make", "model.py:", "model.py:a b"])
def test_specs_that_name_no_function(spec):
    message = rf"^generator must be given as 'file\.py:function', not {spec!r}; name a function .*$"
    with pytest.raises(UserError, match=message):
        load_generator(spec)


def test_files_that_do_not_run(tmp_path):
    missing = tmp_path / "missing.py"
    with pytest.raises(UserError, match=rf"^{missing}: no such file; give the Python file .*$"):
        load_generator(f"{missing}:make")
    bad = tmp_path / "bad.py"
    bad.write_text("def make(:\n")
    with pytest.raises(UserError, match=rf"^{bad}: raised SyntaxError: .*$"):
        load_generator(f"{bad}:make")
    text = tmp_path / "bad.txt"
    text.write_text("")
    with pytest.raises(UserError, match=rf"^{text}: must be a Python file ending in \.py$"):
        load_generator(f"{text}:make")
    with pytest.raises(TypeError, match=r"^generator must be given as 'file\.py:function', not 3$"):
        load_generator(3)  # pyright: ignore[reportArgumentType]


def _without(key):
    return lambda tensors: tensors.pop(key)


def _with(key, value):
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    "change, message",
    [
        (_without("0.bias"), r"tensor '0\.bias' is missing .*"),
        (_with("2.weight", torch.zeros(1)), r"tensor '2\.weight' is not part of Sequential .*"),
        (
            _with("0.weight", torch.zeros(4, 2, 3, 2)),
            r"tensor '0\.weight' must have shape \(4, 2, 3, 3\), found \(4, 2, 3, 2\)",
        ),
        (
            _with("0.bias", torch.tensor([1.0, float("nan")])),
            r"tensor '0\.bias' must be finite, found NaN or an infinity",
        ),
        (
            _with("1.running_var", torch.tensor([float("inf"), 1.0])),
            r"tensor '1\.running_var' must be finite, found NaN or an infinity",
        ),
        (_with("0.bias", torch.zeros(2, dtype=torch.int8)), r"tensor '0\.bias' must be of kind .*"),
    ],
)
def test_weights_that_do_not_fit(source, tmp_path, change, message):
    tensors = _tensors()
    change(tensors)
    weights = tmp_path / "w.safetensors"
    save_file(tensors, weights)
    with pytest.raises(UserError, match=rf"^{weights}: {message}$"):
        load_generator(f"{source}:make", weights)


def test_weights_that_are_pickles(source, tmp_path):
    modern, legacy, plain = (tmp_path / name for name in ("a.pth", "b.pt", "c.safetensors"))
    torch.save(_tensors(), modern)
    torch.save(_tensors(), legacy, _use_new_zipfile_serialization=False)
    plain.write_bytes(pickle.dumps({"a": 1}))
    for path in (modern, legacy, plain):
        message = (
            rf"^{path}: must be safetensors, found a (zip|pickle).*; convert it .*save_file\(.*$"
        )
        with pytest.raises(UserError, match=message):
            load_generator(f"{source}:make", path)
    plain.write_bytes(b"nonsense" * 4)
    with pytest.raises(UserError, match=rf"^{plain}: must be a whole safetensors file, found: .*$"):
        load_generator(f"{source}:make", plain)
    with pytest.raises(UserError, match=rf"^{tmp_path}/none: no such checkpoint file$"):
        load_generator(f"{source}:make", tmp_path / "none")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint16, np.float16])
def test_arrays(tmp_path, dtype):
    path = tmp_path / "z.npy"
    np.save(path, np.arange(6, dtype=dtype).reshape(2, 3))
    array = load_array(path)
    assert array.dtype == np.float64 and array.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "array, message",
    [
        (
            np.zeros(3),
            r"must have shape \(N, \.\.\.\) with N ≥ 1, not \(3,\); add the batch dimension",
        ),
        (np.zeros((0, 3)), r"must have shape \(N, \.\.\.\) with N ≥ 1, not \(0, 3\); .*"),
        (np.array([[1.0, np.nan]]), r"must be finite, but holds NaN or an infinity"),
        (np.array([[1j]]), r"must hold real numbers, not complex128"),
        (np.array([["a"]]), r"must hold real numbers, not <U1"),
        (np.array([[True]]), r"must hold real numbers, not bool"),
        (np.array([[None]], dtype=object), r"must be a \.npy file without objects; .*"),
    ],
)
def test_refused_arrays(tmp_path, array, message):
    path = tmp_path / "z.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(UserError, match=rf"^{path}: {message}$"):
        load_array(path)


def test_files_that_are_no_arrays(tmp_path):
    path = tmp_path / "z.npy"
    with pytest.raises(UserError, match=rf"^{path}: no such file$"):
        load_array(path)
    for data in (b"", b"hello", pickle.dumps([1])):
        path.write_bytes(data)
        with pytest.raises(UserError, match=rf"^{path}: must be a \.npy file without objects; .*$"):
            load_array(path)
    with path.open("wb") as file:
        np.savez(file, a=np.zeros((1, 1)))
    with pytest.raises(
        UserError, match=rf"^{path}: must be a \.npy file, not a \.npz archive; .*$"
    ):
        load_array(path)
    with pytest.raises(TypeError, match=r"^path must be a str or Path, not int$"):
        load_array(3)  # pyright: ignore[reportArgumentType]
