//! The workers of this process.

use std::{
    io::{self, BufReader, BufWriter, Read},
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use super::{Codec, DECODER_COMMAND, DecoderFault, message};
use crate::io::dicom::{DicomError, PixelLayout, cells::Cells};

/// Workers that wait for a frame; one is started where none waits.
pub(super) struct Pool {
    program: PathBuf,
    time: Duration,
    idle: Mutex<Vec<Worker>>,
}

impl Pool {
    pub(super) fn new(program: PathBuf, time: Duration) -> Self {
        Self { program, time, idle: Mutex::new(Vec::new()) }
    }

    /// The cells of a frame. A worker that was ended is no proof against the frame:
    /// a batch system or an administrator may have done it. So a fresh one tries
    /// again, once.
    pub(super) fn decode(
        &self,
        codec: Codec,
        bytes: Vec<u8>,
        layout: &PixelLayout,
    ) -> Result<Cells, DicomError> {
        let idle = self.idle().pop();
        match self.attempt(idle, codec, bytes.clone(), layout) {
            Err(DicomError::DecoderFault { fault: DecoderFault::Died, .. }) => {
                // Those that wait may have been ended with it.
                self.attempt(None, codec, bytes, layout)
            }
            done => done,
        }
    }

    fn attempt(
        &self,
        idle: Option<Worker>,
        codec: Codec,
        bytes: Vec<u8>,
        layout: &PixelLayout,
    ) -> Result<Cells, DicomError> {
        let worker = match idle {
            Some(worker) => worker,
            None => Worker::start(&self.program).map_err(DicomError::NoDecoder)?,
        };
        match worker.decode(Job { codec, bytes, layout: *layout }, self.time) {
            Ok(decoded) => {
                self.idle().push(worker);
                decoded
            }
            Err(fault) => Err(codec.fault(worker.end(fault))),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Job {
    codec: Codec,
    bytes: Vec<u8>,
    layout: PixelLayout,
}

type Decoded = io::Result<Result<Cells, DicomError>>;

/// A process, and the thread that speaks with it: a pipe knows no time limit.
struct Worker {
    child: Child,
    jobs: Sender<Job>,
    answers: Receiver<Decoded>,
}

impl Worker {
    fn start(program: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(program);
        // Without memory there is none for a backtrace either: the runtime would wait
        // for itself in place of ending.
        command.arg(DECODER_COMMAND).env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // An interrupt typed on the terminal is for this process: a worker ends
        // when its input does.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        let (jobs, taken) = mpsc::channel();
        let (give, answers) = mpsc::channel();
        thread::Builder::new()
            .name(DECODER_COMMAND.to_owned())
            .spawn(move || speak(input, output, &taken, &give))?;
        Ok(Self { child, jobs, answers })
    }

    fn decode(&self, job: Job, time: Duration) -> Result<Result<Cells, DicomError>, DecoderFault> {
        let sent = self.jobs.send(job);
        match sent.map(|()| self.answers.recv_timeout(time)) {
            Ok(Ok(Ok(decoded))) => Ok(decoded),
            Ok(Err(RecvTimeoutError::Timeout)) => Err(DecoderFault::TooSlow { limit: time }),
            _ => Err(DecoderFault::Died),
        }
    }

    /// Ends a worker that failed, and tells death from want of memory: what the
    /// runtime says of the latter before it aborts stands on standard error.
    fn end(mut self, fault: DecoderFault) -> DecoderFault {
        // It may be dead already.
        let _ = self.child.kill();
        let said = self.child.stderr.take().map(last_words).unwrap_or_default();
        match fault {
            DecoderFault::Died if said.contains("memory allocation of") => {
                DecoderFault::OutOfMemory
            }
            fault => fault,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn speak(input: ChildStdin, output: ChildStdout, jobs: &Receiver<Job>, answers: &Sender<Decoded>) {
    let mut input = BufWriter::with_capacity(1 << 16, input);
    let mut output = BufReader::with_capacity(1 << 16, output);
    for Job { codec, bytes, layout } in jobs {
        let answer = message::send_task(&mut input, codec, &layout, &bytes)
            .and_then(|()| message::receive_answer(&mut output, codec, &layout));
        let failed = answer.is_err();
        if answers.send(answer).is_err() || failed {
            break;
        }
    }
}

/// What stands on standard error. It is closed by the end of the process; one that
/// started another, which no worker does, is not waited for.
fn last_words(stderr: ChildStderr) -> String {
    let (give, words) = mpsc::channel();
    thread::spawn(move || {
        let mut said = Vec::new();
        // Nobody asks any more where it took too long.
        let _ = stderr.take(1 << 16).read_to_end(&mut said);
        let _ = give.send(String::from_utf8_lossy(&said).into_owned());
    });
    words.recv_timeout(Duration::from_secs(1)).unwrap_or_default()
}
