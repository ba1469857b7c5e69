"""What the lanes of a time-shared engine get: activations out of the frames, fields out of lane words."""

from amaranth import *

from organza.time_sharing import TimeSharing
from organza_hw.choice import chosen
from organza_hw.lanes.dot import register
from organza_hw.shared.frames import frame_banks
from organza_hw.shared.sequencer import SharedSequencer
from organza_hw.shared.tables import SharedTables


def operand_latency(shared: TimeSharing) -> int:
    """Cycles from frames and lane words to the lanes: one register behind the choice of banks and one behind that of lanes, or one for
    both, or none where nothing is chosen."""
    if not shared.short:
        return 2
    return 0 if by_bank(shared) else 1


def by_bank(shared: TimeSharing) -> bool:
    """Whether every bank has lanes of its own, for all channels of a lane word. In a short pipeline sums are then dealt to pixels,
    which are fewer bits than Ti activations."""
    return shared.short and shared.c == shared.to * frame_banks(shared) and all(
        place == divmod(lane, shared.to) for lane, used in enumerate(shared.lane_uses) for place in used.values()
    )  # fmt: skip


def operands(m, engine, tables: SharedTables, sequencer: SharedSequencer):
    """Activations (C × Ti) and fields (C × Ti) of an issue of the `sequencer`, as late as weights and `operand_latency` take.

    engine : the `SharedEngine`, whose frames and weights are read.
    """
    if by_bank(engine.shared):
        return _banks(m, engine, sequencer)
    return (_short if engine.shared.short else _deep)(m, engine, tables, sequencer)


def sums_of_pixels(m, engine, tables: SharedTables, sequencer: SharedSequencer, sums: list, *, stages: int) -> list:
    """By lane what the accumulators get out of the `sums` that the lanes make, `stages` cycles after the issue, in the same cycle."""
    shared, issue = engine.shared, sequencer.issue
    if not by_bank(shared):
        return sums
    read, mask = register(m, issue.read, stages=stages - 1), register(m, issue.mask.as_value(), stages=stages)
    made = []
    for pixel in range(shared.p):
        bank = register(m, _bank(m, engine, tables, read, pixel))
        for channel in range(shared.to):
            total = Array(sums[channel :: shared.to])[bank]
            made.append(Mux(mask[pixel], total, 0))
    return made


