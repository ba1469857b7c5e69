"""Programs survive the disk, and nothing else passes for one."""

import json
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from organza import program_file
from organza.codes import CODES, Linear
from organza.errors import UserError
from organza.program import Program
from organza.program_file import KEY, load_program, program_hash, save_program
from tests.strategies import random_input, random_program


def _small() -> Program:
    return random_program(
        np.random.default_rng(0), 2, max_channels=2, max_kernel=2, max_size=2, epilogue="leaky"
    )


def rewrite(path, change, *, rehash=False) -> None:
    """Write `path` again with its header changed by `change`; with `rehash` as a foreign writer does that hashes correctly."""
    with safe_open(str(path), framework="np") as file:
        metadata = file.metadata()
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header = json.loads(metadata[KEY])
    change(header)
    if rehash:
        header.pop("hash")
        header["hash"] = program_file._hash(dict(header), stored)
    save_file(stored, str(path), metadata={KEY: json.dumps(header)})


def test_round_trip(tmp_path):
    for seed in range(25):
        rng = np.random.default_rng(seed)
        program = random_program(rng, 3, weight_bits=int(rng.integers(2, 17)))
        path = tmp_path / f"{seed}.program"
        save_program(program, path)
        loaded = load_program(path)
        assert program_hash(loaded) == program_hash(program)
        x = random_input(rng, program, 3)
        for ours, theirs in zip(program.run_layers(x), loaded.run_layers(x), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for ours, theirs in zip(program.nodes, loaded.nodes, strict=True):
            assert (ours.name, ours.y, ours.x, ours.groups) == (
                theirs.name,
                theirs.y,
                theirs.x,
                theirs.groups,
            )
            assert (ours.input, ours.output, ours.stored_bits) == (
                theirs.input,
                theirs.output,
                theirs.stored_bits,
            )
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".program"] * 25


@pytest.mark.parametrize("kind", [*CODES, "approximate"])
def test_every_code_comes_back(kind, tmp_path):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        program = random_program(rng, 2, code=kind, max_channels=3, max_kernel=3)
        save_program(program, tmp_path / "p")
        loaded = load_program(tmp_path / "p")
        assert program_hash(loaded) == program_hash(program)
        for ours, theirs in zip(program.nodes, loaded.nodes, strict=True):
            np.testing.assert_array_equal(ours.code.fields(), theirs.code.fields())
            np.testing.assert_array_equal(ours.code.integers(), theirs.code.integers())
            assert (ours.stored_bits, ours.buffer_bits) == (theirs.stored_bits, theirs.buffer_bits)
            assert (ours.code.adder, ours.code.lane_shape) == (theirs.code.adder, theirs.code.lane_shape)


def test_arrays_of_any_layout(tmp_path):
    """Weights that lie in memory in another order, as a transposed tensor does."""
    node = random_program(np.random.default_rng(3), 1, input_shape=(3, 2, 2)).nodes[0]
    turned = np.asfortranarray(node.code.weights)
    assert not turned.flags.c_contiguous
    program = Program((replace(node, code=Linear(turned)),))
    save_program(program, tmp_path / "p")
    np.testing.assert_array_equal(load_program(tmp_path / "p").nodes[0].code.weights, turned)


def test_a_wrapper_of_a_wrapper(tmp_path):
    rng = np.random.default_rng(0)
    program = random_program(rng, 1, code="huffman", max_channels=2, max_kernel=2)

    def nest(described):
        described["inner"] = {**described["inner"], "kind": "rle"}
        return described

    header, tensors = program_file._pack(program)
    nest(header["nodes"][0]["code"])
    header["hash"] = program_file._hash(header, tensors)
    save_file(tensors, str(tmp_path / "p"), metadata={KEY: json.dumps(header)})
    with pytest.raises(UserError, match=r"inconsistent Program: huffman must be around one of .*, not 'rle'$"):
        load_program(tmp_path / "p")


