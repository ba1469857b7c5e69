# amaranth: UnusedElaboratable=no
"""Factorised and pruned generators on the RTL: 10 to 16 bits between factors, odd widths, sparse factors."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from organza.compress.chain import Chain
from organza.compress.low_rank.factorize import factorize, factors_of, sparse_rows
from organza.compress.pruning.config import PruneConfig
from organza.compress.pruning.schedule import Pruner
from organza.float_layers import float_run
from organza.formats import Fixed
from organza.program import Program
from organza.quantize import quantize
from tests.organza.compress.neighbours import inputs
from tests.organza.compress.test_chain import randomised
from tests.organza_sim.layer_cases import Case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import random_plan

pytestmark = pytest.mark.rtl

# Ranks of the two layers, 6→5 channels of 3×3 taps and 5→3 of 4×4.
RANKS = {"separable": [(5,), (7,)], "tucker": [(3, 4), (3, 2)], "cp": [(6,), (5,)]}


def generator() -> Chain:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.ConvTranspose2d(6, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.ConvTranspose2d(5, 3, 4, 2, 1), nn.Tanh()
    )
    return Chain.of(randomised(module), inputs(2)).eval()


def program_of(chain: Chain) -> Program:
    x = inputs(64)
    return quantize(chain.float_layers(), x.double().numpy())


def on_the_chip(program: Program, seed: int) -> None:
    """Every bit and every cycle, without and with stalls."""
    x = program.quantize(inputs(3, seed=9).double().numpy())
    chosen = Case(program, random_plan(np.random.default_rng(seed), program, max_lanes=24), x)
    check_free(chosen)
    check_stalled(chosen, seed)


@pytest.mark.parametrize("method, bits, full", [
    ("separable", 16, False), pytest.param("separable", 12, True, marks=pytest.mark.full),
    pytest.param("tucker", 10, True, marks=pytest.mark.full), pytest.param("cp", 16, True, marks=pytest.mark.full),
])  # fmt: skip
def test_factors(method, bits, full):
    chain = generator()
    chosen = chain.list if full else chain.list[1:]
    ranks = [rank if layer in chosen else None for layer, rank in zip(chain.list, RANKS[method], strict=True)]
    factorize(chain, factors_of(chain, chosen, method, bits), ranks)
    program = program_of(chain)
    last = [number for number, layer in enumerate(chain.list) if layer.bits is None]
    for number, node in enumerate(program.nodes):
        assert isinstance(node.output, Fixed) and node.output.bits == (8 if number in last else bits)
        assert node.output.signed or number in last
    on_the_chip(program, len(last))


def test_sparse_rows_and_odd_widths():
    """Channels pruned, the rest factorised with short rows: sparse factors of odd sizes."""
    chain = generator()
    pruner = Pruner(chain, PruneConfig(granularity="channel", amount=0.4), chain.list, inputs(2))
    pruner.to(0.4)
    pruner.finish()
    assert [layer.co for layer in chain.list] == [3, 3]
    before = deepcopy(chain)
    factorize(chain, factors_of(chain, chain.list[1:], "separable", 14), [None, (7,)])
    sparse_rows(chain, before, {"3": (7,)}, "weight", 0.5, 0.5, inputs(2), lambda trial: 0.0)
    program = program_of(chain)
    assert [node.code.kind for node in program.nodes] == ["linear", "sparse", "sparse"]
    on_the_chip(program, 5)


@pytest.mark.parametrize("method", RANKS)
def test_more_bits_between_factors_are_nearer(method):
    errors = []
    for bits in (None, 10, 16):
        chain = generator()
        factorize(chain, factors_of(chain, chain.list, method), RANKS[method])
        for layer in chain.list:
            layer.bits = bits if layer.bits else None
        program = program_of(chain)
        x = inputs(64, seed=3)
        wanted = float_run(chain.float_layers(), x).numpy()
        made = program.dequantize(program.run(program.quantize(x.double().numpy())))
        errors.append(float(((made - wanted) ** 2).mean()))
    assert errors[2] < 0.98 * errors[0] and errors[2] < 1.01 * errors[1]
