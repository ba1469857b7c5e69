// What the top module of a board instantiates of an ECP5, as far as it uses it, for simulation.

// Two bits a clock: D0 while it is high, then D1.
module ODDRX1F (input SCLK, input RST, input D0, input D1, output Q);
    reg [1:0] pair = 0;
    always @(posedge SCLK) pair <= RST ? 2'd0 : {D1, D0};
    assign Q = SCLK ? pair[0] : pair[1];
endmodule

// The first output is the input, which a harness gives the frequency for; the second divides it. Not steady at once.
module EHXPLLL #(
    parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 8, CLKOS_DIV = 8, CLKOP_CPHASE = 0, CLKOS_CPHASE = 0,
    parameter CLKOP_ENABLE = "ENABLED", CLKOS_ENABLE = "DISABLED", FEEDBK_PATH = "CLKOP"
) (
    input CLKI, input CLKFB, input RST, input STDBY, input PHASESEL0, input PHASESEL1, input PHASEDIR, input PHASESTEP,
    input PHASELOADREG, input PLLWAKESYNC, input ENCLKOP, input ENCLKOS, output CLKOP, output CLKOS, output LOCK
);
    localparam RATIO = CLKOS_DIV / CLKOP_DIV;
    initial if (CLKI_DIV != CLKFB_DIV || RATIO * CLKOP_DIV != CLKOS_DIV || RATIO < 2) begin
        $display("EHXPLLL: only for outputs that are the input and a whole part of it");
        $finish;
    end
    reg [7:0] count = 0;
    reg [5:0] age = 0;
    reg divided = 0;
    always @(posedge CLKI) begin
        count <= count == RATIO - 1 ? 0 : count + 1;
        divided <= count < RATIO / 2;
        age <= age + !LOCK;
    end
    assign CLKOP = CLKI;
    assign CLKOS = divided;
    assign LOCK = &age;
endmodule

// A pin that is read, and driven where T is 0.
module BB (input I, input T, output O, inout B);
    assign B = T ? 1'bz : I;
    assign O = B;
endmodule

// Registers of a pin.
module OFS1P3DX (input D, input SP, input SCLK, input CD, output reg Q = 0);
    always @(posedge SCLK or posedge CD) if (CD) Q <= 0; else if (SP) Q <= D;
endmodule

module IFS1P3DX (input D, input SP, input SCLK, input CD, output reg Q = 0);
    always @(posedge SCLK or posedge CD) if (CD) Q <= 0; else if (SP) Q <= D;
endmodule
