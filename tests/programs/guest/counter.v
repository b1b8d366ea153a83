// A counter whose upper bits light four LEDs of an iCE40.
module top (input clk, output [3:0] led);
  reg [7:0] count = 0;
  always @(posedge clk) count <= count + 1;
  assign led = count[7:4];
endmodule
