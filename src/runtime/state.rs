//! A session whose state stays where it runs, from one step to the next.

use ort::{
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::{IoBinding, Session},
    value::Tensor,
};

use super::{Device, Runtime, RuntimeError, failed};

/// A graph that maps state to state, with two sets of buffers, *ping* and
/// *pong*: this step's outputs are the next step's inputs, never copied.
///
/// One set would not do: bound as input and output alike, the update may be
/// scheduled before the backward pass has read the old values, and the graph
/// trains silently wrong.
pub struct StepSession {
    session: Session,
    /// `bindings[0]` reads ping and writes pong, `bindings[1]` the reverse.
    bindings: [IoBinding; 2],
    /// Buffers of every state variable, twice.
    buffers: [Vec<Tensor<f32>>; 2],
    /// Which set holds the present state.
    present: usize,
    outputs: Vec<String>,
}

/// A state variable of a [`StepSession`]: its names in the graph and its first values.
pub struct StateVariable<'a> {
    /// The graph's input that reads it.
    pub input: &'a str,
    /// The graph's output that writes it.
    pub output: &'a str,
    /// Its values before the first step; one dimension.
    pub values: &'a [f32],
}

impl StepSession {
    /// A session of the model with its state set; `outputs` are the further
    /// outputs, f32, that every step reports.
    ///
    /// # Errors
    /// [`RuntimeError::Ort`].
    pub fn new(
        runtime: &Runtime,
        model: &[u8],
        state: &[StateVariable],
        outputs: &[&str],
    ) -> Result<Self, RuntimeError> {
        let session = runtime.session(model)?;
        let allocator =
            Allocator::new(&session, memory(runtime.device())?).map_err(failed("allocate"))?;
        let empty_set = || -> Result<Vec<Tensor<f32>>, RuntimeError> {
            state
                .iter()
                .map(|v| {
                    Tensor::new(&allocator, [v.values.len()]).map_err(failed("allocate the state"))
                })
                .collect()
        };
        let mut buffers = [empty_set()?, empty_set()?];
        for (buffer, variable) in buffers[0].iter_mut().zip(state) {
            let host = Tensor::from_array(([variable.values.len()], variable.values.to_vec()))
                .map_err(failed("take the state"))?;
            host.copy_into(buffer).map_err(failed("copy the state to the device"))?;
        }
        let host = memory(Device::Cpu)?;
        let bind = |read: &[Tensor<f32>], write: &mut [Tensor<f32>]| {
            let mut binding = session.create_binding().map_err(failed("bind"))?;
            for ((variable, read), write) in state.iter().zip(read).zip(write) {
                binding.bind_input(variable.input, read).map_err(failed("bind the state"))?;
                binding.bind_output(variable.output, write).map_err(failed("bind the state"))?;
            }
            for &name in outputs {
                binding.bind_output_to_device(name, &host).map_err(failed("bind an output"))?;
            }
            Ok::<_, RuntimeError>(binding)
        };
        let [ping, pong] = &mut buffers;
        let bindings = [bind(ping, pong)?, bind(pong, ping)?];
        let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
        Ok(Self { session, bindings, buffers, present: 0, outputs })
    }

    /// Runs one step on the inputs given (name, shape, values) and returns the
    /// first number of each further output.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn step(
        &mut self,
        inputs: Vec<(&str, Vec<usize>, Vec<f32>)>,
    ) -> Result<Vec<f32>, RuntimeError> {
        let binding = &mut self.bindings[self.present];
        for (name, shape, values) in inputs {
            let tensor = Tensor::from_array((shape, values)).map_err(failed("take an input"))?;
            binding.bind_input(name, &tensor).map_err(failed("bind an input"))?;
        }
        let results = self.session.run_binding(binding).map_err(failed("run a step"))?;
        let reported = self
            .outputs
            .iter()
            .map(|name| {
                let missing = || RuntimeError::Output { name: name.clone() };
                let value = results.get(name.as_str()).ok_or_else(missing)?;
                let (_, values) = value.try_extract_tensor::<f32>().map_err(|_| missing())?;
                values.first().copied().ok_or_else(missing)
            })
            .collect();
        drop(results);
        self.present = 1 - self.present;
        reported
    }

    /// The present state, copied to the host, in the order it was given in.
    ///
    /// # Errors
    /// [`RuntimeError::Ort`].
    pub fn state(&self) -> Result<Vec<Vec<f32>>, RuntimeError> {
        self.buffers[self.present]
            .iter()
            .map(|buffer| {
                let host = buffer
                    .to(AllocationDevice::CPU, 0)
                    .map_err(failed("copy the state to the host"))?;
                Ok(host.extract_tensor().1.to_vec())
            })
            .collect()
    }
}

fn memory(device: Device) -> Result<MemoryInfo<'static>, RuntimeError> {
    let (place, number) = match device {
        Device::Cuda(number) => (AllocationDevice::CUDA, number as i32),
        Device::Cpu | Device::Auto => (AllocationDevice::CPU, 0),
    };
    MemoryInfo::new(place, number, AllocatorType::Device, MemoryType::Default)
        .map_err(failed("name the device's memory"))
}
