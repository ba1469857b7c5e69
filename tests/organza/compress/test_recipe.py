"""Recipes are read, and every mistake is answered with the key and the choices."""

import tomllib

import pytest

from organza.compress.recipe import load_recipe, parse_recipe
from organza.compress.stages.finetune import FinetuneStage
from organza.compress.stages.quantize import QuantizeStage
from organza.errors import UserError

TRAIN = "[[stage]]\nfinetune = { steps = 3 }\n"


def quantize(text: str) -> str:
    return f"[[stage]]\nquantize = {{ {text} }}\n"


def test_a_recipe_is_its_stages():
    recipe = parse_recipe(tomllib.loads("[teacher]\nloss = 'lsgan'\n" + quantize("code = 'uniform', bits = 3") + TRAIN))
    assert recipe.teacher.loss == "lsgan" and recipe.teacher.checkpoint == "dcgan32-w32"
    first, second = recipe.stages
    assert isinstance(first, QuantizeStage) and first.settings(None) == {"code": "uniform", "granularity": None, "bits": 3}
    assert isinstance(second, FinetuneStage) and second.config().steps == 3


def test_layers_may_have_settings_of_their_own():
    text = quantize("bits = 3, layers = { layer0 = { bits = 8 }, layer1 = { code = 'none' } }")
    stage = parse_recipe(tomllib.loads(text + TRAIN)).stages[0]
    assert isinstance(stage, QuantizeStage)
    assert {name: own.get("bits") for name, own in stage.overrides().items()} == {"layer0": 8, "layer1": None}


@pytest.mark.parametrize("text, message", [
    ("", "^stage: must have at least one; a stage is a table .* with one of .*finetune, encode"),
    ("stage = 3", "^stage: must be tables"),
    ("[[stage]]\n", "^stage 1: must have exactly one key of .*, found none$"),
    ("[[stage]]\nfinetune = {}\nencode = {}", "^stage 1: must have exactly one key of .*, found encode, finetune|finetune, encode$"),
    ("[[stage]]\nmagic = {}", "^stage 1: must be one of .*finetune, encode, not 'magic'$"),
    ("[[stage]]\nfinetune = 3", "^stage 1: finetune must be a table of keys, not 3$"),
    (TRAIN + "[[stage]]\nfinetune = { step = 3 }", "^stage 2: finetune: unknown key 'step'; known are losses, steps, "),
    ("[[stage]]\nfinetune = { steps = '3' }", "^stage 1: finetune.steps: must be a valid integer, not '3'$"),
    ("[[stage]]\nfinetune = { losses = { beauty = 3 } }", "^stage 1: finetune.losses: loss must be one of adversarial, .*'beauty'$"),
    ("[[stage]]\nfinetune = { average = 2.0 }", r"^stage 1: finetune: average must be in \[0, 1\), not 2.0$"),
    (quantize("code = 'magic'") + TRAIN, "^stage 1: quantize: code must be one of uniform.*, not 'magic'$"),
    (quantize("bits = 40") + TRAIN, "^stage 1: quantize: uniform bits must be between 2 and 16, not 40$"),
    (quantize("buts = 4") + TRAIN, "^stage 1: quantize: buts: code uniform has no such option; it has bits, granularity"),
    (quantize("granularity = 'x'") + TRAIN, "^stage 1: quantize.granularity: must be one of tensor, channel, layer, network, not 'x'$"),
    (quantize("activations = 17") + TRAIN, "^stage 1: quantize.activations: must be less than or equal to 16, not 17$"),
    (quantize("weights = false") + TRAIN, "^stage 1: quantize: weights and activations must not both be left out$"),
    (quantize("layers = { layer0 = { bits = 99 } }") + TRAIN, "^stage 1: quantize: layers.layer0: uniform bits must be"),
    ("shape = 3\n" + TRAIN, "^unknown key 'shape'; known are about, seed, teacher, student, report, stage$"),
    ("[teacher]\nfoo = 3\n" + TRAIN, "^teacher: unknown key 'foo'; known are checkpoint, weights, "),
    ("[teacher]\nloss = 'x'\n" + TRAIN, "^teacher.loss: must be one of dcgan, wgan-gp, lsgan, not 'x'$"),
    ("[student]\n" + TRAIN, "^student: must have exactly one of checkpoint and width$"),
    ("stages = []\n" + TRAIN, "^unknown key 'stages'; a stage is a table"),
])  # fmt: skip
def test_mistakes_are_named(text, message):
    with pytest.raises(UserError, match=message):
        parse_recipe(tomllib.loads(text))


@pytest.mark.parametrize("text, message", [
    (quantize("bits = 4"), "^stage 1 .quantize.: when = \"during\" goes on training in the code; add a finetune stage"),
    (quantize("when = 'after'") + TRAIN, "^stage 1 .quantize.: when = \"after\" codes what training has made; move it behind"),
    (quantize("layers = ['layer0']") + quantize("bits = 3") + TRAIN,
     "^stage 1 .quantize. and stage 2 .quantize. exclude each other: a layer has one weight code$"),
    ("[[stage]]\nencode = {}\n" + TRAIN, "^stage 1 .encode. and stage 2 .finetune. are in the wrong order: training changes"),
])  # fmt: skip
def test_stages_that_exclude_each_other_are_refused_with_the_reason(text, message):
    with pytest.raises(UserError, match=message):
        parse_recipe(tomllib.loads(text))


def test_stages_that_never_meet_go_together():
    layers = quantize("layers = ['layer0']") + quantize("layers = ['layer1'], bits = 3") + TRAIN
    assert len(parse_recipe(tomllib.loads(layers)).stages) == 3


def test_files_that_are_no_recipe_are_named(tmp_path):
    path = tmp_path / "r.toml"
    with pytest.raises(UserError, match="r.toml: cannot be read .No such file or directory.; give a recipe, a TOML file$"):
        load_recipe(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="r.toml: must be text in UTF-8"):
        load_recipe(path)
    path.write_text("[teacher")
    with pytest.raises(UserError, match="r.toml: must be TOML: "):
        load_recipe(path)
    path.write_text("[[stage]]\nmagic = {}")
    with pytest.raises(UserError, match="r.toml: stage 1: must be one of "):
        load_recipe(path)
