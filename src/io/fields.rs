//! Fields of text headers, as NRRD and MetaImage have them.

use std::str::FromStr;

/// Why the fields of a text header cannot be used. No message repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The header has no end within what is read of a file.
    #[error("the header does not end within {limit} bytes")]
    NoEnd {
        /// Bytes that are looked at.
        limit: u64,
    },
    /// A field that is needed is absent.
    #[error("the header has no {field}")]
    Missing {
        /// Name of the field.
        field: &'static str,
    },
    /// A field holds something else than its format says.
    #[error("the header's {field} is malformed")]
    Malformed {
        /// Name of the field.
        field: &'static str,
    },
    /// A field holds something that is not read.
    #[error("the header's {field} is {what}: not supported")]
    Unsupported {
        /// Name of the field.
        field: &'static str,
        /// What it says.
        what: &'static str,
    },
}

/// The fields of a header, in their order, with names in lower case.
#[derive(Debug, Default)]
pub(super) struct Fields {
    fields: Vec<(String, String)>,
}

impl Fields {
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }

    /// The value of a field; of one that stands several times, the last.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The value of the first of some names that is there: formats have synonyms.
    pub(super) fn any(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Every value of a field that may stand several times, in their order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn need(&self, name: &'static str) -> Result<&str, FieldError> {
        self.get(name).ok_or(FieldError::Missing { field: name })
    }

    /// One value of a type, or `None` where the field is absent.
    pub(super) fn parse<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, FieldError> {
        let parse = |text: &str| text.parse().map_err(|_| FieldError::Malformed { field: name });
        self.get(name).map(parse).transpose()
    }
}

/// Values parted by white space, in a number that is known.
///
/// # Errors
/// [`FieldError::Malformed`].
pub(super) fn values<T: FromStr>(
    text: &str,
    count: usize,
    field: &'static str,
) -> Result<Vec<T>, FieldError> {
    let values: Result<Vec<T>, _> = text.split_ascii_whitespace().map(str::parse).collect();
    values.ok().filter(|v| v.len() == count).ok_or(FieldError::Malformed { field })
}
