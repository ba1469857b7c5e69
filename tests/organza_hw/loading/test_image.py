# amaranth: UnusedElaboratable=no
"""Images of weights: what is in them, word by word, and what reads as no weights."""

import itertools
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest

from organza.codes import Ternary
from organza.codes.trits import TRITS, trit_bytes
from organza.loadable import fitted, loadable, shape_hash
from organza.plan import JointPlan
from organza.program import Program
from organza.program_file import program_hash
from organza.schedule import Schedule
from organza.time_sharing import TimeSharing
from organza.weight_image import CRC_BYTES, HEADER_BYTES, MAGIC, VERSION, ImageError, Reason, image_bytes
from organza_hw.loading.image import loaded_memories, payload_bytes, read_image, weight_image
from organza_hw.loading.loader import word_bytes
from organza_sim.planner import plan_program
from tests.loadable_programs import KINDS, other_weights, random_loadable
from tests.plans import plan_of, random_plan
from tests.repeated import some_now
from tests.shared_engines import shared_case
from tests.tiny import LANES, tiny_program


@pytest.fixture(scope="module")
def tiny():
    program = loadable(tiny_program())
    return program, plan_program(program, LANES)


def again(image):
    """With the check sum that it should have."""
    return bytes(image[:-CRC_BYTES]) + zlib.crc32(image[:-CRC_BYTES]).to_bytes(CRC_BYTES, "little")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", some_now(range(4), 1))
