# amaranth: UnusedElaboratable=no
"""Every weight code in RTL: layers, unbalanced phases among them, and pipelines that mix codes."""

import itertools
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from organza.cli import app
from organza.codes import CODES, DIRECT
from organza.geometry import Axis
from organza.program import Convolve, Program
from organza_hw.build import memory_words
from tests.organza_sim.layer_cases import Case, case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import random_plan
from tests.repeated import some_now
from tests.strategies import random_code, random_convolve, random_epilogue, random_input
from tests.tiny import tiny_program

PIPELINES = 10
KINDS = (*CODES, "approximate")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", some_now([3, 5], 1))
def test_unbalanced_phases(kind, kernel):
    """k3 s2 and k5 s2 transposed convolutions: phases of 1 and 2, of 2 and 3 taps an axis."""
    rng = np.random.default_rng(kernel)
    axis = Axis(size=4, kernel=kernel, up=2, crop_before=kernel // 2, crop_after=kernel // 2 - 1)
    assert {len(taps) for taps in axis.table[1:-2]} == {kernel // 2, kernel // 2 + 1}
    code = random_code(rng, (5, 3, kernel, kernel), kind)
    drawn = case(0).program.nodes[0]
    bound = np.abs(code.integers()).sum((0, 2, 3)) * drawn.input.magnitude
    node = Convolve(
        name="layer", y=axis, x=axis, groups=1, code=code,
        epilogue=random_epilogue(rng, bound, drawn.output, kind="leaky"),
        input=drawn.input, output=drawn.output,
    )  # fmt: skip
    program = Program((node,))
    chosen = Case(program, random_plan(rng, program), random_input(rng, program, 2))
    check_free(chosen)
    check_stalled(chosen, kernel)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", some_now(range(2), 1))
def test_layers(kind, seed):
    chosen = case(seed, code=kind)
    check_free(chosen)
    check_stalled(chosen, seed)


@pytest.mark.parametrize("seed", some_now(range(PIPELINES), 4))
def test_pipelines_of_different_codes(seed):
    chosen = case(seed, layers=3, code=None)
    check_free(chosen)
    check_stalled(chosen, seed)


@pytest.mark.parametrize("kinds", some_now([("linear", "ternary", "codebook", "sparse", "huffman"),
                                            ("flexpoint", "binary", "affine", "blockhash", "hashed")], 1), ids=":".join)  # fmt: skip
def test_five_layers_of_five_codes(kinds):
    """A generator of transposed convolutions, every layer in another code."""
    rng = np.random.default_rng(5)
    nodes = []
    for number, kind in enumerate(kinds):
        chain = {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape} if nodes else {}
        nodes.append(
            random_convolve(rng, name=f"layer{number}", code=kind, geometry="transposed", max_positions=40, **chain)
        )
    program = Program(tuple(nodes))
    chosen = Case(program, random_plan(rng, program), random_input(rng, program, 2))
    check_free(chosen)
    check_stalled(chosen, 5)


def test_the_pipelines_mix_all_codes():
    used = [{node.code.kind for node in case(seed, layers=3, code=None).program.nodes} for seed in range(PIPELINES)]
    assert set().union(*used) == set(CODES)
    assert any(len(kinds) == 3 for kinds in used)


@pytest.mark.parametrize("kind", sorted(set(DIRECT) - {"sparse", "blockhash"}))  # test_sparse.py, test_serial.py have the others
def test_memory_images_add_up_to_the_stored_bits(kind):
    """Where tiles are full, a weight memory holds the fields and nothing else."""
    cases = (case(seed, code=kind) for seed in itertools.count(1))
    # tests/organza_hw/test_trits.py has ternary weights that are stored as bytes.
    chosen = next(made for made in cases if getattr(made.program.nodes[0].code, "per_byte", 4) == 4)
    (schedule,), code = chosen.schedules, chosen.program.nodes[0].code
    lanes = schedule.ti * schedule.to
    bits, stored = memory_words(chosen.program, chosen.plan)["layer0_weights.hex"]
    words = code.words(schedule.ti, schedule.to, schedule.node.groups)
    assert bits == lanes * code.field_bits
    assert len(stored) == len(words)
    padding = words.size - code.integers().size
    tables = code.stored_bits - code.integers().size * code.field_bits
    assert bits * len(stored) == code.stored_bits - tables + padding * code.field_bits


@pytest.mark.rtl
def test_codes_from_the_command_line(tmp_path, monkeypatch):
    """A code for each layer through build, info and verify."""
    monkeypatch.chdir(tmp_path)
    model = "from torch import nn\ndef make():\n    return nn.Sequential(nn.ConvTranspose2d(4, 3, 3), nn.ReLU(), "
    (tmp_path / "m.py").write_text(model + "nn.ConvTranspose2d(3, 1, 4, 2, 1), nn.Tanh())\n")

    def run(*arguments):
        return CliRunner().invoke(app, list(arguments))

    made = run("build", "m.py:make", "--input-shape", "4,1,1", "--lanes", "6", "-o", "b",
               "--code", "layer0=ternary,layer1=codebook:4")  # fmt: skip
    assert made.exit_code == 0, made.output
    layers = json.loads(run("info", "b", "--json").stdout)["layers"]
    assert [layer["code"] for layer in layers] == ["ternary", "codebook"]
    assert layers[0]["bits_per_weight"] == 2
    assert layers[0]["compression_ratio"] == 16
    assert layers[1]["bits_per_weight"] == (2 * 48 + 4 * 8) / 48
    checked = run("verify", "b", "--images", "3")
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("septenary", "code must be one of linear, affine, power, ternary, binary, flexpoint, codebook, sparse, blockhash, huffman, rle, hashed, multihash, tanh, not 'septenary'"),
        ("layer7=binary", r"code names the layer 'layer7'; this model has layer0 \(0\), layer1 \(2\)"),
        ("codebook:300", "0: codebook must have 2 to 256 centroids, not 300"),
        ("linear:20", "0: Linear bits must be between 2 and 16, not 20"),
    ],
)
def test_wrong_codes_from_the_command_line(tmp_path, monkeypatch, code, message):
    monkeypatch.chdir(tmp_path)
    model = "from torch import nn\ndef make():\n    return nn.Sequential(nn.ConvTranspose2d(4, 3, 3), nn.ReLU(), "
    (tmp_path / "m.py").write_text(model + "nn.ConvTranspose2d(3, 1, 4, 2, 1), nn.Tanh())\n")
    result = CliRunner().invoke(app, ["build", "m.py:make", "--input-shape", "4,1,1", "-o", "b", "--code", code])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("organza: ")]
    assert re.search(message, line), line
    assert not (tmp_path / "b").exists()


def test_a_program_keeps_its_codes(tmp_path, monkeypatch):
    from organza.program_file import save_program

    monkeypatch.chdir(tmp_path)
    save_program(tiny_program(), tmp_path / "p.safetensors")
    result = CliRunner().invoke(app, ["build", "p.safetensors", "-o", "b", "--code", "ternary"])
    assert result.exit_code == 1
    assert "--code goes with a float model" in result.stderr
