//! Instances by C-GET and C-MOVE.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use super::{
    super::{Batch, PullError, archive::Wanted, inbox::Inbox},
    Dimse, NO_DATA_SET, OUR_ID,
    element::{
        AFFECTED_CLASS, COMMAND, DATA_SET_TYPE, DESTINATION, Elements, LEVEL, MESSAGE_ID, PRIORITY,
        SERIES, SOP_INSTANCE, STATUS, STUDY,
    },
    store,
    syntax::{GET, IMPLICIT, MAX_CLASSES, MOVE, STORAGE, TRANSFER, classes_of},
};
use crate::stop;

/// Most UIDs in one request.
const MAX_UIDS: usize = 100;

/// How long instances may come behind the end of a C-MOVE, and how often to look.
const LATE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

/// Fetches what is missing of a batch, for as long as something comes.
pub(super) fn fetch(archive: &Dimse, batch: &Batch, inbox: &Arc<Inbox>) -> Result<(), PullError> {
    loop {
        let missing = inbox.missing(&batch.wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let (classes, group) = negotiable(batch, &missing);
        // A whole series needs no list of its instances.
        if batch.whole && group.len() == batch.wanted.len() {
            retrieve(archive, batch, &classes, None, inbox)?;
        } else {
            for part in group.chunks(MAX_UIDS) {
                retrieve(archive, batch, &classes, Some(part), inbox)?;
            }
        }
        if inbox.missing(&batch.wanted).len() == missing.len() {
            return Err(PullError::NotSent);
        }
    }
}

/// The classes of one association, and the instances that it can carry.
fn negotiable(batch: &Batch, missing: &[Wanted]) -> (Vec<String>, Vec<Wanted>) {
    let known: BTreeSet<&str> =
        missing.iter().filter_map(|wanted| Some(wanted.class.as_ref()?.as_str())).collect();
    let classes: Vec<String> = match known.is_empty() {
        false => known.into_iter().take(MAX_CLASSES).map(str::to_owned).collect(),
        true => {
            let classes = classes_of(batch.modality.as_deref());
            classes.iter().map(|class| format!("{STORAGE}{class}")).collect()
        }
    };
    let fits = |wanted: &&Wanted| match &wanted.class {
        Some(class) => classes.iter().any(|own| own == class.as_str()),
        None => true,
    };
    let group = missing.iter().filter(fits).cloned().collect();
    (classes, group)
}

/// One request for a series, or for some of its instances.
///
/// # Source
/// DICOM PS3.4 C.4.2 (C-MOVE), C.4.3 (C-GET); PS3.7 table C.4-2 and C.4-3.
fn retrieve(
    archive: &Dimse,
    batch: &Batch,
    classes: &[String],
    some: Option<&[Wanted]>,
    inbox: &Arc<Inbox>,
) -> Result<(), PullError> {
    let list = Elements::default()
        .with_text(STUDY, batch.study.as_str())
        .with_text(SERIES, batch.series.as_str());
    let list = match some {
        None => list.with_text(LEVEL, "SERIES"),
        Some(some) => {
            let uids: Vec<&str> = some.iter().map(|wanted| wanted.uid.as_str()).collect();
            list.with_text(LEVEL, "IMAGE").with_text(SOP_INSTANCE, &uids.join("\\"))
        }
    };
    match &archive.listener {
        None => {
            let storage = classes.iter().map(|class| (class.as_str(), &TRANSFER[..]));
            let get: (&str, &[&str]) = (GET, &[IMPLICIT]);
            let contexts: Vec<_> = std::iter::once(get).chain(storage).collect();
            let command =
                Elements::default().with_text(AFFECTED_CLASS, GET).with_u16(COMMAND, 0x0010);
            request(archive, (GET, "C-GET"), &contexts, classes, (command, list), inbox)
        }
        Some(listener) => {
            let command = Elements::default()
                .with_text(AFFECTED_CLASS, MOVE)
                .with_u16(COMMAND, 0x0021)
                .with_text(DESTINATION, &archive.calling);
            let _expecting = listener.expect(inbox, some.unwrap_or(&batch.wanted));
            let move_contexts: [(&str, &[&str]); 1] = [(MOVE, &[IMPLICIT])];
            request(archive, (MOVE, "C-MOVE"), &move_contexts, &[], (command, list), inbox)?;
            wait_for_late(inbox, some.unwrap_or(&batch.wanted));
            Ok(())
        }
    }
}

fn request(
    archive: &Dimse,
    (model, operation): (&str, &'static str),
    contexts: &[(&str, &[&str])],
    provided: &[String],
    (command, list): (Elements, Elements),
    inbox: &Arc<Inbox>,
) -> Result<(), PullError> {
    let mut messages = archive.associate(contexts, provided, operation)?;
    let context = messages.context_of(model).ok_or(PullError::Unsupported { operation })?;
    let command =
        command.with_u16(MESSAGE_ID, OUR_ID).with_u16(PRIORITY, 0).with_u16(DATA_SET_TYPE, 0);
    messages.send(context, command.encode_command(), Some(list.encode()))?;
    loop {
        let Some(answer) = messages.command()? else {
            return Err(PullError::Cut { why: "released in the middle".to_owned() });
        };
        match answer.elements.u16(COMMAND) {
            Some(store::REQUEST) => {
                store::receive(&mut messages, &answer, |uid| inbox.knows(uid).then_some(&**inbox))?;
                continue;
            }
            Some(0x8010 | 0x8021) => {}
            _ => return Err(PullError::Malformed { what: "no answer to C-GET or C-MOVE" }),
        }
        if answer.elements.u16(DATA_SET_TYPE) != Some(NO_DATA_SET) {
            // What failed; what is missing says the same.
            messages.identifier(answer.context)?;
        }
        match answer.elements.u16(STATUS) {
            Some(0xFF00) => {}
            // Done, or done with failures.
            Some(0x0000 | 0xB000) => break,
            Some(status) => return Err(PullError::Operation { operation, status }),
            None => return Err(PullError::Malformed { what: "an answer without a status" }),
        }
    }
    messages.release();
    Ok(())
}

/// Archives may end a C-MOVE before its last instance has been sent.
fn wait_for_late(inbox: &Inbox, wanted: &[Wanted]) {
    let missing = || inbox.missing(wanted).len();
    let (mut last, mut waited) = (missing(), Duration::ZERO);
    while last > 0 && waited < LATE && !stop::requested() {
        thread::sleep(LOOK);
        waited += LOOK;
        let now = missing();
        if now < last {
            (last, waited) = (now, Duration::ZERO);
        }
    }
}