def test_there_and_back(kind, seed):
    """An image says all of a Program that its chip computes."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    program = random_loadable(rng, kind)
    plan = random_plan(rng, program, orders=("row", "weight"))
    for weights in (program, fitted(other_weights(rng, program), program)):
        image = weight_image(program, plan, weights)
        assert len(image) == image_bytes(payload_bytes(program, plan))
        # Names and formats are the chip's either way.
        assert program_hash(read_image(image, program, plan)) == program_hash(weights)
        assert weight_image(weights, replace(plan, program=program_hash(weights))) == image


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("seed", some_now([8, 12, 13, *range(20, 40)], 3))
def test_there_and_back_of_shared_engines(seed, alone):
    case, rng = shared_case(seed, alone=alone, images=2, loads=True), np.random.default_rng(seed)
    program, plan = case.program, case.plan
    for weights in (program, fitted(other_weights(rng, program), program)):
        image = weight_image(program, plan, weights)
        assert program_hash(read_image(image, program, plan)) == program_hash(weights)


def words_of(image, program, plan):
    """Words of every memory in an image, by its name."""
    made, place = {}, HEADER_BYTES
    for name, (width, depth) in loaded_memories(program, plan).items():
        size = word_bytes(width)
        made[name] = [int.from_bytes(image[at : at + size], "little") for at in range(place, place + size * depth, size)]
        place += size * depth
    assert place == len(image) - CRC_BYTES
    return made


def changed_word(image, program, plan, name, number, change):
    """The image with other bits in one word of a memory."""
    place = HEADER_BYTES
    for other, (width, depth) in loaded_memories(program, plan).items():
        size = word_bytes(width)
        if other == name:
            at = slice(place + number * size, place + (number + 1) * size)
            word = int.from_bytes(image[at], "little") ^ change
            return again(image[: at.start] + word.to_bytes(size, "little") + image[at.stop :])
        place += size * depth
    raise AssertionError(name)


@pytest.fixture(scope="module")
def shared():
    """Two layers on 2×3 lanes: the first uses all six fields of a lane word, the second two, and two of its pixels leave together."""
    program = loadable(tiny_program())
    first, second = program.nodes
    layers = Schedule(node=first, ti=2, to=3, p=1, e=2), Schedule(node=second, ti=2, to=1, p=2, e=1, g=2)
    joints = [JointPlan(n=4, depth=1), JointPlan(n=1, depth=0)]
    return program, plan_of(program, [TimeSharing(layers=layers, c=3, e=2)], joints)


def test_every_word_of_a_shared_engine(shared):
    """As `docs/loading.md` says: one memory each for the lane words, the constants and the tables of all layers."""
    program, plan = shared
    (engine,) = plan.engines
    first, second = program.nodes
    (a, b), image = engine.layers, weight_image(program, plan)
    assert image[: HEADER_BYTES - 4] == MAGIC + bytes([VERSION]) + shape_hash(program, plan)
    words, widths = words_of(image, program, plan), {name: width for name, (width, _) in loaded_memories(program, plan).items()}
    assert list(words) == ["layer0_weights", "layer0_constants", "layer0_table"] and widths["layer0_weights"] == 6 * 8
    fields = [
        row for node, layer in ((first, a), (second, b)) for row in node.code.words(engine.Ti, layer.To, 1).reshape(-1, engine.Ti * layer.To)
    ]  # fmt: skip
    assert words["layer0_weights"] == [sum(int(field) << 8 * k for k, field in enumerate(row)) for row in fields]
    assert second.epilogue.table is not None
    assert words["layer0_table"] == [int(value) % (1 << widths["layer0_table"]) for value in second.epilogue.table]
    bits = max(first.loads, second.loads)
    unit, wanted = bits + 16 + 16 + 6, [(0, [0, 1]), (0, [2]), (1, [0, 0])]
    assert len(words["layer0_constants"]) == len(wanted)
    for word, (number, channels) in zip(words["layer0_constants"], wanted, strict=True):
        for k, channel in enumerate(channels):
            e, at, one = program.nodes[number].epilogue, 0, word >> unit * k
            for array, wide in ((e.bias, bits), (e.positive, 16), (e.negative, 16), (e.shift, 6)):
                assert one >> at & (1 << wide) - 1 == int(array[channel]) % (1 << wide)
                at += wide


def test_bounds_in_a_shared_engine(shared):
    """What no layer has names the layer to which the word belongs."""
    program, plan = shared
    image, memories = weight_image(program, plan), loaded_memories(program, plan)
    bits = max(node.loads for node in program.nodes)
    words = words_of(image, program, plan)
    (_, depth), start = memories["layer0_weights"], len(program.nodes[0].code.words(2, 3, 1))
    last, table = words["layer0_constants"][-1], words["layer0_table"]
    between = "the image holds no weights: what is between them is not as it is stored"
    for name, number, change, message in (
        ("layer0_weights", start - 1, words["layer0_weights"][start - 1] & 255 ^ 128, "net.0: the image holds no weights: Linear weights of 8 bits must be within ±127"),
        ("layer0_weights", start, words["layer0_weights"][start] & 255 ^ 128, "net.3: the image holds no weights: Linear weights of 8 bits must be within ±127"),
        ("layer0_weights", depth - 1, 1 << 16, f"net.3: {between}"),  # a field that the layer's lane words do not have
        ("layer0_constants", 0, (words["layer0_constants"][0] >> bits + 32 & 63 ^ 48) << bits + 32, "net.0: the image holds no weights: Epilogue shift must be between 0 and 47, not 20…48"),
        ("layer0_constants", 1, 1 << bits + 38, f"net.0: {between}"),  # a unit without a channel
        ("layer0_constants", 2, (last >> bits + 32 & 63 ^ 63) << bits + 32 | (last >> 2 * (bits + 38) - 6 & 63 ^ 63) << 2 * (bits + 38) - 6,
         "net.3: the image holds no weights: Epilogue shift must be between 0 and 47, not 63…63"),
        ("layer0_constants", 2, 2, f"net.3: {between}"),  # pixels of one channel with different biases
        ("layer0_table", 3, table[3] ^ 200, "net.3: the image holds no weights: epilogue range -127…200 must fit the output format -128…127"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            read_image(changed_word(image, program, plan, name, number, change), program, plan)


def test_every_byte(tiny):
    """As `docs/loading.md` says: header, then weights, constants and table of each layer, each word in whole bytes."""
    program, plan = tiny
    image = weight_image(program, plan)
    memories = loaded_memories(program, plan)
    assert list(memories) == ["layer0_weights", "layer0_constants", "layer1_weights", "layer1_constants", "layer1_table"]
    length = sum(word_bytes(width) * depth for width, depth in memories.values())
    assert image[:HEADER_BYTES] == MAGIC + bytes([VERSION]) + shape_hash(program, plan) + length.to_bytes(4, "little")
    place = HEADER_BYTES
    for number, (node, engine) in enumerate(zip(program.nodes, plan.engines, strict=True)):
        to = engine.layers[0].To
        for name in ("weights", "constants", "table"):
            if f"layer{number}_{name}" not in memories:
                continue
            width, depth = memories[f"layer{number}_{name}"]
            size = word_bytes(width)
            words = [int.from_bytes(image[at : at + size], "little") for at in range(place, place + size * depth, size)]
            place += size * depth
            if name == "weights":
                fields = node.code.words(engine.Ti, to, node.groups).reshape(depth, -1)
                assert words == [sum(int(field) << 8 * k for k, field in enumerate(row)) for row in fields]
            elif name == "table":
                assert node.epilogue.table is not None and words == (node.epilogue.table & 255).tolist()
            else:
                e = node.epilogue
                bits, unit = node.loads, node.loads + 16 + 16 + 6
                assert depth == -(-to // engine.E) * -(-node.co // to)
                seen = 0
                for tile in range(-(-node.co // to)):
                    for chunk in range(-(-to // engine.E)):
                        word = words[seen]
                        seen += 1
                        for k in range(engine.E):
                            channel = tile * to + chunk * engine.E + k
                            if channel >= min((tile + 1) * to, node.co):
                                continue
                            one, at = word >> unit * k, 0
                            for array, wide in ((e.bias, bits), (e.positive, 16), (e.negative, 16), (e.shift, 6)):
                                assert one >> at & (1 << wide) - 1 == int(array[channel]) % (1 << wide)
                                at += wide
    assert place == len(image) - CRC_BYTES


def test_refused_like_the_chip_does(tiny):
    program, plan = tiny
    image = weight_image(program, plan)
    for place, reason in ((0, Reason.MAGIC), (4, Reason.VERSION), (5, Reason.SHAPE), (13, Reason.LENGTH), (99, Reason.CRC)):
        wrong = bytearray(image)
        wrong[place] ^= 4
        with pytest.raises(ImageError, match=f"^Weights are refused: {reason.text}$") as caught:
            read_image(bytes(wrong), program, plan)
        assert caught.value.reason == reason and caught.value.whole
    for size in (HEADER_BYTES, len(image) - 1):
        with pytest.raises(ImageError, match=r"^Weights are refused: the image is not complete$") as caught:
            read_image(image[:size], program, plan)
        assert not caught.value.whole
    assert program_hash(read_image(image + b"more", program, plan)) == program_hash(program)


def constants_at(program, plan):
    """Where the first constants begin."""
    width, depth = loaded_memories(program, plan)["layer0_weights"]
    return HEADER_BYTES + word_bytes(width) * depth


def test_bounds(tiny):
    """A shift beyond 47, a weight that its code does not have, places between words: an image that holds them names the layer."""
    program, plan = tiny
    image, bits = weight_image(program, plan), program.nodes[0].loads
    wrong = bytearray(image)
    wrong[HEADER_BYTES] = 0x80
    with pytest.raises(ValueError, match=r"^net\.0: the image holds no weights: Linear weights of 8 bits must be within ±127$"):
        read_image(again(wrong), program, plan)
    place = constants_at(program, plan)
    width, _ = loaded_memories(program, plan)["layer0_constants"]
    word = int.from_bytes(image[place : place + word_bytes(width)], "little") | 63 << bits + 32
    wrong = bytearray(image)
    wrong[place : place + word_bytes(width)] = word.to_bytes(word_bytes(width), "little")
    with pytest.raises(ValueError, match=r"^net\.0: the image holds no weights: Epilogue shift must be between 0 and 47, not 20…63$"):
        read_image(again(wrong), program, plan)
    assert width % 8
    wrong = bytearray(image)
    wrong[place + word_bytes(width) - 1] |= 0x80
    message = "net.0: the image holds no weights: what is between them is not as it is stored"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_image(again(wrong), program, plan)


def test_bytes_of_no_trits():
    """13 of 256 bytes are no five digits."""
    node = tiny_program().nodes[0]
    program = loadable(Program((replace(node, code=Ternary(np.ones(node.code.shape, np.int64), 5)),)))
    plan = plan_program(program, 4)
    image = weight_image(program, plan)
    digits = min(plan.engines[0].Ti * plan.engines[0].layers[0].To, TRITS)  # others of the byte are no weights, and 0
    weights = np.array([*itertools.product(range(3), repeat=digits)])
    good = set(trit_bytes(np.pad(weights, ((0, 0), (0, TRITS - digits)))).reshape(-1).tolist())
    bad = sorted(set(range(256)) - good)
    assert len(good) == 3**digits
    for byte in (min(good), max(good), bad[0], bad[len(bad) // 2], 243, 255):
        other = bytearray(image)
        other[HEADER_BYTES] = byte
        if byte in good:
            read_image(again(other), program, plan)
        else:
            with pytest.raises(ValueError, match=r"^net\.0: the image holds no weights: "):
                read_image(again(other), program, plan)


def test_nothing_to_load(tiny):
    _, plan = tiny
    with pytest.raises(ValueError, match=r"^Program must have layers whose weights are loaded at run time$"):
        weight_image(tiny_program(), plan)


def test_other_weights_that_do_not_fit(tiny):
    program, plan = tiny
    other = replace(program.nodes[0], code=Ternary(np.ones(program.nodes[0].code.shape, np.int64)))
    with pytest.raises(ValueError, match=r"^net\.0: the chip is built for code linear, not ternary$"):
        weight_image(program, plan, Program((other, program.nodes[1])))
