"""Lanes of a codebook that never decode: activations are added up by index, each sum is multiplied once.

Σ c[index]·x = Σ_k c[k]·S[k] with S[k] the sum of the activations whose weight has index k: one add for every weight, one
multiply for every centroid and output (PASM, Garland and Gregg, arXiv:1801.10219). A lane is an output channel of a pixel.

One bin needs no sums: with any z, Σ_k c[k]·S[k] = Σ_k (c[k] - c[z])·S[k] + c[z]·Σx, and Σx is the same for all output
channels. So bin z is never written and holds zero for ever, which is where a lane reads instead of clearing: the first
activation of a tile for a bin is added to bin z and stored in its own. Lanes that the epilogue does not empty read bin z
too, so an OR joins them.
"""

import math

import numpy as np
from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from organza.codes import Codebook
from organza.schedule import Schedule
from organza_hw.multiply import multiply

PRODUCT_LATENCY = 3  # of a bin's sum in up to two parts and a centroid


def bin_bound(schedule: Schedule, code: Codebook | None, zero: int) -> tuple[int, int]:
    """Most weights of one index but `zero`, and most weights at all, that an output pixel adds up.

    code : None for any code, where weights are loaded at run time.
    """
    node = schedule.node
    if code is None:
        taps = [max(map(len, axis.table)) for axis in (node.y, node.x)]
        most = node.ci // node.groups * math.prod(taps)
        return most, most
    ci, cog, ky, kx = code.indices.shape
    indices = code.indices.reshape(node.groups, ci // node.groups, cog, ky, kx)
    counts = np.stack([(indices == k).sum(1) for k in range(len(code.centroids))])
    for taps, axis in ((node.y.table, -2), (node.x.table, -1)):
        chosen = {tuple(sorted(k for k, _ in some)) for some in taps}
        counts = np.concatenate([counts.take(some, axis).sum(axis, keepdims=True) for some in chosen], axis)
    return int(np.delete(counts, zero, axis=0).max()), int(counts.sum(0).max())


def sum_shape(activation, count: int) -> Shape:
    """Shape of the sum of `count` activations."""
    activation = Shape.cast(activation)
    most = (1 << (activation.width - activation.signed)) * count
    return Shape(max(most.bit_length(), 1) + activation.signed, activation.signed)


class BinLanes(wiring.Component):
    """Hands the operands on as they are; latency 0. Members as `organza_hw.lanes.dot.DotLanes`, but `sums` are operands.

    Members
    -------
    activations : In, P × 1. weights : In, To × 1 indices. exists : In(P), of no use here. sums : Out, `operand_layout`.
    """

    activations: data.View
    weights: data.View
    exists: Signal
    sums: data.View

    def __init__(self, term, *, activation, ti, to, p, **_):
        if ti != 1:
            raise ValueError(f"Bins must have Ti = 1, not {ti}")
        super().__init__({
            "activations": In(data.ArrayLayout(data.ArrayLayout(activation, 1), p)),
            "weights": In(data.ArrayLayout(data.ArrayLayout(term.field_shape, 1), to)),
            "exists": In(p),
            "sums": Out(operand_layout(activation, term.field_shape, to, p)),
        })  # fmt: skip

    @staticmethod
    def latency(ti):
        """Cycles from operands to `sums`."""
        return 0

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.sums.activations.as_value().eq(self.activations.as_value()),
            self.sums.indices.as_value().eq(self.weights.as_value()),
        ]
        return m


def operand_layout(activation, index, to, p):
    """Operands of an issue: an activation for each pixel, an index for each output channel."""
    return data.StructLayout({"activations": data.ArrayLayout(activation, p), "indices": data.ArrayLayout(index, to)})


