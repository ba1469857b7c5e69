// Drives a generated accelerator from a file of beats and records what comes out, cycle by cycle.
//
// organza_sim/rtl.py writes its arguments, reads its files, and writes joints.h with the width
// IN_BITS of the input's payload, ERROR_BITS of the output `error` (0: there is none), LOADS (1: weights
// are loaded), and JOINTS(J): one J(name, payload, valid, ready) for every stream between layers.
//
// Weights are loaded before cycle 0, from a file of 16-bit words: a byte, and bit 8 with the first of an
// image.
//
// A cycle is: inputs change with the falling edge, everything settles, transfers are sampled,
// rising edge. Cycle 0 is the first one after reset. Payloads in files are little-endian 32-bit
// words, ceil(bits / 32) a beat.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "Vtop.h"
#include "Vtop___024root.h"
#include "joints.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

enum Exit { OK = 0, USAGE = 2, PROTOCOL = 3, STUCK = 4, EXTRA = 5, LIMIT = 6, DAMAGED = 7, REFUSED = 8 };

std::unordered_map<std::string, std::string> options;

std::string text(const char* name) {
    auto found = options.find(name);
    return found == options.end() ? std::string() : found->second;
}

uint64_t number(const char* name, uint64_t otherwise) {
    auto found = options.find(name);
    return found == options.end() ? otherwise : std::strtoull(found->second.c_str(), nullptr, 10);
}

std::string str(uint64_t value) { return std::to_string(value); }

template <class T>
std::vector<T> read_file(const std::string& path) {
    std::vector<T> values;
    if (path.empty()) return values;
    FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) {
        std::fprintf(stderr, "cannot read %s\n", path.c_str());
        std::exit(USAGE);
    }
    std::fseek(file, 0, SEEK_END);
    values.resize(std::ftell(file) / sizeof(T));
    std::rewind(file);
    const size_t count = std::fread(values.data(), sizeof(T), values.size(), file);
    if (count != values.size()) std::exit(USAGE);
    std::fclose(file);
    return values;
}

// Appends values to a file, in blocks.
template <class T>
class Writer {
public:
    void open(const std::string& path) { file = std::fopen(path.c_str(), "wb"); }
    void put(const T* values, size_t count) {
        if (!file) return;
        block.insert(block.end(), values, values + count);
        if (block.size() > (1 << 16)) flush();
    }
    void flush() {
        if (!file) return;
        if (std::fwrite(block.data(), sizeof(T), block.size(), file) != block.size()) {
            std::fprintf(stderr, "cannot write the results: is the disk full?\n");
            std::exit(USAGE);
        }
        std::fflush(file);
        block.clear();
    }

private:
    FILE* file = nullptr;
    std::vector<T> block;
};

// One observed stream: counts and records transfers, and checks that an offered beat stays.
class Stream {
public:
    Stream(std::string name, const void* payload, size_t bytes, const CData* valid,
           const CData* ready)
        : name(std::move(name)), payload(payload), bytes(bytes), valid(valid), ready(ready),
          words((bytes + 3) / 4, 0), held(bytes) {}

    void record(const std::string& folder, bool data) {
        if (data) beats.open(folder + "/" + name + ".beats");
        cycles.open(folder + "/" + name + ".cycles");
    }

    // True if a beat passes in this cycle. Sets *broken to what is wrong, if anything.
    bool sample(uint64_t cycle, const char** broken) {
        if (waiting) {
            const bool same = std::memcmp(held.data(), payload, bytes) == 0;
            if (!*valid) *broken = "withdraws a beat that was not yet accepted";
            else if (!same) *broken = "changes a beat that was not yet accepted";
        }
        if (!*valid) return waiting = false;
        if (!*ready) {
            if (!waiting) std::memcpy(held.data(), payload, bytes);
            waiting = true;
            return false;
        }
        waiting = false;
        count++;
        std::memcpy(words.data(), payload, bytes);
        beats.put(words.data(), words.size());
        cycles.put(&cycle, 1);
        return true;
    }

    void close() {
        beats.flush();
        cycles.flush();
    }

