"""Which To and P the layers of a time-shared engine have, and how many epilogue units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from organza.codes.spec import layers_by_name, unknown_layer
from organza.errors import UserError
from organza.program import Convolve, Program
from organza.schedule import Schedule
from organza.time_sharing import PIPELINES, TimeSharing, check_shareable
from organza_sim.tilings import Choice, lanes_of_layers, tilings_of_ti

UNIT_SLACK = 0.001  # of cycles, for a smaller epilogue in a short pipeline or in weight order


@dataclass(frozen=True)
class Share:
    """`count` consecutive layers from number `first` on share an engine of at most Ti × C lanes.

    most : the most To and P of a layer; lane words are as wide as the first, frames have as many banks as the second. None for any.
    pipeline : see `TimeSharing`.
    """

    first: int
    count: int
    ti: int
    c: int
    most: tuple[int, int] | None = None
    pipeline: str = PIPELINES[0]


def share(
    nodes: Sequence[Convolve], ti: int, c: int, choice: Choice | None = None, *, most: tuple[int, int] | None = None, pipeline: str = PIPELINES[0],
) -> TimeSharing:
    """The fastest engine of at most Ti × C lanes for these layers, with the fewest epilogue units that keep it so; in a short pipeline,
    which is for small devices, and in weight order, where every unit shortens the wait between layers, with the fewest that cost at most
    `UNIT_SLACK` of its cycles.

    choice : of all layers. most, pipeline : see `Share`.

    Raises ValueError, naming the layer, for one that cannot share an engine, and for a Ti beyond its channels.
    """
    for node in nodes:
        check_shareable(node)
    choice = choice or Choice()
    chosen = [tilings_of_ti(node, ti, c, choice, limits=most) for node in nodes]

    def engine(e: int) -> TimeSharing:
        layers = []
        for node, (to, p) in zip(nodes, chosen, strict=True):
            # Units that the last layer has no channels for take more pixels.
            together = node is nodes[-1] and choice.order == "row"
            g = max(g for g in range(1, p + 1) if p % g == 0 and g <= max(e // to, 1)) if together else 1
            layers.append(Schedule(node=node, ti=ti, to=to, p=p, e=min(e // g, to), g=g, **asdict(choice)))
        return TimeSharing(
            layers=tuple(layers), c=max(to * p for to, p in chosen), e=max(layer.e * layer.g for layer in layers),
            pipeline=pipeline,
        )  # fmt: skip

    units = min(ti, max(to for to, _ in chosen))
    best = engine(units)
    most_cycles = best.cycles * (1 + UNIT_SLACK) if best.short or best.order == "weight" else best.cycles
    return next((found for e in range(1, units) if (found := engine(e)).cycles <= most_cycles), best)


def least_shared_lanes(program: Program, arithmetic: str = "") -> int:
    """Lanes without which all layers cannot share an engine: one input channel for each output channel that they must have together."""
    return max(node.code.together(arithmetic) for node in program.nodes)


def fastest_share(program: Program, lanes: int, choice: Choice | None = None) -> Share:
    """All layers on the Ti × C lanes, of at most `lanes`, that take the fewest cycles. choice : of all layers. Raises ValueError as `share`,
    and for too few lanes."""
    for node in program.nodes:
        check_shareable(node)
    choice = choice or Choice()
    least = least_shared_lanes(program, choice.arithmetic)
    if lanes < least:
        raise ValueError(f"Lanes to share must be at least {least}, not {lanes}")
    options = []
    most = min(lanes // least, *(node.code.most_ti(choice.arithmetic, node.ci) for node in program.nodes))
    for ti in range(1, most + 1):
        engine = share(program.nodes, ti, lanes // ti, choice)
        options.append((engine.cycles, engine.lanes, ti))
    _, _, ti = min(options)
    return Share(0, len(program.nodes), ti, lanes // ti)


def parse_shares(text: str, program: Program, lanes: int, choice: Choice | None = None) -> tuple[Share, ...]:
    """``8x16`` for all layers, or ``first..last=8x16`` with names of layers, or layer0, layer1, …; several with commas. ``8x16/4x2``: no layer
    has more than 4 output channels or 2 pixels at once. ``8x16/short``, ``8x16/4x2/short``: with this pipeline. ``all``: all layers in
    the fastest way on at most `lanes`, with what is given of them all, `choice`. ``none``: none.

    Raises `UserError` that says what may stand there.
    """
    names = [node.name for node in program.nodes]
    if text.strip() == "none":
        return ()
    if text.strip() == "all":
        try:
            return (fastest_share(program, lanes, choice),)
        except ValueError as error:
            raise UserError(f"--share all: {error}") from error
    known = layers_by_name(names)
    made = []
    for part in text.split(","):
        layers, given, shape = part.strip().rpartition("=")
        ends = [end.strip() for end in layers.split("..")] if given else ["layer0", f"layer{len(names) - 1}"]
        sizes = [size.strip() for size in shape.lower().replace("×", "x").split("/")]
        pipeline = sizes.pop() if len(sizes) > 1 and sizes[-1] in PIPELINES else PIPELINES[0]
        pairs = [_pair(size) for size in sizes]
        if len(ends) != 2 or not 1 <= len(pairs) <= 2 or None in pairs:
            raise UserError(
                "--share must be all, none, or like 8x16 (Ti times C lanes), layer0..layer2=8x16, 8x16/4x2 (at most 4 output channels and 2 pixels "
                f"at once) or 8x16/short, not {text!r}"
            )
        (ti, c), *limits = [pair for pair in pairs if pair]
        for end in ends:
            if end not in known:
                raise unknown_layer("--share", end, names)
        first, last = (names.index(known[end]) for end in ends)
        made.append(Share(first, last - first + 1, ti, c, *limits, pipeline=pipeline))
    try:
        check_shares(made, len(names))
    except ValueError as error:
        raise UserError(f"--share {text}: {error}") from error
    return tuple(made)


def _pair(text: str) -> tuple[int, int] | None:
    """Two numbers above 0 like 8x16; None if it is something else."""
    numbers = [number.strip() for number in text.split("x")]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(n.isdecimal() and int(n) for n in numbers) else None


def least_lanes(program: Program, shares: Sequence[Share] = ()) -> int:
    """Lanes without which a Program cannot run: those that shared engines may have, and the least of the other layers."""
    inside = {k for one in shares for k in range(one.first, one.first + one.count)}
    alone = [node for k, node in enumerate(program.nodes) if k not in inside]
    return sum(one.ti * one.c for one in shares) + lanes_of_layers(alone)


def check_shares(shares: Sequence[Share], layers: int) -> None:
    """Raise ValueError for layers that there are not, or that are in two engines."""
    taken: set[int] = set()
    for one in shares:
        mine = set(range(one.first, one.first + one.count))
        if one.count < 2 or not mine <= set(range(layers)):
            raise ValueError(f"shared engine must run at least two of the layers 0 to {layers - 1}, not {one.first} to {one.first + one.count - 1}")
        if mine & taken:
            raise ValueError(f"layer {min(mine & taken)} must be in one shared engine, not in two")
        taken |= mine
