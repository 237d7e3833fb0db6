"""Says which choices of a pipeline matter: one at a time is changed.

    .venv/bin/python benches/ablation.py pipelines/sarcoma-pet-ct-mr.toml --input SCANS --out data/ablation

Each variant is `mivox leave-one-out` with other keys. Prints, in Markdown, retrieval in
the subjects left out, as the mean over pairs of modalities, subjects and seeds, and the
range over subjects and seeds. What is done already is not done again.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import polars as pl

KINDS = ["augmented", "cross_slice", "cross_modality"]


def kinds(**weights):
    # A weight that is never drawn keeps the held-out pairs, in which places are looked for.
    least = {"cross_modality": 1e-9}
    return [f"pairs.{kind}={weights.get(kind, least.get(kind, 0.0))}" for kind in KINDS]


VARIANTS = {
    "as the pipeline has it": [],
    "kinds: augmented alone": kinds(augmented=1.0),
    "kinds: cross-slice alone": kinds(cross_slice=1.0),
    "kinds: all three": kinds(augmented=1.0, cross_slice=1.0, cross_modality=1.0),
    "objective: NT-Xent": ["objective.kind=nt-xent"],
    "objective: SupCon": ["objective.kind=supcon"],
    "objective: MoCo": ["objective.kind=moco", "objective.queue_len=256", "objective.momentum=0.99"],
    "objective: VICReg": ["objective.kind=vicreg"],
    "objective: Barlow Twins": ["objective.kind=barlow-twins"],
    "temperature: 0.03": ["objective.temperature=0.03"],
    "temperature: 0.3": ["objective.temperature=0.3"],
    "temperature: 1.0": ["objective.temperature=1.0"],
    "temperature: learned": ["objective.temperature_rule=learned"],
    "false negatives: not excluded": ["pairs.exclude_within_mm=0.0"],
    "soft positives: 3 mm": ["pairs.soft_positives_mm=3.0"],
    "encoder: one a modality": ["encoder.per=modality"],
    "no augmentation": [
        f"augment.{key}=0.0"
        for key in "shift_mm rotate_deg scale crop gamma contrast brightness blur_mm noise".split()
    ],
}


def run(arguments, name, keys):
    """The evaluations of a variant's folds, one table each."""
    out = arguments.out / "".join(c if c.isalnum() else "-" for c in name)
    command = [
        arguments.mivox, "leave-one-out", arguments.pipeline, "--input", arguments.input,
        "--out", out, "--seeds", str(arguments.seeds),
        *(part for key in [*arguments.set, *keys] for part in ("--set", key)),
    ]
    if arguments.pattern:
        command += ["--pattern", arguments.pattern]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode not in (0, 2):
        print(f"{name}: failed with {done.returncode}: {done.stderr[-400:]}", file=sys.stderr)
        return []
    return [pl.read_parquet(path) for path in sorted(out.glob("leave-one-out/*/*/evaluation.parquet"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--pattern")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--mivox", default="target/release/mivox")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of every variant")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    print("| | retrieval, mean (least to most of folds) | of it untrained | folds |\n|---|---|---|---|")
    for name in arguments.only:
        folds = run(arguments, name, VARIANTS[name])
        found = {
            encoder: [
                table.filter(
                    (pl.col("metric") == "retrieval_top1")
                    & pl.col("pair").str.contains("→")
                    & (pl.col("encoder") == encoder)
                )["value"].mean()
                for table in folds
            ]
            for encoder in ("trained", "untrained")
        }
        values = [value for value in found["trained"] if value is not None]
        if not values:
            print(f"| {name} | none | | {len(folds)} |", flush=True)
            continue
        print(
            f"| {name} | {statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f}) | "
            f"{statistics.mean(found['untrained']):.3f} | {len(values)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
