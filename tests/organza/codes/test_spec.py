"""What users type for codes."""

from __future__ import annotations

import pytest

from organza.codes.spec import CodeSpec, parse_arithmetic, parse_codes, parse_spec
from organza.errors import UserError
from tests.tiny import tiny_program

NAMES = ["net.0", "net.3"]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("ternary", CodeSpec("ternary")),
        ("linear:4", CodeSpec("linear", {"bits": 4})),
        ("ternary:5", CodeSpec("ternary", {"per_byte": 5})),
        (" codebook:16 ", CodeSpec("codebook", {"centroids": 16})),
        ("sparse", CodeSpec("sparse")),
        ("sparse:75", CodeSpec("sparse", {"sparsity": 75})),
        ("sparse:75:8:relative", CodeSpec("sparse", {"sparsity": 75, "block": 8, "index": "relative"})),
        ("sparse:relative:75:16:3", CodeSpec("sparse", {"index": "relative", "sparsity": 75, "block": 16, "gap": 3})),
        ("sparse:unbalanced+ternary", CodeSpec("sparse", {"balanced": False, "inner": CodeSpec("ternary")})),
        ("sparse:50:bitmap:unbalanced", CodeSpec("sparse", {"sparsity": 50, "index": "bitmap", "balanced": False})),
        ("sparse+ternary", CodeSpec("sparse", {"inner": CodeSpec("ternary")})),
        ("sparse:60+linear:4", CodeSpec("sparse", {"sparsity": 60, "inner": CodeSpec("linear", {"bits": 4})})),
        ("huffman", CodeSpec("huffman")),
        ("huffman+ternary", CodeSpec("huffman", {"inner": CodeSpec("ternary")})),
        ("rle+linear:4", CodeSpec("rle", {"inner": CodeSpec("linear", {"bits": 4})})),
        ("flexpoint:managed", CodeSpec("flexpoint", {"exponents": "managed"})),
        ("hashed:16", CodeSpec("hashed", {"factor": 16})),
        ("hashed:16:3", CodeSpec("hashed", {"factor": 16, "seed": 3})),
        ("blockhash:8:8:4", CodeSpec("blockhash", {"factor": 8, "ti": 8, "to": 4})),
    ],
)
def test_spec(text, spec):
    assert parse_spec(text) == spec
    assert str(spec) == text.strip()


def test_one_code_for_all_and_one_for_each():
    assert parse_codes("binary", NAMES) == dict.fromkeys(NAMES, CodeSpec("binary"))
    assert parse_codes("hashed", NAMES)["net.3"] == CodeSpec("hashed", {"factor": 8, "seed": 1})
    assert parse_codes("layer1=hashed:4:9", NAMES) == {"net.3": parse_spec("hashed:4:9")}
    assert parse_codes("layer0=sparse:75+ternary", NAMES) == {
        "net.0": CodeSpec("sparse", {"sparsity": 75, "inner": CodeSpec("ternary")})
    }
    assert parse_codes("layer1=power:3", NAMES) == {"net.3": CodeSpec("power", {"bits": 3})}
    assert parse_codes("net.0=binary, layer1=ternary", NAMES) == {
        "net.0": CodeSpec("binary"),
        "net.3": CodeSpec("ternary"),
    }


