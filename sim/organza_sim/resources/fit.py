"""Fit the LUTs of the resource model to recorded synthesis runs, and say how wrong it is on those it was not fitted to.

    python -m organza_sim.resources.fit --output docs/results/resource_model.json

Runs are those of `organza_sim.resource_runs` that are not held out, and the engines of 64 lanes of `organza_sim.fmax`. Coefficients are at least
0 and make the sum of squares of relative errors least. As another check every run, held out or not, is predicted from all others. A few minutes; one process.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from organza_hw.build import memory_words
from organza_hw.pipeline import Pipeline
from organza_sim import fmax, resource_runs
from organza_sim.resources.contents import Contents
from organza_sim.resources.model import COEFFICIENTS, FEATURES, Estimator, features
from organza_sim.resources.synthesis import contents
from organza_sim.yowasp import write_record

COMMAND = "python -m organza_sim.resources.fit"


@dataclass(frozen=True)
class Sample:
    """A recorded run: parts as they are counted, and what it took, by the names of `toolchain.CELLS`."""

    parts: list[Contents]
    used: dict[str, int]
    held_out: bool

    @property
    def features(self) -> np.ndarray:
        """Of all parts together, and 1."""
        return np.append(np.sum([features(part) for part in self.parts], axis=0), 1.0)


def sample_of(name: str, recorded: dict[str, Any]) -> Sample:
    """A row of docs/results/resources.json."""
    row = resource_runs.ROWS[name]
    program = resource_runs.program_of(row)
    plan = resource_runs.plan_of(row, program)
    return Sample(Estimator(program).parts(plan), recorded["used"], row.held_out)


def fmax_sample(name: str, recorded: dict[str, Any]) -> Sample:
    """A row of docs/results/fmax.json, with the registers around it."""
    program = fmax.program_of(fmax.ROWS[name])
    plan = fmax.plan_of(fmax.ROWS[name], program)
    return Sample([contents(fmax.Alone(Pipeline(program, plan)), memory_words(program, plan))], recorded["cells"], False)


def fit(samples: list[Sample]) -> np.ndarray:
    """Coefficients of `Sample.features`."""
    used = np.array([sample.used["luts"] for sample in samples], float)
    rows = np.array([sample.features for sample in samples])
    found, _ = nnls(rows / used[:, None], np.ones(len(samples)))
    return found


def left_out(samples: list[Sample]) -> list[float]:
    """Relative errors of LUTs, each of a sample by coefficients that were fitted to all others."""
    found = [fit([*samples[:at], *samples[at + 1 :]]) for at in range(len(samples))]
    return [float(sample.features @ one) / sample.used["luts"] - 1 for sample, one in zip(samples, found, strict=True)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results/resource_model.json"))
    parser.add_argument("--runs", type=Path, default=Path("docs/results/resources.json"))
    parser.add_argument("--fmax", type=Path, default=Path("docs/results/fmax.json"))
    given = parser.parse_args(arguments)
    samples = {name: sample_of(name, row) for name, row in json.loads(given.runs.read_text())["rows"].items()}
    for name, row in json.loads(given.fmax.read_text())["rows"].items():
        samples[f"{name}, 64 lanes"] = fmax_sample(name, row)
    coefficients = [round(float(k), 4) for k in fit([sample for sample in samples.values() if not sample.held_out])]
    rows: dict[str, Any] = {}
    errors: dict[str, list[float]] = {"fitted": [], "held_out": [], "left_out": [abs(error) for error in left_out([*samples.values()])]}
    for name, sample in samples.items():
        predicted = {
            "luts": round(float(sample.features @ coefficients)),
            "multipliers": sum(part.multipliers for part in sample.parts), "block_rams": sum(part.block_rams for part in sample.parts),
        }  # fmt: skip
        used = {key: sample.used[key] for key in predicted}
        error = predicted["luts"] / used["luts"] - 1
        errors["held_out" if sample.held_out else "fitted"].append(abs(error))
        rows[name] = {"held_out": sample.held_out, "used": used, "predicted": predicted, "luts_error": round(error, 4)}
        print(f"{name:32} {'held out' if sample.held_out else '':8} {used['luts']:6} LUTs, {error:+6.1%}", flush=True)
    summary = {name: {"rows": len(found), "mean": round(float(np.mean(found)), 4), "most": round(max(found), 4)} for name, found in errors.items()}
    write_record(COEFFICIENTS, {"command": COMMAND, "features": [*FEATURES, "accelerator"], "coefficients": coefficients})
    write_record(given.output, {"command": COMMAND, "coefficients": coefficients, "luts_error": summary, "rows": rows})
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
