"""Dot products of signs: exclusive or, count, no adder wider than the count.

Σ a·w over ±1 is the number of terms minus twice the number of unequal signs. As AND-OR, unequal is (a ∧ ¬w) ∨ (¬a ∧ w): the same
function of the same two wires, so synthesis makes the same cells of both ways to write it.
"""

from amaranth import *

from organza_hw.lanes.carry import popcount
from organza_hw.lanes.dot import add_tree, register, tree_latency

GROUP = 6
MODULE = "organza_unequal"
VERILOG = f"""\
// Unequal bits of two groups of three, two bits each. On ECP5 a group is three positions of a carry chain: one makes the
// carry of bit 2, one adds bits 0 and 1 to it, one brings the carry out.
module {MODULE} (
    input  wire [5:0] a, b,
    output wire [1:0] low, high
);
`ifdef ORGANZA_ECP5
    wire [1:0] carry;
    wire unused_0, unused_1, unused_2; // nextpnr takes no carry that is left open
    CCU2C #(.INIT0(16'h0006), .INIT1(16'h6996), .INJECT1_0("NO"), .INJECT1_1("NO")) first (
        .CIN(1'b0), .COUT(carry[0]),
        .A0(a[2]), .B0(b[2]), .C0(1'b1), .D0(1'b1), .S0(unused_0),
        .A1(a[0]), .B1(b[0]), .C1(a[1]), .D1(b[1]), .S1(low[0])
    );
    CCU2C #(.INIT0(16'h0000), .INIT1(16'h0006), .INJECT1_0("NO"), .INJECT1_1("NO")) second (
        .CIN(carry[0]), .COUT(carry[1]),
        .A0(1'b0), .B0(1'b0), .C0(1'b0), .D0(1'b0), .S0(low[1]),
        .A1(a[5]), .B1(b[5]), .C1(1'b1), .D1(1'b1), .S1(unused_1)
    );
    CCU2C #(.INIT0(16'h6996), .INIT1(16'h0000), .INJECT1_0("NO"), .INJECT1_1("NO")) third (
        .CIN(carry[1]), .COUT(unused_2),
        .A0(a[3]), .B0(b[3]), .C0(a[4]), .D0(b[4]), .S0(high[0]),
        .A1(1'b0), .B1(1'b0), .C1(1'b0), .D1(1'b0), .S1(high[1])
    );
`else
    wire [5:0] x = a ^ b;
    assign low  = {{1'b0, x[0]}} + {{1'b0, x[1]}} + {{1'b0, x[2]}};
    assign high = {{1'b0, x[3]}} + {{1'b0, x[4]}} + {{1'b0, x[5]}};
`endif
endmodule
"""


def latency(ti):
    """Cycles from operands to sums of Ti signs."""
    return 2 + tree_latency(-(-ti // GROUP))


def unequal(m, a, b, *, instances):
    """Number of places where bits `a` and `b` differ, `latency` − 1 cycles later."""
    groups = []
    for k in range(0, len(a), GROUP):
        x, y = (Cat(*bits[k : k + GROUP], Const(0, GROUP))[:GROUP] for bits in (a, b))
        low, high = Signal(2), Signal(2)
        if instances:
            m.submodules += Instance(MODULE, i_a=x, i_b=y, o_low=low, o_high=high)
        else:
            z = x ^ y
            m.d.comb += [low.eq(z[0] + z[1] + z[2]), high.eq(z[3] + z[4] + z[5])]
        # Three functions of four wires; a carry chain would take four positions.
        both = low[0] & high[0]
        upper = (low[1] & high[1]) | (both & (low[1] ^ high[1]))
        groups.append(register(m, Cat(low[0] ^ high[0], low[1] ^ high[1] ^ both, upper)))
    return add_tree(m, groups)


def sign_sums(m, activations, words, exists, *, instances):
    """Σ of the activations (bit 0: exists, bit 1: −1), negated where a field is 1, for every word of fields; after `latency`.

    exists : whether the channels exist, but for those beyond the last of a layer, whose fields are 0 as their activations are.
    """
    bits = [Value.cast(activation).as_unsigned() for activation in activations]
    stages = latency(len(bits)) - 1
    exists, count = register(m, exists, stages=stages), popcount(m, [value[0] for value in bits], stages=stages)
    made = []
    for word in words:
        differ = unequal(m, [value[1] for value in bits], [field[0] for field in word], instances=instances)
        made.append(register(m, Mux(exists, count - (differ << 1), 0)))
    return made
