// Runs a board's top module with its serial line at standard input and output: a byte that comes in is a byte at `rx`, bit by bit,
// and what `tx` says goes out. Arguments: clock cycles of a bit; the file that a flash holds, of a top module that reads one; hertz of
// the clock; nanoseconds from a clock edge to a pin and back; numbers of an SDRAM, of a top module that has one beside it. Ends when
// standard input does, with status 6 and the rule where the SDRAM's is broken.

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <string>
#include <unistd.h>

#include "Vtop.h"
#include "parts.h"

#if SDRAM
#include "sdram_chip.h"
#endif

namespace {

const int BITS = 10;  // start, eight data, stop
// Bits without a byte on either line after which waiting for input may stop the clock for a while.
const uint64_t QUIET = 200000;

// Bytes from standard input; ends the program where that ends.
class Input {
public:
    bool next(bool wait, uint8_t& byte) {
        if (begin_ == end_) {
            if (wait) {
                pollfd watched{STDIN_FILENO, POLLIN, 0};
                poll(&watched, 1, 20);
            }
            const ssize_t count = read(STDIN_FILENO, buffer_, sizeof buffer_);
            if (count == 0) std::exit(0);
            if (count < 0) {
                if (errno != EAGAIN && errno != EINTR) std::exit(3);
                return false;
            }
            begin_ = 0;
            end_ = count;
        }
        byte = buffer_[begin_++];
        return true;
    }

private:
    uint8_t buffer_[4096];
    ssize_t begin_ = 0, end_ = 0;
};

#if FLASH
// An SPI flash in mode 0: asleep until 0xAB, then READ (0x03) of 24 bits of address. Behind its content there is 0xFF.
class Flash {
public:
    explicit Flash(const char* path) {
        FILE* file = std::fopen(path, "rb");
        if (!file) std::exit(2);
        for (int byte; (byte = std::fgetc(file)) != EOF;) content_.push_back(byte);
        std::fclose(file);
    }

    bool step(bool sck, bool cs, bool mosi) {
        if (cs) {
            if (count_ == 8 && value_ == 0xAB) awake_ = true;
            count_ = value_ = 0;
            reading_ = false;
        } else if (sck && !sck_) {
            ++count_;
            value_ = value_ << 1 | mosi;
            if (awake_ && count_ == 32 && value_ >> 24 == 0x03) {
                reading_ = true;
                place_ = uint64_t(value_ & 0xFFFFFF) * 8;
            }
        } else if (!sck && sck_ && reading_) {
            const uint8_t byte = place_ / 8 < content_.size() ? content_[place_ / 8] : 0xFF;
            miso_ = byte >> (7 - place_ % 8) & 1;
            ++place_;
        }
        sck_ = sck;
        return miso_;
    }

private:
    std::string content_;
    bool awake_ = false, reading_ = false, sck_ = false, miso_ = false;
    uint32_t value_ = 0;
    int count_ = 0;
    uint64_t place_ = 0;
};
#endif

#if SDRAM
// The chip beside the top module; `half` after each half of a clock cycle, `bus` before it.
class Beside {
public:
    Beside(const char* numbers, double hz, double delay) : period_(1e9 / hz), delay_(delay) {
        sdram::Timing timing;
        sdram::Geometry geometry;
        if (!sdram::read_numbers(numbers, timing, geometry)) std::exit(2);
        chip_ = std::make_unique<sdram::Chip>(timing, geometry);
    }

    void bus(Vtop& top) const {
        // The chip's edges count from where the FPGA's begin; what they take there and back, a word is late.
        top.sdram_dq = top.sdram_dq__en ? top.sdram_dq__out : chip_->read(halves_ * period_ / 2 - delay_);
    }

    void half(Vtop& top) {
        if (top.sdram_clk && !clock_) {
            const std::string wrong = chip_->edge(halves_ * period_ / 2, {
                bool(top.sdram_cke), bool(top.sdram_cs), bool(top.sdram_ras), bool(top.sdram_cas), bool(top.sdram_we),
                top.sdram_ba, top.sdram_a, top.sdram_dqm, top.sdram_dq__out, top.sdram_dq__en != 0,
            });
            if (!wrong.empty()) {
                std::fprintf(stderr, "SDRAM at %g ns: %s\n", halves_ * period_ / 2, wrong.c_str());
                std::exit(6);
            }
        }
        clock_ = top.sdram_clk;
        ++halves_;
    }

private:
    std::unique_ptr<sdram::Chip> chip_;
    double period_, delay_;
    bool clock_ = false;
    uint64_t halves_ = 0;
};
#endif

}  // namespace

int main(int count, char** arguments) {
    const int divisor = count == 6 ? std::atoi(arguments[1]) : 0;
    if (divisor < 1) return 2;
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    auto context = std::make_unique<VerilatedContext>();
    auto top = std::make_unique<Vtop>(context.get());
    Input input;
    uint32_t sending = 0;        // bits that are still to be sent, lowest first, above them nothing
    int bits = 0, timer = 0;     // how many, and cycles left of the one on the line
    int listening = -1;          // cycles until the next look at `tx`, -1 between bytes
    uint32_t heard = 0, looked = 0;
    uint64_t still = 0;          // cycles without a byte
    top->rx = 1;
#if FLASH
    Flash flash(arguments[2]);
#endif
#if SDRAM
    Beside beside(arguments[5], std::atof(arguments[3]), std::atof(arguments[4]));
#endif
    for (;;) {
        if (timer == 0) {
            if (bits == 0) {
                uint8_t byte;
                if (input.next(still > QUIET * divisor, byte)) {
                    sending = (1u << 9) | (uint32_t(byte) << 1);
                    bits = BITS;
                    still = 0;
                }
            }
            top->rx = bits ? sending & 1 : 1;
            if (bits) {
                sending >>= 1;
                --bits;
            }
            timer = divisor;
        }
        --timer;
        for (int high = 0; high < 2; ++high) {
#if SDRAM
            beside.bus(*top);
#endif
            top->clk = high;
            top->eval();
#if SDRAM
            beside.half(*top);
#endif
        }
#if FLASH
        top->flash_miso = flash.step(top->flash_sck, top->flash_cs, top->flash_mosi);
        if (!top->flash_cs) still = 0;
#endif
        ++still;
        if (listening < 0) {
            if (!top->tx) {
                listening = divisor / 2;
                heard = looked = 0;
            }
        } else if (listening-- == 0) {
            heard |= uint32_t(top->tx) << looked;
            listening = divisor - 1;
            if (++looked == BITS) {
                listening = -1;
                if (heard & 1 || !(heard >> 9)) return 4;
                const uint8_t byte = heard >> 1;
                if (write(STDOUT_FILENO, &byte, 1) != 1) return 5;
                still = 0;
            }
        }
    }
}
