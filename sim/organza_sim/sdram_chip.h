// An SDR SDRAM as its data sheets describe it, for simulation. It looks at its pins with every rising edge of its clock, keeps words, and
// says what rule was broken: orders of the initialisation, closed rows, times between orders, refreshes that are late, two that drive the
// bus. It knows what the chip does, and nothing of who drives it. Times are in nanoseconds.

#pragma once

#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

namespace sdram {

struct Timing {
    double row_to_column, row_precharge, row_active, row_cycle, refresh_cycle, write_recovery, refresh_interval, initialization;
    double access, hold, clock;
    int cas_latency;
};

struct Geometry {
    int width, banks, columns;  // bits of each
};

// Of a text of numbers in the order of their members, cas_latency last, with the geometry behind it.
inline bool read_numbers(const char* text, Timing& t, Geometry& g) {
    return std::sscanf(text, "%lf %lf %lf %lf %lf %lf %lf %lf %lf %lf %lf %d %d %d %d", &t.row_to_column, &t.row_precharge, &t.row_active,
                       &t.row_cycle, &t.refresh_cycle, &t.write_recovery, &t.refresh_interval, &t.initialization, &t.access, &t.hold, &t.clock,
                       &t.cas_latency, &g.width, &g.banks, &g.columns) == 15;
}

struct Pins {
    bool cke, cs, ras, cas, we;
    uint32_t ba, a, dqm, dq;
    bool driven;  // dq is
};

const double NEVER = -1e18;
const double MOST_ACTIVE = 100e3, ROW_TO_ROW = 15, RELEASE = 6;  // most of tRAS, tRRD, tHZ
const int MODE_CYCLES = 2, INITIAL_REFRESHES = 8, ALL_BANKS = 10;

class Chip {
public:
    Chip(const Timing& timing, const Geometry& geometry) : timing_(timing), geometry_(geometry), banks_(1u << geometry.banks) {}

    // A rising edge of the clock. Empty, or the rule that was broken.
    std::string edge(double time, const Pins& pins) {
        now_ = time;
        wrong_.clear();
        ++edges_;
        if (last_ > NEVER && time - last_ < timing_.clock - 1e-6) fail("tCK", time - last_, timing_.clock);
        if (began_ < 0 && pins.cke) began_ = time;
        if (began_ >= 0 && !pins.cke) fail("CKE: falls");
        step_words();
        if (pins.driven) look_for_two(time);
        const int order = pins.cs ? 7 : pins.ras | pins.cas << 1 | pins.we << 2;
        if (order != 7) take(order, pins);
        masked_ = pins.dqm;
        if (ready_ && now_ - counted_from_ > (refreshes_ + 1) * timing_.refresh_interval) fail("refresh: too few");
        last_ = time;
        return wrong_;
    }

    // What is on the bus at a moment at which only the chip drives it; when it does not drive a valid word, something else.
    uint32_t read(double time) const {
        for (const Word& word : {word_, before_}) {
            if (word.driven && time >= word.begins + timing_.access - 1e-6 && time <= word.ends + timing_.hold + 1e-6) return word.value;
        }
        return noise(time);
    }

private:
    struct Bank {
        bool open = false;
        uint32_t row = 0;
        double activated = NEVER, precharged = NEVER, written = NEVER;
    };
    struct Word {
        bool driven = false;
        double begins = 0, ends = 0;  // clock edges
        uint32_t value = 0;
    };
    struct Coming {
        int edges;
        uint32_t value;
    };

    uint32_t ones() const { return (1ull << geometry_.width) - 1; }

    uint32_t noise(double time) const { return (uint32_t(int64_t(time * 8)) * 2654435761u >> 7) & ones(); }

    void fail(const std::string& rule) {
        if (wrong_.empty()) wrong_ = rule;
    }

    void fail(const char* rule, double is, double least) {
        char text[120];
        std::snprintf(text, sizeof text, "%s: must be at least %g ns, not %g", rule, least, is);
        fail(text);
    }

    void since(const char* rule, double from, double least) {
        if (now_ - from < least - 1e-6) fail(rule, now_ - from, least);
    }

    // Words that were ordered to be read, to the bus.
    void step_words() {
        if (word_.driven && word_.ends > now_) word_.ends = now_;
        before_ = word_;
        word_ = {};
        std::vector<Coming> left;
        for (Coming one : coming_) {
            if (--one.edges) {
                left.push_back(one);
                continue;
            }
            const uint32_t value = masked_ ? noise(now_) : one.value;
            word_ = {!masked_, now_, std::numeric_limits<double>::infinity(), value};
        }
        coming_ = left;
    }

