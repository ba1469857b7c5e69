// Behaviour of iCE40 UP5K's single-port RAM, 16 bits × 16,384, for simulation; after Lattice's FPGA-TN-02022, without its power-saving
// modes. What is read while it writes is not said there: here it is the address, so that nobody relies on it.
module SB_SPRAM256KA (
    input  wire [13:0] ADDRESS,
    input  wire [15:0] DATAIN,
    input  wire [3:0]  MASKWREN,
    input  wire        WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF,
    output reg  [15:0] DATAOUT
);
    reg [15:0] words [0:16383];
    wire [15:0] mask = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
    always @(posedge CLOCK) if (CHIPSELECT && !STANDBY && !SLEEP && POWEROFF) begin
        if (WREN) words[ADDRESS] <= (DATAIN & mask) | (words[ADDRESS] & ~mask);
        DATAOUT <= WREN ? {2'b10, ADDRESS} : words[ADDRESS];
    end
endmodule