def test_layers_by_what_they_are():
    groups = {"redundant": ["net.3"]}
    linear, binary = CodeSpec("linear", {"bits": 4}), CodeSpec("binary")
    assert parse_codes("redundant=binary", NAMES, groups) == {"net.3": binary}
    assert parse_codes("rest=linear:4,redundant=binary", NAMES, groups) == {"net.3": binary, "net.0": linear}
    assert parse_codes("layer0=binary,rest=linear:4", NAMES) == {"net.0": binary, "net.3": linear}
    assert parse_codes("layer0=binary,layer1=binary,rest=linear:4", NAMES) == dict.fromkeys(NAMES, binary)
    assert parse_codes("rest=hashed", NAMES)["net.3"].options["seed"] == 1
    # A layer may have such a name.
    assert parse_codes("rest=binary", ["rest", "other"]) == {"rest": binary}
    for text, message in (
        ("redundant=binary,layer1=ternary", r"^code names the layer 'layer1' twice$"),
        ("layer1=ternary,redundant=binary", r"^code names the layer 'net\.3' again, in redundant$"),
        ("rest=binary,rest=ternary", "^code names the rest twice$"),
        ("layer7=binary", r"^code names the layer 'layer7'; this model has layer0 \(net\.0\), layer1 \(net\.3\), or say redundant or rest$"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            parse_codes(text, NAMES, groups)
    with pytest.raises(UserError, match="^code names the redundant layers, but this model has none$"):
        parse_codes("redundant=binary", NAMES, {"redundant": []})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quaternary", r"^code must be one of linear, affine, power, ternary, binary, flexpoint, codebook, sparse, blockhash, huffman, rle, hashed, multihash, tanh, not 'quaternary'$"),
        ("flexpoint:3", r"^code flexpoint takes only managed, not 'flexpoint:3'$"),
        ("linear:x", r"^code linear takes a whole number of bits, not 'x'$"),
        ("sparse:", r"^code sparse takes a whole number of sparsity, relative, bitmap, unbalanced, not ''$"),
        ("sparse:75:tight", r"^code sparse takes a whole number of block, relative, bitmap, unbalanced, not 'tight'$"),
        ("sparse:75:bitmap:relative", r"^code sparse takes one index, not 'sparse:75:bitmap:relative'$"),
        ("sparse:1:2:3:4", r"^code sparse takes only sparsity and block and gap, not 'sparse:1:2:3:4'$"),
        ("sparse:75+", r"^code must be one of linear, affine, .*, not ''$"),
        ("sparse+affine", r"^code sparse must be around one of linear, power, ternary, binary, codebook, not 'affine'$"),
        ("sparse+sparse:50", r"^code sparse must be around one of linear, .*, not 'sparse'$"),
        ("sparse+linear:4+ternary", r"^code linear takes a whole number of bits, not '4\+ternary'$"),
        ("ternary+linear", r"^code ternary is not around another one: no \+ after it, not 'linear'$"),
        ("huffman:7", r"^code huffman takes no number, not 'huffman:7'$"),
        ("huffman:linear:4", r"^code huffman takes no number, not 'huffman:linear:4'$"),
        ("huffman+7", r"^code must be one of linear, .*, not '7'$"),
        ("huffman+sparse", r"^code huffman must be around one of linear, affine, power, ternary, binary, codebook, not 'sparse'$"),
        ("rle+huffman", r"^code rle must be around one of linear, .*, codebook, not 'huffman'$"),
        ("rle+blockhash", r"^code rle must be around one of linear, .*, codebook, not 'blockhash'$"),
        ("sparse+huffman", r"^code sparse must be around one of linear, .*, not 'huffman'$"),
        ("hashed:8:1:2", r"^code hashed takes only factor and seed, not 'hashed:8:1:2'$"),
        ("layer2=binary", r"^code names the layer 'layer2'; this model has layer0 \(net\.0\), layer1 \(net\.3\), or say rest$"),
        ("layer0=binary,net.0=ternary", r"^code names the layer 'net\.0' twice$"),
        ("layer0=binary,ternary", r"^code must be layer=code in every part of .*, not 'ternary'$"),
    ],
)
def test_wrong_specs(text, message):
    with pytest.raises(UserError, match=message):
        parse_codes(text, NAMES)


class TestArithmetic:
    def test_by_layer(self):
        program = tiny_program()
        first, second = (node.name for node in program.nodes)
        assert parse_arithmetic("layer1=packed", program) == {second: "packed"}
        assert parse_arithmetic(f"{first}=plain,layer1=packed", program) == {first: "plain", second: "packed"}

    @pytest.mark.parametrize(
        "text, message",
        [
            ("packed", "arithmetic must be layer=arithmetic in every part of 'packed', not 'packed'"),
            ("layer9=packed", r"arithmetic names the layer 'layer9'; this model has layer0 \(.*\), layer1 \(.*\), or say rest"),
            ("layer0=packed,layer0=packed", "arithmetic names the layer 'layer0' twice"),
            ("layer0=lut", r"arithmetic of .* \(a linear code\) must be one of plain, packed, not 'lut'"),
        ],
    )
    def test_what_is_refused(self, text, message):
        with pytest.raises(UserError, match=f"^{message}$"):
            parse_arithmetic(text, tiny_program())
