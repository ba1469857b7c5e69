"""Adders whose operands are gated or inverted on the way in, at no cost beyond the adder where the carry chain allows it.

A position of a carry chain on ECP5 (half a CCU2C) has four inputs: the propagate bit is any function of them, the
generate bit the same function with the upper two inputs at 0. Three sums fit, as the tests prove against Yosys' model of
the cell:

    AND_AND  (a & b) + (c & d)         INIT 0x7888: when the two terms are equal, both are a & b
    AND_XOR  a + ((b & c) ^ d)         INIT 0x956A: when the two terms are equal, both are a
    XOR_XOR  (a ^ b) + (c ^ d)         INIT 0x6996: when the two terms are equal, both are a ^ b

Yosys does not find the first by itself, so Verilog instantiates `organza_carry`, which is CCU2C cells where ORGANZA_ECP5 is
defined and the plain expression elsewhere. An accumulator that restarts is the first sum on ECP5. Elsewhere it chooses between
the value and the sum, which a LUT behind a carry chain has an input left for on iCE40.
"""

from amaranth import *

from organza_hw.lanes.dot import register

AND_AND, AND_XOR, XOR_XOR, RESTART = range(4)
POPCOUNT_ADDERS = 2  # without a register between them
MODULE = "organza_carry"
VERILOG = f"""\
// Bit by bit in front of one carry chain: KIND 0: (a & b) + (c & d), 1: a + ((b & c) ^ d), 2: (a ^ b) + (c ^ d), 3: as 0, b all equal, d ones.
module {MODULE} #(
    parameter KIND = 0,
    parameter WIDTH = 1
) (
    input  wire [WIDTH-1:0] a, b, c, d,
    output wire [WIDTH-1:0] sum
);
`ifdef ORGANZA_ECP5
    localparam PAIRS = (WIDTH + 1) / 2;
    localparam [15:0] INIT = KIND == 2 ? 16'h6996 : KIND == 1 ? 16'h956A : 16'h7888;
    wire [2*PAIRS-1:0] a_in = a, b_in = b, c_in = c, d_in = d, s;
    wire [PAIRS:0] carry;
    assign carry[0] = 1'b0;
    assign sum = s[WIDTH-1:0];
    genvar k;
    generate for (k = 0; k < PAIRS; k = k + 1) begin : pair
        CCU2C #(.INIT0(INIT), .INIT1(INIT), .INJECT1_0("NO"), .INJECT1_1("NO")) cell_ (
            .CIN(carry[k]), .COUT(carry[k+1]),
            .A0(a_in[2*k]), .B0(b_in[2*k]), .C0(c_in[2*k]), .D0(d_in[2*k]), .S0(s[2*k]),
            .A1(a_in[2*k+1]), .B1(b_in[2*k+1]), .C1(c_in[2*k+1]), .D1(d_in[2*k+1]), .S1(s[2*k+1])
        );
    end endgenerate
`else
    assign sum = KIND == 3 ? (b[0] ? a + c : c) : KIND == 2 ? (a ^ b) + (c ^ d) : KIND == 1 ? a + ((b & c) ^ d) : (a & b) + (c & d);
`endif
endmodule
"""


def widen(value, width):
    """The bits of `value`, extended to `width` as its shape says, or cut."""
    value = Value.cast(value)
    if len(value) >= width:
        return value[:width]
    fill = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, fill.replicate(width - len(value)))


def carry_sum(m, kind, operands, shape, *, instances):
    """The sum `kind` of four operands, which are extended to its `shape` or cut; it wraps."""
    shape = Shape.cast(shape)
    operands = [widen(operand, shape.width) for operand in operands]
    total = Signal(shape)
    if instances:
        names = dict(zip(("i_a", "i_b", "i_c", "i_d"), operands, strict=True))
        m.submodules += Instance(MODULE, p_KIND=kind, p_WIDTH=shape.width, **names, o_sum=total)
    else:
        a, b, c, d = operands
        first, second = {AND_AND: (a & b, c & d), RESTART: (a & b, c & d), AND_XOR: (a, (b & c) ^ d), XOR_XOR: (a ^ b, c ^ d)}[kind]
        m.d.comb += total.eq(first + second)
    return total


def gated_sum(m, first, second, shape, *, instances):
    """``(value if gate else 0) + …`` for two pairs (value, gate); `shape` of the sum, which wraps."""
    shape = Shape.cast(shape)
    operands = []
    for value, gate in (first, second):
        operands += [value, Value.cast(gate).replicate(shape.width)]
    return carry_sum(m, AND_AND, operands, shape, instances=instances)


def add_inverted(m, total, value, gate, invert, shape, *, instances):
    """``total + ((value if gate else 0) ^ invert)``, inverted over the bits of an unsigned `value` or all of a signed one."""
    shape = Shape.cast(shape)
    value = Value.cast(value)
    bits = shape.width if value.shape().signed else min(len(value), shape.width)
    operands = [total, value, Value.cast(gate).replicate(shape.width), invert.replicate(bits)]
    return carry_sum(m, AND_XOR, operands, shape, instances=instances)


def accumulate(m, held, restart, value, *, instances):
    """``(0 if restart else held) + value`` in the width of `held`: a restart costs no gate in front of the adder."""
    width = len(held)
    operands = [held, (~restart).replicate(width), value, Const(1).replicate(width)]
    return carry_sum(m, RESTART, operands, held.shape(), instances=instances)


def popcount(m, bits, *, stages: int):
    """Ones among `bits`, `stages` cycles later: full adders of two LUTs each, which Yosys would otherwise make of carry chains.

    A register is behind every second adder, while there are stages left.
    """
    # Of every place its bits: the cycles that they have taken, the adders behind their last register, and the bits.
    columns = [[(0, 0, bit) for bit in bits]]

    def later(stage, found, bit):
        return register(m, bit, stages=stage - found)

    place = 0
    while place < len(columns):
        column = columns[place]
        while len(column) > 1:
            column.sort(key=lambda made: made[:2])
            taken, column[:] = column[:3], column[3:]
            if place + 1 == len(columns):
                columns.append([])
            stage = max(found for found, _, _ in taken)
            deep = max(deep for found, deep, _ in taken if found == stage)
            if deep == POPCOUNT_ADDERS and stage < stages:
                stage, deep = stage + 1, 0
            made = [later(stage, found, bit) for found, _, bit in taken]
            if len(made) == 3:
                a, b, c = made
                made = a ^ b ^ c, (a & b) | (a & c) | (b & c)
            else:
                a, b = made
                made = a ^ b, a & b
            # Named wires: an expression used twice would be written out twice, at every level again.
            low, high = Signal(), Signal()
            m.d.comb += [low.eq(made[0]), high.eq(made[1])]
            column.append((stage, deep + 1, low))
            columns[place + 1].append((stage, deep + 1, high))
        place += 1
    return Cat(later(stages, found, bit) for column in columns for found, _, bit in column)
