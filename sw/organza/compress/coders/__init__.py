"""Methods that train a weight code, one file for each."""

from __future__ import annotations

from organza.compress.coders.binary import BinaryCoder
from organza.compress.coders.coder import Coder
from organza.compress.coders.em import EmCoder, MinMaxCoder
from organza.compress.coders.flexpoint import FlexpointCoder
from organza.compress.coders.floats import BFloat16Coder, Float16Coder, Float32Coder
from organza.compress.coders.hashed import BlockHashCoder, HashedCoder
from organza.compress.coders.jacob import JacobCoder
from organza.compress.coders.kmeans import KMeansCoder
from organza.compress.coders.log import LogCoder
from organza.compress.coders.multihash import MultiHashCoder
from organza.compress.coders.soft import SoftCoder
from organza.compress.coders.tanh import TanhCoder
from organza.compress.coders.ternary import TernaryCoder
from organza.compress.coders.uniform import QmganCoder, SlimmingCoder, UniformCoder

CODERS: dict[str, type[Coder]] = {
    coder.kind: coder
    for coder in (
        UniformCoder, MinMaxCoder, LogCoder, TanhCoder, JacobCoder, EmCoder, QmganCoder, SlimmingCoder, BinaryCoder,
        TernaryCoder, FlexpointCoder, KMeansCoder, SoftCoder, HashedCoder, BlockHashCoder, MultiHashCoder,
        Float32Coder, Float16Coder, BFloat16Coder,
    )
}  # fmt: skip
