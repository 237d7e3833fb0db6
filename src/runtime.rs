//! ONNX Runtime: where it is, on which device it runs, and how a training
//! step keeps its state; the only user of `ort`.

mod library;
mod phases;
mod placement;
mod state;

use std::{
    path::PathBuf,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use onnx_grad::Kernels;
use ort::{
    environment::Environment,
    ep::{self, ExecutionProvider},
    session::builder::{GraphOptimizationLevel, SessionBuilder},
    value::TensorRef,
};

pub use ort::session::Session;

pub use library::{Candidate, candidates};
pub use phases::{Phase, Phases};
pub use state::{StateVariable, StepSession};

/// What to type where ONNX Runtime is missing.
pub const INSTALL: &str = "python3 -m venv .venv && .venv/bin/pip install onnxruntime==1.31.1";

/// Where a graph runs, as a pipeline asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// CUDA where the library and a GPU offer it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device by number; an error where it cannot be had.
    Cuda(u32),
}

impl FromStr for Device {
    type Err = RuntimeError;

    fn from_str(text: &str) -> Result<Self, RuntimeError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| RuntimeError::Device { received: text.to_owned() }),
        }
    }
}

/// Why ONNX Runtime does not run something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// No library was found.
    #[error(
        "ONNX Runtime was not found (`mivox doctor` says where it was looked for); install it: {INSTALL}"
    )]
    NotFound,
    /// The library found cannot be loaded.
    #[error("ONNX Runtime cannot be loaded: {message}")]
    Load {
        /// What the loader said.
        message: String,
    },
    /// The device asked for is none of the known ones.
    #[error("the device {received:?} is none of \"auto\", \"cpu\", \"cuda:0\"")]
    Device {
        /// What the pipeline says.
        received: String,
    },
    /// ONNX Runtime refused.
    #[error("ONNX Runtime could not {action}")]
    Ort {
        /// What was being done.
        action: &'static str,
        /// What ONNX Runtime said.
        source: ort::Error,
    },
    /// Nodes of a training graph would run on the CPU beside the GPU.
    #[error("{count} nodes of the training graph have no kernel on the GPU: {nodes}")]
    Fallback {
        /// How many.
        count: usize,
        /// Their names and operators.
        nodes: String,
    },
    /// A graph lacks an output, or gives it another type or shape.
    #[error("the graph's output {name} is missing or not f32")]
    Output {
        /// Name of the output.
        name: String,
    },
}

fn failed<T>(action: &'static str) -> impl FnOnce(ort::Error<T>) -> RuntimeError {
    move |error| RuntimeError::Ort { action, source: ort::Error::new(error.to_string()) }
}

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
    device: Device,
    threads: usize,
    cuda_graphs: bool,
}

impl Runtime {
    /// ONNX Runtime from the first library found, for a device and a number of
    /// threads (0: one for each core).
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], [`RuntimeError::Load`], or
    /// [`RuntimeError::Ort`] where a CUDA device was asked for and there is none.
    pub fn open(device: Device, threads: usize) -> Result<Self, RuntimeError> {
        let (environment, library) = environment()?;
        let device = match device {
            Device::Auto if has_gpu() && cuda_in_library() => Device::Cuda(0),
            Device::Auto => Device::Cpu,
            other => other,
        };
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        Ok(Self { environment, library, device, threads, cuda_graphs: false })
    }

    /// The library that was loaded.
    pub fn library(&self) -> &std::path::Path {
        &self.library
    }

    /// The library's version, from its file name or build information.
    pub fn version(&self) -> String {
        let name = self.library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.split(".so.").nth(1).unwrap_or("");
        if version.is_empty() { ort::info().to_owned() } else { version.to_owned() }
    }

    /// The device that `auto` came to, or the one asked for.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Names of the execution providers that the library was built with, of
    /// those mivox can use.
    pub fn providers(&self) -> Vec<&'static str> {
        if cuda_in_library() { vec!["CUDA", "CPU"] } else { vec!["CPU"] }
    }

    /// The same, with steps of training recorded and replayed as CUDA graphs,
    /// which spares the launching of each kernel.
    pub fn with_cuda_graphs(mut self, enabled: bool) -> Self {
        self.cuda_graphs = enabled;
        self
    }

    /// The kernels of onnx-grad that training graphs may have nodes of.
    pub fn kernels(&self) -> Option<Kernels> {
        match self.device {
            Device::Cpu if cfg!(feature = "kernels") => Some(Kernels::Cpu),
            Device::Cuda(_) if cfg!(feature = "cudnn") => Some(Kernels::Cudnn),
            _ => None,
        }
    }

    /// A session of an ONNX model.
    ///
    /// # Errors
    /// [`RuntimeError::Ort`].
    pub fn session(&self, model: &[u8]) -> Result<Session, RuntimeError> {
        let mut builder = self.builder(false)?;
        builder.commit_from_memory(model).map_err(failed("load the graph"))
    }

    /// A session of a training graph. On CUDA no node may fall back to the CPU.
    ///
    /// # Errors
    /// [`RuntimeError::Ort`]; [`RuntimeError::Fallback`] with the nodes.
    fn training_session(&self, model: &[u8]) -> Result<Session, RuntimeError> {
        let mut builder = self
            .builder(self.cuda_graphs)?
            .with_config_entry(placement::RECORD, "1")
            .map_err(failed("ask where nodes run"))?;
        #[cfg(feature = "kernels")]
        if self.kernels() == Some(Kernels::Cpu) {
            builder = with_kernels(builder, onnx_grad_kernels::domain())?;
        }
        #[cfg(feature = "cudnn")]
        if self.kernels() == Some(Kernels::Cudnn) {
            builder = with_kernels(builder, onnx_grad_kernels::cuda_domain())?;
        }
        // ONNX Runtime's table of domains is not guarded: one at a time.
        static MAKING: Mutex<()> = Mutex::new(());
        let alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let session = builder.commit_from_memory(model).map_err(failed("load the graph"))?;
        drop(alone);
        if let Device::Cuda(_) = self.device {
            let nodes = placement::nodes_on(&session, CPU_PROVIDER)?;
            if !nodes.is_empty() {
                return Err(RuntimeError::Fallback { count: nodes.len(), nodes: nodes.join(", ") });
            }
        }
        Ok(session)
    }

    fn builder(&self, cuda_graphs: bool) -> Result<SessionBuilder, RuntimeError> {
        // Memory patterns keep a second arena of the peak size; a training
        // graph of fixed shapes gains nothing from it.
        let builder = Session::builder(&self.environment)
            .map_err(failed("make a session"))?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(failed("set the optimisation level"))?
            .with_memory_pattern(false)
            .map_err(failed("turn memory patterns off"))?
            .with_deterministic_compute(true)
            .map_err(failed("ask for deterministic kernels"))?
            .with_intra_threads(self.threads)
            .map_err(failed("set the number of threads"))?
            // Idle threads that spin would take the cores from those that
            // sample the next batch.
            .with_intra_op_spinning(false)
            .map_err(failed("turn spinning off"))?;
        let Device::Cuda(number) = self.device else { return Ok(builder) };
        let cuda = ep::CUDA::default()
            .with_device_id(number as i32)
            .with_tf32(true)
            .with_cuda_graph(cuda_graphs);
        builder
            .with_execution_providers([cuda.build().error_on_failure()])
            .map_err(failed("use CUDA"))
    }
}

