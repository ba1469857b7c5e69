"""What the proofs share: assumptions about neighbours, symbolic constants, and mutants that must not pass."""

import ast
import inspect
import sys
import textwrap

import numpy as np
from amaranth.hdl import Assert, Assume, Mux, ResetSignal, Signal, Value

from organza.codes import Linear
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.program import Convolve

TOP = "proof"


def begin(m):
    """No reset after power-up; a Signal that is 0 in the first cycle only."""
    begun = Signal(name="begun")
    m.d.comb += Assume(~ResetSignal("sync"))
    m.d.sync += begun.eq(1)
    return begun


def constant(m, begun, signal):
    """Assume that the input `signal` is any value, but always the same."""
    before = Signal.like(signal, name=f"{signal.name}_before")
    m.d.sync += before.eq(signal)
    m.d.comb += Assume(~begun | (signal == before))


def stable(m, begun, stream, statement, name):
    """`statement` (Assert or Assume) that an offered beat of `stream` stays until it is accepted."""
    payload = Value.cast(stream.payload)
    waits, held = Signal(name=f"{name}_waits"), Signal.like(payload, name=f"{name}_held")
    m.d.sync += [waits.eq(stream.valid & ~stream.ready), held.eq(payload)]
    m.d.comb += statement(~(begun & waits) | (stream.valid & (payload == held)))


def counter(m, condition, modulus, name):
    """Counts the cycles with `condition`, modulo `modulus`."""
    count = Signal(range(max(modulus, 2)), name=name)
    with m.If(condition):
        m.d.sync += count.eq(Mux(count == modulus - 1, 0, count + 1))
    return count


def mutated(component, old, new, method="elaborate", function=None):
    """The class `component` with `old` replaced by `new` in `method`, or in a `function` of its module that the method calls, written as
    `ast.unparse` writes it."""
    scope = dict(vars(sys.modules[component.__module__]))
    sources = {
        part: ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(scope[part] if part == function else getattr(component, part)))))
        for part in filter(None, (function, method))
    }
    changed = function or method
    assert sources[changed].count(old) == 1, f"{old!r} must be once in {component.__name__}.{changed}"
    sources[changed] = sources[changed].replace(old, new)
    for source in sources.values():
        exec(source, scope)
    return type(component.__name__, (component,), {method: scope[method]})


def tiny_layer(name="layer", *, ci=1, co=1, y, x, bits=2, low=0, high=1):
    """A layer so narrow that a solver can follow it."""
    rng = np.random.default_rng(3)
    form = Fixed(bits, False, 1.0)
    rule = Epilogue(np.zeros(co, int), np.ones(co, int), np.zeros(co, int), np.zeros(co, int), low, high)
    weights = rng.choice([-1, 1], (ci, co, y.kernel, x.kernel))
    return Convolve(name=name, y=y, x=x, groups=1, code=Linear(weights, 2), epilogue=rule, input=form, output=form)


POINT = {"kernel": 1}
__all__ = ["POINT", "TOP", "Assert", "Assume", "Axis", "begin", "constant", "counter", "mutated", "stable", "tiny_layer"]
