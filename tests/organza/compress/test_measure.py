"""Figures of a generator: bits, multiplications and images counted independently."""

import numpy as np
import pytest
import torch

from organza.classifier import Classifier, ClassifierConfig
from organza.compress.chain import Chain
from organza.compress.coders.floats import Float16Coder
from organza.compress.coders.uniform import UniformCoder
from organza.compress.export import to_program
from organza.compress.images import pictures, to_pictures, to_values
from organza.compress.measure import Measuring, macs, program_figures, summary, weight_bits
from organza.compress.recipe import Report
from organza.compress.storage import Storage
from organza.metrics import Scorer
from organza.models import Generator, GeneratorConfig
from tests.organza.compress.nets import context, generator

SETTINGS = Report(images=24, seeds=2, latents=16)


def measuring(chain, **changes) -> Measuring:
    return Measuring(**{"teacher": chain, "settings": SETTINGS, "scorer": None, "cost": None, **changes})


def test_macs_are_counted_by_doing_them():
    chain = generator()
    first, last = chain.list
    outside = 8 * 6 * 16 * 16 + 3 * 8 * 16 * 64  # weights × output positions
    # A tap counts where it meets an input: ones convolved with ones.
    ones = torch.ones(1, 1, 4, 4)
    meets = torch.nn.functional.conv_transpose2d(ones, ones, stride=2, padding=1).sum()
    effectual = 6 * 8 * 16 + 8 * 3 * int(meets)
    assert macs(chain, None) == {"macs_output_counted": outside, "macs_effectual": effectual, "macs_executed": effectual}
    program = to_program(chain, context().latents(16))
    assert macs(chain, program)["macs_executed"] == effectual == program.macs
    last.mask = torch.zeros(last.shape, dtype=torch.bool)
    last.mask[:2] = True  # six of eight input channels go
    pruned = macs(chain, to_program(chain, context().latents(16)))
    assert pruned == {"macs_output_counted": outside, "macs_effectual": effectual, "macs_executed": 6 * 8 * 16 + 2 * 3 * int(meets)}
    assert macs(chain, None)["macs_executed"] is None and first.mask is None


def test_bits_count_floats_codes_masks_and_forms():
    layer = generator().list[0]
    number = 6 * 8 * 16
    assert weight_bits(layer) == 32 * number
    layer.mask = torch.rand(layer.shape, generator=torch.Generator().manual_seed(0)) < 0.25
    kept = int(layer.mask.sum())
    assert weight_bits(layer) == number + 32 * kept
    layer.code_with(UniformCoder(layer.shape, 1, bits=4))
    coded = layer.float_layer().coded
    assert coded is not None and weight_bits(layer) == coded.code.stored_bits <= number + 4 * kept
    left = int((coded.code.integers() != 0).sum())  # four bits round some to 0
    layer.storage = Storage("csr")
    assert weight_bits(layer) == left * (4 + 7) + 9 * left.bit_length()  # columns below 96, 8 rows
    layer.storage, layer.mask = Storage(), None
    layer.code_with(None)
    layer.code_with(Float16Coder(layer.shape, 1))
    assert weight_bits(layer) == 16 * number


def test_ratios_are_against_the_teacher_with_everything():
    teacher, chain = generator(), generator()
    numbers = 6 * 8 * 16 + 8 * 3 * 16
    whole = measuring(teacher).bits(chain, None)
    assert whole["compression_ratio_weights"] == 1 and whole["compression_ratio"] == 1
    assert whole["bits"] == 32 * (numbers + 8 + 3)
    for layer in chain.list:
        layer.code_with(UniformCoder(layer.shape, 1, bits=8))
    program = to_program(chain, context().latents(16))
    coded = measuring(teacher).bits(chain, program)
    assert coded["compression_ratio_weights"] == 4 and coded["bits"] == sum(node.stored_bits for node in program.nodes)
    assert coded["compression_ratio"] == program_figures(program, teacher)["compression_ratio"] < 4


def test_images_are_those_of_the_program_and_psnr_is_by_hand():
    teacher, chain = generator(), generator()
    for layer in chain.list:
        layer.code_with(UniformCoder(layer.shape, 1, bits=3))
    meter = measuring(teacher)
    program = meter.program(chain)
    assert program is not None
    made = meter.measure(chain, program)
    from organza.sampling import draw_latents

    z = draw_latents(16, 6, 1).reshape(16, 6, 1, 1)
    got = to_pictures(chain, program.dequantize(program.run(program.quantize(z.numpy())))).astype(float)
    with torch.no_grad():
        wanted = np.rint(((teacher(z).double().numpy() + 1) / 2).clip(0, 1) * 255)
    assert made["psnr_db"] == pytest.approx(10 * np.log10(255**2 / ((got - wanted) ** 2).mean()))
    assert made["images_of"] == "program" and measuring(teacher).measure(teacher, None)["psnr_db"] is None


def test_scores_are_means_over_seeds():
    torch.manual_seed(0)
    chain = Chain.of(Generator(GeneratorConfig(latent=3, width=1)).eval(), torch.zeros(2, 3, 1, 1)).eval()
    real = np.random.default_rng(0).integers(0, 256, (30, 1, 32, 32), dtype=np.uint8)
    scorer = Scorer(Classifier(ClassifierConfig(name="tiny", features=8)), real)
    made = measuring(chain, scorer=scorer).measure(chain, None)
    produce = lambda z: pictures(chain, torch.from_numpy(z).reshape(-1, 3, 1, 1))  # noqa: E731
    alone = [scorer.score_model(produce, latent=3, count=24, seed=seed).fid for seed in (10, 11)]
    assert made["FID-tiny"]["values"] == pytest.approx(alone) and made["FID-tiny"]["mean"] == pytest.approx(np.mean(alone))
    assert made["FID-tiny"]["deviation"] == pytest.approx(np.std(alone, ddof=1))
    assert {"KID-tiny", "IS-tiny"} <= set(made) and summary([3.0])["deviation"] == 0


@pytest.mark.parametrize("kind, low", [("tanh", -1.0), ("sigmoid", 0.0), ("slope", -1.0)])
def test_pictures_and_values_are_inverse(kind, low):
    chain = generator()
    chain.list[-1].kind = kind
    shades = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    values = to_values(chain, shades)
    assert float(values.min()) == low and float(values.max()) == 1
    assert np.array_equal(to_pictures(chain, values), shades)
