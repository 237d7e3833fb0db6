//! Where ONNX Runtime put the nodes of a graph.

// ort has no safe way to ask for this.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use ort::{AsPointer, session::Session, sys};

use super::{RuntimeError, failed};

/// Key of the session's configuration that has placements recorded.
pub(super) const RECORD: &str = "session.record_ep_graph_assignment_info";

/// The operators, and how many of each, that a session runs on a provider, such
/// as `CPUExecutionProvider`; the session was made with [`RECORD`] set.
///
/// # Errors
/// [`RuntimeError::Ort`].
pub(super) fn nodes_on(session: &Session, provider: &str) -> Result<Vec<String>, RuntimeError> {
    let api = ort::api();
    let mut names = Vec::new();
    // SAFETY: the session outlives the call, and ONNX Runtime keeps what it
    // hands out here for as long as the session lives; every pointer is to
    // memory of the stated length that it has just written.
    unsafe {
        for &part in
            list(|to, count| (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), to, count))?
        {
            if text(|to| (api.EpAssignedSubgraph_GetEpName)(part, to))? != provider {
                continue;
            }
            for &node in list(|to, count| (api.EpAssignedSubgraph_GetNodes)(part, to, count))? {
                let name = text(|to| (api.EpAssignedNode_GetName)(node, to))?;
                let operator = text(|to| (api.EpAssignedNode_GetOperatorType)(node, to))?;
                names.push(format!("{name} ({operator})"));
            }
        }
    }
    Ok(names)
}

/// The array that a call writes.
///
/// # Safety
/// The call writes an array and its length, which live as long as `'a`.
unsafe fn list<'a, T>(
    call: impl FnOnce(*mut *const T, *mut usize) -> sys::OrtStatusPtr,
) -> Result<&'a [T], RuntimeError> {
    let (mut start, mut count) = (std::ptr::null(), 0);
    check(call(&mut start, &mut count))?;
    if start.is_null() || count == 0 {
        return Ok(&[]);
    }
    // SAFETY: as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(start, count) })
}

/// The text that a call writes.
///
/// # Safety
/// The call writes a text that ends in a zero byte, or null.
unsafe fn text(
    call: impl FnOnce(*mut *const c_char) -> sys::OrtStatusPtr,
) -> Result<String, RuntimeError> {
    let mut start = std::ptr::null();
    check(call(&mut start))?;
    if start.is_null() {
        return Ok(String::new());
    }
    // SAFETY: as the caller promises.
    Ok(unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned())
}

fn check(status: sys::OrtStatusPtr) -> Result<(), RuntimeError> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: a status that is not null is ours to read and to give back, once.
    let message = unsafe {
        let message =
            CStr::from_ptr((ort::api().GetErrorMessage)(status.0)).to_string_lossy().into_owned();
        (ort::api().ReleaseStatus)(status.0);
        message
    };
    Err(failed("say where nodes run")(ort::Error::<()>::new(message)))
}

#[cfg(test)]
mod tests {
    use onnx_grad::{ElementType, Graph, model};

    use super::*;
    use crate::runtime::{CPU_PROVIDER, Device, Runtime};

    #[test]
    fn nodes_are_named_by_where_they_run() {
        let mut g = Graph::new();
        let x = g.input("x", ElementType::F32, &[4]);
        let y = g.exp(x).unwrap();
        let y = g.tanh(y).unwrap();
        g.output("y", y);
        let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
        let session = Runtime::open(Device::Cpu, 1).unwrap().training_session(&bytes).unwrap();
        let mut nodes = nodes_on(&session, CPU_PROVIDER).unwrap();
        nodes.sort();
        assert_eq!(nodes, ["Exp_0 (Exp)", "Tanh_1 (Tanh)"]);
        assert!(nodes_on(&session, "CUDAExecutionProvider").unwrap().is_empty());
    }
}
