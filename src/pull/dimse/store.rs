//! An instance that comes by C-STORE.

use std::{
    io::{BufWriter, Write},
    ops::Deref,
};

use super::{
    super::{PullError, Uid, error::Weight, inbox::Inbox},
    NO_DATA_SET,
    element::{
        AFFECTED_CLASS, AFFECTED_INSTANCE, COMMAND, DATA_SET_TYPE, Elements, MESSAGE_ID,
        RESPONDED_ID, STATUS,
    },
    message::{Command, Messages},
};
use crate::{durable::Draft, io::dicom::write_meta};

/// A request of C-STORE.
pub(super) const REQUEST: u16 = 0x0001;

const SUCCESS: u16 = 0x0000;
const NOT_AUTHORISED: u16 = 0x0124;
const OUT_OF_RESOURCES: u16 = 0xA700;
const CANNOT_UNDERSTAND: u16 = 0xC000;

/// Takes the instance behind a request of C-STORE into the inbox that waits for it,
/// and answers. What nobody asked for is passed over and refused.
///
/// # Source
/// DICOM PS3.7 9.1.1, PS3.4 B.2.3 (statuses).
pub(super) fn receive<I: Deref<Target = Inbox>>(
    messages: &mut Messages,
    command: &Command,
    inbox_of: impl Fn(&Uid) -> Option<I>,
) -> Result<(), PullError> {
    let elements = &command.elements;
    let (Some(class), Some(instance), Some(id)) =
        (elements.text(AFFECTED_CLASS), elements.text(AFFECTED_INSTANCE), elements.u16(MESSAGE_ID))
    else {
        return Err(PullError::Malformed { what: "a C-STORE that does not say of what" });
    };
    if elements.u16(DATA_SET_TYPE) == Some(NO_DATA_SET) {
        return Err(PullError::Malformed { what: "a C-STORE without a data set" });
    }
    let context = messages.contexts().iter().find(|context| context.id == command.context);
    let syntax = context.filter(|c| c.abstract_syntax == class).map(|c| c.transfer_syntax.clone());
    let Some(syntax) = syntax.as_deref().and_then(Uid::new) else {
        return Err(PullError::Malformed { what: "a C-STORE in another context" });
    };
    let uid = Uid::new(&instance);
    let inbox = uid.as_ref().and_then(&inbox_of);
    let (status, failed) = match (uid, inbox) {
        (Some(uid), Some(inbox)) if inbox.waits_for(&uid) => {
            let draft = write(messages, command.context, &inbox, (&class, &uid, &syntax));
            let kept = match draft {
                Err(error @ PullError::TooLarge { .. }) => {
                    inbox.refuse(&uid, &error);
                    return Err(error);
                }
                draft => inbox.keep(&uid, draft?),
            };
            match kept {
                Ok(()) => (SUCCESS, None),
                Err(error) if error.weight() == Weight::Own => {
                    inbox.refuse(&uid, &error);
                    (CANNOT_UNDERSTAND, None)
                }
                Err(error) => (OUT_OF_RESOURCES, Some(error)),
            }
        }
        (_, inbox) => {
            let mut left = inbox.as_ref().map_or(u64::from(u32::MAX), |inbox| inbox.limit);
            messages.data(command.context, |piece| pass(piece, &mut left))?;
            // What has come already may come again.
            (if inbox.is_some() { SUCCESS } else { NOT_AUTHORISED }, None)
        }
    };
    let answer = Elements::default()
        .with_text(AFFECTED_CLASS, &class)
        .with_u16(COMMAND, 0x8000 | REQUEST)
        .with_u16(RESPONDED_ID, id)
        .with_u16(DATA_SET_TYPE, NO_DATA_SET)
        .with_u16(STATUS, status)
        .with_text(AFFECTED_INSTANCE, &instance);
    messages.send(command.context, answer.encode_command(), None)?;
    failed.map_or(Ok(()), Err)
}

fn pass(piece: &[u8], left: &mut u64) -> Result<(), PullError> {
    let rest = left.checked_sub(piece.len() as u64);
    *left = rest.ok_or(PullError::TooLarge { what: "an instance", limit: *left })?;
    Ok(())
}

/// Writes what comes behind a file meta information of our own: the data set has
/// none on its way.
fn write(
    messages: &mut Messages,
    context: u8,
    inbox: &Inbox,
    (class, instance, syntax): (&str, &Uid, &Uid),
) -> Result<Draft, PullError> {
    let mut draft = inbox.draft()?;
    {
        let mut out = BufWriter::with_capacity(1 << 17, draft.file());
        write_meta(&mut out, class, instance.as_str(), syntax.as_str())
            .map_err(|error| PullError::Disk(std::io::Error::other(error)))?;
        let limit = inbox.limit;
        let mut left = limit;
        messages.data(context, |piece| {
            pass(piece, &mut left)
                .map_err(|_| PullError::TooLarge { what: "an instance", limit })?;
            out.write_all(piece).map_err(PullError::Disk)
        })?;
        out.flush().map_err(PullError::Disk)?;
    }
    Ok(draft)
}
