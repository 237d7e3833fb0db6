//! Lists by C-FIND.

use super::{
    super::{
        PullError, Uid,
        archive::{Answer, Level, MAX_ROWS},
    },
    Dimse, NO_DATA_SET, OUR_ID,
    element::{
        AFFECTED_CLASS, CHARACTER_SET, COMMAND, DATA_SET_TYPE, Elements, LEVEL, MESSAGE_ID,
        MODALITIES, MODALITY, PATIENT_ID, PRIORITY, SERIES, SOP_CLASS, SOP_INSTANCE, STATUS, STUDY,
        STUDY_DATE,
    },
    message::Messages,
    syntax::{FIND, IMPLICIT},
};

/// Most characters of all rows of a list.
const MAX_LIST: usize = 64 << 20;

/// # Source
/// DICOM PS3.4 C.4.1 (C-FIND), C.6.2 (study root).
pub(super) fn find(archive: &Dimse, level: Level<'_>) -> Result<Vec<Answer>, PullError> {
    // The archive may have closed what lay idle.
    let idle = archive.idle.lock().ok().and_then(|mut idle| idle.pop());
    if let Some(mut messages) = idle
        && let Ok(found) = ask(&mut messages, level)
    {
        keep(archive, messages);
        return Ok(found);
    }
    let mut messages = archive.associate(&[(FIND, &[IMPLICIT])], &[], "C-FIND")?;
    let found = ask(&mut messages, level)?;
    keep(archive, messages);
    Ok(found)
}

/// Keeps an association on which everything went well, for the next list.
fn keep(archive: &Dimse, messages: Messages) {
    match archive.idle.lock() {
        Ok(mut idle) => idle.push(messages),
        Err(_) => messages.release(),
    }
}

fn ask(messages: &mut Messages, level: Level<'_>) -> Result<Vec<Answer>, PullError> {
    let unsupported = PullError::Unsupported { operation: "C-FIND" };
    let context = messages.context_of(FIND).ok_or(unsupported)?;
    let command = Elements::default()
        .with_text(AFFECTED_CLASS, FIND)
        .with_u16(COMMAND, 0x0020)
        .with_u16(MESSAGE_ID, OUR_ID)
        .with_u16(PRIORITY, 0)
        .with_u16(DATA_SET_TYPE, 0);
    messages.send(context, command.encode_command(), Some(keys(level).encode()))?;
    let (mut found, mut size) = (Vec::new(), 0);
    loop {
        let Some(answer) = messages.command()? else {
            return Err(PullError::Cut { why: "released in the middle".to_owned() });
        };
        if answer.elements.u16(COMMAND) != Some(0x8020) {
            return Err(PullError::Malformed { what: "no answer to C-FIND" });
        }
        if answer.elements.u16(DATA_SET_TYPE) != Some(NO_DATA_SET) {
            let row = row(&messages.identifier(answer.context)?);
            size += row.length();
            found.push(row);
        }
        if found.len() > MAX_ROWS || size > MAX_LIST {
            return Err(PullError::TooLarge { what: "a list", limit: MAX_LIST as u64 });
        }
        match answer.elements.u16(STATUS) {
            Some(0x0000) => return Ok(found),
            Some(0xFF00 | 0xFF01) => {}
            Some(status) => return Err(PullError::Operation { operation: "C-FIND", status }),
            None => return Err(PullError::Malformed { what: "an answer without a status" }),
        }
    }
}

/// What is asked: keys with a value match, empty ones are to be filled in.
fn keys(level: Level<'_>) -> Elements {
    let list = Elements::default();
    match level {
        Level::Studies(filter) => {
            let patient = filter.patient.unwrap_or("");
            let list = match patient.is_ascii() {
                true => list,
                false => list.with_text(CHARACTER_SET, "ISO_IR 192"),
            };
            list.with_text(LEVEL, "STUDY")
                .with_text(STUDY_DATE, &filter.dates.map_or(String::new(), |d| d.to_matching()))
                .with_text(MODALITIES, filter.modality.unwrap_or(""))
                .with_text(PATIENT_ID, patient)
                .with_text(STUDY, filter.study.map_or("", Uid::as_str))
        }
        Level::Series { study } => list
            .with_text(LEVEL, "SERIES")
            .with_text(STUDY, study.as_str())
            .with_text(MODALITY, "")
            .with_text(SERIES, ""),
        Level::Instances { study, series } => list
            .with_text(LEVEL, "IMAGE")
            .with_text(STUDY, study.as_str())
            .with_text(SERIES, series.as_str())
            .with_text(SOP_CLASS, "")
            .with_text(SOP_INSTANCE, ""),
    }
}

fn row(list: &Elements) -> Answer {
    let many = |text: String| text.split('\\').map(str::to_owned).collect();
    Answer {
        study_date: list.text(STUDY_DATE),
        modality: list.text(MODALITY),
        modalities: list.text(MODALITIES).map(many),
        patient_id: list.text(PATIENT_ID),
        study: list.text(STUDY),
        series: list.text(SERIES),
        instance: list.text(SOP_INSTANCE),
        sop_class: list.text(SOP_CLASS),
    }
}
