"""Products that close timing: ECP5's multipliers with the registers that are in them, and wider factors in parts.

A multiplier of 18 × 18 bits takes 4 ns, and the ways to it and from it about as much again; so the registers in front of it and behind
it are those inside. Neither Yosys nor nextpnr moves registers there: Verilog instantiates `organza_multiply`, which is the cell where
ORGANZA_ECP5 is defined and plain registers elsewhere.
"""

from typing import Any

from amaranth import *

from organza_hw.lanes.dot import add_tree, register, tree_latency

PART = 17  # bits of a lower part, which is not signed; the highest part has one more if it is
LATENCY = 2  # of one multiplier
MODULE = "organza_multiply"


def _ports(port, count, value):
    return ", ".join(f".{port}{bit}({value.format(bit)})" for bit in range(count))


VERILOG = f"""\
// Product of two factors of at most 18 bits, two clock edges with en later. What is signed has its sign as the highest bit.
module {MODULE} #(
    parameter A = 1,
    parameter B = 1,
    parameter A_SIGNED = 0,
    parameter B_SIGNED = 0
) (
    input  wire           clk, en,
    input  wire [A-1:0]   a,
    input  wire [B-1:0]   b,
    output wire [A+B-1:0] p
);
    wire a_sign = A_SIGNED ? a[A-1] : 1'b0, b_sign = B_SIGNED ? b[B-1] : 1'b0;
`ifdef ORGANZA_ECP5
    wire [35:0] a_in = {{{{(36-A){{a_sign}}}}, a}}, b_in = {{{{(36-B){{b_sign}}}}, b}}, product;
    MULT18X18D #(
        .REG_INPUTA_CLK("CLK0"), .REG_INPUTB_CLK("CLK0"), .REG_OUTPUT_CLK("CLK0")
    ) cell_ (
        {_ports("A", 18, "a_in[{}]")},
        {_ports("B", 18, "b_in[{}]")},
        {_ports("C", 18, "1'b0")},
        .SIGNEDA(A_SIGNED ? 1'b1 : 1'b0), .SIGNEDB(B_SIGNED ? 1'b1 : 1'b0), .SOURCEA(1'b0), .SOURCEB(1'b0),
        .CLK0(clk), .CLK1(1'b0), .CLK2(1'b0), .CLK3(1'b0), .CE0(en), .CE1(1'b1), .CE2(1'b1), .CE3(1'b1),
        .RST0(1'b0), .RST1(1'b0), .RST2(1'b0), .RST3(1'b0),
        {_ports("P", 36, "product[{}]")}
    );
    assign p = product[A+B-1:0];
`else
    reg signed [A:0] a_held = 0;
    reg signed [B:0] b_held = 0;
    reg signed [A+B+1:0] product = 0;
    always @(posedge clk) if (en) begin
        a_held <= {{a_sign, a}};
        b_held <= {{b_sign, b}};
        product <= a_held * b_held;
    end
    assign p = product[A+B-1:0];
`endif
endmodule
"""


def _parts(value):
    """Parts of a value, the lowest first, each with the number of bits below it."""
    value = Value.cast(value)
    parts, low = [], 0
    while len(value) - low > PART + value.shape().signed:
        parts.append((value[low : low + PART], low))
        low += PART
    top = value[low:]
    return [*parts, (top.as_signed() if value.shape().signed else top, low)]


def _count(shape) -> int:
    shape = Shape.cast(shape)
    return max(-(-(shape.width - shape.signed) // PART), 1)


def multiply_latency(a, b, *, bits=None) -> int:
    """Cycles of `multiply` for factors of these amaranth Shapes."""
    lows = [PART * (i + k) for i in range(_count(a)) for k in range(_count(b))]
    return LATENCY + tree_latency(sum(bits is None or low < bits for low in lows))


def multiply(m, a, b, *, enable: Any = 1, instances, bits=None, latency=None):
    """Product of two values, `multiply_latency` cycles (with `enable`) later, out of a multiplier for each pair of their parts.

    instances : may use cells that only Verilog knows. bits : the lowest ones alone are asked for. latency : of so many cycles, with
    registers behind the product.
    """
    products = []
    for x, low in _parts(a):
        for y, above in _parts(b):
            if bits is not None and low + above >= bits:
                continue
            product = _multiply(m, x, y, enable, instances)
            shifted = Cat(Const(0, low + above), product)[:bits]
            products.append(shifted.as_signed() if product.shape().signed and bits is None else shifted)
    product = add_tree(m, products, sum_of=lambda terms: Value.cast(sum(terms))[:bits] if bits else sum(terms), enable=enable)
    if latency is None:
        return product
    a, b = (Value.cast(value).shape() for value in (a, b))
    return register(m, product, enable=enable, stages=latency - multiply_latency(a, b, bits=bits))


def _multiply(m, a, b, enable, instances):
    if not instances:
        return register(m, register(m, a, enable=enable) * register(m, b, enable=enable), enable=enable)
    one, other = (Value.cast(value).shape() for value in (a, b))
    enabled = Const(1) if isinstance(enable, int) else enable
    product = Signal(Shape(one.width + other.width, one.signed or other.signed))
    m.submodules += Instance(
        MODULE, p_A=one.width, p_B=other.width, p_A_SIGNED=int(one.signed), p_B_SIGNED=int(other.signed),
        i_clk=ClockSignal(), i_en=enabled, i_a=Value.cast(a).as_unsigned(), i_b=Value.cast(b).as_unsigned(), o_p=product,
    )  # fmt: skip
    return product
