//! Being asked to stop: a signal is noted, and stages end at the next safe place.

use std::sync::{
    Once,
    atomic::{AtomicBool, Ordering},
};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static LISTEN: Once = Once::new();

/// Listens for interrupt and termination from now on. A second signal ends the
/// process at once.
///
/// # Errors
/// What the system says where a handler cannot be set.
pub fn listen() -> Result<(), ctrlc::Error> {
    let mut result = Ok(());
    LISTEN.call_once(|| {
        result = ctrlc::set_handler(|| {
            if REQUESTED.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            eprintln!("stopping at the next safe place; once more to stop at once");
        });
    });
    result
}

/// Whether a stop was asked for.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
