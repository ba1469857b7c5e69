// Runs a board's top module with its serial line at standard input and output: a byte that comes in is a byte at `rx`, bit by bit,
// and what `tx` says goes out. Argument: clock cycles of a bit. Ends when standard input does.

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

}  // namespace

int main(int count, char** arguments) {
    const int divisor = count == 2 ? std::atoi(arguments[1]) : 0;
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
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
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