class Bins(wiring.Component):
    """P × To files of bins; a finished tile leaves E sums every K cycles, pixel by pixel.

    Latency: the last E sums of a tile are at `o_sums` `latency(steps)` cycles after its last issue. No back-pressure: the
    schedule guarantees `steps` cycles without an issue after the last one of a tile, `Schedule.pause`.

    Parameters
    ----------
    centroids : integers. factors : Signals of the first centroid and of the others less it, if they are loaded at run time; None for
    `centroids`. zero : index whose bin stays zero. activation : amaranth Shape. shape, total : amaranth Shapes of a
        bin and of Σx. bits : signed width of a sum. to, p, e : lanes and multipliers. tile_layout : data of a tile.
    instances : may use cells that only Verilog knows.

    Members
    -------
    Those of `organza_hw.accumulators.Accumulators`, with `operand_layout` as `sums`.
    """

    valid: Signal
    first: Signal
    last: Signal
    sums: data.View
    tile: data.View
    o_valid: Signal
    o_sums: data.View
    o_chunk: Signal
    o_pixel: Signal
    o_last: Signal
    o_tile: data.View

    def __init__(self, *, centroids, factors=None, zero, activation, shape, total, bits, to, p, e, tile_layout, instances=False):
        self.centroids, self.factors, self.zero, self.instances = list(centroids), factors, zero, instances
        self.index_bits = (len(self.centroids) - 1).bit_length()
        self.shape, self.total, self.bits = Shape.cast(shape), Shape.cast(total), bits
        self.to, self.p, self.e, self.chunks = to, p, e, -(-to // e)
        super().__init__({
            "valid": In(1), "first": In(1), "last": In(1),
            "sums": In(operand_layout(activation, unsigned(self.index_bits), to, p)),
            "tile": In(tile_layout),
            "o_valid": Out(1),
            "o_sums": Out(data.ArrayLayout(signed(bits), e)),
            "o_chunk": Out(range(max(self.chunks, 2))),
            "o_pixel": Out(range(max(p, 2))),
            "o_last": Out(1),
            "o_tile": Out(tile_layout),
        })  # fmt: skip

    @staticmethod
    def latency(steps):
        """Cycles from the last issue of a tile to its last sums; `steps` bins are read, one after the other."""
        return steps + 4 + PRODUCT_LATENCY

    def elaborate(self, platform):
        m = Module()
        count = len(self.centroids)
        # An index counts from bin z, so that 0 is the bin that is never written, and what is not valid.
        indices = [Signal(self.index_bits, name=f"index_{channel}") for channel in range(self.to)]
        activations = [Signal.like(self.sums.activations[pixel], name=f"activation_{pixel}") for pixel in range(self.p)]
        m.d.sync += [
            index.eq(Mux(self.valid, self.sums.indices[channel] ^ self.zero, 0)) for channel, index in enumerate(indices)
        ]
        m.d.sync += [held.eq(self.sums.activations[pixel]) for pixel, held in enumerate(activations)]

        # The walk over the bins of a finished tile: pixel, chunk of output channels, centroid.
        running, ending = Signal(), Signal()
        step = Signal(data.StructLayout({
            "k": range(max(count, 2)), "chunk": self.o_chunk.shape(), "pixel": self.o_pixel.shape(),
        }))  # fmt: skip
        tile = Signal(self.o_tile.shape())
        end, chunk_end, pixel_end = Signal(), Signal(), Signal()
        m.d.comb += [
            end.eq(step.k == count - 1),
            chunk_end.eq(end & (step.chunk == self.chunks - 1)),
            pixel_end.eq(chunk_end & (step.pixel == self.p - 1)),
        ]
        m.d.sync += ending.eq(self.valid & self.last)
        with m.If(self.valid & self.last):
            m.d.sync += tile.eq(self.tile)
        with m.If(running):
            m.d.sync += step.k.eq(Mux(end, 0, step.k + 1))
            with m.If(end):
                m.d.sync += step.chunk.eq(Mux(chunk_end, 0, step.chunk + 1))
            with m.If(chunk_end):
                m.d.sync += step.pixel.eq(Mux(pixel_end, 0, step.pixel + 1))
        m.d.sync += running.eq(ending | (running & ~pixel_end))

        # Bins: an address one cycle, add and store the next.
        found: list[list] = [[] for _ in range(self.p)]
        late = []
        for pixel, activation in enumerate(activations):
            held = Signal.like(activation, name=f"late_{pixel}")
            m.d.sync += held.eq(activation)
            late.append(held)
        for channel, index in enumerate(indices):
            m.submodules[f"touched{channel}"] = flags = memory.Memory(shape=1, depth=1 << self.index_bits, init=[])
            known, touch = flags.read_port(domain="comb"), flags.write_port()
            source, target = Signal.like(index, name=f"source_{channel}"), Signal.like(index, name=f"target_{channel}")
            place, chosen = Signal.like(index, name=f"place_{channel}"), Signal(name=f"chosen_{channel}")
            m.d.comb += [
                place.eq(Mux(running, step.k ^ self.zero, index)), known.addr.eq(place), touch.addr.eq(place),
                chosen.eq(~running | (step.chunk == channel // self.e)),
                # The bins of a channel are forgotten while its last pixel is read.
                touch.data.eq(~running), touch.en.eq(chosen & (~running | (step.pixel == self.p - 1))),
            ]  # fmt: skip
            m.d.sync += [target.eq(index), source.eq(Mux(known.data & chosen, place, 0))]
            for pixel in range(self.p):
                m.submodules[f"bins{pixel}_{channel}"] = bins = memory.Memory(
                    shape=self.shape, depth=1 << self.index_bits, init=[]
                )
                read, write = bins.read_port(domain="comb"), bins.write_port()
                m.d.comb += [
                    read.addr.eq(source), write.addr.eq(target), write.en.eq(target != 0),
                    write.data.eq(read.data + late[pixel]),
                ]  # fmt: skip
                found[pixel].append(read.data)

        # E multipliers, one centroid a cycle.
        factors = [centroid - (self.centroids[self.zero] if k != self.zero else 0) for k, centroid in enumerate(self.centroids)]
        everything = self._totals(m, activations) if self.factors or factors[self.zero] else None
        wide = Shape(max(self.shape.width, self.total.width if everything else 0), self.shape.signed)
        stages = []
        for number in range(3 + PRODUCT_LATENCY):
            stage = Signal(data.StructLayout({
                "valid": 1, "end": 1, "last": 1, "start": 1, "step": step.shape(), "tile": self.o_tile.shape(),
            }), name=f"stage_{number}")  # fmt: skip
            if number:
                m.d.sync += stage.eq(stages[-1])
            else:
                m.d.sync += [
                    stage.valid.eq(running), stage.end.eq(end), stage.last.eq(pixel_end), stage.start.eq(step.k == 0),
                    stage.step.eq(step), stage.tile.eq(tile),
                ]  # fmt: skip
            stages.append(stage)
        reading, multiplied, summed = stages[0], stages[-2], stages[-1]
        if self.factors:
            factor = Signal(self.factors[0].shape())
            m.d.sync += factor.eq(Array(self.factors)[reading.step.k])
        else:
            factor_shape = Shape.cast(range(min(*factors, 0), max(*factors, 0) + 1))
            m.submodules.factors = table = memory.Memory(shape=factor_shape, depth=count, init=factors)
            factor_port = table.read_port(domain="comb")
            factor = Signal(factor_shape)
            m.d.comb += factor_port.addr.eq(reading.step.k)
            m.d.sync += factor.eq(factor_port.data)
        for unit in range(self.e):
            rows = []
            for pixel in range(self.p):
                row = Signal(self.shape, name=f"row_{unit}_{pixel}")
                values = [found[pixel][channel] for channel in range(unit, self.to, self.e)]
                m.d.comb += row.eq(_join(values))
                rows.append(row)
            value = Signal(wide, name=f"value_{unit}")
            with m.Switch(reading.step.pixel):
                for pixel, row in enumerate(rows):
                    with m.Case(pixel):
                        m.d.sync += value.eq(row)
            if everything:
                with m.If(reading.step.k == self.zero):
                    m.d.sync += value.eq(Array(everything)[reading.step.pixel])
            product = multiply(m, value, factor, instances=self.instances, latency=PRODUCT_LATENCY)
            with m.If(multiplied.valid):
                m.d.sync += self.o_sums[unit].eq(Mux(multiplied.start, 0, self.o_sums[unit]) + product)
        m.d.comb += [
            self.o_valid.eq(summed.valid & summed.end), self.o_last.eq(summed.last),
            self.o_chunk.eq(summed.step.chunk), self.o_pixel.eq(summed.step.pixel), self.o_tile.eq(summed.tile),
        ]  # fmt: skip
        return m

    def _totals(self, m, activations):
        """Σx of every pixel."""
        valid, first = Signal(name="held_valid"), Signal(name="held_first")
        m.d.sync += [valid.eq(self.valid), first.eq(self.first)]
        made = []
        for pixel, activation in enumerate(activations):
            total = Signal(self.total, name=f"total_{pixel}")
            with m.If(valid):
                m.d.sync += total.eq(Mux(first, 0, total) + activation)
            made.append(total)
        return made


def _join(values):
    """OR of `values`, of which all but one are 0."""
    joined = values[0]
    for value in values[1:]:
        joined = joined | value
    return joined
