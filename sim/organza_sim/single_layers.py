"""A layer with random weights by itself, for synthesis: its Program, and a Plan with given lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import organza
from organza.plan import Plan
from organza.program import Program
from organza.schedule import Schedule
from organza_sim.planner import plan_schedules

BETWEEN = ("flexpoint:managed", "binary:1")  # codes of tensors that are between nodes only
MEASURED = "2"  # name of the node, from `nn.Sequential`


def single_layer(
    code: str, channels: tuple[int, int], size: int, *, kernel: int = 4, stride: int = 2, padding: int = 1, table: bool = False
) -> Program:
    """A transposed convolution on a map of `size`², between layers that give its tensors their formats.

    Those leave, but where tensors have managed exponents or are signs: such are between nodes only. code : of `organza.codes.spec`.
    table : tanh behind it, else ReLU.
    """
    ci, co = channels
    torch.manual_seed(0)
    layers = [
        nn.ConvTranspose2d(4, ci, 1), nn.ReLU(), nn.ConvTranspose2d(ci, co, kernel, stride, padding),
        nn.Tanh() if table else nn.ReLU(), nn.ConvTranspose2d(co, 4, 1), nn.Tanh(),
    ]  # fmt: skip
    around = code if "managed" in code else "linear"
    latents = np.random.default_rng(0).normal(size=(8, 4, size, size))
    whole = organza.lower(nn.Sequential(*layers).eval(), latents, code=f"layer0={around},layer1={code},layer2={around}")
    return whole if code in BETWEEN else Program((whole.nodes[1],))


def plan_single(program: Program, **lanes: Any) -> Plan:
    """`lanes`, as of `Schedule`, for the layer that is measured, one for those around it."""
    return plan_schedules(program, [
        Schedule(node=node, **lanes) if node.name == MEASURED else Schedule(node=node, ti=1, to=1, p=1, e=1) for node in program.nodes
    ])  # fmt: skip
