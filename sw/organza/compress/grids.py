"""Every grid that activations can be rounded to."""

from __future__ import annotations

from organza.compress.activations import ActivationGrid, Grid
from organza.compress.flex import FlexGrid

GRIDS: dict[str, type[Grid]] = {grid.kind: grid for grid in (ActivationGrid, FlexGrid)}
