//! A small archive of DIMSE that does wrong when it is told to.

use std::{net::TcpListener, sync::Arc, thread};

use dicom_ul::{
    Pdu, ServerAssociationOptions,
    association::server::Negotiation,
    pdu::{PDataValue, PDataValueType, RequestorRoles},
};

/// Group and element, and the value.
type Elements = Vec<(u32, Vec<u8>)>;

const FIND: u16 = 0x0020;
const GET: u16 = 0x0010;
const MOVE: u16 = 0x0021;

/// Takes the role of a user of storage, as C-GET wants it.
#[derive(Clone)]
struct AllRoles;

impl Negotiation for AllRoles {
    fn negotiate_roles(&self, _: &str, scu: bool, scp: bool) -> Option<RequestorRoles> {
        Some(RequestorRoles { scu, scp })
    }
}

/// What it does when instances are asked for, before it says that it is done.
pub type Deed = Arc<dyn Fn(&mut Node) + Send + Sync>;

pub struct Node {
    association: dicom_ul::ServerAssociation<std::net::TcpStream>,
}

/// Starts an archive of one study, one series and one instance.
pub fn start(uids: [&'static str; 3], deed: Deed) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let deed = Arc::clone(&deed);
            thread::spawn(move || {
                let options = ServerAssociationOptions::new().promiscuous(true);
                let options = options.with_negotiation(AllRoles);
                if let Ok(association) = options.establish(stream) {
                    Node { association }.serve(uids, &deed);
                }
            });
        }
    });
    port
}

fn text(tag: u32, text: &str) -> (u32, Vec<u8>) {
    let mut value = text.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    (tag, value)
}

fn number(tag: u32, number: u16) -> (u32, Vec<u8>) {
    (tag, number.to_le_bytes().to_vec())
}

fn encode(elements: &Elements) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, value) in elements {
        bytes.extend(((tag >> 16) as u16).to_le_bytes());
        bytes.extend((*tag as u16).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

fn value(bytes: &[u8], tag: u32) -> Option<Vec<u8>> {
    let mut rest = bytes;
    while rest.len() >= 8 {
        let found = u32::from(u16::from_le_bytes([rest[0], rest[1]])) << 16
            | u32::from(u16::from_le_bytes([rest[2], rest[3]]));
        let length = u32::from_le_bytes([rest[4], rest[5], rest[6], rest[7]]) as usize;
        if found == tag {
            return Some(rest[8..8 + length].to_vec());
        }
        rest = &rest[8 + length..];
    }
    None
}

impl Node {
    /// A command set or a data set, whole.
    fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut bytes = Vec::new();
        loop {
            match self.association.receive().ok()? {
                Pdu::PData { data } => {
                    for piece in data {
                        bytes.extend(piece.data);
                        if piece.is_last {
                            return Some((piece.presentation_context_id, bytes));
                        }
                    }
                }
                Pdu::ReleaseRQ => {
                    self.association.send(&Pdu::ReleaseRP).ok();
                    return None;
                }
                _ => return None,
            }
        }
    }

    fn send(&mut self, context: u8, value_type: PDataValueType, bytes: &[u8]) {
        for (n, piece) in bytes.chunks(8192).enumerate() {
            let data = vec![PDataValue {
                presentation_context_id: context,
                value_type: value_type.clone(),
                is_last: (n + 1) * 8192 >= bytes.len(),
                data: piece.to_vec(),
            }];
            // Whether it arrives is what the test looks at, from the other side.
            let _ = self.association.send(&Pdu::PData { data });
        }
    }

    fn answer(&mut self, context: u8, command: u16, status: u16, list: Option<&Elements>) {
        let has = if list.is_some() { 1 } else { 0x0101 };
        let answer = vec![
            number(0x0000_0100, command | 0x8000),
            number(0x0000_0120, 1),
            number(0x0000_0800, has),
            number(0x0000_0900, status),
        ];
        self.send(context, PDataValueType::Command, &encode(&answer));
        if let Some(list) = list {
            self.send(context, PDataValueType::Data, &encode(list));
        }
    }

    /// Sends a request of C-STORE with a data set, and gives back the status of the
    /// answer.
    pub fn store(&mut self, class: &str, instance: &str, data: &[u8]) -> Option<u16> {
        let contexts = self.association.presentation_contexts();
        let explicit = "1.2.840.10008.1.2.1";
        let own = |c: &&dicom_ul::pdu::PresentationContextNegotiated| {
            c.abstract_syntax == class && c.transfer_syntax == explicit
        };
        let context = contexts.iter().find(own).map(|context| context.id)?;
        let command = vec![
            text(0x0000_0002, class),
            number(0x0000_0100, 1),
            number(0x0000_0110, 7),
            number(0x0000_0700, 0),
            number(0x0000_0800, 1),
            text(0x0000_1000, instance),
        ];
        self.send(context, PDataValueType::Command, &encode(&command));
        self.send(context, PDataValueType::Data, data);
        let (_, answer) = self.receive()?;
        let status = value(&answer, 0x0000_0900)?;
        Some(u16::from_le_bytes([status[0], status[1]]))
    }

    fn serve(mut self, [study, series, instance]: [&str; 3], deed: &Deed) {
        while let Some((context, command)) = self.receive() {
            let code = value(&command, 0x0000_0100).unwrap();
            let code = u16::from_le_bytes([code[0], code[1]]);
            match code {
                FIND => {
                    let (_, keys) = self.receive().unwrap();
                    let level = value(&keys, 0x0008_0052).unwrap();
                    let list = match String::from_utf8_lossy(&level).trim() {
                        "STUDY" => vec![text(0x0020_000D, study)],
                        "SERIES" => vec![text(0x0008_0060, "MR"), text(0x0020_000E, series)],
                        _ => vec![
                            text(0x0008_0016, "1.2.840.10008.5.1.4.1.1.4"),
                            text(0x0008_0018, instance),
                        ],
                    };
                    self.answer(context, FIND, 0xFF00, Some(&list));
                    self.answer(context, FIND, 0, None);
                }
                GET | MOVE => {
                    self.receive().unwrap();
                    self.answer(context, code, 0xFF00, None);
                    deed(&mut self);
                    self.answer(context, code, 0, None);
                }
                // C-ECHO
                _ => self.answer(context, code, 0, None),
            }
        }
    }
}
