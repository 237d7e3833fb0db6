//! Messages over an association: a command, and perhaps a data set behind it.

use std::collections::VecDeque;

use dicom_ul::{
    Pdu, association,
    pdu::{PDataValue, PDataValueType, PresentationContextNegotiated, ReadError},
};

use super::{
    super::{PullError, error::words},
    element::Elements,
    peer::Peer,
};
use crate::stop;

/// Longest PDU that we take. The peer is told; one that is longer ends the
/// association before it is read.
pub(super) const MAX_PDU: u32 = 128 << 10;

/// Longest command set: a UID or two.
const MAX_COMMAND: usize = 16 << 10;

/// Longest identifier: a list of UIDs that failed may stand in it.
const MAX_IDENTIFIER: usize = 4 << 20;

/// Longest piece that we send.
const PIECE: usize = 16 << 10;

/// A command and the presentation context it came in.
pub(super) struct Command {
    pub context: u8,
    pub elements: Elements,
}

/// Messages in both directions.
pub(super) struct Messages {
    peer: Box<dyn Peer>,
    pieces: VecDeque<PDataValue>,
}

impl Messages {
    pub(super) fn new(peer: Box<dyn Peer>) -> Self {
        Self { peer, pieces: VecDeque::new() }
    }

    pub(super) fn contexts(&self) -> &[PresentationContextNegotiated] {
        self.peer.contexts()
    }

    /// The context that was accorded for a class.
    pub(super) fn context_of(&self, class: &str) -> Option<u8> {
        let context = self.contexts().iter().find(|context| context.abstract_syntax == class)?;
        Some(context.id)
    }

    /// Sends a command, and a data set behind it.
    pub(super) fn send(
        &mut self,
        context: u8,
        command: Vec<u8>,
        data: Option<Vec<u8>>,
    ) -> Result<(), PullError> {
        self.send_pieces(context, PDataValueType::Command, &command)?;
        data.map_or(Ok(()), |data| self.send_pieces(context, PDataValueType::Data, &data))
    }

    fn send_pieces(
        &mut self,
        context: u8,
        value_type: PDataValueType,
        bytes: &[u8],
    ) -> Result<(), PullError> {
        // A piece has a head of six bytes.
        let piece = PIECE.min((self.peer.longest() as usize).saturating_sub(6)).max(1);
        let count = bytes.chunks(piece).len();
        for (n, data) in bytes.chunks(piece).enumerate() {
            let value = PDataValue {
                presentation_context_id: context,
                value_type: value_type.clone(),
                is_last: n + 1 == count,
                data: data.to_vec(),
            };
            self.peer.send(&Pdu::PData { data: vec![value] }).map_err(|e| broken(&e))?;
        }
        Ok(())
    }

    /// The next piece; none where the other side has released the association.
    fn piece(&mut self) -> Result<Option<PDataValue>, PullError> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Some(piece));
            }
            if stop::requested() {
                return Err(PullError::Stopped);
            }
            match self.peer.receive().map_err(|error| broken(&error))? {
                Pdu::PData { data } => self.pieces.extend(data),
                Pdu::ReleaseRQ => {
                    // It goes away: that our answer arrives does not matter.
                    let _ = self.peer.send(&Pdu::ReleaseRP);
                    return Ok(None);
                }
                Pdu::AbortRQ { .. } => {
                    return Err(PullError::Cut { why: "the association was aborted".to_owned() });
                }
                _ => return Err(PullError::Malformed { what: "a PDU out of place" }),
            }
        }
    }

    /// The next command; none where the other side has released the association.
    pub(super) fn command(&mut self) -> Result<Option<Command>, PullError> {
        let mut bytes = Vec::new();
        loop {
            let Some(piece) = self.piece()? else {
                let early = PullError::Cut { why: "released in the middle".to_owned() };
                return if bytes.is_empty() { Ok(None) } else { Err(early) };
            };
            if piece.value_type != PDataValueType::Command {
                return Err(PullError::Malformed { what: "a data set without a command" });
            }
            bytes.extend(piece.data);
            if bytes.len() > MAX_COMMAND {
                return Err(PullError::TooLarge { what: "a command", limit: MAX_COMMAND as u64 });
            }
            if piece.is_last {
                let elements = Elements::decode(&bytes)?;
                return Ok(Some(Command { context: piece.presentation_context_id, elements }));
            }
        }
    }

    /// Hands on the data set behind a command, piece by piece.
    pub(super) fn data(
        &mut self,
        context: u8,
        mut each: impl FnMut(&[u8]) -> Result<(), PullError>,
    ) -> Result<(), PullError> {
        loop {
            let piece = self.piece()?;
            let piece = piece.ok_or(PullError::Cut { why: "released in the middle".to_owned() })?;
            let own = piece.presentation_context_id == context;
            if piece.value_type != PDataValueType::Data || !own {
                return Err(PullError::Malformed { what: "a data set in pieces of another" });
            }
            each(&piece.data)?;
            if piece.is_last {
                return Ok(());
            }
        }
    }

    /// The identifier behind a command.
    pub(super) fn identifier(&mut self, context: u8) -> Result<Elements, PullError> {
        let mut bytes = Vec::new();
        self.data(context, |piece| {
            bytes.extend(piece);
            if bytes.len() > MAX_IDENTIFIER {
                let limit = MAX_IDENTIFIER as u64;
                return Err(PullError::TooLarge { what: "an identifier", limit });
            }
            Ok(())
        })?;
        Elements::decode(&bytes)
    }

    /// Ends the association, as good manners ask; that it ends is all that matters.
    pub(super) fn release(mut self) {
        if self.peer.send(&Pdu::ReleaseRQ).is_ok() {
            let _ = self.peer.receive();
        }
    }
}

/// In our own words: those of dicom-ul print PDUs.
pub(super) fn broken(error: &association::Error) -> PullError {
    use association::Error;
    let cut = |why: &str| PullError::Cut { why: why.to_owned() };
    match error {
        Error::ReceivePdu { source: ReadError::PduTooLarge { .. }, .. } => {
            PullError::TooLarge { what: "a PDU", limit: u64::from(MAX_PDU) }
        }
        Error::ReceivePdu { source: ReadError::ReadPdu { source, .. }, .. } => {
            PullError::Cut { why: words(source) }
        }
        Error::ReceivePdu { .. } => PullError::Malformed { what: "a PDU" },
        Error::SendTooLongPdu { .. } => {
            PullError::Malformed { what: "a limit on PDUs that nothing fits into" }
        }
        Error::WireSend { source, .. } | Error::WireRead { source, .. } => {
            PullError::Cut { why: words(source) }
        }
        Error::ConnectionClosed { .. } => cut("the connection was closed"),
        _ => cut("the association broke"),
    }
}
