"""Weight codes that cannot be: one line says which and why, whatever command meets them, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from organza import program_file
from organza.codes import BlockHash, Code, Codebook, Flexpoint, Huffman, Linear, Sparse
from organza.epilogue import Epilogue
from organza.formats import Fixed, Flex
from organza.geometry import Axis
from organza.plan import dump_plan
from organza.program import Convolve, Program
from organza.program_file import save_program
from organza_sim.planner import plan_program
from tests.organza.commands.command_line import refused, run

GIVEN = ("--weights", "w.safetensors", "--calibration", "z.npy")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("codebook:300", "0: codebook must have 2 to 256 centroids, not 300"),
        ("layer1=linear:17", "3: Linear bits must be between 2 and 16, not 17"),
        ("affine:9", "0: Affine bits must be between 1 and 8, not 9"),
        ("power:6", "0: PowerOfTwo bits must be between 2 and 5, not 6"),
        ("ternary:7", "0: Ternary weights in a byte must be 4 or 5, not 7"),
        ("tanh:9", "0: tanh bits must be between 1 and 8, not 9"),
        ("sparse:100", "0: sparsity must be between 0 and 99 percent, not 100"),
        ("sparse:75:0", "0: Sparse block must be between 2 and 16, not 0"),
        ("sparse:75:16:9:relative", "0: Sparse gap must be between 2 and 8, not 9"),
        ("sparse+codebook:999", "0: codebook must have 2 to 256 centroids, not 999"),
        ("rle+linear:40", "0: Linear bits must be between 2 and 16, not 40"),
        ("hashed:0", "0: hashed factor must be at least 1, not 0"),
        ("multihash:0", "0: multihash factor must be at least 1, not 0"),
        ("blockhash:8:0:4", "0: blockhash factor and lanes must be at least 1, not 8, 0, 4"),
        ("quaternary", "code must be one of linear, affine, .*, not 'quaternary'"),
        ("layer7=binary", r"code names the layer 'layer7'; this model has layer0 \(0\), layer1 \(3\), or say redundant or rest"),
    ],
)
def test_codes_that_do_not_fit(here: Path, code: str, message: str) -> None:
    refused(f"^organza: error: {message}$", "build", "my_model.py:make_generator", *GIVEN, "--code", code, "-o", "out")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("codebook:300", "net.0: codebook must have 2 to 256 centroids, not 300"),
        ("layer3=linear:1", "net.9: Linear bits must be between 2 and 16, not 1"),
        ("huffman+affine:9", "net.0: Affine bits must be between 1 and 8, not 9"),
        ("octal", "code must be one of linear, .*, multihash, tanh, not 'octal'"),
        ("layer4=binary", r"code names the layer 'layer4'; this model has layer0 \(net.0\), .*, layer3 \(net.9\), or say redundant or rest"),
    ],
)
def test_codes_of_the_demo(here: Path, code: str, message: str) -> None:
    refused(f"^organza: error: {message}$", "demo", "--code", code, "-o", "new/out")
    assert not Path("new").exists()


@pytest.mark.parametrize("factor", [1e7, 1e-12])
def test_weights_that_no_exponent_covers(here: Path, factor: float) -> None:
    """5 bits hold −31 … 0: larger weights are refused, smaller ones all become mantissas near 0."""
    weights = load_file("w.safetensors")
    save_file({**weights, "3.weight": weights["3.weight"] * factor}, "scaled.safetensors")
    given = ("--weights", "scaled.safetensors", "--calibration", "z.npy", "--code", "layer1=flexpoint", "-o", "out")
    if factor > 1:
        refused("^organza: error: 3: flexpoint values must stay below 32768, not reach ", "build", "my_model.py:make_generator", *given)
    else:
        assert run("build", "my_model.py:make_generator", *given).exit_code == 0


def layer(code: Code, size: int = 1) -> Program:
    """A program of one 1×1 map, or larger, with this code."""
    ci, co, ky, kx = code.shape
    flex = isinstance(code, Flexpoint)
    ones = np.ones(co, np.int64)
    return Program((
        Convolve(
            name="only", y=Axis(size=size, kernel=ky), x=Axis(size=size, kernel=kx), groups=1, code=code,
            epilogue=Epilogue(0 * ones, ones, ones, 20 * ones, -128, 127),
            input=Flex(-10) if flex else Fixed(8, True, 1 / 32), output=Fixed(8, True, 1 / 32),
        ),
    ))  # fmt: skip


def write(program: Program, change: Callable[[dict[str, Any], dict[str, np.ndarray]], Any], path: str = "bad.safetensors") -> None:
    """A Program file with a right hash in which `change` has changed the code's description or its arrays."""
    header, tensors = program_file._pack(program)
    change(header["nodes"][0]["code"], tensors)
    header["hash"] = program_file._hash(header, tensors)
    save_arrays(tensors, path, metadata={program_file.KEY: json.dumps(header)})


