"""Methods that train a weight code, one file for each."""

from __future__ import annotations

from organza.compress.coders.coder import Coder
from organza.compress.coders.uniform import UniformCoder

CODERS: dict[str, type[Coder]] = {coder.kind: coder for coder in (UniformCoder,)}
