//! Seeded randomness: every drawn thing has its own stream, named by what it
//! is for, so that no value depends on the order in which threads run.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::{
    geometry::{Affine, DMat3, DVec3},
    io::dicom::uid_of,
};

/// The stream of one purpose of one part of the cohort, such as `["subject", "03", "bias", "T1"]`.
pub(super) fn stream(seed: u64, purpose: &[&str]) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(digest(seed, purpose))
}

/// A DICOM unique identifier, the same for the same purpose.
pub(super) fn uid(seed: u64, purpose: &[&str]) -> String {
    let seed = seed.to_string();
    let mut words = vec!["mivox phantom 1", &seed];
    words.extend(purpose);
    uid_of(&words)
}

/// A file name that says nothing: sixteen hexadecimal digits.
pub(super) fn opaque_name(seed: u64, purpose: &[&str]) -> String {
    digest(seed, purpose)[16..24].iter().map(|b| format!("{b:02x}")).collect()
}

fn digest(seed: u64, purpose: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"mivox phantom 1");
    hash.update(seed.to_le_bytes());
    for word in purpose {
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word.as_bytes());
    }
    hash.finalize().into()
}

/// A value drawn evenly between two.
pub(super) fn between(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// A vector whose components are drawn evenly from -1 to 1, times `scale`.
pub(super) fn around_zero(rng: &mut impl Rng, scale: DVec3) -> DVec3 {
    let mut one = || between(rng, -1.0, 1.0);
    DVec3::new(one(), one(), one()) * scale
}

/// A rotation by up to `degrees` about each axis.
pub(super) fn small_turn(rng: &mut impl Rng, degrees: f64) -> DMat3 {
    let angle = around_zero(rng, DVec3::splat(degrees.to_radians()));
    DMat3::from_rotation_z(angle.z)
        * DMat3::from_rotation_y(angle.y)
        * DMat3::from_rotation_x(angle.x)
}

/// A rotation by up to `degrees` about each axis, then a shift by up to `shift_mm` along each.
pub(super) fn small_pose(rng: &mut impl Rng, degrees: f64, shift_mm: f64) -> Affine {
    let turn = small_turn(rng, degrees);
    Affine::from_mat3_translation(turn, around_zero(rng, DVec3::splat(shift_mm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_has_one_stream_and_words_do_not_run_together() {
        let first = |purpose: &[&str]| stream(1, purpose).random::<u64>();
        assert_eq!(first(&["a", "b"]), first(&["a", "b"]));
        assert_ne!(first(&["a", "b"]), first(&["ab"]));
        assert_ne!(first(&["a"]), stream(2, &["a"]).random::<u64>());
    }
}