WEIGHTS = np.random.default_rng(0).integers(-7, 8, (4, 3, 2, 2))
KEPT = np.arange(WEIGHTS.size).reshape(WEIGHTS.shape) % 3 == 0
INDICES = np.arange(WEIGHTS.size).reshape(WEIGHTS.shape) % 5


def narrow(code: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    code["bits"] = 3


def other_mask(code: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    tensors["0.code.mask"] = tensors["0.code.mask"][:, :2].copy()


def more_centroids(code: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    tensors["0.code.centroids"] = np.arange(-128, 129).astype(np.int16)


def far_index(code: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    tensors["0.code.indices"] = tensors["0.code.indices"] + np.uint8(200)


@pytest.mark.parametrize(
    ("code", "change", "message"),
    [
        (Linear(WEIGHTS), narrow, r"Linear weights must be within ±3|Linear .* 3 bits"),
        (Linear(WEIGHTS), lambda code, _: code.update(bits=17), "Linear bits must be between 2 and 16, not 17"),
        (Linear(WEIGHTS), lambda code, _: code.update(kind="octal"), "only: unknown weight code 'octal'"),
        (Sparse(Linear(WEIGHTS), KEPT), other_mask, r"Sparse mask must have shape \(4, 3, 2, 2\) as the weights, not \(4, 2, 2, 2\)"),
        (Sparse(Linear(WEIGHTS), KEPT), lambda code, _: code.update(block=17), "Sparse block must be between 2 and 16, not 17"),
        (Codebook(INDICES, np.arange(5)), more_centroids, r"Codebook must have 2 to 256 centroids, not \(257,\)"),
        (Codebook(INDICES, np.arange(5)), far_index, "Codebook indices must be below 5, the number of centroids"),
        (Flexpoint(WEIGHTS, -4), lambda code, _: code.update(exponent=-32), "Flexpoint exponent must be between -31 and 0 .5 bits., not -32"),
        (Flexpoint(WEIGHTS, -4), lambda code, _: code.update(exponent=1), "Flexpoint exponent must be between -31 and 0 .5 bits., not 1"),
        (Huffman(Linear(WEIGHTS)), lambda code, _: code.update(longest=16), "longest must be between 1 and 15, not 16"),
    ],
)
def test_programs_with_codes_that_cannot_be(here: Path, code: Code, change: Any, message: str) -> None:
    """Made by another writer, with a right hash: every command that reads Programs names the file."""
    write(layer(code), change)
    for command in (("info",), ("build", "-o", "out")):
        refused(f"^organza: error: bad.safetensors: inconsistent Program: .*({message})", command[0], "bad.safetensors", *command[1:])


def test_a_lane_word_wider_than_a_memory(here: Path) -> None:
    """65,536 bits is what tools must take: the planner keeps below, a Plan or a code that asks for more is refused."""
    weights = np.ones((128, 65, 1, 1), np.int64)
    program = layer(Linear(weights))
    save_program(program, "wide.safetensors")
    plan = plan_program(program, 64)
    dump_plan(plan, "plan.json")
    described = json.loads(Path("plan.json").read_text())
    engine = described["engines"][0]
    engine["Ti"], engine["C"], engine["E"], engine["layers"][0]["To"], engine["layers"][0]["P"] = 128, 65, 1, 65, 1
    described["joints"][0]["n"] = described["joints"][1]["n"] = 1
    Path("plan.json").write_text(json.dumps(described))
    message = "only: lane word must have at most 65536 bits, not 66560"
    refused(message, "build", "wide.safetensors", "--plan", "plan.json", "-o", "out")
    rows = np.ones((1, 65, 128), np.int64)
    save_program(layer(BlockHash(rows, (128, 65, 1, 1))), "hashed.safetensors")
    refused("65536", "build", "hashed.safetensors", "--lanes", "10000", "-o", "out")


def test_damaged_files_of_every_code(here: Path) -> None:
    for code in (Huffman(Linear(WEIGHTS)), Sparse(Linear(WEIGHTS), KEPT), Flexpoint(WEIGHTS, -4)):
        save_program(layer(code), "good.safetensors")
        assert run("info", "good.safetensors").exit_code == 0
        data = bytearray(Path("good.safetensors").read_bytes())
        data[-3] ^= 4
        Path("flipped.safetensors").write_bytes(data)
        for command in (("info",), ("build", "-o", "out")):
            refused("flipped.safetensors: content does not match its hash", command[0], "flipped.safetensors", *command[1:])
