"""What a user says of single layers before they are planned: ``layer0=weight,layer2=weight``."""

from __future__ import annotations

from collections.abc import Mapping

from organza.codes.spec import layers_by_name, parse_layers, unknown_layer
from organza.errors import UserError
from organza.loadable import loadable
from organza.program import Program
from organza.visits import VISITS


def parse_orders(text: str, program: Program, arithmetic: Mapping[str, str]) -> dict[str, str]:
    """``layer=order`` pairs as orders by layer name; `arithmetic`, by layer name, are the lanes that were chosen.

    Raises `UserError` as `parse_layers`, and for an order that does not exist, or in which the lanes cannot run.
    """
    nodes = {node.name: node for node in program.nodes}
    made = parse_layers("order", text, list(nodes))
    for name, order in made.items():
        if order not in VISITS:
            raise UserError(f"order of {name} must be one of {', '.join(VISITS)}, not {order!r}")
        code = nodes[name].code
        lanes = arithmetic.get(name) or code.lanes_for(nodes[name].input)[0]
        if order not in code.orders(lanes):
            raise UserError(f"order of {name} with {lanes} lanes must be {' or '.join(code.orders(lanes))}, not {order!r}")
    return made


def parse_memories(text: str, program: Program, orders: dict[str, str]) -> dict[str, str]:
    """``layer=memory`` pairs as memories by layer name; `orders`, by layer name, are those that were chosen.

    An external memory needs weight order, so it says that too: those layers are added to `orders`.

    Raises `UserError` as `parse_layers`, and for a memory that the layer's code does not have in its order.
    """
    nodes = {node.name: node for node in program.nodes}
    made = parse_layers("memory", text, list(nodes))
    for name, memory in made.items():
        if memory == "external":
            orders.setdefault(name, "weight")
        code, order = nodes[name].code, orders.get(name, "row")
        known = code.supplies(order)
        if memory not in known:
            more = ", or external, which runs in weight order" if code.external and memory != "external" and "external" not in known else ""
            raise UserError(
                f"memory of {name} (a {code.kind} code in {order} order) must be one of {', '.join(known)}{more}, not {memory!r}"
            )
    return made


def parse_loadable(text: str, program: Program) -> Program:
    """``all`` or layers, with commas between them: the Program whose weights are loaded at run time.

    Raises `UserError` for a layer that does not exist, or whose code cannot be loaded.
    """
    names = [node.name for node in program.nodes]
    known, chosen = layers_by_name(names), names if text == "all" else [layer.strip() for layer in text.split(",")]
    for layer in chosen:
        if layer not in known:
            raise unknown_layer("--loadable", layer, names, "all")
    try:
        return loadable(program, [known[layer] for layer in chosen])
    except ValueError as error:
        raise UserError(f"--loadable {text}: {error}") from error
