"""PyTorch generator to `Graph`, through `torch.export`.

The exported operators are read one after the other. Each must take its predecessor's result: only
chains are supported yet. Whatever cannot be captured raises `UserError` with the module's path, the
operator and what to use instead. Dilated kernels become larger kernels with zero taps in between.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from organza.errors import UserError
from organza.graph import Graph, LinearStep, Step
from organza.operators import ADVICE, BATCH, Operators, times


def capture(module: nn.Module, example_inputs: Tensor | np.ndarray) -> Graph:
    """Chain of float layers that `module` computes in evaluation mode.

    `example_inputs` has shape (N, ...), N ≥ 1; only its shape matters. (N, F) and (N, F, 1, 1) are
    tried for each other when the module does not take what was given. The module is left as it was.

    Raises TypeError for a module or inputs of the wrong kind, `UserError` for what cannot be
    captured.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"generator must be a torch.nn.Module, not {type(module).__name__}")
    example = torch.as_tensor(example_inputs)
    if example.ndim < 2 or not len(example):
        raise UserError(
            f"inputs must have shape (N, ...) with N ≥ 1, not {tuple(example.shape)}; "
            "add the batch dimension"
        )
    parameter = next(module.parameters(), torch.zeros(()))
    example = example.detach().to(parameter.device, parameter.dtype)
    example = example[:1].repeat(BATCH, *(1 for _ in example.shape[1:]))
    with _evaluation(module), torch.no_grad():
        example = _accepted(module, example)
        try:
            exported = torch.export.export(module, (example,))
        except Exception as error:  # whatever the user's own code or the tracer raises
            raise UserError(
                f"generator could not be exported: {_first_line(error)}; "
                "remove control flow that depends on values"
            ) from error
    return _chain(exported)


@contextmanager
def _evaluation(module: nn.Module):
    """Evaluation mode for a while: frozen statistics, no dropout."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


def _accepted(module: nn.Module, example: Tensor) -> Tensor:
    """`example`, with the 1×1 map added or removed when `module` takes only that."""
    candidates = [example]
    if example.ndim == 2:
        candidates.append(example[:, :, None, None])
    elif example.ndim == 4 and example.shape[2:] == (1, 1):
        candidates.append(example.flatten(1))
    first: Exception | None = None
    where = ""
    for candidate in candidates:
        running: list[str] = []
        try:
            with _watched(module, running):
                module(candidate)
        except Exception as error:  # the user's own code may raise anything
            if first is None:
                first, where = error, running[-1] if running else ""
        else:
            return candidate
    assert first is not None
    raise UserError(
        f"generator does not run on inputs of shape (N, {times(example.shape[1:])}): "
        f"{where}{_first_line(first)}"
    ) from first


@contextmanager
def _watched(module: nn.Module, running: list[str]):
    """Keep in `running` which layers are being computed, outermost first, each as the start of a message."""

    def enter(path: str, layer: nn.Module, inputs: tuple) -> None:
        text = f"{path or type(layer).__name__}: "
        shape = tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else ()
        if isinstance(layer, nn.ConvTranspose2d) and len(shape) == 4:
            sizes = [
                (n - 1) * s - 2 * int(p) + d * (k - 1) + extra + 1
                for n, s, p, d, k, extra in zip(
                    shape[2:],
                    layer.stride,
                    layer.padding,
                    layer.dilation,
                    layer.kernel_size,
                    layer.output_padding,
                    strict=True,
                )
            ]
            if min(sizes) < 1:
                text += f"output is empty ({times(sizes)}): its padding crops more than the map; "
        running.append(text)

    hooks = []
    for path, layer in module.named_modules():
        hooks.append(layer.register_forward_pre_hook(lambda m, x, path=path: enter(path, m, x)))
        hooks.append(layer.register_forward_hook(lambda m, x, y: running.pop() and None))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _chain(exported: torch.export.ExportedProgram) -> Graph:
    """The exported operators as a chain of steps."""
    nodes = list(exported.graph.nodes)
    operators = Operators(exported)
    source = next(iter(exported.graph_signature.user_inputs))
    current = next(n for n in nodes if n.name == source)
    shape = operators.shape(current)
    steps: list[Step] = []
    for node in nodes:
        if node.op == "output":
            results = node.args[0]
            if len(results) != 1 or results[0] is not current:
                raise UserError(
                    "generator must return the result of its last layer and nothing else"
                )
        if node.op != "call_function" or operators.operator(node) == "_assert_tensor_metadata":
            continue
        if [n for n in node.all_input_nodes if n.name not in operators.tensors] != [current]:
            _refuse_branch(operators, node)
        step = operators.step(node)
        if step is not None:
            steps.append(step)
        current = node
    if not any(isinstance(step, LinearStep) for step in steps):
        raise UserError("generator must contain a linear layer (ConvTranspose2d, Conv2d or Linear)")
    return Graph(shape, tuple(steps))


def _refuse_branch(operators: Operators, node) -> None:
    operator, path = operators.operator(node), operators.path(node)
    if not node.all_input_nodes:
        raise UserError(
            f"{path}: '{operator}' makes a tensor inside the model; constants and random numbers are "
            "not supported, pass them in as the input"
        )
    if all(n.name in operators.tensors for n in node.all_input_nodes):
        raise UserError(
            f"{path}: '{operator}' computes a parameter; store plain weights, e.g. with "
            "torch.nn.utils.parametrize.remove_parametrizations or remove_weight_norm"
        )
    advice = ADVICE.get(operator.rstrip("_"), "only chains of layers are supported yet")
    raise UserError(
        f"{path}: '{operator}' joins or starts a branch ({node.name}); {advice}: "
        "every layer must take the result of the layer before it"
    )