def test_saving_twice_gives_the_same_bytes(tmp_path):
    save_program(_small(), tmp_path / "a")
    save_program(_small(), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_hash_depends_on_everything():
    hashes = {program_hash(random_program(np.random.default_rng(s), 1)) for s in range(20)}
    assert len(hashes) == 20


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p"
    save_program(_small(), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(OSError, match=r"^disk full$"):
        save_program(random_program(np.random.default_rng(1), 1), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    program = _small()
    path = tmp_path / "p"
    save_program(program, path)
    data, meaning = path.read_bytes(), program_hash(program)
    rng = np.random.default_rng(0)
    refused = 0
    for position in range(len(data)):
        for mask in (1 << int(rng.integers(8)), int(rng.integers(1, 256))):
            damaged = bytearray(data)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            try:
                loaded = load_program(path)
            except UserError as error:
                assert str(path) in str(error)
                refused += 1
            else:
                assert program_hash(loaded) == meaning, position
    assert refused > 1.9 * len(data)


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "p"
    save_program(_small(), path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=rf"^{path}: "):
            load_program(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(UserError, match=rf"^{path}: "):
        load_program(path)


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "p"
    with pytest.raises(UserError, match=rf"^{path}: no such file$"):
        load_program(path)
    with pytest.raises(UserError, match=rf"^{tmp_path}: "):
        load_program(tmp_path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", "x")
    with pytest.raises(UserError, match=rf"^{path}: not a readable safetensors file \("):
        load_program(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match=rf"^{path}: not a readable safetensors file \("):
        load_program(path)
    save_file({"w": np.zeros(3)}, str(path))
    message = rf"^{path}: not a Program \(no 'organza_program' in its header\); make one with .*$"
    with pytest.raises(UserError, match=message):
        load_program(path)


@pytest.mark.parametrize("version", [0, 1, "2", None])
def test_another_version(tmp_path, version):
    path = tmp_path / "p"
    save_program(_small(), path)
    rewrite(path, lambda header: header.update(version=version))
    message = rf"^{path}: Program version must be 2, not {version!r}; build the Program again$"
    with pytest.raises(UserError, match=message):
        load_program(path)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, '{"version": 1}'])
def test_damaged_header(tmp_path, text):
    path = tmp_path / "p"
    save_file({"w": np.zeros(3)}, str(path), metadata={KEY: text})
    message = rf"^{path}: the Program header is damaged; build the Program again$"
    with pytest.raises(UserError, match=message):
        load_program(path)


def _set(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(header):
        for key in keys:
            header = header[key]
        header[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("nodes", 0, "groups", 7),
        _set("nodes", 0, "groups", "x"),
        _set("nodes", 0, "name", 5),
        _set("nodes", 0, "code", {"kind": "linear"}),
        _set("nodes", 0, "code", {"kind": "nothing", "bits": 8}),
        _set("nodes", 0, "code", 3),
        _set("nodes", 0, "input", {"bits": 8}),
        _set("nodes", 0, "y", "kernel", 9),
        _set("nodes", 0, "y", "colour", 9),
        _set("nodes", 0, "low", 0.5),
        _set("nodes", 0, "low", None),
        _set("nodes", 0, 3),
        _set("nodes", 5),
        _set("nodes", {}),
        _set("nodes", []),
        _set("nodes", None),
    ],
)
def test_a_consistent_hash_does_not_excuse_nonsense(tmp_path, change):
    """A foreign writer may hash correctly and still make no sense."""
    path = tmp_path / "p"
    save_program(_small(), path)
    rewrite(path, change, rehash=True)
    with pytest.raises(UserError, match=rf"^{path}: inconsistent Program: "):
        load_program(path)


def test_arrays_in_any_memory_order_come_back(tmp_path):
    """safetensors stores the memory of an array as it lies, so a transposed one needs a copy first."""
    program = _small()
    node = program.nodes[0]
    turned = np.asfortranarray(node.code.integers())
    assert turned.flags.f_contiguous
    odd = Program((replace(node, code=Linear(turned, node.code.bits)), *program.nodes[1:]))
    save_program(odd, tmp_path / "p")
    assert (load_program(tmp_path / "p").nodes[0].code.integers() == turned).all()
    assert program_hash(odd) == program_hash(program)
