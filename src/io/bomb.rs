//! What is compressed more than any scan is.

/// What is larger than this and was compressed more than [`RATIO`] times over is
/// refused: nothing but an empty volume is, or one that is made to do harm.
pub(super) const LEN: u64 = 1 << 26;
pub(super) const RATIO: u64 = 500;

/// Whether so many bytes are promised of so few compressed ones that they are not
/// to be decoded.
pub(super) fn is_bomb(promised: u64, coded: u64) -> bool {
    promised > LEN && promised / RATIO > coded
}

/// Most bytes that so many compressed ones may become.
pub(super) fn most_of(coded: u64) -> u64 {
    coded.saturating_mul(RATIO).max(LEN)
}
