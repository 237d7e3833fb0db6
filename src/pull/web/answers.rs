//! Lists in the DICOM JSON model, read within bounds.
//!
//! Of a row the few attributes that are needed are kept, of an attribute its first
//! values; everything else is passed over while it is parsed, so that memory does
//! not grow with what an archive puts into its answers.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::super::{
    PullError,
    archive::{Answer, MAX_ROWS},
};

/// Most values kept of an attribute: modalities of a study.
const MAX_VALUES: usize = 32;

/// Longest value kept: a UID and a patient id have 64 characters.
const MAX_VALUE_BYTES: usize = 256;

/// The rows of a list.
///
/// # Source
/// DICOM PS3.18 F.2.
pub(super) fn read(json: &[u8]) -> Result<Vec<Answer>, PullError> {
    let malformed = |_| PullError::Malformed { what: "a list that is no DICOM JSON" };
    let Rows(rows) = serde_json::from_slice(json).map_err(malformed)?;
    Ok(rows.into_iter().map(Row::into_answer).collect())
}

struct Rows(Vec<Row>);

#[derive(Deserialize, Default)]
struct Row {
    #[serde(rename = "00080016", default)]
    sop_class: Attribute,
    #[serde(rename = "00080018", default)]
    instance: Attribute,
    #[serde(rename = "00080020", default)]
    study_date: Attribute,
    #[serde(rename = "00080060", default)]
    modality: Attribute,
    #[serde(rename = "00080061", default)]
    modalities: Attribute,
    #[serde(rename = "00100020", default)]
    patient_id: Attribute,
    #[serde(rename = "0020000D", alias = "0020000d", default)]
    study: Attribute,
    #[serde(rename = "0020000E", alias = "0020000e", default)]
    series: Attribute,
}

#[derive(Deserialize, Default)]
struct Attribute {
    #[serde(rename = "Value", default)]
    values: Values,
}

#[derive(Default)]
struct Values(Vec<String>);

impl Row {
    fn into_answer(self) -> Answer {
        let first = |attribute: Attribute| attribute.values.0.into_iter().next();
        let all =
            |attribute: Attribute| Some(attribute.values.0).filter(|values| !values.is_empty());
        Answer {
            study_date: first(self.study_date),
            modality: first(self.modality),
            modalities: all(self.modalities),
            patient_id: first(self.patient_id),
            study: first(self.study),
            series: first(self.series),
            instance: first(self.instance),
            sop_class: first(self.sop_class),
        }
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rows, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = list.next_element()? {
                    if rows.len() == MAX_ROWS {
                        return Err(serde::de::Error::custom("too many rows"));
                    }
                    rows.push(row);
                }
                Ok(Rows(rows))
            }
        }
        from.deserialize_seq(Each)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values")
            }

            fn visit_unit<E>(self) -> Result<Values, E> {
                Ok(Values::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while values.len() < MAX_VALUES {
                    match list.next_element::<Word<'de>>()? {
                        Some(Word::Text(text)) if text.len() <= MAX_VALUE_BYTES => {
                            values.push(text.into_owned());
                        }
                        Some(_) => {}
                        None => return Ok(Values(values)),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Values(values))
            }
        }
        from.deserialize_any(Each)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word<'a> {
    #[serde(borrow)]
    Text(std::borrow::Cow<'a, str>),
    Other(IgnoredAny),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_the_rest_passed_over() {
        let json = br#"[{"0020000D":{"vr":"UI","Value":["1.2"]},
            "00080061":{"vr":"CS","Value":["MR","CT"]},"00080020":{"vr":"DA"},
            "00100010":{"vr":"PN","Value":[{"Alphabetic":"DOE"}]},
            "00100020":{"vr":"LO","Value":[null, 7, "id"]},"00080060":{"Value":null}}]"#;
        let rows = read(json).unwrap();
        assert_eq!(rows[0].study.as_deref(), Some("1.2"));
        assert_eq!(rows[0].modalities.as_deref(), Some(&["MR".to_owned(), "CT".to_owned()][..]));
        assert_eq!(
            (rows[0].study_date.as_deref(), rows[0].patient_id.as_deref()),
            (None, Some("id"))
        );
    }

    #[test]
    fn what_is_no_list_is_refused_without_its_words() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for wrong in ["", "{}", "[1]", "[{\"0020000D\":\"DOE\"}]", &deep, "[{}] DOE"] {
            let error = read(wrong.as_bytes()).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("DOE"), "{error}");
        }
    }
}
