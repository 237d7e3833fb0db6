use super::*;

/// Settings for tests of what needs some of them.
pub(crate) fn settings() -> Settings {
    Settings {
        steps: 100,
        batch: 8,
        accumulate: 1,
        gradient_cache: 0,
        optimizer: OptimizerKind::AdamW,
        precision: Precision::F32,
        learning_rate: 1.0,
        warmup: 10,
        weight_decay: 0.0,
        objective: objective::Settings {
            kind: Objective::NtXent,
            temperature: objective::Temperature::Fixed(0.1),
        },
        clip_norm: 1.0,
        checkpoint_every: 10,
        weights: Weights { augmented: 1.0, ..Weights::default() },
        draw: Draw {
            distance_law: crate::pairing::DistanceLaw::Uniform,
            max_subject_share: 1.0,
            rules: crate::pairing::mask::Rules {
                within_mm: 0.0,
                unplaced: false,
                subject: false,
                template_mm: 0.0,
                soft_positives_mm: 0.0,
                plane: view::Plane::Axial,
            },
        },
        augment: Augments::default(),
        seed: 0,
    }
}

#[test]
fn metadata_holds_the_recipe() {
    let metadata = metadata("axial", "abc", 7, 0.1);
    assert!(metadata.contains(&(encoder::RECIPE.to_owned(), "axial".to_owned())));
    assert!(metadata.contains(&(encoder::SEED.to_owned(), "7".to_owned())));
}
