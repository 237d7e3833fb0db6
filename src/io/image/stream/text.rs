//! Numbers written as text, as the bytes of f64.

use std::io::{self, BufRead, Error, ErrorKind, Read};

/// Longest number that is looked at.
const MAX_DIGITS: usize = 64;

/// Reads numbers parted by white space or commas and gives each as the eight
/// bytes of a little-endian f64.
pub(super) struct TextNumbers<R> {
    text: R,
    number: [u8; 8],
    given: usize,
}

impl<R: BufRead> TextNumbers<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text, number: [0; 8], given: 8 }
    }

    /// The next word, or an empty one at the end. A word that the file ends in
    /// may be cut, and is an error.
    fn word(&mut self) -> io::Result<Vec<u8>> {
        let mut word = Vec::new();
        loop {
            let bytes = self.text.fill_buf()?;
            let Some(&byte) = bytes.first() else {
                return if word.is_empty() {
                    Ok(word)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            };
            self.text.consume(1);
            match (byte.is_ascii_whitespace() || byte == b',', word.is_empty()) {
                (true, true) => {}
                (true, false) => return Ok(word),
                (false, _) if word.len() == MAX_DIGITS => {
                    return Err(Error::new(ErrorKind::InvalidData, "a number is too long"));
                }
                (false, _) => word.push(byte),
            }
        }
    }
}

impl<R: BufRead> Read for TextNumbers<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < out.len() {
            if self.given == 8 {
                let word = self.word()?;
                if word.is_empty() {
                    break;
                }
                let number: Option<f64> =
                    std::str::from_utf8(&word).ok().and_then(|word| word.parse().ok());
                let no_number = || Error::new(ErrorKind::InvalidData, "a word is no number");
                self.number = number.ok_or_else(no_number)?.to_le_bytes();
                self.given = 0;
            }
            let part = (8 - self.given).min(out.len() - written);
            out[written..written + part]
                .copy_from_slice(&self.number[self.given..self.given + part]);
            self.given += part;
            written += part;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbers_or_errors() {
        let read = |text: &str| {
            let mut bytes = Vec::new();
            TextNumbers::new(text.as_bytes()).read_to_end(&mut bytes).map(|_| {
                let numbers = bytes.as_chunks::<8>().0.iter();
                numbers.map(|n| f64::from_le_bytes(*n)).collect::<Vec<_>>()
            })
        };
        assert_eq!(read(" 1 -2.5\r\n3e2,nan ").unwrap()[..3], [1.0, -2.5, 300.0]);
        assert!(read("").unwrap().is_empty());
        assert!(read("1 2").is_err(), "the 2 may have been 25");
        assert!(read("1 two 3").is_err());
        assert!(read(&"1".repeat(65)).is_err());
    }
}
