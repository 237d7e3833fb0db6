"""Writes a results folder of invented heads and embeddings, for the notebook's tests.

    python tests/python/fake_results.py FOLDER [MODALITY ...]

It has the files, columns and types of a real one as far as the notebook reads
them, in seconds and without an encoder. Its numbers mean nothing.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import polars as pl

SHAPE, SPACING_MM, DIM = (40, 48, 24), (4.0, 4.0, 6.0), 16
CONTRAST = {"T1": (0.4, 1.0), "T2": (1.0, 0.5), "PD": (0.8, 0.7), "CT": (0.2, 0.3)}


def head(rng, modality):
    """A skull with a brain and ventricles, noisy, of a size of its own."""
    half = np.array(SHAPE) / 2
    at = (np.indices(SHAPE).T - (half - 0.5)).T / half[:, None, None, None]
    r = np.sqrt(((at / rng.uniform(0.8, 1.0, 3)[:, None, None, None]) ** 2).sum(0))
    fluid, tissue = CONTRAST.get(modality, (0.5, 0.9))
    values = np.select([r < 0.25, r < 0.75, r < 0.85, r < 0.95], [fluid, tissue, 0.1, 0.6], -1.0)
    return values + rng.normal(0, 0.05, SHAPE)


def write(out, modalities=("T1", "T2", "CT"), subjects=5, seed=1):
    """Writes the results folder `out`."""
    rng = np.random.default_rng(seed)
    out = Path(out)
    for folder in ("embeddings", "volumes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = [-78.0, -94.0, -60.0]
    position, contrast = rng.normal(size=(2, DIM)), rng.normal(size=(len(modalities), DIM))
    rows, volumes = [], []
    for subject in range(subjects):
        own = rng.normal(size=DIM)
        for m, modality in enumerate(modalities):
            voxels = head(rng, modality)
            series = f"series-{subject}{m}"
            image = nib.Nifti1Image((voxels / 0.001).astype(np.int16), affine)
            image.header.set_slope_inter(0.001, 0.0)
            nib.save(image, out / "volumes" / f"{series}.nii")
            keys = {
                "source": "invented",
                "subject": f"subject-{subject}",
                "session": f"session-{subject}",
                "study": f"study-{subject}",
                "series": series,
                "modality": modality,
            }
            volumes.append(
                {**keys, "file": f"volumes/{series}.nii", "affine": affine.ravel(), "shape": SHAPE}
            )
            split = "held-out" if subject == 0 else "train"
            whole = []
            for k in range(SHAPE[2]):
                t = k / SHAPE[2] * 3
                h = np.sin(t) * position[0] + np.cos(t) * position[1] + contrast[m] / 2
                whole.append(h + own / 4 + rng.normal(0, 0.1, DIM))
                x, y, z = affine[:3] @ [SHAPE[0] / 2, SHAPE[1] / 2, k, 1.0]
                body = np.float32((voxels[:, :, k] > -0.5).mean())
                rows.append(("slice", keys, split, k, (x, y, z), body, whole[-1]))
            middle = affine[:3] @ [*(np.array(SHAPE) / 2), 1.0]
            rows.append(("volume", keys, split, None, middle, body, np.mean(whole, 0)))
    embeddings = pl.DataFrame(
        [
            {"level": level, **keys, "split": split, "slice_index": k}
            | dict(zip(("x_mm", "y_mm", "z_mm"), map(float, place)))
            | {"foreground": body, "embedding": h}
            for level, keys, split, k, place, body, h in rows
        ],
        schema_overrides={
            "slice_index": pl.UInt32,
            "foreground": pl.Float32,
            "embedding": pl.Array(pl.Float32, DIM),
        },
    )
    metadata = dict.fromkeys(
        ("mivox.version", "mivox.configuration", "mivox.encoder", "mivox.seed"), "invented"
    )
    embeddings.write_parquet(out / "embeddings" / "part-0.parquet", metadata=metadata)
    lists = {"affine": pl.Array(pl.Float64, 16), "shape": pl.Array(pl.UInt32, 3)}
    pl.DataFrame(volumes, schema_overrides=lists).write_parquet(out / "volumes.parquet")

    step = np.arange(200)
    bound = 3.6 * (1 - np.exp(-step / 60)) + rng.normal(0, 0.15, step.size)
    ceiling = np.log(64)
    pl.DataFrame(
        {
            "step": step.astype(np.uint32),
            "loss": ceiling - bound,
            "bound_nats": bound,
            "ceiling_nats": np.full(step.size, ceiling),
            "temperature": np.full(step.size, 0.1),
            "negatives": np.full(step.size, 63.0),
            "without_negatives": np.zeros(step.size),
            "learning_rate": np.full(step.size, 1e-3),
            "gradient_norm": np.ones(step.size),
            "pairs_per_second": np.full(step.size, 500.0),
            "wait_share": np.full(step.size, 0.01),
        }
        | {
            name: [value if n % 20 == 19 else None for n in step]
            for name, value in [
                ("look_ceiling_nats", ceiling),
                ("probe_bound_nats", 2.0),
                ("held_out_bound_nats", 1.5),
                ("control_nats", 0.0),
                ("alignment", 0.2),
                ("uniformity", -0.5),
                ("rank_me", 12.0),
                ("held_out_alignment", 0.3),
                ("held_out_uniformity", -0.4),
                ("held_out_rank_me", 10.0),
                ("look_seconds", 0.5),
                ("alarms", "overfitting"),
            ]
        }
    ).write_parquet(out / "metrics.parquet")
    pairs = [f"{a}→{b}" for a in modalities for b in modalities if a < b] + ["cross-slice"]
    unmeasured = {"low": None, "high": None, "reference": None}
    pl.DataFrame(
        [
            {"metric": metric, "source": "invented", "pair": pair, "encoder": encoder}
            | {"value": value, **unmeasured, "count": 24, "subjects": 1, "remark": "invented"}
            | ({"low": value - 0.07, "high": value + 0.07, "reference": 0.1} if interval else {})
            for metric, interval in (("retrieval_top1", True), ("rank_me", False))
            for pair in pairs
            for encoder, value in (("trained", rng.uniform(0.5, 0.9)), ("untrained", 0.2))
        ]
    ).write_parquet(out / "evaluation.parquet")


if __name__ == "__main__":
    write(sys.argv[1], *([sys.argv[2:]] if sys.argv[2:] else []))
