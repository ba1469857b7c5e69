"""Programs that pick exponents at run time: what they mean, their state, their limits, their file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from organza.codes import Linear
from organza.codes.spec import CodeSpec, parse_spec
from organza.epilogue import Epilogue
from organza.errors import UserError
from organza.exponents import ExponentRule
from organza.float_layers import FloatLayer, float_run
from organza.formats import Fixed, Flex, Managed, restore_format
from organza.geometry import Axis
from organza.graph import Activation
from organza.manage import manage, with_rules
from organza.managed_epilogue import ManagedEpilogue
from organza.program import Convolve, Program
from organza.program_file import load_program, program_hash, save_program
from organza.quantize import quantize
from tests.organza.test_program_file import rewrite
from tests.strategies import random_input, random_managed

MANAGED = parse_spec("flexpoint:managed")


def float_chain(seed=0, last=None, bias=0.3):
    """Three transposed convolutions, 1×1 → 2×2 → 4×4 → 8×8, with leaky ReLU."""
    rng = np.random.default_rng(seed)
    layers = []
    for name, ci, co, size, kernel, up, crop in (("a", 3, 4, 1, 2, 1, 0), ("b", 4, 3, 2, 4, 2, 1), ("c", 3, 2, 4, 4, 2, 1)):
        axis = Axis(size=size, kernel=kernel, up=up, crop_before=crop, crop_after=crop)
        layers.append(FloatLayer(
            name=name, weights=rng.normal(0, 0.4, (ci, co, kernel, kernel)), bias=rng.normal(0, bias, co), y=axis, x=axis,
            activation=Activation(slope=np.array([0.25])),
        ))  # fmt: skip
    if last is not None:
        layers[-1] = replace(layers[-1], activation=Activation(kind=last))
    return layers


def chain(seed=0, codes=None, **options):
    layers = float_chain(seed, **options)
    inputs = np.random.default_rng(1).normal(size=(40, 3, 1, 1))
    return quantize(layers, inputs, codes=codes or dict.fromkeys("abc", MANAGED))


def latents(program, count, scale=1.0, seed=2):
    return program.quantize(scale * np.random.default_rng(seed).normal(size=(count, *program.input_shape)))


def test_every_joint_inside_is_managed():
    program = chain()
    kinds = [type(form) for form in (program.input, *(node.output for node in program.nodes))]
    assert kinds == [Flex, Managed, Managed, Flex]
    assert [type(node.epilogue) for node in program.nodes] == [ManagedEpilogue] * 3
    assert [type(form) for form in (node.output for node in chain(last="tanh").nodes)] == [Managed, Managed, Fixed]
    some = chain(codes={"a": CodeSpec("flexpoint"), "b": MANAGED, "c": CodeSpec("flexpoint")})
    assert [type(node.input) for node in some.nodes] == [Flex, Managed, Flex]
    assert [type(node.epilogue) for node in some.nodes] == [ManagedEpilogue, ManagedEpilogue, Epilogue]
    eight = chain(codes={"b": MANAGED})
    assert [type(node.input) for node in eight.nodes] == [Fixed, Managed, Fixed]


@pytest.mark.parametrize("last", [None, "tanh"])
def test_at_the_initial_exponents_it_is_the_frozen_program(last):
    """Rules that may not move: the same integers in every layer."""
    frozen = chain(codes=dict.fromkeys("abc", CodeSpec("flexpoint")), last=last)
    managed = manage(frozen)
    held = with_rules(managed, lambda rule: replace(rule, low=rule.initial, high=rule.initial))
    x = latents(frozen, 20)
    for ours, theirs in zip(held.run_layers(x), frozen.run_layers(x), strict=True):
        assert np.array_equal(ours, theirs)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-6, 6))
def test_it_is_real_arithmetic(seed, jump):
    """Convolutions by PyTorch on integers, everything behind them as rational numbers; exponents by the ideal rule."""
    program = with_rules(chain(seed % 5), lambda rule: replace(rule, initial=rule.initial + seed % 3 - 1))
    x = np.concatenate([latents(program, 3, 2.0**-3), latents(program, 5, 2.0 ** (jump - 3), seed)])
    trace = program.trace(x)
    values, before = x, [program.input.exponent] * len(x)
    maxima: list[Fraction]
    for node, got, exponents in zip(program.nodes, trace.layers, trace.exponents, strict=True):
        assert isinstance(node.epilogue, ManagedEpilogue)
        crop = node.y.crop_before
        sums = torch.nn.functional.conv_transpose2d(
            torch.from_numpy(values), torch.from_numpy(node.code.integers()), stride=node.y.up, padding=crop
        ).numpy()
        maxima = []
        for image in range(len(x)):
            unit = Fraction(2) ** (before[image] + node.code.exponent)
            # The bias of a frozen input counts from e_in = 0, that of a managed one from its exponent.
            e_in = before[image] if isinstance(node.input, Managed) else 0
            bias = [floor(int(b) * Fraction(2) ** (node.epilogue.bias_exponent - e_in) + Fraction(1, 2)) for b in node.epilogue.bias]
            if exponents is None:
                e = node.output.exponent
            else:
                e, rule = int(exponents.exponent[image]), node.output.rule
                old = [float(value) for value in maxima[:-1]][-rule.window :]
                # Before there are enough images the initial exponent counts as one of them.
                wanted = [rule.ideal([value]) for value in old] + [rule.initial] * (rule.window - len(old))
                low, high = node.output_exponents(e_in)
                assert e == min(max(*wanted, low), high)
            most = Fraction(0)
            for index in np.ndindex(*sums.shape[1:]):
                v = int(sums[image][index]) + bias[index[0]]
                real = v * unit * (1 if v >= 0 else Fraction(1, 4)) / Fraction(2) ** e
                rounded = floor(real + Fraction(1, 2))
                assert got[image][index] == min(max(rounded, -32768), 32767)
                # One less for a value that is clamped from below: −2**k needs no more bits than 2**k − 1.
                most = max(most, abs(rounded) - Fraction(rounded < -32768))
            if exponents is not None:
                assert bool(exponents.overflow[image]) == bool(most > 32768 or (most > 32767 and (got[image] == 32767).any()))
                maxima.append(most * Fraction(2) ** e)
        values = got
        before = [node.output.exponent] * len(x) if exponents is None else exponents.exponent.tolist()


def test_a_state_carries_on_where_it_was():
    program = chain()
    x = np.concatenate([latents(program, 40, 2.0**-5), latents(program, 40)])
    whole = program.trace(x)
    state, made = program.start, []
    for part in np.split(x, [1, 2, 30, 47]):
        y, state = program.run(part, state)
        made.append(y)
    assert np.array_equal(np.concatenate(made), whole.layers[-1])
    assert state == whole.state != program.start
    # From the start again it is something else, and the order of images matters.
    assert not np.array_equal(program.run(x[40:]), whole.layers[-1][40:])
    assert np.array_equal(program.run(x), whole.layers[-1])


def test_a_frozen_program_has_no_state():
    program = chain(codes=dict.fromkeys("abc", CodeSpec("flexpoint")))
    x = latents(program, 5)
    y, state = program.run(x, program.start)
    assert state == program.start == (None, None, None)
    assert np.array_equal(y, program.run(x))


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("delay", [1, 3])
def test_overflows_recover_layer_by_layer(window, delay):
    """Latents that get 50 times larger: d + 1 images overflow in the first layer, then in the next, and then none."""
    frozen = chain(codes=dict.fromkeys("abc", CodeSpec("flexpoint")), last="tanh", bias=0)
    program = manage(frozen, window=window, delay=delay)
    x = np.concatenate([np.repeat(latents(program, 1, scale), 20, 0) for scale in (0.02, 1)])
    trace = program.trace(x)
    over = [exponents.overflow for exponents in trace.exponents[:-1]]
    assert not any(flags[:20].any() for flags in over)
    jumped = 20 + delay + 1
    assert over[0][20:jumped].all() and not over[0][jumped:].any()
    assert not over[1][jumped + delay + 1 :].any()
    # What comes out afterwards is as good as with exponents from calibration.
    real = program.dequantize(trace.layers[-1])
    wanted = float_run(float_chain(last="tanh", bias=0), program.input.dequantize(x)).numpy()
    assert np.abs(real - wanted)[:20].max() < 0.03
    assert np.abs(real - wanted)[jumped + delay + 1 :].max() < 0.03
    assert np.abs(real - wanted)[20:jumped].max() > 0.1


def test_small_tensors_keep_their_bits():
    """Images a thousand times smaller than at calibration: frozen mantissas lose ten bits, managed ones none."""
    layers = float_chain(bias=0)
    frozen = chain(codes=dict.fromkeys("abc", CodeSpec("flexpoint")), bias=0)
    managed = manage(frozen)
    x = latents(frozen, 24, 1e-3)
    wanted = [values.numpy() for values in _float_layers(layers, frozen.input.dequantize(x))]
    trace = managed.trace(x)
    for k, form in enumerate(node.output for node in frozen.nodes[:-1]):
        steady = slice(12, None)
        exponents = trace.exponents[k].exponent[steady, None, None, None]
        ours = np.ldexp(trace.layers[k][steady].astype(float), exponents)
        theirs = form.dequantize(frozen.run_layers(x)[k])[steady]
        error = [np.abs(values - wanted[k][steady]).max() for values in (ours, theirs)]
        assert error[0] < error[1] / 20


def _float_layers(layers, x):
    made = []
    for k in range(len(layers)):
        made.append(float_run(layers[: k + 1], x))
    return made


def test_a_big_bias_limits_the_exponent():
    """At most eight bits above the sums of the weights: below that the input would not matter."""
    program = chain(bias=100.0)
    for node in program.nodes[1:]:
        rule = node.input.rule
        assert rule.low > -31
        bias = np.abs(node.epilogue.aligned_bias(rule.low)).max()
        assert int(bias).bit_length() <= int(node.dot_bound.max()).bit_length() + 8
        assert node.accumulator_bits <= node.dot_bits + 9
        with pytest.raises(ValueError, match="^Program input"):
            Program((node,))
    x = latents(program, 6, 1e-4)
    assert program.run(x).shape == (6, 2, 8, 8)


def test_layers_that_move_values_keep_the_exponents_of_what_they_move():
    axis = Axis(size=2, kernel=1)
    layers = float_chain()[:1]
    moved = FloatLayer(name="m", weights=np.eye(4)[:, :, None, None], bias=np.zeros(4), y=axis, x=axis, passthrough=True)
    point = FloatLayer(name="p", weights=np.full((4, 1, 1, 1), 0.5), bias=np.zeros(1), y=axis, x=axis)
    layers = [*layers, moved, point]
    x = np.random.default_rng(0).normal(size=(20, 3, 1, 1))
    program = quantize(layers, x, codes={"a": MANAGED, "p": MANAGED})
    assert [type(node.output) for node in program.nodes] == [Managed, Managed, Flex]
    trace = program.trace(program.quantize(x))
    assert np.array_equal(trace.exponents[0].exponent, trace.exponents[1].exponent)
    assert np.array_equal(trace.layers[0], trace.layers[1])


def test_any_code_can_read_managed_tensors():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        program = random_managed(rng, 3, code=None, max_macs=400)
        assert [type(node.input) for node in program.nodes[1:]] == [Managed] * 2
        x = random_input(rng, program, 4)
        layers = program.run_layers(x)
        assert all(node.output.holds(values) for node, values in zip(program.nodes, layers, strict=True))


def test_programs_survive_the_disk(tmp_path):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        program = random_managed(rng, 3, max_macs=400)
        save_program(program, tmp_path / "p")
        loaded = load_program(tmp_path / "p")
        assert program_hash(loaded) == program_hash(program)
        assert [node.input for node in loaded.nodes] == [node.input for node in program.nodes]
        x = random_input(rng, program, 4)
        ours, theirs = program.trace(x), loaded.trace(x)
        assert ours.state == theirs.state
        assert np.array_equal(ours.layers[-1], theirs.layers[-1])
        low, high = (
            with_rules(program, lambda rule, bound=bound: replace(rule, initial=getattr(rule, bound))) for bound in ("low", "high")
        )
        assert program_hash(low) != program_hash(high)


def _rule(**change):
    def apply(header):
        for node, side in ((header["nodes"][0], "output"), (header["nodes"][1], "input")):
            node[side] |= change
    return apply  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rule(window=10**9), "Exponent rule window must be between 1 and 16, not 1000000000"),
        (_rule(window=2.0), r"Exponent rule window must be an integer, not 2\.0"),
        (_rule(delay=0), "Exponent rule delay must be between 1 and 16, not 0"),
        (_rule(low=-40), "Exponent rule low must be between -31 and 0 .5 bits., not -40"),
        (_rule(initial=1), "Exponent rule initial must be between -31 and 0 .5 bits., not 1"),
        (_rule(headroom="1"), "Exponent rule headroom must be an integer, not '1'"),
        (_rule(more=1), r".*unexpected keyword argument 'more'"),
        (lambda header: header["nodes"][0]["output"].update(window=3), "b: input format must be Managed.* as a makes it, not .*"),
        (lambda header: header["nodes"][0].pop("bias_exponent"), "a: formats .* need a ManagedEpilogue"),
        (lambda header: header["nodes"][1].update(bias_exponent=None), "Epilogue bias_exponent must be an integer, not None"),
        (lambda header: header["nodes"][1].update(bias_exponent=40), r"b: bias must stay below 2\*\*47 at exponent .*"),
        (lambda header: header["nodes"][0].update(high=32766), "a: epilogue of a managed output must clamp to -32768…32767 and .*"),
        (lambda header: header["nodes"][2].update(output={"kind": "managed", "initial": -9}), "c: .*|Program output must not be managed.*"),
        (lambda header: header["nodes"][0]["output"].update(kind="unmanaged"), "format kind must be one of .*, not 'unmanaged'"),
        (lambda header: header["nodes"][0].update(output=[]), ".*"),
    ],
)  # fmt: skip
def test_headers_that_contradict_themselves(change, message, tmp_path):
    program = chain()
    save_program(program, tmp_path / "p")
    rewrite(tmp_path / "p", change, rehash=True)
    with pytest.raises(UserError, match=rf"^{tmp_path}/p: inconsistent Program: {message}$"):
        load_program(tmp_path / "p")


class TestWrong:
    """What a Program with managed exponents refuses."""

    def test_formats(self):
        rule = ExponentRule(initial=-9)
        assert restore_format(Managed.of(rule).parameters()) == Managed.of(rule)
        assert Managed.of(rule).at(-3) == Flex(-3)
        assert Managed.of(rule) != Flex(-9)
        with pytest.raises(ValueError, match="^Managed exponent must be that of its rule, -9, not -8$"):
            Managed(-8, rule)
        with pytest.raises(TypeError, match="^Managed rule must be an ExponentRule, not None$"):
            Managed(-8, None)

    def test_ends_stay_frozen(self):
        program = chain()
        for part, what in ((program.nodes[:1], "output"), (program.nodes[1:], "input")):
            with pytest.raises(ValueError, match=f"^Program {what} must not be managed; only tensors between nodes can be$"):
                Program(part)

    def test_epilogues(self):
        node = chain().nodes[1]
        e = node.epilogue
        plain = Epilogue(e.bias, e.positive, e.negative, 0 * e.shift, e.low, e.high)
        with pytest.raises(TypeError, match="^b: formats .* need a ManagedEpilogue$"):
            replace(node, epilogue=plain)
        with pytest.raises(TypeError, match="^b: formats .* need an Epilogue without exponents$"):
            replace(node, input=Flex(-9), output=Flex(-9))
        table = np.zeros(8, np.int64)
        with pytest.raises(ValueError, match="^b: epilogue of a managed output must clamp to -32768…32767 and have no table$"):
            replace(node, epilogue=replace(e, low=0, high=7, table=table))
        with pytest.raises(ValueError, match="^b: shifts must be between 0 and 47 at every exponent, but are not at -9 of the input$"):
            replace(node, input=Managed.of(ExponentRule(initial=-9, low=-9)), output=Flex(-9), epilogue=replace(e, shift=e.shift + 48))

    def test_states(self):
        program = chain()
        x = latents(program, 1)
        for state, kind, message in (
            ([], TypeError, r"^Program state must be a tuple, not \[\]$"),
            ((None,), ValueError, "^Program state must have 3 entries, one for each node, not 1$"),
            ((None, None, None), TypeError, "^Exponent history must be a tuple of integers, not None$"),
            ((*program.start[:2], (0,)), ValueError, r"^Program state of c must be None, as its output is not managed, not \(0,\)$"),
        ):
            with pytest.raises(kind, match=message):
                program.run(x, state)

    def test_layers(self):
        program = chain(codes=dict.fromkeys("abc", CodeSpec("flexpoint")))
        for name in ("a", "d"):
            with pytest.raises(ValueError, match=f"^exponents can be managed in what these layers read: b, c; not '{name}'$"):
                manage(program, [name])
        with pytest.raises(ValueError, match="^exponents can be managed in what these layers read: none; not 'b'$"):
            manage(chain(codes={"a": CodeSpec("ternary")}), ["b"])
        with pytest.raises(ValueError, match="^Exponent rule delay must be between 1 and 16, not 0$"):
            manage(program, delay=0)

    def test_options(self):
        for text, message in (("flexpoint:frozen", "code flexpoint takes only managed, not 'flexpoint:frozen'"),
                              ("flexpoint:managed:managed", "code flexpoint takes one exponents, not .*")):  # fmt: skip
            with pytest.raises(UserError, match=f"^{message}$"):
                parse_spec(text)
        with pytest.raises(UserError, match="^a: flexpoint exponents must be frozen or managed, not 'free'$"):
            chain(codes={"a": CodeSpec("flexpoint", {"exponents": "free"})})


def test_sums_are_as_wide_as_they_need_to_be():
    """The largest inputs at the smallest exponent reach the bound, bias included."""
    node = Convolve(
        name="n", y=Axis(size=1, kernel=1), x=Axis(size=1, kernel=1), groups=1, code=Linear(np.full((2, 1, 1, 1), 127)),
        epilogue=ManagedEpilogue(*(np.array([v]) for v in (100, 1 << 14, 0, 30)), 0, 255, bias_exponent=-4),
        input=Managed.of(ExponentRule(initial=-4, low=-12, high=0)), output=Fixed(8, False, 1.0),
    )  # fmt: skip
    assert node.dot_bound.tolist() == [2 * 127 << 15]
    assert node.sum_bound.tolist() == [(2 * 127 << 15) + (100 << 8)]
    assert (node.dot_bits, node.accumulator_bits) == (24, 24)
    assert list(node.input_exponents) == list(range(-12, 1))
    assert node.stored_bits == 2 * 8 + (32 + 32 + 8) + 7
