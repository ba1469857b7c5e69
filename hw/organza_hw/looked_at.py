"""Components that are made only to be looked at."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.hdl import UnusedElaboratable


@contextmanager
def only_looked_at() -> Iterator[None]:
    """Keep Amaranth from warning of components that are made inside and not used; hold none of them when it ends.

    It warns when a component is collected, so they are collected here. What there was before is not searched: that would
    take most of the time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        gc.freeze()
        try:
            yield
            gc.collect()
        finally:
            gc.unfreeze()