def _banks(m, engine, sequencer):
    """No register: every lane has a bank and a channel of its own, whatever the layer."""
    shared, latency = engine.shared, engine.weights.latency
    signs = Array(bool(node.input.signed) for node in shared.nodes)[register(m, sequencer.issue.layer, stages=latency - 1)]
    signed = register(m, signs)
    words = [[_value(engine, Value.cast(word[k]), Const(1), signed) for k in range(shared.ti)] for word in engine.frames.r_data]
    activations = [words[lane // shared.to] for lane in range(shared.c)]
    fields = engine.weights.fields(m, sequencer)
    channels = [{0: divmod(lane, shared.to)} for lane in range(shared.c)]
    return activations, _lane_fields(m, engine, channels, sequencer.issue.layer, fields)


def _deep(m, engine, tables, sequencer):
    """A register behind the choice of banks by pixel, and one behind that of pixels by lane."""
    shared, issue = engine.shared, sequencer.issue
    read, mask, layer = (
        register(m, value, stages=engine.weights.latency) for value in (issue.read, issue.mask.as_value(), issue.layer)
    )
    pixels = [[Signal(engine.activation, name=f"pixel_{p}_{k}") for k in range(shared.ti)] for p in range(shared.p)]
    signs = Array(bool(node.input.signed) for node in shared.nodes)[layer]
    # What does not exist is zero, also in a tile that has no tap and reads nothing.
    m.d.sync += [value.eq(0) for pixel in pixels for value in pixel]
    with m.Switch(read):
        for number, (turn, p, pitch) in enumerate(tables.reads):
            with m.Case(number):
                for pixel in range(p):
                    bank = engine.frames.r_data[(turn + pixel * pitch) % engine.layout.banks]
                    for k in range(shared.ti):
                        wire = bank[k]
                        if engine.activation.width > engine.bits:
                            wire = Cat(wire, wire[-1] & signs)
                        m.d.sync += pixels[pixel][k].eq(Mux(mask[pixel], wire, 0))
    layer = register(m, layer)
    activations = [
        [register(m, chosen(m, layer, {n: pixels[pixel][k] for n, (pixel, _) in used.items()})) for k in range(shared.ti)]
        for used in shared.lane_uses
    ]
    fields = _lane_fields(m, engine, shared.lane_uses, layer, register(m, engine.weights.fields(m, sequencer)))
    return activations, [[register(m, field) for field in word] for word in fields]


def _short(m, engine, tables, sequencer):
    """One register: what each lane chooses is known before the pixels come."""
    shared, issue, before = engine.shared, sequencer.issue, engine.weights.latency - 1
    read, mask, layer = (register(m, value, stages=before) for value in (issue.read, issue.mask.as_value(), issue.layer))
    signs = Array(bool(node.input.signed) for node in shared.nodes)[layer]
    bits = [Array(Value.cast(word[k]) for word in engine.frames.r_data) for k in range(shared.ti)]
    masks = [mask[pixel] for pixel in range(shared.p)]
    banks = [_bank(m, engine, tables, read, pixel) for pixel in range(shared.p)]
    made: dict[tuple[tuple[int, int], ...], list] = {}  # by what a lane has in every layer: many have the same
    activations = []
    for used in shared.lane_uses:
        key = tuple((n, pixel) for n, (pixel, _) in used.items())
        if key not in made:
            bank = register(m, chosen(m, layer, {n: banks[pixel] for n, pixel in key}))
            there = chosen(m, layer, {n: masks[pixel] for n, pixel in key})
            exists, signed = register(m, there), register(m, there & signs)
            made[key] = [register(m, _value(engine, values[bank], exists, signed)) for values in bits]
        activations.append(made[key])
    if all(len({channel for _, channel in used.values()}) == 1 for used in shared.lane_uses):
        # Without a choice behind the memory the register is in front of it.
        fields = engine.weights.fields(m, sequencer, later=1)
        return activations, _lane_fields(m, engine, shared.lane_uses, layer, fields)
    fields = _lane_fields(m, engine, shared.lane_uses, register(m, layer), engine.weights.fields(m, sequencer))
    return activations, [[register(m, field) for field in word] for word in fields]


def _value(engine, bits, exists, signed):
    """The activation of these bits, 0 if it does not exist."""
    value = bits & exists.replicate(engine.bits)
    if engine.activation.width > engine.bits:
        value = Cat(value, bits[-1] & signed)
    return value.as_signed() if engine.activation.signed else value


def _bank(m, engine, tables, read, pixel):
    """The bank of a pixel, by number of a way in which they are dealt."""
    banks = engine.layout.banks
    made = Signal(range(max(banks, 2)))
    m.d.comb += made.eq(Array((turn + pixel * pitch) % banks for turn, _, pitch in tables.reads)[read])
    return made


def _lane_fields(m, engine, uses, layer, fields):
    """Fields (C × Ti) out of those of a lane word. uses : as `TimeSharing.lane_uses`."""
    weights = []
    for used in uses:
        weight = []
        for k in range(engine.shared.ti):
            words = _words(engine, fields, engine.weights.field_bits, k, sorted({channel for _, channel in used.values()}))
            weight.append(chosen(m, layer, {n: words[channel] for n, (_, channel) in used.items()}))
        weights.append(weight)
    return weights


def _words(engine, fields, bits, k, channels):
    """By channel of a lane word: its field for input channel k."""
    made = {}
    for channel in channels:
        field = fields[bits * (channel * engine.shared.ti + k) :][:bits]
        made[channel] = field.as_signed() if Shape.cast(engine.term.field_shape).signed else field
    return made