    const std::string name;
    uint64_t count = 0;
    bool waiting = false;
    const CData* valid_wire() const { return valid; }
    const CData* ready_wire() const { return ready; }

private:
    const void* payload;
    size_t bytes;
    const CData* valid;
    const CData* ready;
    std::vector<uint32_t> words;
    std::vector<uint8_t> held;
    Writer<uint32_t> beats;
    Writer<uint64_t> cycles;
};

}  // namespace

int main(int argc, char** argv) {
    for (int k = 1; k < argc; k++) {
        const char* equals = std::strchr(argv[k], '=');
        if (equals) options[std::string(argv[k], equals - argv[k])] = equals + 1;
    }
    const std::string folder = text("results");
    const auto input = read_file<uint32_t>(text("input"));
    const auto stall_i = read_file<uint8_t>(text("stall_in"));
    const auto stall_o = read_file<uint8_t>(text("stall_out"));
    const uint64_t outputs = number("outputs", 0), patience = number("watchdog", 100000);
    const uint64_t limit = number("limit", UINT64_MAX), silence = number("silence", 128);

    auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(argc, argv);
    auto top = std::make_unique<Vtop>(context.get());

    // Double underscores in Verilog names become ___05F in C++.
    constexpr size_t in_bytes = sizeof(top->i___05Fpayload);
    constexpr size_t in_words = (in_bytes + 3) / 4;
    const uint64_t total = input.size() / in_words;
    // Beats that are not valid carry a pattern, so that a circuit that looks at them is found out.
    std::vector<uint32_t> idle(in_words, 0xaaaaaaaa);
    if (IN_BITS % 32) idle.back() &= (1u << (IN_BITS % 32)) - 1;

    std::vector<Stream> streams;
    streams.emplace_back("i", &top->i___05Fpayload, in_bytes,
                         &top->i___05Fvalid, &top->i___05Fready);
    streams.emplace_back("o", &top->o___05Fpayload, sizeof(top->o___05Fpayload),
                         &top->o___05Fvalid, &top->o___05Fready);
#define J(name, payload, valid, ready)                                                   \
    streams.emplace_back(name, &top->rootp->payload, sizeof(top->rootp->payload),        \
                         &top->rootp->valid, &top->rootp->ready);
    JOINTS(J)
#undef J
    const bool probe = number("probe", 0) != 0;
    for (size_t k = 0; k < streams.size(); k++)
        if (k < 2 || probe) streams[k].record(folder, k != 0);
    Stream& in = streams[0];
    Stream& out = streams[1];

#if VM_TRACE
    std::unique_ptr<VerilatedVcdC> wave;
    const uint64_t wave_from = number("wave_from", 0), wave_to = number("wave_to", UINT64_MAX);
    if (!text("wave").empty()) {
        context->traceEverOn(true);
        wave = std::make_unique<VerilatedVcdC>();
        top->trace(wave.get(), 99);
        wave->open(text("wave").c_str());
    }
#define DUMP(cycle, half) \
    if (wave && (cycle) >= wave_from && (cycle) < wave_to) wave->dump(10 * (cycle) + 5 * (half))
#else
#define DUMP(cycle, half)
#endif

    top->i___05Fvalid = 0;
    top->o___05Fready = 0;
    top->rst = 1;
    for (int k = 0; k < 2; k++) {
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
    }
    top->rst = 0;

    int status = OK;
#if LOADS
    const auto load = read_file<uint16_t>(text("load"));
    // `loaded` is there some cycles after the last byte.
    for (size_t k = 0; k < load.size() + 16;) {
        top->load___05Fvalid = k < load.size();
        if (k < load.size()) top->load___05Fpayload = load[k];
        top->clk = 0;
        top->eval();
        k += k >= load.size() || top->load___05Fready;
        top->clk = 1;
        top->eval();
        if (k >= load.size() && top->loaded) break;
    }
    if (!top->loaded) {
        status = REFUSED;
        std::printf("refused %d\n", int(top->refusal));
    }
#endif
    std::string message;
    uint64_t cycle = 0, progress = 0, end = UINT64_MAX;
    size_t pi = 0, po = 0;
    bool driven = false, idling = false;
    const auto start = std::chrono::steady_clock::now();
    auto told = start - std::chrono::hours(1);  // the first report comes at once

    for (;; cycle++) {
        const bool offer = in.count < total && (in.waiting || stall_i.empty() || !stall_i[pi]);
        top->i___05Fvalid = offer;
        if (offer && !driven) {
            std::memcpy(&top->i___05Fpayload, &input[in.count * in_words], in_bytes);
            driven = true;
            idling = false;
        } else if (!offer && !idling) {
            std::memcpy(&top->i___05Fpayload, idle.data(), in_bytes);
            idling = true;
        }
        top->o___05Fready = end != UINT64_MAX || stall_o.empty() || !stall_o[po];
        if (++pi >= stall_i.size()) pi = 0;
        if (++po >= stall_o.size()) po = 0;
        top->clk = 0;
        top->eval();
        DUMP(cycle, 0);

        bool moved = false;
        for (Stream& stream : streams) {
            const char* broken = nullptr;
            const bool passed = stream.sample(cycle, &broken);
            moved |= passed;
            if (&stream == &in && passed) driven = false;
            if (broken && status == OK) {
                status = PROTOCOL;
                message = "stream " + stream.name + " " + broken + ": beat " + str(stream.count)
                          + ", cycle " + str(cycle);
            }
        }
        if (moved) progress = cycle;
        if (out.count > outputs || (end != UINT64_MAX && *out.valid_wire())) {
            if (status == OK) {
                status = EXTRA;
                message = "an output beat beyond the " + str(outputs) + " expected ones, cycle "
                          + str(cycle);
            }
        }
        if (end == UINT64_MAX && out.count >= outputs && in.count >= total) end = cycle + silence;
        if (end == UINT64_MAX && cycle - progress >= patience && status == OK) {
            status = STUCK;
            message = "no beat moved for " + str(patience) + " cycles, cycle " + str(cycle) + "; "
                      + str(in.count) + " of " + str(total) + " beats in, " + str(out.count)
                      + " of " + str(outputs) + " out";
            const Stream* stuck = nullptr;
            for (const Stream& stream : streams) {
                const bool valid = *stream.valid_wire(), ready = *stream.ready_wire();
                message += "\n  " + stream.name + ": " + str(stream.count) + " beats passed, valid="
                           + str(valid) + " ready=" + str(ready);
                // Joints are numbered downstream: the last one that waits is where the flow ends.
                if (valid && !ready && &stream != &out) stuck = &stream;
            }
            if (stuck)
                message += "\n  stuck behind " + stuck->name
                           + ", which offers a beat that is not accepted";
            else
                message += "\n  no stream offers a beat: one was lost, or was never made";
        }
#if ERROR_BITS
        if (status == OK) {
            uint8_t bits[sizeof(top->error)];
            std::memcpy(bits, &top->error, sizeof bits);
            for (size_t k = 0; k < ERROR_BITS; k++)
                if (bits[k / 8] >> (k % 8) & 1) {
                    status = DAMAGED;
                    std::printf("damaged %zu %llu\n", k, static_cast<unsigned long long>(cycle));
                }
        }
#endif
        if (cycle >= limit && status == OK) {
            status = LIMIT;
            message = "not finished after " + str(limit) + " cycles";
        }
        top->clk = 1;
        top->eval();
        DUMP(cycle, 1);
        if (status != OK || cycle >= end) break;

        if ((cycle & 1023) == 0) {
            const auto now = std::chrono::steady_clock::now();
            if (now - told > std::chrono::milliseconds(200)) {
                told = now;
                std::printf("progress %llu %llu\n", static_cast<unsigned long long>(cycle),
                            static_cast<unsigned long long>(out.count));
                std::fflush(stdout);
            }
        }
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    for (Stream& stream : streams) stream.close();
#if VM_TRACE
    if (wave) wave->close();
#endif
    std::printf("done %llu %.6f\n", static_cast<unsigned long long>(cycle + 1), time.count());
    std::fflush(stdout);
    if (!message.empty()) std::fprintf(stderr, "%s\n", message.c_str());
    return status;
}
