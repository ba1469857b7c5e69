// The chip of sdram_chip.h for callers of another language.

#include "sdram_chip.h"

#include <string>

namespace {

struct Held {
    sdram::Chip chip;
    std::string wrong;
};

}  // namespace

extern "C" {

void* sdram_new(const char* numbers) {
    sdram::Timing timing;
    sdram::Geometry geometry;
    if (!sdram::read_numbers(numbers, timing, geometry)) return nullptr;
    return new Held{{timing, geometry}, {}};
}

void sdram_delete(void* held) { delete static_cast<Held*>(held); }

// order: ras, cas, we as they are at the pins, the first lowest. Empty, or the rule that was broken.
const char* sdram_edge(void* held, double time, int cke, int cs, int order, uint32_t ba, uint32_t a, uint32_t dqm, uint32_t dq, int driven) {
    Held& one = *static_cast<Held*>(held);
    one.wrong = one.chip.edge(time, {cke != 0, cs != 0, (order & 1) != 0, (order >> 1 & 1) != 0, (order >> 2 & 1) != 0, ba, a, dqm, dq, driven != 0});
    return one.wrong.c_str();
}

uint32_t sdram_read(const void* held, double time) { return static_cast<const Held*>(held)->chip.read(time); }

}
