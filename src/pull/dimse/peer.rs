//! The other side of an association, whatever the association runs over.

use std::{
    io::{Read, Write},
    marker::PhantomData,
    net::TcpStream,
};

use dicom_ul::{
    Pdu,
    association::{self, Association, CloseSocket, SyncAssociation},
    pdu::PresentationContextNegotiated,
};
use rustls::{ClientConnection, ServerConnection, StreamOwned};

/// An association, opened by either side, with or without TLS.
pub(super) trait Peer: Send {
    fn send(&mut self, pdu: &Pdu) -> Result<(), association::Error>;
    fn receive(&mut self) -> Result<Pdu, association::Error>;
    fn contexts(&self) -> &[PresentationContextNegotiated];
    /// Longest PDU that the other side takes.
    fn longest(&self) -> u32;
}

/// What an association runs over.
pub(super) trait Wire: Read + Write + CloseSocket {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for StreamOwned<ClientConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// One type for associations of all kinds of sockets.
pub(super) struct Over<A, S>(A, PhantomData<fn() -> S>);

impl<S: Wire, A: SyncAssociation<S>> Over<A, S> {
    pub(super) fn new(mut association: A) -> Self {
        // Answers are one small PDU each, and waited for; a system that does not
        // know of this is slower, and that is all.
        let _ = association.inner_stream().socket().set_nodelay(true);
        Self(association, PhantomData)
    }
}

impl<S, A> Peer for Over<A, S>
where
    S: Wire,
    A: SyncAssociation<S> + Association + Send,
{
    fn send(&mut self, pdu: &Pdu) -> Result<(), association::Error> {
        SyncAssociation::send(&mut self.0, pdu)
    }

    fn receive(&mut self) -> Result<Pdu, association::Error> {
        // Senders write a command, and hold the data set back until the command is
        // acknowledged (Nagle's algorithm), which a system delays by 40 ms. So it is
        // done here, PDU by PDU: 590 small instances a second in place of 33.
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::TcpStreamExt;
            let _ = self.0.inner_stream().socket().set_quickack(true);
        }
        SyncAssociation::receive(&mut self.0)
    }

    fn contexts(&self) -> &[PresentationContextNegotiated] {
        Association::presentation_contexts(&self.0)
    }

    fn longest(&self) -> u32 {
        self.0.peer_max_pdu_length()
    }
}
