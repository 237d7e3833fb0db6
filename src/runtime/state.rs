//! A session whose state stays where it runs, from one step to the next.

use ort::{
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::{IoBinding, NoSelectedOutputs, RunOptions, Session},
    value::Tensor,
};

use super::{Device, Runtime, RuntimeError, failed};

/// A graph that maps state to state, with two sets of buffers, *ping* and
/// *pong*: this step's outputs are the next step's inputs, never copied.
///
/// One set would not do: bound as input and output alike, the update may be
/// scheduled before the backward pass has read the old values, and the graph
/// trains silently wrong.
///
/// Inputs and further outputs have one buffer each on the device, at the same
/// place in every step, as a CUDA graph needs it.
pub struct StepSession {
    session: Session,
    /// `bindings[0]` reads ping and writes pong, `bindings[1]` the reverse.
    bindings: [IoBinding; 2],
    options: [RunOptions<NoSelectedOutputs>; 2],
    /// Buffers of every state variable, twice.
    buffers: [Vec<Tensor<f32>>; 2],
    inputs: Vec<Tensor<f32>>,
    outputs: Vec<Tensor<f32>>,
    /// Which set holds the present state.
    present: usize,
}

/// A state variable of a [`StepSession`]: the graph's input `name` reads it,
/// and its output `next_name` writes it; one dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct StateVariable {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Vec<f32>,
}

impl StepSession {
    /// A session of the model with its state set. `inputs` are what every step
    /// is given, by name and shape; `outputs` the further outputs, scalars of
    /// f32, that it reports.
    ///
    /// # Errors
    /// [`RuntimeError::Ort`]; [`RuntimeError::Fallback`] where a node of the
    /// graph would not run on the device.
    pub fn new(
        runtime: &Runtime,
        model: &[u8],
        state: &[StateVariable],
        inputs: &[(&str, Vec<usize>)],
        outputs: &[&str],
    ) -> Result<Self, RuntimeError> {
        let session = runtime.training_session(model)?;
        let allocator =
            Allocator::new(&session, memory(runtime.device())?).map_err(failed("allocate"))?;
        let buffer = |shape: &[usize]| {
            Tensor::<f32>::new(&allocator, shape.to_vec()).map_err(failed("allocate a buffer"))
        };
        let set = || state.iter().map(|v| buffer(&[v.values.len()])).collect::<Result<Vec<_>, _>>();
        let mut buffers = [set()?, set()?];
        for (buffer, variable) in buffers[0].iter_mut().zip(state) {
            fill(buffer, vec![variable.values.len()], variable.values.clone())?;
        }
        let given = inputs.iter().map(|(_, shape)| buffer(shape)).collect::<Result<Vec<_>, _>>()?;
        let mut reported = outputs.iter().map(|_| buffer(&[])).collect::<Result<Vec<_>, _>>()?;
        let mut bind = |read: &[Tensor<f32>], write: &mut [Tensor<f32>]| {
            let mut binding = session.create_binding().map_err(failed("bind"))?;
            for ((variable, read), write) in state.iter().zip(read).zip(write) {
                let next = format!("next_{}", variable.name);
                binding.bind_input(&variable.name, read).map_err(failed("bind the state"))?;
                binding.bind_output(next, write).map_err(failed("bind the state"))?;
            }
            for ((name, _), value) in inputs.iter().zip(&given) {
                binding.bind_input(*name, value).map_err(failed("bind an input"))?;
            }
            for (&name, value) in outputs.iter().zip(&mut reported) {
                binding.bind_output(name, value).map_err(failed("bind an output"))?;
            }
            Ok::<_, RuntimeError>(binding)
        };
        let [ping, pong] = &mut buffers;
        let bindings = [bind(ping, pong)?, bind(pong, ping)?];
        let options = [run_options("1")?, run_options("2")?];
        Ok(Self {
            session,
            bindings,
            options,
            buffers,
            inputs: given,
            outputs: reported,
            present: 0,
        })
    }

    /// Runs one step on the values of the inputs, in their order, and returns
    /// the further outputs.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn step(&mut self, inputs: Vec<Vec<f32>>) -> Result<Vec<f32>, RuntimeError> {
        for (buffer, values) in self.inputs.iter_mut().zip(inputs) {
            let shape: Vec<usize> = buffer.shape().iter().map(|&n| n as usize).collect();
            fill(buffer, shape, values)?;
        }
        let (binding, options) = (&self.bindings[self.present], &self.options[self.present]);
        self.session.run_binding_with_options(binding, options).map_err(failed("run a step"))?;
        self.present = 1 - self.present;
        self.outputs
            .iter()
            .map(|value| Ok(read(value)?.first().copied().unwrap_or(f32::NAN)))
            .collect()
    }

    /// The values of the present state, in the order it was given in.
    ///
    /// # Errors
    /// [`RuntimeError::Ort`].
    pub fn state(&self) -> Result<Vec<Vec<f32>>, RuntimeError> {
        self.buffers[self.present].iter().map(read).collect()
    }
}

/// The number by which CUDA graphs of one session are told apart: each binding
/// is one of its own, as its addresses are.
fn run_options(graph: &str) -> Result<RunOptions<NoSelectedOutputs>, RuntimeError> {
    let mut options = RunOptions::new().map_err(failed("make options"))?;
    options.set("gpu_graph_id", graph).map_err(failed("name a CUDA graph"))?;
    Ok(options)
}

pub(super) fn fill(
    buffer: &mut Tensor<f32>,
    shape: Vec<usize>,
    values: Vec<f32>,
) -> Result<(), RuntimeError> {
    let host = Tensor::from_array((shape, values)).map_err(failed("take an input"))?;
    host.copy_into(buffer).map_err(failed("copy to the device"))
}

pub(super) fn read(buffer: &Tensor<f32>) -> Result<Vec<f32>, RuntimeError> {
    let host = buffer.to(AllocationDevice::CPU, 0).map_err(failed("copy to the host"))?;
    Ok(host.extract_tensor().1.to_vec())
}

pub(super) fn memory(device: Device) -> Result<MemoryInfo<'static>, RuntimeError> {
    let (place, number) = match device {
        Device::Cuda(number) => (AllocationDevice::CUDA, number as i32),
        Device::Cpu | Device::Auto => (AllocationDevice::CPU, 0),
    };
    MemoryInfo::new(place, number, AllocatorType::Device, MemoryType::Default)
        .map_err(failed("name the device's memory"))
}
