//! Where instances of C-MOVE arrive.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use dicom_ul::{
    ServerAssociationOptions,
    association::server::AccessControl,
    pdu::{AssociationRJServiceUserReason, UserIdentity},
};

use super::{
    super::{PullError, Uid, archive::Wanted, inbox::Inbox},
    NO_DATA_SET,
    element::{AFFECTED_CLASS, COMMAND, DATA_SET_TYPE, Elements, MESSAGE_ID, RESPONDED_ID, STATUS},
    message::{Command, MAX_PDU, Messages},
    peer::Over,
    store,
    syntax::{TRANSFER, VERIFICATION},
};

/// Most associations at a time.
const MAX_OPEN: usize = 32;

/// Between two looks whether somebody comes.
const LOOK: Duration = Duration::from_millis(20);

/// Whose associations are accepted.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// AE title of the archive.
    pub calling: String,
    /// Our own.
    pub called: String,
    /// Where the archive is.
    pub addresses: Vec<IpAddr>,
    pub timeout: Duration,
}

impl AccessControl for Expected {
    fn check_access(
        &self,
        _: &str,
        calling: &str,
        called: &str,
        _: Option<&UserIdentity>,
    ) -> Result<(), AssociationRJServiceUserReason> {
        if called != self.called {
            return Err(AssociationRJServiceUserReason::CalledAETitleNotRecognized);
        }
        if calling != self.calling {
            return Err(AssociationRJServiceUserReason::CallingAETitleNotRecognized);
        }
        Ok(())
    }
}

/// A port at which instances that were asked for may arrive, from the archive alone
/// and only while a C-MOVE is under way.
pub(super) struct Listener {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    expected: Expected,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Who waits for which instance.
    inboxes: Mutex<HashMap<Uid, Arc<Inbox>>>,
    open: AtomicUsize,
    closing: AtomicBool,
}

/// Instances that are expected until this is dropped.
pub(super) struct Expecting<'a> {
    shared: &'a Shared,
    uids: Vec<Uid>,
}

impl Listener {
    pub(super) fn start(
        port: u16,
        expected: Expected,
        tls: Option<rustls::ServerConfig>,
    ) -> Result<Self, PullError> {
        let failed = |source| PullError::Listen { port, source };
        let socket = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            // A machine without IPv6.
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let shared = Arc::new(Shared {
            expected,
            tls: tls.map(Arc::new),
            inboxes: Mutex::default(),
            open: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("c-move".to_owned())
            .spawn(move || accept(&socket, &own))
            .map_err(failed)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Lets instances arrive for an inbox.
    pub(super) fn expect(&self, inbox: &Arc<Inbox>, wanted: &[Wanted]) -> Expecting<'_> {
        let uids: Vec<Uid> = wanted.iter().map(|wanted| wanted.uid.clone()).collect();
        let mut inboxes = self.shared.inboxes();
        inboxes.extend(uids.iter().map(|uid| (uid.clone(), Arc::clone(inbox))));
        Expecting { shared: &self.shared, uids }
    }
}

impl Drop for Expecting<'_> {
    fn drop(&mut self) {
        let mut inboxes = self.shared.inboxes();
        self.uids.iter().for_each(|uid| drop(inboxes.remove(uid)));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It panicked where this fails, and has nothing to give back.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn inboxes(&self) -> MutexGuard<'_, HashMap<Uid, Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expects(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let known = self.expected.addresses.iter().any(|own| own.to_canonical() == address);
        known && !self.inboxes().is_empty() && self.open.load(Ordering::SeqCst) < MAX_OPEN
    }
}

fn accept(socket: &TcpListener, shared: &Arc<Shared>) {
    while !shared.closing.load(Ordering::SeqCst) {
        match socket.accept() {
            Ok((stream, address)) if shared.expects(address.ip()) => {
                shared.open.fetch_add(1, Ordering::SeqCst);
                let own = Arc::clone(shared);
                let serving = thread::Builder::new().spawn(move || {
                    // An association that breaks off is the archive's to explain: it
                    // says so in its answer to C-MOVE.
                    let _ = serve(stream, &own);
                    own.open.fetch_sub(1, Ordering::SeqCst);
                });
                if serving.is_err() {
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                }
            }
            // Of somebody else, or none: the connection is closed.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> Result<(), PullError> {
    stream.set_nonblocking(false).map_err(|error| PullError::cut(&error))?;
    let expected = shared.expected.clone();
    let (called, timeout) = (expected.called.clone(), expected.timeout);
    let mut options = ServerAssociationOptions::new()
        .ae_access_control(expected)
        .ae_title(called)
        .max_pdu_length(MAX_PDU)
        .strict(true)
        // Whichever class: only instances that were asked for are taken.
        .promiscuous(true)
        .read_timeout(timeout)
        .write_timeout(timeout);
    for syntax in TRANSFER {
        options = options.with_transfer_syntax(syntax);
    }
    let broken = |error| super::message::broken(&error);
    let mut messages = match &shared.tls {
        None => Messages::new(Box::new(Over::new(options.establish(stream).map_err(broken)?))),
        Some(config) => {
            let options = options.tls_config(Arc::clone(config));
            Messages::new(Box::new(Over::new(options.establish_tls(stream).map_err(broken)?)))
        }
    };
    while let Some(command) = messages.command()? {
        match command.elements.u16(COMMAND) {
            Some(store::REQUEST) => store::receive(&mut messages, &command, |uid| {
                shared.inboxes().get(uid).map(Arc::clone)
            })?,
            Some(0x0030) => echo(&mut messages, &command)?,
            _ => return Err(PullError::Malformed { what: "a request that is not expected" }),
        }
    }
    Ok(())
}

fn echo(messages: &mut Messages, command: &Command) -> Result<(), PullError> {
    let answer = Elements::default()
        .with_text(AFFECTED_CLASS, VERIFICATION)
        .with_u16(COMMAND, 0x8030)
        .with_u16(RESPONDED_ID, command.elements.u16(MESSAGE_ID).unwrap_or(0))
        .with_u16(DATA_SET_TYPE, NO_DATA_SET)
        .with_u16(STATUS, 0);
    messages.send(command.context, answer.encode_command(), None)
}
