//! Words of closed lists, read back from where they were kept.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Deserializer};

/// A word of a closed list: a kind, a unit, a body part.
pub type Word = &'static str;

/// The constant of a word that was written by [`serde`]. What is not among the words
/// seen so far is kept for good: a closed list has an end.
fn constant(word: String) -> Word {
    static SEEN: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = seen.get(word.as_str()) {
        return known;
    }
    let word: Word = word.leak();
    seen.insert(word);
    word
}

/// For `#[serde(deserialize_with)]` of a [`Word`].
///
/// # Errors
/// Where there is no text.
pub fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    String::deserialize(from).map(constant)
}

/// As [`word()`], where there may be none.
///
/// # Errors
/// Where there is no text.
pub fn maybe_word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Word>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(constant))
}

/// As [`word()`], for the reason why there is no number.
///
/// # Errors
/// Where there is neither number nor text.
pub fn number_or_word<'de, D: Deserializer<'de>>(from: D) -> Result<Result<f64, Word>, D::Error> {
    Ok(Result::<f64, String>::deserialize(from)?.map_err(constant))
}
