"""From a flexpoint Program with frozen exponents to one that picks them at run time.

The frozen exponents, chosen at calibration, become the initial ones. At them the managed Program gives the same integers, as
far as its biases fit 32-bit mantissas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

import numpy as np

from organza.epilogue import MAX_BIAS_BITS, MAX_SHIFT
from organza.exponents import LEAST_EXPONENT, ExponentRule
from organza.formats import Flex, Format, Managed
from organza.managed_epilogue import BIAS_BITS, ManagedEpilogue
from organza.program import Convolve, Program

# How much wider than its products a sum may get for a bias. At a smaller exponent of the input the bias is larger in steps of
# the sums, so this says how small a tensor may be before its own precision no longer matters beside the bias.
WIDER_BITS = 8


def manage(program: Program, layers: Collection[str] | None = None, *, window: int = 4, delay: int = 1) -> Program:
    """`program` with managed exponents in every flexpoint tensor between two nodes, or in those that `layers` read.

    window, delay : see `ExponentRule`.

    Raises ValueError for a name that is no node or whose input is not a flexpoint tensor between two nodes, and for a layer
    that no exponent suits.
    """
    inner = {node.name: type(node.input) is Flex for node in program.nodes[1:]}
    names = [name for name, flex in inner.items() if flex] if layers is None else layers
    for name in names:
        if not inner.get(name):
            known = ", ".join(name for name, flex in inner.items() if flex) or "none"
            raise ValueError(f"exponents can be managed in what these layers read: {known}; not {name!r}")
    nodes, output = [], program.output
    for node in reversed(program.nodes):
        input = Managed.of(_rule(node, output, window, delay)) if node.name in names else node.input
        nodes.append(_managed(node, input, output))
        output = input
    return Program(tuple(reversed(nodes)))


def with_rules(program: Program, change: Callable[[ExponentRule], ExponentRule]) -> Program:
    """`program` with other rules for its managed exponents: `change` of every one that it has.

    Raises ValueError for rules that a layer cannot follow.
    """
    formats: list[Format] = [program.input]
    for node in program.nodes:
        formats.append(Managed.of(change(node.output.rule)) if isinstance(node.output, Managed) else node.output)
    return Program(tuple(
        dataclasses.replace(node, input=before, output=after)
        for node, before, after in zip(program.nodes, formats, formats[1:], strict=False)
    ))  # fmt: skip


def _rule(node: Convolve, output: Format, window: int, delay: int) -> ExponentRule:
    """The rule of what `node` reads: exponents at which its biases are in range, and its shifts for some exponent of `output`."""
    assert isinstance(node.input, Flex)
    initial = node.input.exponent
    low, high = LEAST_EXPONENT, 0
    bias = int(np.abs(node.epilogue.bias).max())
    if bias:
        # Wider by at most WIDER_BITS, products below 2**62, and a bias within its own bits; at `initial` it is known to fit.
        factor = int(np.abs(node.multipliers).max()).bit_length()
        bits = min(int(node.dot_bound.max()).bit_length() + WIDER_BITS, 60 - factor, MAX_BIAS_BITS - 1)
        low = max(low, min(initial, initial + bias.bit_length() - bits))
    shift = node.epilogue.shift  # at other exponents shift + (e_out - its initial) - (e_in - its initial)
    least = most = 0
    if isinstance(output, Managed):
        least, most = output.rule.low - output.rule.initial, output.rule.high - output.rule.initial
    low = max(low, initial + least + int(shift.max()) - MAX_SHIFT)
    high = min(high, initial + most + int(shift.min()))
    return ExponentRule(initial=initial, low=low, high=high, window=window, delay=delay)


def _managed(node: Convolve, input: Format, output: Format) -> Convolve:
    """`node` between tensors of which some are managed."""
    if not isinstance(input, Managed) and not isinstance(output, Managed):
        return node
    e = node.epilogue
    e_in, e_out = (form.exponent if isinstance(form, Managed) else 0 for form in (input, output))
    right = max(int(np.abs(e.bias).max(initial=0)).bit_length() - (BIAS_BITS - 1), 0)
    # Rounding up may give 2**31.
    top = (1 << (BIAS_BITS - 1)) - 1
    bias = np.minimum((e.bias + ((1 << right) >> 1)) >> right, top)
    epilogue = ManagedEpilogue(
        bias, e.positive, e.negative, e.shift + (e_in - e_out), e.low, e.high, e.table, bias_exponent=e_in + right
    )
    return dataclasses.replace(node, epilogue=epilogue, input=input, output=output)
