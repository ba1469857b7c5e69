"""Stage `factorize`: every method and every rule for ranks."""

import tomllib

import pytest
import torch

from organza.compress.chain_file import load_chain, save_chain
from organza.compress.recipe import parse_recipe
from organza.compress.sketch import macs
from organza.compress.stages.factorize import FactorizeStage
from organza.compress.stages.quantize import QuantizeStage
from organza.compress.stages.stage import Cost
from organza.errors import UserError
from tests.organza.compress.neighbours import inputs
from tests.organza.compress.stages.test_prune import context, state


def slow(program) -> Cost:
    cycles = max(node.macs for node in program.nodes)
    return Cost(cycles, cycles, 1, cycles)


@pytest.mark.parametrize("options", [
    {"macs": 0.6}, {"cycles": 0.6}, {"macs": 0.5, "method": "tucker"}, {"macs": 0.5, "method": "cp"},
    {"macs": 0.6, "method": "slr", "importance": "activation", "share": 0.25},
])  # fmt: skip
def test_budgets_are_kept(options):
    at = state()
    before = at.generator.float_layers()
    FactorizeStage(**options).apply(at, context(cost=slow))
    after = at.generator.float_layers()
    if "cycles" in options:
        assert max(layer.macs for layer in after) <= 0.6 * max(layer.macs for layer in before)
    else:
        assert macs(after) <= options["macs"] * macs(before)
    assert torch.isfinite(at.generator(inputs(2))).all()


def test_ranks_by_name_and_bits_that_stay_when_activations_are_rounded(tmp_path):
    at = state()
    notes = FactorizeStage(method="tucker", ranks={"layer0": [4, 4], "6": [3, 2]}, bits=12).apply(at, context())
    assert list(notes) == ["0", "6"] and notes["6"]["layers"] == ["6:in", "6:core", "6:out"]
    assert [layer.name for layer in at.generator.list] == ["0:in", "0:core", "0:out", "3", "6:in", "6:core", "6:out"]
    QuantizeStage(bits=6, code="uniform", activations=7).apply(at, context())
    grids = [None if layer.grid is None else layer.grid.bits for layer in at.generator.list]
    assert grids == [12, 12, 7, 7, 12, 12, None]
    save_chain(tmp_path / "c.safetensors", at.generator)
    again, _ = load_chain(tmp_path / "c.safetensors")
    assert [layer.bits for layer in again.list] == [12, 12, None, None, 12, 12, None]
    x = inputs(3)
    with torch.no_grad():
        assert torch.equal(again(x), at.generator.eval()(x))


@pytest.mark.parametrize("importance", ["weight", "cost"])
def test_sparse_rows_are_fewer_values(importance):
    at = state()
    notes = FactorizeStage(method="slr", ranks={"3": 12}, importance=importance, share=0.5, short=0.5).apply(at, context())
    (note,) = notes.values()
    assert note["values_before"] == 12 * (8 * 4 + 6 * 4)
    assert note["values"] == 12 * 28 + 6 * 28  # half of the rows keep half of the components
    kept = sum(int(layer.mask.sum()) for layer in at.generator.list if layer.mask is not None)
    assert kept == note["values"]


def test_energy_leaves_layers_that_would_grow():
    at = state()
    assert FactorizeStage(energy=0.999).apply(at, context()) == {}
    notes = FactorizeStage(energy=0.3).apply(at, context())
    assert notes and all(note["macs"] < note["macs_before"] and note["relative_error"] <= 0.7 for note in notes.values())


@pytest.mark.parametrize("options, message", [
    ({"ranks": {"3": 25}}, "^3: rank must be 1…24, not 25$"), ({"ranks": {"9": 3}}, "^factorize: unknown layer '9'"),
    ({"macs": 0.001}, "^factorize: the smallest ranks still cost .*; allow more, or prune channels first$"),
])  # fmt: skip
def test_what_a_network_does_not_allow(options, message):
    for stage_method in ("apply", "rehearse"):
        with pytest.raises(UserError, match=message):
            getattr(FactorizeStage(**options), stage_method)(state(), context())


@pytest.mark.parametrize("options", [{"energy": 0.9}, {"macs": 0.5, "method": "cp"}, {"cycles": 0.9, "method": "slr", "importance": "cost"}])
def test_a_rehearsal_has_the_layers(options):
    at = state()
    FactorizeStage(**options).rehearse(at, context(rehearsal=True, cost=slow))
    assert len(at.generator.list) == 3 * (4 if options.get("method") == "cp" else 2)


@pytest.mark.parametrize("text, message", [
    ("", "^stage 1: factorize: must have exactly one of energy, macs, cycles and ranks, not none$"),
    ("energy = 0.9, macs = 0.5", "^stage 1: factorize: must have exactly one of .*, not energy, macs$"),
    ("energy = 0.9, method = 'qr'", "^stage 1: factorize.method: must be one of separable, tucker, cp, slr, not 'qr'$"),
    ("energy = 0.9, bits = 8", "^stage 1: factorize.bits: must be greater than or equal to 10, not 8$"),
    ("energy = 0.9, short = 0.5", "^stage 1: factorize: importance, share and short are for method slr, not separable$"),
    ("ranks = { a = 3 }, layers = ['a']", "^stage 1: factorize: ranks names the layers already; leave layers out$"),
])  # fmt: skip
def test_mistakes_in_recipes(text, message):
    with pytest.raises(UserError, match=message):
        parse_recipe(tomllib.loads(f"[[stage]]\nfactorize = {{ {text} }}\n"))
