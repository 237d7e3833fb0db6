//! Bytes written as two hexadecimal digits each.

use std::io::{self, BufRead, Error, ErrorKind, Read};

/// Reads digits, with white space anywhere between them, and gives the bytes.
pub(super) struct HexBytes<R>(R);

impl<R: BufRead> HexBytes<R> {
    pub(super) fn new(text: R) -> Self {
        Self(text)
    }

    /// The next digit, none at the end.
    fn digit(&mut self) -> io::Result<Option<u8>> {
        loop {
            let Some(&byte) = self.0.fill_buf()?.first() else { return Ok(None) };
            self.0.consume(1);
            if byte.is_ascii_whitespace() {
                continue;
            }
            let no_digit = || Error::new(ErrorKind::InvalidData, "a character is no digit");
            let digit = char::from(byte).to_digit(16).ok_or_else(no_digit)?;
            return Ok(Some(digit as u8));
        }
    }
}

impl<R: BufRead> Read for HexBytes<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        for (written, byte) in out.iter_mut().enumerate() {
            let Some(high) = self.digit()? else { return Ok(written) };
            let low = self.digit()?.ok_or(ErrorKind::UnexpectedEof)?;
            *byte = high << 4 | low;
        }
        Ok(out.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_bytes_or_errors() {
        let read = |text: &str| {
            let mut bytes = Vec::new();
            HexBytes::new(text.as_bytes()).read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!(read("00fF\n 1\t2 ").unwrap(), [0, 255, 18]);
        assert!(read("").unwrap().is_empty());
        assert!(read("0").is_err() && read("0g").is_err() && read("0x00").is_err());
    }
}
