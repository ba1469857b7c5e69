"""The study as a page: the claims, what the table says to them, and a line for every row."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from organza_sim.study.claims import claims
from organza_sim.study.rows import STEPS, Row
from organza_sim.study.table import Run

HEAD = """# What came of the study

Every recipe, and the comparisons that claims rest on, on one generator: {runs} runs of {rows} rows, {steps:,} steps a training, batches of 32, Fashion-MNIST at
32×32. Written by `python -m organza_sim.study --page` from [results/compression.csv](results/compression.csv), which `python -m organza_sim.study` makes; how rows
are made and what the figures are: [compression.md](compression.md#the-surveys-systems). All start from the shipped generator of 16·{{4,2,1}} channels unless
the recipe says otherwise, and "times smaller" counts against the teacher of 32·{{4,2,1}} channels in float32 with everything that a chip stores.

Each training is short, so that rows are comparable, not so that they are good: the student as it ships was trained longer. Rows that say what they are worth
against `float32` or `pruning-dense` went through the same training. {programs} of the runs have a Program, and the RTL of the chips of {exact} of these was right in
every bit and every cycle, on two images each.

![Ten images of the teacher, and of the two smallest](images/smaller.png)

Ten latents: the teacher, `forty-times-smaller`, `hundred-times-smaller` (seed 1). Tops, coats and trousers can still be told; shoes cannot.

## Claims

Means over three seeds, in brackets the least and the most. "Equal" is within two deviations, "better" is a lower mean and not equal.

| claim | holds | measured |
| --- | --- | --- |
"""
ANSWERS = {True: "yes", False: "**no**", None: "open"}


def page(runs: Sequence[Run], rows: Sequence[Row]) -> str:
    """The page, of runs of these rows. Rows without a run are left out."""
    made = HEAD.format(
        runs=len(runs), rows=len({run.row for run in runs}), steps=STEPS, programs=sum(bool(run.program) for run in runs),
        exact=sum(run.rtl_bit_exact and run.rtl_cycle_exact for run in runs),
    )  # fmt: skip
    for claim in claims(runs, {row.name: row.seeds for row in rows}):
        made += f"| {claim.text} | {ANSWERS[claim.holds]} | {claim.found} |\n"
    made += "\n## Rows\n\n| row | | seeds | FID | IS | PSNR, dB | bits | times smaller | cycles an image |\n|" + " --- |" * 9 + "\n"
    for row in rows:
        mine = [run for run in runs if run.row == row.name]
        if mine:
            made += "| " + " | ".join([f"`{row.name}`", row.about.rstrip("."), str(len(mine)), *_figures(mine)]) + " |\n"
    return made


def _figures(runs: Sequence[Run]) -> list[str]:
    return [
        _mean([run.fid for run in runs], 2, spread=True), _mean([run.inception_score for run in runs], 2),
        _mean([run.psnr_db for run in runs], 1), _mean([run.bits for run in runs], 0),
        _mean([run.compression_ratio for run in runs], 1), _mean([run.interval for run in runs], 0),
    ]  # fmt: skip


def _mean(values: Sequence[float | None], digits: int, *, spread: bool = False) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    around = f" ({min(known):,.{digits}f}…{max(known):,.{digits}f})" if spread and len(known) > 1 else ""
    return f"{fmean(known):,.{digits}f}{around}"
