"""Says which choices of a pipeline matter.

    .venv/bin/python benches/ablation.py pipelines/sarcoma-pet-ct-mr.toml --input SCANS --out data/ablation

Each variant is `mivox leave-one-out` with other keys. Prints, in Markdown, retrieval across
modalities in the subjects left out, of the embedding less the mean of its image and of the
embedding itself: the mean over pairs of modalities, subjects and seeds, and the least and
most of a subject and seed. `choices` changes one at a time; `product` tries all kinds of
pairs with all objectives and temperatures, with an encoder that every objective can train.
What is done already is not done again.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

KINDS = ["augmented", "cross_slice", "cross_modality", "longitudinal"]


def kinds(**weights):
    # A weight that is never drawn keeps the held-out pairs, in which places are looked for.
    least = {"cross_modality": 1e-9}
    return [f"pairs.{kind}={weights.get(kind, least.get(kind, 0.0))}" for kind in KINDS]


# One vector a slice, of a small transformer: what objectives without places need.
WHOLE = [
    "encoder.architecture=vit", "encoder.patch=8", "encoder.dim=64", "encoder.depth=3",
    "encoder.heads=2", "encoder.per=all", "train.learning_rate=5e-4",
]
CHOICES = {
    "as the pipeline has it": [],
    "kinds: augmented alone": kinds(augmented=1.0),
    "kinds: cross-slice alone": kinds(cross_slice=1.0),
    "kinds: augmented and cross-modality": kinds(augmented=1.0, cross_modality=1.0),
    "temperature: 0.03": ["objective.temperature=0.03"],
    "temperature: 0.3": ["objective.temperature=0.3"],
    "temperature: learned": ["objective.temperature_rule=learned"],
    "InfoNCE: one-sided": ["objective.sides=anchor"],
    "false negatives: not excluded": ["pairs.exclude_within_mm=0.0"],
    "soft positives: 3 mm": ["pairs.soft_positives_mm=3.0"],
    "one encoder for all modalities": ["encoder.per=all"],
    "views not changed each by itself": [
        f"augment.{key}=0.0" for key in ["gamma", "contrast", "brightness", "noise"]
    ],
    "batches not moved": [
        f"augment.batch.{key}=0.0"
        for key in ["shift_mm", "rotate_deg", "scale", "elastic_mm", "flip_left_right"]
    ],
}
PAIRS = {
    "augmented": kinds(augmented=1.0),
    "cross-slice": kinds(cross_slice=1.0),
    "cross-modality": kinds(cross_modality=1.0),
}
OBJECTIVES = {
    "InfoNCE": [],
    "NT-Xent": ["objective.kind=nt-xent"],
    "SupCon": ["objective.kind=supcon"],
    "MoCo": ["objective.kind=moco", "objective.queue_len=256", "objective.momentum=0.99"],
    "VICReg": ["objective.kind=vicreg"],
    "Barlow Twins": ["objective.kind=barlow-twins"],
}
WITHOUT_TEMPERATURE = ["VICReg", "Barlow Twins"]
TEMPERATURES = [0.03, 0.1, 0.3]
SHARED = ["index", "prepare", "register"]
METRICS = ["retrieval_top1_centred", "retrieval_top1"]


def mivox(arguments, command, out, *keys):
    """Whether a command was done; says why where it was not."""
    line = [arguments.mivox, command, arguments.pipeline, "--input", arguments.input, "--out", out]
    line += [part for key in [*keys, *arguments.set] for part in ("--set", key)]
    if arguments.pattern:
        line += ["--pattern", arguments.pattern]
    if command == "leave-one-out":
        line += ["--seeds", arguments.seeds]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True)
    good = done.returncode in (0, 2)
    if not good:
        print(f"{out.name}: failed with {done.returncode}: {done.stderr[-400:]}", file=sys.stderr)
    return good


def folds(arguments, name, keys):
    """The evaluations of a variant's folds, one table each; none where it failed."""
    out = arguments.out / "".join(c if c.isalnum() else "-" for c in f"{name} {arguments.seeds}")
    if not out.exists():
        shutil.copytree(arguments.out / "prepared", out)
    if not mivox(arguments, "leave-one-out", out, "threads=1", *keys):
        return []
    return [pl.read_parquet(path) for path in sorted(out.glob("leave-one-out/*/*/evaluation.parquet"))]


def across(table, metric, encoder):
    """The mean over pairs of modalities."""
    return table.filter(
        (pl.col("metric") == metric)
        & pl.col("pair").str.contains("→")
        & (pl.col("pair").str.extract("(.*)→") != pl.col("pair").str.extract("→(.*)"))
        & (pl.col("encoder") == encoder)
    )["value"].mean()


def cell(tables, metric, encoder):
    values = [value for table in tables if (value := across(table, metric, encoder)) is not None]
    if not values:
        return "none"
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def tried(arguments, variants):
    """The folds of each variant, as they come."""
    with ThreadPoolExecutor(arguments.jobs) as pool:
        yield from pool.map(lambda item: folds(arguments, *item), variants)


def choices(arguments):
    print("| | centred, trained | h, trained | centred, untrained | h, untrained | folds |")
    print("|---|---|---|---|---|---|")
    for name, tables in zip(CHOICES, tried(arguments, CHOICES.items())):
        cells = [
            cell(tables, metric, encoder)
            for encoder in ["trained", "untrained"] for metric in METRICS
        ]
        print(f"| {name} | {' | '.join(cells)} | {len(tables)} |", flush=True)


def product(arguments):
    rows = {
        (pairs, objective): TEMPERATURES if objective not in WITHOUT_TEMPERATURE else [None]
        for pairs in PAIRS for objective in OBJECTIVES
    }
    variants = [
        (f"{pairs} {objective} {temperature}", [
            *WHOLE, *PAIRS[pairs], *OBJECTIVES[objective],
            *([f"objective.temperature={temperature}"] if temperature else []),
        ])
        for (pairs, objective), temperatures in rows.items() for temperature in temperatures
    ]
    made = tried(arguments, variants)
    print("| pairs | objective |", " | ".join(f"temperature {t}" for t in TEMPERATURES), "| none |")
    print("|---|---|" + "---|" * (len(TEMPERATURES) + 1))
    for (pairs, objective), temperatures in rows.items():
        cells = dict.fromkeys([*TEMPERATURES, None], "")
        for temperature in temperatures:
            tables = next(made)
            cells[temperature] = cell(tables, METRICS[0], "trained")
        print(f"| {pairs} | {objective} | {' | '.join(cells.values())} |", flush=True)
    print("\nuntrained:", cell(tables, METRICS[0], "untrained"), f"in {len(tables)} folds")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--pattern")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--mivox", default="target/release/mivox")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of every variant")
    parser.add_argument("--variants", choices=["choices", "product"], default="choices")
    parser.add_argument("--jobs", type=int, default=1, help="variants at a time, a thread each")
    arguments = parser.parse_args()
    # What no variant changes is made once.
    if not all(mivox(arguments, stage, arguments.out / "prepared") for stage in SHARED):
        sys.exit(1)
    {"choices": choices, "product": product}[arguments.variants](arguments)


if __name__ == "__main__":
    main()
