"""Says which choices of a pipeline matter: one at a time is changed.

    .venv/bin/python benches/ablation.py pipelines/sarcoma-pet-ct-mr.toml --input SCANS --out data/ablation

Each variant is `mivox leave-one-out` with other keys. Prints, in Markdown, retrieval across
modalities in the subjects left out, of the embedding less the mean of its image and of the
embedding itself: the mean over pairs of modalities, subjects and seeds, and the least and
most of a subject and seed. `objectives` compares with an encoder that every objective can
train. What is done already is not done again.
"""

import argparse
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


# One vector a slice: what objectives without places need.
WHOLE = [
    "encoder.architecture=vit", "encoder.patch=8", "encoder.dim=96", "encoder.depth=4",
    "encoder.heads=3", "encoder.per=all", "train.learning_rate=5e-4",
]
SETS = {
    "choices": {
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
    },
    "objectives": {
        "InfoNCE": WHOLE,
        "InfoNCE, temperature 0.3": [*WHOLE, "objective.temperature=0.3"],
        "NT-Xent": [*WHOLE, "objective.kind=nt-xent"],
        "SupCon": [*WHOLE, "objective.kind=supcon"],
        "MoCo, queue of 256": [
            *WHOLE, "objective.kind=moco", "objective.queue_len=256", "objective.momentum=0.99",
        ],
        "VICReg": [*WHOLE, "objective.kind=vicreg"],
        "Barlow Twins": [*WHOLE, "objective.kind=barlow-twins"],
    },
}
METRICS = ["retrieval_top1_centred", "retrieval_top1"]


def folds(arguments, name, keys):
    """The evaluations of a variant's folds, one table each; none where it failed."""
    out = arguments.out / "".join(c if c.isalnum() else "-" for c in f"{name} {arguments.seeds}")
    keys = ["threads=1", *keys, *arguments.set]
    command = [
        arguments.mivox, "leave-one-out", arguments.pipeline, "--input", arguments.input,
        "--out", out, "--seeds", str(arguments.seeds),
        *(part for key in keys for part in ("--set", key)),
    ]
    if arguments.pattern:
        command += ["--pattern", arguments.pattern]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode not in (0, 2):
        print(f"{name}: failed with {done.returncode}: {done.stderr[-400:]}", file=sys.stderr)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--pattern")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--mivox", default="target/release/mivox")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of every variant")
    parser.add_argument("--variants", choices=SETS, default="choices")
    parser.add_argument("--jobs", type=int, default=1, help="variants at a time, a thread each")
    arguments = parser.parse_args()
    variants = SETS[arguments.variants]
    print("| | centred, trained | h, trained | centred, untrained | h, untrained | folds |")
    print("|---|---|---|---|---|---|")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        made = pool.map(lambda item: folds(arguments, *item), variants.items())
        for name, tables in zip(variants, made):
            cells = [
                cell(tables, metric, encoder)
                for encoder in ["trained", "untrained"] for metric in METRICS
            ]
            print(f"| {name} | {' | '.join(cells)} | {len(tables)} |", flush=True)


if __name__ == "__main__":
    main()
