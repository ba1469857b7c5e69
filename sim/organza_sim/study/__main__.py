"""Command line of the study."""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from organza.errors import UserError
from organza_sim.study.claims import claims
from organza_sim.study.page import page
from organza_sim.study.rows import FULL_STEPS, STEPS, Row, all_rows
from organza_sim.study.run import Job, key_of, make_run, use_one_thread
from organza_sim.study.table import Run, read_table, write_table


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, or say what the claims are worth; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        rows = all_rows(options.recipes)
        if options.claims:
            seeds = {row.name: row.seeds for row in rows}
            print(json.dumps([asdict(claim) for claim in claims(read_table(options.output), seeds)], indent=1, ensure_ascii=False))
            return 0
        if options.page:
            print(page(read_table(options.output), rows), end="")
            return 0
        return _study(options, rows)
    except UserError as error:
        print(f"organza_sim.study: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m organza_sim.study", description=__doc__)
    parser.add_argument("rows", nargs="*", help="names of rows; all by default")
    parser.add_argument("--output", type=Path, default=Path("docs/results/compression.csv"), help="the table, which is extended")
    parser.add_argument("--work", type=Path, default=Path("build/study"), help="folder of the runs, which go on where they were")
    parser.add_argument("--recipes", type=Path, default=Path("examples/recipes"), help="folder of the shipped recipes")
    parser.add_argument("--data", default="fashion-mnist", help="as of organza compress")
    parser.add_argument("--full", action="store_true", help=f"{FULL_STEPS:,} steps instead of {STEPS:,}: a night or more")
    parser.add_argument("--steps", type=int, help="another number of steps, to try it")
    parser.add_argument("--seeds", type=int, help="most seeds of a row")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, a thread each")
    parser.add_argument("--claims", action="store_true", help="print the claims and what the table says to them, as JSON")
    parser.add_argument("--page", action="store_true", help="print claims and table as a page of Markdown: docs/study.md")
    return parser


def wanted(rows: list[Row], names: list[str], most: int | None) -> list[tuple[Row, int]]:
    """Rows and seeds to run: first seeds first. Raises `UserError` for names that there are not."""
    known = {row.name: row for row in rows}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"unknown row {unknown[0]!r}; known are {', '.join(known)}")
    chosen = [known[name] for name in names] if names else rows
    pairs = [(row, seed) for row in chosen for seed in range(row.seeds if most is None else min(row.seeds, most))]
    return sorted(pairs, key=lambda pair: pair[1])


def _study(options: argparse.Namespace, rows: list[Row]) -> int:
    steps = options.steps or (FULL_STEPS if options.full else STEPS)
    runs = {(run.row, run.seed): run for run in read_table(options.output) if run.row in {row.name for row in rows}}
    jobs = []
    for row, seed in wanted(rows, options.rows, options.seeds):
        found = runs.get((row.name, seed))
        if found is None or found.key != key_of(row.recipe(seed, steps=steps)):
            folder = options.work / f"{row.name}-{seed}-{steps}"
            jobs.append(Job(row=row, seed=seed, steps=steps, recipes=options.recipes, data=options.data, folder=folder))
    print(f"{len(jobs)} runs to make, {len(runs)} in {options.output}", flush=True)
    failed = 0
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), initializer=use_one_thread) as pool:
        futures = {pool.submit(make_run, job): job for job in jobs}
        for future in as_completed(futures):
            job = futures[future]
            try:
                run = future.result()
            except UserError as error:
                failed += 1
                print(f"{job.row.name}, seed {job.seed}: {error}", file=sys.stderr, flush=True)
                continue
            runs[run.row, run.seed] = run
            write_table(options.output, runs.values(), [row.name for row in rows])
            print(_told(run), flush=True)
    return 1 if failed else 0


def _told(run: Run) -> str:
    rtl = f"RTL {'exact' if run.rtl_bit_exact and run.rtl_cycle_exact else 'WRONG'}" if run.rtl_images else "no Program"
    fid = "–" if run.fid is None else f"{run.fid:.2f}"
    return f"{run.row}, seed {run.seed}: FID {fid}, {run.compression_ratio:.1f} times smaller, {rtl}, {run.seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
