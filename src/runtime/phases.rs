//! Several graphs that share state on the device, run one after another.

use ort::{memory::Allocator, session::Session, value::Tensor};

use super::{
    Runtime, RuntimeError, failed,
    state::{StateVariable, fill, memory, read},
};

/// One graph of [`Phases`], and what it shares.
#[derive(Debug, Clone, Default)]
pub struct Phase {
    /// The ONNX file.
    pub model: Vec<u8>,
    /// State that it reads, by name.
    pub reads: Vec<String>,
    /// State that it gives a next value, as output `next_…`.
    pub writes: Vec<String>,
    /// What each run is given, by name and shape.
    pub inputs: Vec<(&'static str, Vec<usize>)>,
    /// What each run gives back, by name and shape; f32.
    pub outputs: Vec<(&'static str, Vec<usize>)>,
}

/// Graphs over one state. Each variable has two buffers on the device; a graph reads the
/// present one and writes the other, which then is the present one.
pub struct Phases {
    phases: Vec<Open>,
    names: Vec<String>,
    buffers: Vec<[Tensor<f32>; 2]>,
    /// Which buffer of each variable holds its value.
    present: Vec<usize>,
}

/// A graph with its session and buffers.
struct Open {
    phase: Phase,
    session: Session,
    inputs: Vec<Tensor<f32>>,
    outputs: Vec<Tensor<f32>>,
}

impl Phases {
    /// Sessions of the graphs with the state set. Nothing is recorded as a CUDA graph, as
    /// the buffers change places from run to run.
    ///
    /// # Errors
    /// As [`super::StepSession::new`].
    pub fn new(
        runtime: &Runtime,
        phases: Vec<Phase>,
        state: &[StateVariable],
    ) -> Result<Self, RuntimeError> {
        let runtime = runtime.clone().with_cuda_graphs(false);
        let memory = || memory(runtime.device());
        let buffer = |allocator: &Allocator, shape: &[usize]| {
            Tensor::<f32>::new(allocator, shape.to_vec()).map_err(failed("allocate a buffer"))
        };
        let mut open = Vec::new();
        for phase in phases {
            let session = runtime.training_session(&phase.model)?;
            let allocator = Allocator::new(&session, memory()?).map_err(failed("allocate"))?;
            let all = |list: &[(&str, Vec<usize>)]| {
                list.iter().map(|(_, shape)| buffer(&allocator, shape)).collect::<Result<_, _>>()
            };
            let (inputs, outputs) = (all(&phase.inputs)?, all(&phase.outputs)?);
            open.push(Open { phase, session, inputs, outputs });
        }
        let mut buffers = Vec::new();
        if let Some(first) = open.first() {
            let allocator =
                Allocator::new(&first.session, memory()?).map_err(failed("allocate"))?;
            for variable in state {
                let shape = vec![variable.values.len()];
                let mut pair = [buffer(&allocator, &shape)?, buffer(&allocator, &shape)?];
                fill(&mut pair[0], shape, variable.values.clone())?;
                buffers.push(pair);
            }
        }
        let names: Vec<String> = state.iter().map(|variable| variable.name.clone()).collect();
        Ok(Self { phases: open, present: vec![0; names.len()], names, buffers })
    }

    /// Runs a graph, by its number, on the values of its inputs in their order, and gives
    /// its outputs, row by row.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn run(
        &mut self,
        number: usize,
        inputs: Vec<Vec<f32>>,
    ) -> Result<Vec<Vec<f32>>, RuntimeError> {
        let Some(open) = self.phases.get_mut(number) else { return Ok(Vec::new()) };
        let Open { phase, session, inputs: given, outputs } = open;
        for ((buffer, (_, shape)), values) in given.iter_mut().zip(&phase.inputs).zip(inputs) {
            fill(buffer, shape.clone(), values)?;
        }
        let place = |name: &String| self.names.iter().position(|known| known == name);
        let mut binding = session.create_binding().map_err(failed("bind"))?;
        for name in &phase.reads {
            let Some(at) = place(name) else { continue };
            let read = &self.buffers[at][self.present[at]];
            binding.bind_input(name, read).map_err(failed("bind the state"))?;
        }
        for name in &phase.writes {
            let Some(at) = place(name) else { continue };
            let write = &mut self.buffers[at][1 - self.present[at]];
            let next = format!("next_{name}");
            binding.bind_output(next, write).map_err(failed("bind the state"))?;
        }
        for ((name, _), value) in phase.inputs.iter().zip(given.iter()) {
            binding.bind_input(*name, value).map_err(failed("bind an input"))?;
        }
        for ((name, _), value) in phase.outputs.iter().zip(outputs.iter_mut()) {
            binding.bind_output(*name, value).map_err(failed("bind an output"))?;
        }
        session.run_binding(&binding).map_err(failed("run a phase"))?;
        for at in phase.writes.iter().filter_map(place) {
            self.present[at] = 1 - self.present[at];
        }
        outputs.iter().map(read).collect()
    }

    /// The values of the state, in the order it was given in.
    ///
    /// # Errors
    /// [`RuntimeError::Ort`].
    pub fn state(&self) -> Result<Vec<Vec<f32>>, RuntimeError> {
        self.buffers.iter().zip(&self.present).map(|(pair, &at)| read(&pair[at])).collect()
    }
}
