"""Stages `prune` and `grow`: what recipes may say, and what becomes of the networks."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch

from organza.compress.recipe import parse_recipe
from organza.compress.stages.finetune import FinetuneStage
from organza.compress.stages.grow import GrowStage
from organza.compress.stages.prune import PruneStage, Search
from organza.compress.stages.stage import Context, Cost, State
from organza.errors import UserError
from tests.organza.compress.neighbours import discriminator, inputs, net

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 3, 16, 16), dtype=np.uint8)
TRAIN = FinetuneStage(steps=6, batch=8)


def context(**changes) -> Context:
    return replace(Context(teacher=net("dcgan", 2), judge=discriminator(), images=IMAGES), **changes)


def state() -> State:
    return State(net("dcgan", 1), discriminator())


def kept(chain) -> float:
    masks = [torch.ones(layer.shape) if layer.mask is None else layer.mask.float() for layer in chain.list]
    return float(torch.cat([mask.flatten() for mask in masks]).mean())


def widths(chain) -> list[int]:
    return [layer.co for layer in chain.list]


def run(stage: PruneStage, at: State) -> dict:
    """The stage, and the training that it may wait for."""
    own = context()
    notes = stage.apply(at, own)
    if stage.schedule != "oneshot":
        TRAIN.apply(at, replace(own, waiting=(stage,)))
    return notes


@pytest.mark.parametrize("schedule", ["oneshot", "iterative", "agp", "during"])
@pytest.mark.parametrize("module", ["generator", "both"])
def test_half_of_the_weights_go(schedule, module):
    at = state()
    before = at.generator.list[0].weight.detach().clone()
    notes = run(PruneStage(amount=0.5, schedule=schedule, module=module), at)
    assert kept(at.generator) == pytest.approx(0.5, abs=1e-3)
    assert kept(at.critic) == (pytest.approx(0.5, abs=2e-3) if module == "both" else 1.0)
    change = (at.generator.list[0].weight.detach() - before).norm() / before.norm()
    if schedule == "oneshot":
        assert notes["generator"]["3"] == {"channels": [8, 6], "kept": 0.5} and change == 0
    else:
        assert notes == {"schedule": schedule}
        assert (change > 0.5) == (schedule == "during")  # new weights are all others


@pytest.mark.parametrize("stage", [
    PruneStage(amount=0.5, granularity="channel"),
    PruneStage(amount=0.5, granularity="filter", schedule="agp", module="both"),
    PruneStage(amount=0.5, granularity="channel", criterion="similarity", merge=True, schedule="iterative", rounds=2),
    PruneStage(amount=0.5, granularity="channel", criterion="random", seed=3),
])  # fmt: skip
def test_channels_leave(stage):
    at = state()
    run(stage, at)
    assert widths(at.generator) == [4, 3, 3]
    assert widths(at.critic) == ([3, 4, 1] if stage.module == "both" else [6, 8, 1])
    assert all(layer.mask is None for layer in at.generator.list)


def test_a_rehearsal_prunes_at_once():
    for schedule in ("oneshot", "agp"):
        at, stage = state(), PruneStage(amount=0.5, granularity="channel", schedule=schedule)
        own = context(rehearsal=True)
        stage.rehearse(at, own)
        TRAIN.rehearse(at, replace(own, waiting=(stage,)))
        assert widths(at.generator) == [4, 3, 3]
    at, stage = state(), PruneStage(criterion="evolutionary", granularity="channel", search=Search(preset="paper"))
    stage.rehearse(at, context(rehearsal=True))
    assert widths(at.generator) == [4, 3, 3]


def test_only_named_layers():
    at = state()
    run(PruneStage(amount=0.5, layers=["layer1", "6"]), at)
    assert at.generator.list[0].mask is None
    assert [float(layer.mask.float().mean()) for layer in at.generator.list[1:]] == [0.5, 0.5]
    at = state()
    run(PruneStage(amount=0.5, granularity="channel", layers=["3"], module="both"), at)
    assert widths(at.generator) == [8, 3, 3] and widths(at.critic) == [3, 4, 1]


def test_the_search_counts_cycles_and_keeps_what_it_is_told():
    seen = []

    def cost(program) -> Cost:
        seen.append(program)
        cycles = sum(node.macs for node in program.nodes)
        return Cost(cycles, cycles, 1, cycles)

    at, said = state(), []
    stage = PruneStage(
        criterion="evolutionary", granularity="channel", amount=0.5, search=Search(population=4, generations=2, cycles=1.0)
    )
    own = context(cost=cost, progress=lambda text, fraction: said.append((text, fraction)))
    notes = stage.apply(at, own)
    assert widths(at.generator) == [4, 3, 3] and notes["kept"] == 7 and notes["channels"] == 14
    assert len(seen) >= 4 and set(notes["terms"]) == {"distance", "size", "cycles"} and 0 < notes["terms"]["cycles"] < 1
    assert [fraction for _, fraction in said] == [0.5, 1.0] and said[0][0].startswith("generation 1 of 2, fitness ")
    assert notes["best"] == sorted(notes["best"], reverse=True)


def test_individuals_may_be_trained_before_they_are_judged():
    at = state()
    kept = {key: value.clone() for key, value in at.critic.state_dict().items()}
    search = Search(population=2, generations=1, epochs=20)  # of 32 images: no batch of 128 is full
    stage = PruneStage(criterion="evolutionary", granularity="channel", search=search)
    images = np.repeat(IMAGES, 4, 0)
    notes = stage.apply(at, context(images=images, most_steps=1))
    assert notes["evaluated"] >= 2
    assert all(torch.equal(value, kept[key]) for key, value in at.critic.state_dict().items())


def test_growth_keeps_the_images_until_noise_comes():
    at = state()
    x = inputs(4)
    with torch.no_grad():
        wanted = at.generator(x)
        notes = GrowStage(factor=3, noise=0.0).apply(at, context())
        torch.testing.assert_close(at.generator(x), wanted, rtol=1e-4, atol=1e-5)
    assert widths(at.generator) == [24, 18, 3] and widths(at.critic) == [18, 24, 1]
    assert notes["generator"]["3"] == [24, 18]
    at = state()
    GrowStage(noise=0.05, module="generator", layers=["layer0"]).apply(at, context())
    assert widths(at.generator) == [16, 6, 3] and widths(at.critic) == [6, 8, 1]
    weight = at.generator.list[0].weight
    assert weight is not None
    assert not torch.equal(weight[:, 0::2], weight[:, 1::2])


@pytest.mark.parametrize("stage, changes, message", [
    (PruneStage(amount=0.5, layers=["layer9"]), {}, "^prune: unknown layer 'layer9'; the network has layer0 .0., "),
    (PruneStage(amount=0.5, granularity="channel", layers=["6"]), {}, "^prune: 6: none of its channels can go"),
    (PruneStage(amount=0.99, granularity="kernel"), {}, "^0: pruning 99% by kernel leaves no weights of 768"),
    (PruneStage(criterion="evolutionary", granularity="channel"), {"judge": None}, "^prune: criterion evolutionary needs a disc"),
    (PruneStage(amount=0.5, module="both"), {"critic": None}, "^prune: module 'both' needs a discriminator"),
    (GrowStage(layers=["layer2"]), {}, "^grow layers names '6'; the channels of 0, 3 can grow$"),
])  # fmt: skip
def test_what_a_network_does_not_allow(stage, changes, message):
    at = state()
    if "critic" in changes:
        at.critic = None
    own = context(**{key: value for key, value in changes.items() if key != "critic"})
    for method in (stage.apply, stage.rehearse):
        with pytest.raises(UserError, match=message):
            method(at, own)


def prune(text: str) -> str:
    return f"[[stage]]\nprune = {{ {text} }}\n"


LATER = "[[stage]]\nfinetune = { steps = 3 }\n"
CODE = "[[stage]]\nquantize = { code = 'uniform', bits = 4 }\n"


@pytest.mark.parametrize("text, message", [
    (prune("granularity = 'channel'"), "^stage 1: prune: amount is missing: the share that goes$"),
    (prune("amount = 0.5, criterion = 'magic'"), "^stage 1: prune: prune criterion must be one of random, .*, not 'magic'$"),
    (prune("amount = 1.0"), r"^stage 1: prune: prune amount must be in \(0, 1\), not 1.0$"),
    (prune("amount = 0.5, amounts = 3"), "^stage 1: prune: unknown key 'amounts'; known are criterion, granularity, amount, "),
    (prune("amount = 0.5, search = {}"), "^stage 1: prune: search is for criterion evolutionary, not magnitude$"),
    (prune("criterion = 'evolutionary', granularity = 'channel', search = { preset = 'big' }"),
     "^stage 1: prune.search.preset: must be one of small, paper, not 'big'$"),
    (prune("criterion = 'evolutionary', granularity = 'channel', module = 'both'"), "^stage 1: prune: .*leave module and layers out$"),
    (prune("amount = 0.5, schedule = 'agp'"), "^stage 1 .prune.: the schedule prunes while the next finetune stage trains; add one"),
    (prune("amount = 0.5, schedule = 'agp', granularity = 'channel'") + CODE + LATER,
     "^stage 1 .prune. and stage 2 .quantize. do not go together: channels are pruned while the next"),
    (prune("amount = 0.5, schedule = 'agp'") + prune("amount = 0.7") + LATER,
     "^stage 1 .prune. and stage 2 .prune. do not go together: weights are pruned while the next"),
    (prune("amount = 0.5") + "[[stage]]\ngrow = {}\n" + LATER, "^stage 1 .prune. and stage 2 .grow. are in the wrong order"),
    (prune("amount = 0.5") + "[[stage]]\nfactorize = { energy = 0.9 }\n", "^stage 1 .prune. and stage 2 .factorize. are in the wrong order"),
    ("[[stage]]\ngrow = { factor = 1 }\n", "^stage 1: grow.factor: must be greater than or equal to 2, not 1$"),
])  # fmt: skip
def test_mistakes_in_recipes(text, message):
    with pytest.raises(UserError, match=message):
        parse_recipe(tomllib.loads(text))


def test_schedules_end_with_their_training():
    recipe = prune("amount = 0.5, schedule = 'agp'") + CODE + LATER + prune("amount = 0.7, schedule = 'agp', module = 'discriminator'") + LATER
    assert len(parse_recipe(tomllib.loads(recipe)).stages) == 5
    sizes = {"small": (12, 8, 0), "paper": (32, 50, 10)}
    assert {preset: Search(preset=preset).effort() for preset in sizes} == sizes
    assert Search(preset="paper", generations=3, epochs=0).effort() == (32, 3, 0)