#[cfg(feature = "kernels")]
fn with_kernels(
    builder: SessionBuilder,
    domain: ort::Result<ort::operator::OperatorDomain>,
) -> Result<SessionBuilder, RuntimeError> {
    let domain = domain.map_err(failed("make the kernels"))?;
    builder.with_operators(domain).map_err(failed("register the kernels"))
}

/// ONNX Runtime's name of what runs on the CPU.
const CPU_PROVIDER: &str = "CPUExecutionProvider";

/// The environment and the library it was loaded from: one in a process, as
/// ONNX Runtime allows no second one even after the first is gone.
fn environment() -> Result<(Environment, PathBuf), RuntimeError> {
    static LOADED: Mutex<Option<(Environment, PathBuf)>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*loaded {
        return Ok(loaded.clone());
    }
    let library = candidates()
        .into_iter()
        .find_map(|candidate| candidate.found)
        .ok_or(RuntimeError::NotFound)?;
    let environment = ort::init_from(&library)
        .map_err(|error| RuntimeError::Load { message: error.to_string() })?
        .with_telemetry(false)
        .build()
        .map_err(failed("start"))?;
    environment.set_log_level(ort::logging::LogLevel::Error);
    Ok(loaded.insert((environment, library)).clone())
}

/// Runs a model on one f32 input and gives back the f32 outputs named, each
/// flattened row by row.
///
/// # Errors
/// [`RuntimeError`] where the model refuses the input or lacks an output.
pub fn run(
    session: &mut Session,
    input: (&str, &[usize], &[f32]),
    outputs: &[&str],
) -> Result<Vec<Vec<f32>>, RuntimeError> {
    let (name, shape, values) = input;
    let tensor = TensorRef::from_array_view((shape, values)).map_err(failed("take the input"))?;
    let results = session.run(ort::inputs![name => tensor]).map_err(failed("run the graph"))?;
    outputs
        .iter()
        .map(|&name| {
            let missing = || RuntimeError::Output { name: name.to_owned() };
            let value = results.get(name).ok_or_else(missing)?;
            let (_, values) = value.try_extract_tensor::<f32>().map_err(|_| missing())?;
            Ok(values.to_vec())
        })
        .collect()
}

fn cuda_in_library() -> bool {
    ep::CUDA::is_available().unwrap_or(false)
}

/// Whether the system shows an NVIDIA GPU.
pub fn has_gpu() -> bool {
    std::path::Path::new("/proc/driver/nvidia/version").exists()
        || std::path::Path::new("/dev/nvidiactl").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_or_refused() {
        assert_eq!("cuda:1".parse::<Device>().unwrap(), Device::Cuda(1));
        assert_eq!("auto".parse::<Device>().unwrap(), Device::Auto);
        assert!("gpu".parse::<Device>().is_err());
        assert!("cuda:-1".parse::<Device>().is_err());
    }
}
