"""Runs gateware in Amaranth's own simulator: small designs start at once, and every inner stream can be watched.

`simulate_pipeline` runs a whole accelerator on images and checks what a stream promises on the way; `run` does the same
for any component with streams ``i`` and ``o``; `trace_cycles` drives and samples plain ports. One testbench coroutine
moves the clock by single ticks and counts them, so every simulation ends.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Const, Module, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from organza.plan import Plan
from organza.program import Program
from organza_hw.external.memory import Fed, external_works
from organza_hw.formats import wire_shape
from organza_hw.loading.image import weight_image
from organza_hw.loading.loader import WeightLoader
from organza_hw.pipeline import Pipeline
from organza_hw.weights import load_cycles

from .beats import Beat, from_beats, last_flags, to_beats
from .issue_times import engine_cycles
from .rtl import Joint, RtlError, RtlRun, damage, refused
from .status import STATUS_BEAT

__all__ = ["run", "send_image", "simulate_pipeline", "trace_cycles"]

NO_STALL = np.zeros(1, bool)


def simulate_pipeline(program: Program, plan: Plan, x: np.ndarray, *, stall_in: np.ndarray | None = None,
                      stall_out: np.ndarray | None = None, watch: bool = False,
                      watchdog: int | None = None, weights: Program | None = None,
                      before: Callable[[Any, Any], Awaitable[None]] | None = None,
                      late_words: Sequence[bool] = (False,)) -> tuple[np.ndarray, RtlRun]:
    """Integer outputs (N, co, height, width) of the accelerator for the images ``x``, and the run with all its cycles.

    ``stall_in``, ``stall_out`` and ``watchdog`` are those of :func:`run`; the default watchdog is far above what the
    plan can need between two beats. ``watch`` records every joint: 0 is the input, the last one the output; and under
    the names ``"status1"``, … the status registers of joints with managed exponents, see `organza_sim.status`. Where weights
    are loaded, those of ``weights``, or else of ``program``, are before cycle 0; ``before`` is done before that. Memories beside the
    chip stall as ``late_words``, over and over, says.

    Raises :exc:`RtlError` as :func:`run` does, and for a padding channel that is not zero or a wrong ``last``.
    """
    pipeline = Pipeline(program, plan, files=False)
    accelerator: Any = Fed(program, plan, pipeline, files=False, stalls=tuple(late_words)) if external_works(program, plan) else pipeline
    tensors = [program.input, *(node.output for node in program.nodes)]
    formats = [tensors[number] for number in plan.tensors]
    shapes = [Beat.of(wire_shape(form), joint.n) for form, joint in zip(formats, plan.joints, strict=True)]
    beats, last = to_beats(x, plan.joints[0].n)
    channels, height, width = program.output_shape
    flags = last_flags(len(x), height * width * -(-channels // plan.joints[-1].n))
    if watchdog is None:
        schedules = plan.schedules(program)
        watchdog = 1000 + 20 * sum(map(engine_cycles, schedules)) + max(map(load_cycles, schedules))
    engines: list[Any] = pipeline.engines
    streams = [*(engine.i for engine in engines), engines[-1].o]
    watched: dict[int | str, Any] = {k: (streams[k], shapes[k]) for k in range(len(streams))}
    watched |= {f"status{k}": (engines[k - 1].status, STATUS_BEAT) for k in pipeline.managed}
    image = weight_image(program, plan, weights) if program.loads else b""

    async def load(ctx):
        if before:
            await before(ctx, accelerator)
        await send_image(ctx, accelerator, image)
        if not ctx.get(accelerator.loaded):
            raise RtlError("refused", f"Weights were refused: {refused(ctx.get(accelerator.refusal))}")

    made = run(accelerator, beats, last, i=shapes[0], o=shapes[-1], outputs=len(flags), stall_in=stall_in,
               stall_out=stall_out, watchdog=watchdog,
               joints=watched if watch else None, error=pipeline.error, layers=plan.engine_names,
               before=load if image else None)  # fmt: skip
    if not np.array_equal(made.last, flags):
        raise RtlError("protocol", "Stream o has its last flag on a wrong beat", made)
    try:
        return from_beats(made.outputs, channels, height, width), made
    except ValueError as error:
        raise RtlError("protocol", f"Stream o: {error}", made) from error


def run(component: wiring.Component, beats: np.ndarray, last: np.ndarray, *, i: Beat, o: Beat, outputs: int,
        stall_in: np.ndarray | None = None, stall_out: np.ndarray | None = None,
        joints: Mapping[int | str, tuple[Any, Beat]] | None = None, watchdog: int = 10_000,
        silence: int = 128, error: Value | None = None, layers: Sequence[str] = (),
        before: Callable[[Any], Awaitable[None]] | None = None) -> RtlRun:
    """Feeds ``beats`` (B, n) with their ``last`` flags into ``component``, and takes ``outputs`` beats.

    Stall traces mean what they mean in :func:`organza_sim.rtl.run`: in cycle c the source does not start to offer a
    beat, or the sink does not accept one, if entry c modulo the length is true. While nothing is offered the payload is
    the complement of the next beat. ``joints`` are streams inside of ``component`` to record, with their formats. ``error``
    has a bit for each of the ``layers`` that says that its weights are damaged. ``before`` is done before cycle 0.

    Raises :exc:`RtlError`: an offered beat that is changed or withdrawn ("protocol"), ``watchdog`` cycles without a
    transfer ("stuck"), an output beat in the ``silence`` cycles after the last one ("extra"), or a bit of ``error`` ("damaged").
    """
    stall_in = NO_STALL if stall_in is None else stall_in
    stall_out = NO_STALL if stall_out is None else stall_out
    words = [int.from_bytes(word.tobytes(), "little") for word in i.pack(beats, last)]
    mask = (1 << i.bits) - 1
    source, sink = component.i, component.o  # type: ignore[attr-defined]
    watched = {"i": (source, i), "o": (sink, o), **(joints or {})}
    moved: dict[int | str, list[tuple[int, int]]] = {name: [] for name in watched}
    cycle = 0

    async def testbench(ctx):
        nonlocal cycle
        offered, sent, still, quiet = False, 0, 0, 0
        held: dict[int | str, int | None] = dict.fromkeys(watched)
        signals = [part for stream, _ in watched.values()
                   for part in (stream.valid, stream.ready, Value.cast(stream.payload).as_unsigned())]  # fmt: skip
        signals.append(Const(0) if error is None else error)
        if before:
            await before(ctx)
        while quiet < silence or sent < len(words):
            if not offered and sent < len(words):
                offered = not stall_in[cycle % len(stall_in)]
                ctx.set(source.payload.as_value(), words[sent] if offered else ~words[sent] & mask)
            ctx.set(source.valid, offered)
            ctx.set(sink.ready, not stall_out[cycle % len(stall_out)])
            _, _, *values, found = await ctx.tick().sample(*signals)
            if found:
                damaged = [damage(name, k, cycle) for k, name in enumerate(layers) if found >> k & 1]
                raise RtlError("damaged", "; ".join(damaged))
            still += 1
            for place, (name, transfers) in enumerate(moved.items()):
                valid, ready, payload = values[3 * place : 3 * place + 3]
                if held[name] is not None and (not valid or payload != held[name]):
                    what = "changed" if valid else "withdrawn"
                    raise RtlError("protocol", f"Stream {name}: an offered beat was {what} in cycle {cycle}")
                held[name] = payload if valid and not ready else None
                if valid and ready:
                    transfers.append((cycle, payload))
                    still = 0
            if len(moved["i"]) > sent:
                offered, sent = False, sent + 1
            cycle += 1
            if len(moved["o"]) > outputs:
                raise RtlError("extra", f"Stream o: an output after the last of {outputs}, in cycle {cycle - 1}")
            quiet = still if len(moved["o"]) == outputs else 0
            if still >= max(watchdog, silence):
                raise RtlError("stuck", f"No transfer for {still} cycles: {sent} of {len(words)} beats taken, "
                                        f"{len(moved['o'])} of {outputs} given")  # fmt: skip

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()

    def recorded(name) -> Joint:
        beat = watched[name][1]
        octets = b"".join(payload.to_bytes(4 * beat.words, "little") for _, payload in moved[name])
        cycles = np.array([at for at, _ in moved[name]], np.int64)
        beats, last = beat.unpack(np.frombuffer(octets, "<u4"))
        return Joint(beats, last, cycles)

    taken, given = recorded("i"), recorded("o")
    return RtlRun(given.beats, given.last, taken.cycles, given.cycles, {k: recorded(k) for k in joints or {}}, cycle)


async def send_image(ctx, component: Any, image: bytes) -> None:
    """Put an image of weights through the port ``load``, as fast as it takes bytes, until it has been accepted or refused."""
    ctx.set(component.load.valid, 1)
    for place, byte in enumerate(image):
        ctx.set(component.load.payload, {"byte": byte, "first": not place})
        await ctx.tick().until(component.load.ready)
    ctx.set(component.load.valid, 0)
    for _ in range(WeightLoader.VERDICT + 1):
        if ctx.get(component.loaded):
            break
        await ctx.tick()


def trace_cycles(component: Any, inputs: Iterable[Mapping[str, Any]], outputs: Sequence[str],
                 seen: list[tuple] | None = None) -> list[tuple]:
    """Values of the ports ``outputs`` in every cycle, while ``inputs`` sets ports cycle by cycle until it ends.

    Ports are named by their path: ``"addr"``, ``"o.payload.last"``.
    Item c of ``inputs`` maps ports to the values that they take at the start of cycle c and keep until changed; entry
    c of the result was seen at its end, just before the clock edge. A generator that reacts to the component looks at
    the list ``seen``, which is the result in the making.
    """
    seen = [] if seen is None else seen

    async def testbench(ctx):
        ports = [attrgetter(name)(component) for name in outputs]
        for change in inputs:
            for name, value in change.items():
                ctx.set(attrgetter(name)(component), value)
            _, _, *values = await ctx.tick().sample(*ports)
            seen.append(tuple(values))

    top = Module()
    top.domains.sync = ClockDomain()  # a component without registers has none
    top.submodules.component = component
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return seen
