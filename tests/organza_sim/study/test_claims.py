"""Claims from tables made by hand, and the recorded table."""

from dataclasses import replace
from pathlib import Path

import pytest

from organza.errors import UserError
from organza_sim.study.claims import claims
from organza_sim.study.page import page
from organza_sim.study.rows import FULL_STEPS, STEPS, all_rows
from organza_sim.study.run import key_of
from organza_sim.study.table import Run, read_table, write_table

ROOT = Path(__file__).parents[3]
ROWS = all_rows(ROOT / "examples/recipes")
SEEDS = {row.name: row.seeds for row in ROWS}
RUN = Run(
    row="em-1", seed=0, steps=5, key="0123456789ab", about="one, two", fid=20.0, kid=0.001, inception_score=6.0, weight_bits=10,
    bits=20, compression_ratio=30.0, compression_ratio_weights=32.5, macs_output_counted=4, macs_effectual=3,
)  # fmt: skip


def runs(row: str, fids: list[float], **change: object) -> list[Run]:
    return [replace(RUN, row=row, seed=seed, fid=fid, **change) for seed, fid in enumerate(fids)]


def verdict(text: str, *made: list[Run]) -> tuple[bool | None, str]:
    (claim,) = [claim for claim in claims([run for part in made for run in part], SEEDS) if text in claim.text]
    return claim.holds, claim.found


def test_nothing_is_claimed_without_runs():
    found = claims([], SEEDS)
    assert len(found) >= 15 and all(claim.holds is None and claim.found.startswith("not measured yet: ") for claim in found)
    assert all(set(claim.rows) <= set(SEEDS) for claim in found)
    holds, why = verdict("EM with 4 bits", runs("em-4", [1, 2, 3]), runs("float32", [1, 2]))
    assert holds is None and why == "not measured yet: float32"


@pytest.mark.parametrize(("float32", "holds"), [([20.5, 20.7, 20.6], True), ([22.5, 22.7, 22.6], False), ([18, 18.1, 18.2], False)])
def test_equal_is_two_deviations(float32, holds):
    assert verdict("EM with 4 bits", runs("em-4", [20, 20.5, 21]), runs("float32", float32))[0] is holds


@pytest.mark.parametrize(("log", "holds"), [([25, 25.1, 25.2], True), ([20.6, 20.7, 20.8], False), ([15, 15.1, 15.2], False)])
def test_better_is_lower_and_not_equal(log, holds):
    others = [runs(f"{code}-1", [30, 30.5, 31]) for code in ("minmax", "tanh")]
    found = verdict("with 1 bit", runs("em-1", [20, 20.5, 21]), runs("log-1", log), *others)
    assert found[0] is holds and found[1].startswith("FID em-1 20.50 (20.00…21.00), minmax-1 30.50")


def test_scores_and_sizes():
    float32 = runs("float32", [1, 1, 1], inception_score=8.0)
    for score, holds in ((6.8, True), (6.7, False)):
        assert verdict("Ternary", runs("tgan", [1, 1, 1], inception_score=score), float32)[0] is holds
    teacher = runs("teacher", [10.0], inception_score=8.0)
    for fid, ratio, holds in ((11.0, 40.0, True), (11.1, 41.0, False), (9.0, 39.9, False)):
        small = runs("forty-times-smaller", [fid] * 3, compression_ratio=ratio)
        assert verdict("40 times", small, teacher)[0] is holds
    for score, ratio, holds in ((6.8, 100.0, True), (6.8, 99.9, False), (6.7, 100.0, False)):
        small = runs("hundred-times-smaller", [50.0] * 3, compression_ratio=ratio, inception_score=score)
        assert verdict("100 times", small, teacher)[0] is holds


def test_tables_come_back_as_they_were(tmp_path):
    path = tmp_path / "table.csv"
    full = replace(
        RUN, row="tgan", seed=2, psnr_db=21.5, macs_executed=2, lanes=133, cycles=9, interval=8, utilization=0.5, program="ab" * 32,
        rtl_images=2, rtl_bit_exact=True, rtl_cycle_exact=True, rtl_cycles=99, seconds=12.5,
    )  # fmt: skip
    write_table(path, [full, replace(full, seed=0), RUN], list(SEEDS))
    assert read_table(path) == [RUN, replace(full, seed=0), full]
    assert read_table(tmp_path / "none.csv") == []


def test_tables_of_something_else_are_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"table.csv: must have the columns row, seed, steps"):
        read_table(path)
    write_table(path, [RUN], list(SEEDS))
    path.write_text(path.read_text().replace(",5,", ",five,"))
    with pytest.raises(UserError, match=r"table.csv: line 2: .*five"):
        read_table(path)


def test_the_recorded_table_is_of_these_recipes():
    """Every run is of a row as it stands, and its RTL was exact in every bit and cycle."""
    recorded = read_table(ROOT / "docs/results/compression.csv")
    rows = {row.name: row for row in ROWS}
    for run in recorded:
        row = rows[run.row]
        assert run.steps in (STEPS, FULL_STEPS) and run.seed < row.seeds
        assert run.key == key_of(row.recipe(run.seed, steps=run.steps)), f"{run.row} has changed: make its runs again"
        assert run.about == row.about
        if run.program:
            assert run.rtl_images == 2 and run.rtl_bit_exact and run.rtl_cycle_exact
    assert len({(run.row, run.seed) for run in recorded}) == len(recorded)


def test_the_page_is_of_the_recorded_table():
    written = (ROOT / "docs/study.md").read_text(encoding="utf-8")
    assert written == page(read_table(ROOT / "docs/results/compression.csv"), ROWS), "python -m organza_sim.study --page > docs/study.md"


def test_a_page_has_a_line_for_every_claim_and_every_row_that_was_run():
    made = page([*runs("em-4", [20, 20.5, 21]), *runs("float32", [22.5, 22.7, 22.6]), *runs("teacher", [2.0])], ROWS)
    assert "| EM with 4 bits is equal to floats | **no** | FID em-4 20.50 (20.00…21.00), float32 22.60 (22.50…22.70) |" in made
    assert "| `em-4` | em levels, 4 bits | 3 | 20.50 (20.00…21.00) | 6.00 | – | 20 | 30.0 | – |" in made
    assert made.count("| open |") == len(claims([], SEEDS)) - 1 and made.count("| `") == 3