    // Does the chip drive the bus while another does, from half a period before the edge until half a period behind it?
    void look_for_two(double time) {
        const double half = last_ > NEVER ? (time - last_) / 2 : 0;
        if (word_.driven || (before_.driven && before_.ends + RELEASE > time - half)) fail("bus: two drive it");
    }

    void take(int order, const Pins& pins) {
        if (began_ < 0) return fail("CKE: an order before it is high");
        since("initialisation", began_, timing_.initialization);
        since("tRFC", refreshed_, timing_.refresh_cycle);
        if (edges_ - mode_edge_ < MODE_CYCLES) fail("tMRD: an order too early");
        Bank& bank = banks_[pins.ba];
        switch (order) {
        case 6: return activate(bank, pins);
        case 5: return column(bank, pins, false);
        case 1: return column(bank, pins, true);
        case 2: return precharge(bank, pins);
        case 4: return refresh();
        case 0: return mode(pins);
        default: fail("order: none that is known");
        }
    }

    void activate(Bank& bank, const Pins& pins) {
        if (!ready_) fail("initialisation: a row before the mode is set");
        if (bank.open) fail("activate: a row of the bank is open");
        since("tRP", bank.precharged, timing_.row_precharge);
        since("tRC", bank.activated, timing_.row_cycle);
        for (const Bank& other : banks_) since("tRRD", other.activated, ROW_TO_ROW);
        bank.open = true;
        bank.row = pins.a;
        bank.activated = now_;
    }

    void column(Bank& bank, const Pins& pins, bool write) {
        if (!bank.open) return fail(write ? "write: no row is open" : "read: no row is open");
        since("tRCD", bank.activated, timing_.row_to_column);
        if (pins.a >> ALL_BANKS & 1) fail("precharge by itself: not modelled");
        if (pins.a >> geometry_.columns) fail("column: there is none such");
        const uint64_t place = (uint64_t(bank.row) << geometry_.banks | pins.ba) << geometry_.columns | (pins.a & ((1u << geometry_.columns) - 1));
        if (write) {
            if (!pins.driven) fail("write: nobody drives the bus");
            if (pins.dqm) fail("write: it is masked");
            if (!coming_.empty()) fail("write: it cuts off words that are read");
            words_[place] = pins.dq & ones();
            bank.written = now_;
            return;
        }
        const auto found = words_.find(place);
        if (found == words_.end()) return fail("read: a word that was never written");
        coming_.push_back({timing_.cas_latency - 1, found->second});
    }

    void close(Bank& bank) {
        if (bank.open) {
            since("tRAS", bank.activated, timing_.row_active);
            since("tWR", bank.written, timing_.write_recovery);
            if (now_ - bank.activated > MOST_ACTIVE) fail("tRAS: a row is open too long");
            bank.precharged = now_;
        }
        bank.open = false;
    }

    void precharge(Bank& bank, const Pins& pins) {
        if (!(pins.a >> ALL_BANKS & 1)) return close(bank);
        for (Bank& one : banks_) {
            close(one);
            if (!precharged_) one.precharged = now_;
        }
        precharged_ = true;
    }

    void refresh() {
        if (!precharged_) fail("initialisation: a refresh before all banks were precharged");
        for (const Bank& bank : banks_) {
            if (bank.open) fail("refresh: a row is open");
            since("tRP", bank.precharged, timing_.row_precharge);
            since("tRC", bank.activated, timing_.row_cycle);
        }
        ++refreshes_;
        refreshed_ = now_;
    }

    void mode(const Pins& pins) {
        if (!precharged_ || refreshes_ < INITIAL_REFRESHES) fail("initialisation: the mode before all banks were precharged and 8 refreshes");
        for (const Bank& bank : banks_) {
            if (bank.open) fail("mode: a row is open");
            since("tRP", bank.precharged, timing_.row_precharge);
        }
        if ((pins.a & 0xF) || pins.a >> 7 || pins.ba || int(pins.a >> 4 & 7) != timing_.cas_latency) fail("mode: not bursts of one word with the CAS latency");
        mode_edge_ = edges_;
        ready_ = true;
        refreshes_ = 0;
        counted_from_ = now_;
    }

    const Timing timing_;
    const Geometry geometry_;
    std::vector<Bank> banks_;
    std::unordered_map<uint64_t, uint32_t> words_;
    std::vector<Coming> coming_;
    Word word_, before_;  // on the bus since the last edge; until then
    std::string wrong_;
    double now_ = 0, last_ = NEVER, began_ = -1, refreshed_ = NEVER, counted_from_ = 0;
    bool precharged_ = false, ready_ = false;
    uint32_t masked_ = ~0u;
    int refreshes_ = 0;
    int64_t edges_ = 0, mode_edge_ = -1000;
};

}  // namespace sdram
