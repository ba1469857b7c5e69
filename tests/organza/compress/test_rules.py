"""The combination rules: every one is met, names things that exist, and is silent where the stages never meet."""

from typing import Any

import pytest

from organza.compress.coders import CODERS
from organza.compress.rules import EXCLUSIONS, NEEDS, ORDERS, check_order
from organza.compress.stages.stage import Mark, Stage
from organza.compress.storage import FORMS
from organza.errors import UserError


class Fake(Stage):
    kind = "fake"

    made: Any

    def marks(self) -> list[Mark]:
        return list(self.made)


def fake(*marks: Mark | str) -> Fake:
    return Fake(made=tuple(Mark(mark) if isinstance(mark, str) else mark for mark in marks))


def instance(name: str) -> str:
    """A mark that the rule's name covers."""
    return {"code": "code.uniform", "encode": "encode.huffman", "prune": "prune.element"}.get(name, name)


@pytest.mark.parametrize("rule", EXCLUSIONS, ids=lambda rule: f"{rule.first}-{rule.second}")
def test_exclusions_hold_in_either_order(rule):
    for pair in ((rule.first, rule.second), (rule.second, rule.first)):
        with pytest.raises(UserError, match="^stage 1 .fake. and stage 2 .fake. (exclude each other|are in the wrong order): .{20}"):
            check_order([fake(instance(pair[0])), fake(instance(pair[1]))])


@pytest.mark.parametrize("rule", ORDERS, ids=lambda rule: f"{rule.first}-{rule.second}")
def test_orders_hold_in_one_direction(rule):
    with pytest.raises(UserError, match="^stage 1 .fake. and stage 2 .fake. are in the wrong order: .{20}"):
        check_order([fake(instance(rule.second)), fake(instance(rule.first))])
    check_order([fake(instance(rule.first)), fake(instance(rule.second))])


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.mark)
def test_needs_look_behind_the_stage(need):
    first, behind = fake(need.mark), fake(need.other)
    good, bad = ([first, behind], [first]) if need.present else ([first], [first, behind])
    check_order(good)
    with pytest.raises(UserError, match="^stage 1 .fake.: .{20}"):
        check_order(bad)


def test_rules_name_codes_and_forms_that_exist():
    names = {name for rule in (*EXCLUSIONS, *ORDERS) for name in (rule.first, rule.second)}
    for name in names:
        kind, dot, what = name.partition(".")
        if kind == "code" and dot:
            assert what in (*CODERS, "flexpoint"), name
        if kind == "encode" and dot:
            assert what in FORMS, name


def test_stages_that_never_meet_are_no_concern():
    one, other = frozenset(["layer0"]), frozenset(["layer1"])
    check_order([fake(Mark("code.em", layers=one)), fake(Mark("code.binary", layers=other))])
    check_order([fake(Mark("code.em", "generator")), fake(Mark("code.em", "discriminator"))])
    for second in (Mark("code.em"), Mark("code.em", layers=one), Mark("code.em", "both", one)):
        with pytest.raises(UserError, match="a layer has one weight code"):
            check_order([fake(Mark("code.binary", layers=one)), fake(second)])
