//! One instance out of an answer, as its bytes come.
//!
//! The crates for multipart bodies read forms of known fields, or are
//! asynchronous; this one finds a single part and copies it within bounds.

use std::io::{ErrorKind, Read, Write};

use memchr::memmem::Finder;

use super::super::PullError;

/// Most bytes before the part: what comes before the first boundary and the part's
/// own headers.
const MAX_HEAD: usize = 16 << 10;

/// Most bytes behind the part.
const MAX_TAIL: usize = 16 << 10;

const CHUNK: usize = 1 << 16;

/// Copies the instance that an answer of a content type holds, byte for byte.
///
/// # Source
/// RFC 2046 5.1 (multipart), RFC 2387 (related), DICOM PS3.18 8.7.
pub(super) fn copy_instance(
    body: &mut dyn Read,
    content_type: &str,
    out: &mut dyn Write,
    limit: u64,
) -> Result<(), PullError> {
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match kind.as_str() {
        "multipart/related" => {
            let what = "a multipart answer without a boundary";
            let boundary = boundary(content_type).ok_or(PullError::Malformed { what })?;
            Parts { body, buffer: Vec::new() }.copy_only(&boundary, out, limit)
        }
        "application/dicom" => {
            let mut left = limit;
            let mut chunk = vec![0; CHUNK];
            loop {
                let count = read(body, &mut chunk)?;
                if count == 0 {
                    return Ok(());
                }
                write(out, &chunk[..count], &mut left, limit)?;
            }
        }
        _ => Err(PullError::Malformed { what: "neither multipart/related nor application/dicom" }),
    }
}

/// The parameter *boundary* of a content type.
fn boundary(content_type: &str) -> Option<String> {
    let at = content_type.to_ascii_lowercase().find("boundary=")?;
    let value = content_type.get(at + "boundary=".len()..)?;
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split([';', ' ']).next()?,
    };
    (1..=70).contains(&value.len()).then(|| value.to_owned())
}

fn read(body: &mut dyn Read, chunk: &mut [u8]) -> Result<usize, PullError> {
    loop {
        match body.read(chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other.map_err(|error| PullError::cut(&error)),
        }
        if crate::stop::requested() {
            return Err(PullError::Stopped);
        }
    }
}

fn write(out: &mut dyn Write, bytes: &[u8], left: &mut u64, limit: u64) -> Result<(), PullError> {
    *left = left
        .checked_sub(bytes.len() as u64)
        .ok_or(PullError::TooLarge { what: "an instance", limit })?;
    if crate::stop::requested() {
        return Err(PullError::Stopped);
    }
    out.write_all(bytes).map_err(PullError::Disk)
}

struct Parts<'a> {
    body: &'a mut dyn Read,
    buffer: Vec<u8>,
}

impl Parts<'_> {
    /// Reads on; false at the end.
    fn more(&mut self) -> Result<bool, PullError> {
        let old = self.buffer.len();
        self.buffer.resize(old + CHUNK, 0);
        let count = read(self.body, &mut self.buffer[old..])?;
        self.buffer.truncate(old + count);
        Ok(count > 0)
    }

    /// Takes the bytes up to the end of a pattern, which must come within a limit.
    fn take_until(&mut self, pattern: &[u8], limit: usize) -> Result<Vec<u8>, PullError> {
        let finder = Finder::new(pattern);
        loop {
            match finder.find(&self.buffer) {
                Some(at) if at <= limit => {
                    return Ok(self.buffer.drain(..at + pattern.len()).collect());
                }
                None if self.buffer.len() <= limit + pattern.len() => {}
                _ => {
                    let limit = limit as u64;
                    return Err(PullError::TooLarge { what: "the head of a part", limit });
                }
            }
            if !self.more()? {
                return Err(PullError::Cut { why: "the answer ends too early".to_owned() });
            }
        }
    }

    /// Copies the only part.
    fn copy_only(
        mut self,
        boundary: &str,
        out: &mut dyn Write,
        limit: u64,
    ) -> Result<(), PullError> {
        self.take_until(format!("--{boundary}").as_bytes(), MAX_HEAD)?;
        let head = self.take_until(b"\r\n\r\n", MAX_HEAD)?;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type:"));
        if kind.is_some_and(|kind| !kind.trim().starts_with("application/dicom")) {
            return Err(PullError::Malformed { what: "a part that is no DICOM" });
        }
        let end = format!("\r\n--{boundary}");
        let finder = Finder::new(&end);
        let mut left = limit;
        loop {
            if let Some(at) = finder.find(&self.buffer) {
                write(out, &self.buffer[..at], &mut left, limit)?;
                self.buffer.drain(..at + end.len());
                return self.end();
            }
            // The boundary may have begun.
            let sure = self.buffer.len().saturating_sub(end.len() - 1);
            write(out, &self.buffer[..sure], &mut left, limit)?;
            self.buffer.drain(..sure);
            if !self.more()? {
                return Err(PullError::Cut { why: "the answer ends too early".to_owned() });
            }
        }
    }

    /// Reads to the end behind the last boundary, so that the connection can be used
    /// again.
    fn end(mut self) -> Result<(), PullError> {
        while self.buffer.len() < 2 {
            if !self.more()? {
                return Err(PullError::Cut { why: "the answer ends too early".to_owned() });
            }
        }
        if !self.buffer.starts_with(b"--") {
            return Err(PullError::Malformed { what: "more parts than one" });
        }
        while self.buffer.len() < MAX_TAIL && self.more()? {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes a few at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn copied(body: &[u8], step: usize, limit: u64) -> Result<Vec<u8>, PullError> {
        let mut out = Vec::new();
        let kind = "Multipart/Related; type=\"application/dicom\"; Boundary=\"x y\"";
        copy_instance(&mut Trickle(body, step), kind, &mut out, limit).map(|()| out)
    }

    #[test]
    fn a_part_comes_byte_for_byte_however_it_trickles() {
        let held = b"DICM\r\n--x \r\n\r\n--\r\n".as_slice();
        let head = b"preamble\r\n--x y\r\nContent-Type: application/dicom\r\n\r\n".as_slice();
        let body = [head, held, b"\r\n--x y--\r\n"].concat();
        for step in 1..80 {
            assert_eq!(copied(&body, step, 1000).unwrap(), held);
        }
        assert!(matches!(copied(&body, 9, 3), Err(PullError::TooLarge { .. })));
        for end in 0..body.len() - 2 {
            assert!(matches!(copied(&body[..end], 7, 1000), Err(PullError::Cut { .. })), "{end}");
        }
    }

    #[test]
    fn hostile_answers_are_refused() {
        let head = b"--x y\r\nContent-Type: application/dicom\r\n\r\n1".as_slice();
        let two = [head, b"\r\n--x y\r\n\r\n2\r\n--x y--"].concat();
        assert!(matches!(copied(&two, 50, 10), Err(PullError::Malformed { .. })));
        let endless = [b"--x y\r\n".as_slice(), &b"X-A: b\r\n".repeat(10_000)].concat();
        assert!(matches!(copied(&endless, 1000, 10), Err(PullError::TooLarge { .. })));
        let page = b"--x y\r\nContent-Type: text/html\r\n\r\n1\r\n--x y--";
        assert!(matches!(copied(page, 50, 10), Err(PullError::Malformed { .. })));
        let mut out = Vec::new();
        for kind in ["multipart/related", "multipart/related; boundary=\"\"", "text/html", ""] {
            let error = copy_instance(&mut Trickle(head, 9), kind, &mut out, 10).unwrap_err();
            assert!(matches!(error, PullError::Malformed { .. }));
        }
    }
}
