"""organza.lower, from every kind of generator and input."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import organza
from organza.checkpoint import save_generator
from organza.errors import UserError
from organza.float_layers import float_run
from organza.lowering import fold_generator
from organza.models import Generator, GeneratorConfig
from organza.program_file import program_hash

CONFIG = GeneratorConfig(latent=8, width=2, resolution=32, channels=3)


def _model() -> Generator:
    torch.manual_seed(0)
    return Generator(CONFIG).eval()


def _latents(count: int = 32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 8))


def test_a_module_becomes_a_program():
    program = organza.lower(_model(), _latents(), recipe="int8")
    assert isinstance(program, organza.Program)
    assert program.input_shape == (8, 1, 1) and program.output_shape == (3, 32, 32)
    assert [node.name for node in program.nodes] == ["net.0", "net.3", "net.6", "net.9"]
    y = program.run(program.quantize(_latents()[:, :, None, None]))
    assert y.shape == (32, 3, 32, 32)


def test_every_form_of_the_same_arguments(tmp_path):
    model, z = _model(), _latents()
    wanted = program_hash(organza.lower(model, z))
    save_generator(tmp_path / "g.safetensors", model, {})
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "my_model.py").write_text(
        "from organza.models import Generator, GeneratorConfig\n"
        f"def make():\n    return Generator({CONFIG!r})\n"
    )
    np.save(tmp_path / "z.npy", z)
    forms = [
        organza.lower(model, torch.from_numpy(z)),
        organza.lower(model, z[:, :, None, None]),
        organza.lower(model, tmp_path / "z.npy"),
        organza.lower(model, str(tmp_path / "z.npy")),
        organza.lower(tmp_path / "g.safetensors", z),
        organza.lower(f"{tmp_path}/my_model.py:make", z, weights=tmp_path / "w.safetensors"),
    ]
    assert [program_hash(program) for program in forms] == [wanted] * len(forms)


def test_folded_layers_are_the_model():
    model, z = _model(), _latents()
    layers, inputs = fold_generator(model, z)
    assert inputs.shape == (32, 8, 1, 1)
    with torch.no_grad():
        wanted = model(torch.from_numpy(z).float())
    np.testing.assert_allclose(float_run(layers, inputs), wanted, atol=1e-5)


def test_a_linear_generator_takes_latents_of_either_shape():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12, bias=False), nn.Unflatten(1, (3, 2, 2)), nn.Tanh())
    flat, maps = (
        organza.lower(model, _latents()),
        organza.lower(model, _latents()[:, :, None, None]),
    )
    assert program_hash(flat) == program_hash(maps)
    assert flat.input_shape == (8, 1, 1) and flat.output_shape == (3, 2, 2)


def test_programs_survive_the_disk(tmp_path):
    program = organza.lower(_model(), _latents())
    organza.save_program(program, tmp_path / "p")
    assert program_hash(organza.load_program(tmp_path / "p")) == program_hash(program)


@pytest.mark.parametrize(
    "arguments, kind, message",
    [
        ({"recipe": "int7"}, UserError, r"recipe must be one of int8, not 'int7'"),
        ({"recipe": 8}, TypeError, r"recipe must be the name of a recipe, not 8"),
        ({"calibration": "kl"}, UserError, r"calibration must be one of mse, percentile, max, .*"),
        ({"generator": 3}, TypeError, r"generator must be a torch\.nn\.Module, .*, not int"),
        (
            {"generator": "model.py"},
            UserError,
            r"generator must be given as 'file\.py:function', .*",
        ),
        ({"generator": "x.safetensors"}, UserError, r"x\.safetensors: no such checkpoint file"),
        (
            {"generator": "x.safetensors", "weights": "w"},
            UserError,
            r"x\.safetensors: a checkpoint has its own weights; leave out w",
        ),
        ({"weights": "w"}, UserError, r"weights go with a 'file\.py:function' generator; .*"),
        (
            {"inputs": [1.0]},
            TypeError,
            r"inputs must be a numpy array, a tensor or a \.npy file, .*",
        ),
        ({"inputs": np.array([["a"]])}, TypeError, r"inputs must hold real numbers, not <U1"),
        (
            {"inputs": np.zeros(8)},
            UserError,
            r"inputs must have shape \(N, \.\.\.\) .*, not \(8,\); .*",
        ),
        ({"inputs": np.zeros((0, 8))}, UserError, r"inputs must have shape .*, not \(0, 8\); .*"),
        ({"inputs": np.full((2, 8), np.nan)}, UserError, r"inputs must be finite, but hold NaN .*"),
        (
            {"inputs": np.zeros((2, 7))},
            UserError,
            r"generator does not run on inputs of shape \(N, 7\): Generator: latents must have shape .*",
        ),
    ],
)
def test_refused(arguments, kind, message):
    arguments = {"generator": _model(), "inputs": _latents(2)} | arguments
    with pytest.raises(kind, match=rf"^{message}$"):
        organza.lower(**arguments)


def test_importing_organza_is_cheap():
    code = (
        "import sys, organza; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules; "
        "organza.Program, organza.load_program; "
        "assert 'torch' not in sys.modules; "
        "assert {'lower', 'Program', 'build', 'simulate'} <= set(dir(organza))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=r"^module 'organza' has no attribute 'nothing'$"):
        organza.nothing  # noqa: B018


def test_layers_that_apgan_binarises():
    """Binary where the input has more channels than places, the other code elsewhere."""
    config = GeneratorConfig(latent=20, width=9, resolution=32, channels=1)
    torch.manual_seed(0)
    latents = np.random.default_rng(0).standard_normal((32, 20))
    program = organza.lower(Generator(config).eval(), latents, code="redundant=binary,rest=linear:6")
    shapes = [node.input_shape for node in program.nodes]
    kinds = ["binary" if ci > height * width else "linear" for ci, height, width in shapes]
    assert [node.code.kind for node in program.nodes] == kinds == ["binary", "binary", "linear", "linear"]
    assert {node.code.field_bits for node in program.nodes if node.code.kind == "linear"} == {6}
