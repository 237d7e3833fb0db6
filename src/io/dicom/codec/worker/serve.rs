//! The worker: decodes what comes on standard input until it ends.

use std::{io, panic, process, sync::mpsc, thread};

use super::{DECODER_MEMORY, message};

/// Decodes frames from standard input to standard output, until the input ends;
/// what `mivox` does under [`DECODER_COMMAND`](super::DECODER_COMMAND).
///
/// On Linux and other systems that know the limit (`RLIMIT_DATA`) the process takes
/// no more than [`DECODER_MEMORY`] from here on, and leaves no core, which would hold
/// pixels.
///
/// # Errors
/// Where the limits cannot be set or nobody reads the answers.
pub fn serve_decoder() -> io::Result<()> {
    limit_resources()?;
    // A panic is told by the answer; standard error is for what ends the process.
    panic::set_hook(Box::new(|_| {}));
    let (give, tasks) = mpsc::sync_channel(0);
    // Its end is seen while a frame is decoded too: whoever asked is gone then, and
    // a decoder that loops must not outlive it.
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(task) = message::receive_task(&mut input) {
            if give.send(task).is_err() {
                break;
            }
        }
        process::exit(0);
    });
    let mut output = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    for (task, bytes) in tasks {
        message::send_answer(&mut output, task.codec.decode_here(bytes, &task.layout))?;
    }
    Ok(())
}

#[cfg(unix)]
fn limit_resources() -> io::Result<()> {
    use rlimit::Resource;

    for (resource, most) in [(Resource::DATA, DECODER_MEMORY), (Resource::CORE, 0)] {
        let most = most.min(resource.get_hard()?);
        resource.set(most, most)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn limit_resources() -> io::Result<()> {
    Ok(())
}
