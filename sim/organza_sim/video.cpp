// Runs the top module of a screen and writes a byte to standard output for every half of a clock cycle: bits 0 to 2 are the three channels' pins, bit 3
// the clock's. Argument: how many bytes.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "Vtop.h"

int main(int count, char** arguments) {
    const long long halves = count == 2 ? std::atoll(arguments[1]) : 0;
    if (halves < 1) return 2;
    auto context = std::make_unique<VerilatedContext>();
    auto top = std::make_unique<Vtop>(context.get());
    std::vector<uint8_t> bytes(1 << 16);
    size_t filled = 0;
    for (long long half = 0; half < halves && !context->gotFinish(); ++half) {
        top->clk = half % 2 == 0;
        top->eval();
        bytes[filled++] = top->video_0 | top->video_1 << 1 | top->video_2 << 2 | top->video_clk << 3;
        if (filled == bytes.size() || half == halves - 1) {
            if (std::fwrite(bytes.data(), 1, filled, stdout) != filled) return 5;
            filled = 0;
        }
    }
    return context->gotFinish() ? 4 : 0;
}
