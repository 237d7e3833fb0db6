//! The gradients of convolutions on CUDA: cuDNN's, on the provider's stream and in
//! memory of its allocator.

// cuDNN is written in C.
#![allow(unsafe_code)]

mod plan;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use cudarc::cudnn::{CudnnError, result, sys};
use ort::ep::{CUDA, ExecutionProvider};
use ort::memory::{AllocationDevice, MemoryInfo};
use ort::operator::{
    ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::{DynTensorValueType, TensorElementType};

use crate::conv::{Conv, ConvImageGrad, ConvKernelGrad, Sizes};
use crate::kernel::{Kernel, Tensor, refuse};
use plan::{Of, Plan};

/// A gradient of a convolution, whose attributes and shapes are those of the
/// operator for the CPU.
pub trait Gradient: Kernel {
    const OF: Of;

    fn conv(&self) -> &Conv;

    /// The sizes, where the operands fit.
    fn sizes(&self, inputs: &[Tensor]) -> Option<Sizes>;
}

impl Gradient for ConvImageGrad {
    const OF: Of = Of::Image;

    fn conv(&self) -> &Conv {
        &self.conv
    }

    fn sizes(&self, inputs: &[Tensor]) -> Option<Sizes> {
        ConvImageGrad::sizes(self, inputs).map(|(_, sizes)| sizes)
    }
}

impl Gradient for ConvKernelGrad {
    const OF: Of = Of::Kernel;

    fn conv(&self) -> &Conv {
        &self.0
    }

    fn sizes(&self, inputs: &[Tensor]) -> Option<Sizes> {
        self.0.sizes(&inputs[0].shape, &inputs[1].shape)
    }
}

struct Registered<G>(PhantomData<fn() -> G>);

/// Adds an operator of the CUDA provider to a domain.
pub fn register<G: Gradient>(domain: OperatorDomain) -> ort::Result<OperatorDomain> {
    domain.add(Registered::<G>(PhantomData))
}

impl<G: Gradient> Operator for Registered<G> {
    type Kernel<'attr> = Instance<G>;

    fn name(&self) -> &str {
        G::NAME
    }

    fn execution_provider_type(&self) -> Option<&str> {
        Some(CUDA::NAME)
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        (0..G::INPUTS).map(|_| OperatorInput::required(TensorElementType::Float32))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        (0..G::OUTPUTS).map(|_| OperatorOutput::required(TensorElementType::Float32))
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<Instance<G>> {
        Ok(Instance { gradient: G::new(node)?, plan: None })
    }
}

struct Instance<G> {
    gradient: G,
    /// For the sizes of the run before.
    plan: Option<(Sizes, Plan)>,
}

impl<G: Gradient> ort::operator::Kernel for Instance<G> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new(format!("{} lacks an operand or a result", G::NAME));
        let tensor = |i| context.input(i)?.ok_or_else(missing)?.downcast::<DynTensorValueType>();
        let values = [tensor(0)?, tensor(1)?];
        let inputs = values.each_ref().map(|value| Tensor {
            shape: value.shape().iter().map(|&n| n as usize).collect(),
            data: &[],
        });
        let shapes = self.gradient.shapes(&inputs)?;
        let (Some(sizes), [shape]) = (self.gradient.sizes(&inputs), &shapes[..]) else {
            return refuse::<G, _>("shapes that fit", &inputs);
        };
        let result = context.output(0, shape.as_slice())?.ok_or_else(missing)?;
        let result = result.downcast::<DynTensorValueType>()?;
        if shape.contains(&0) {
            return Ok(());
        }
        if inputs.iter().any(|x| x.shape.contains(&0)) {
            return refuse::<G, _>("operands that are not empty", &inputs);
        }

        let device = device(values[0].memory_info())?;
        for memory in [values[1].memory_info(), result.memory_info()] {
            if self::device(memory)? != device {
                return Err(ort::Error::new(format!("{} requires one device", G::NAME)));
            }
        }
        let stream = context.stream()?.map_or(ptr::null_mut(), NonNull::as_ptr);

        let mut handles = HANDLES.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = Handle::of(&mut handles, device)?;
        // SAFETY: the provider's stream is one of this device, and lives for as
        // long as the run, in which every use of the handle sets its stream first.
        unsafe { result::set_stream(handle, stream.cast()) }
            .map_err(failed("take the provider's stream"))?;
        let plan = match self.plan.take() {
            Some((of, plan)) if of == sizes => plan,
            // SAFETY: the handle stays, and the lock on it is held.
            _ => unsafe { Plan::new(handle, G::OF, self.gradient.conv(), &sizes) }?,
        };
        let (_, plan) = self.plan.insert((sizes, plan));

        let allocator = context.allocator(values[0].memory_info())?;
        let mut workspace = match plan.workspace() {
            0 => None,
            bytes => Some(allocator.alloc::<u8>(bytes)?),
        };
        let space = workspace.as_mut().map_or(ptr::null_mut(), |space| space.as_mut_ptr());
        let operands = values.each_ref().map(|value| value.data_ptr());
        // SAFETY: ONNX Runtime gives tensors that are dense, of the types that the
        // operator names and of the shapes that the plan was made for; all were
        // found on the device of the handle. A session runs once at a time, on one
        // stream, so what is freed after this call, the workspace too, goes only to
        // work that comes later on that stream.
        unsafe { plan.launch(handle, operands, result.data_ptr().cast_mut(), space) }
            .map_err(failed("compute the gradient"))
    }
}

/// The number of the CUDA device that memory is on.
fn device(memory: &MemoryInfo) -> ort::Result<i32> {
    if memory.allocation_device() != AllocationDevice::CUDA {
        let found = memory.allocation_device();
        let message = format!("cuDNN requires memory of CUDA, received {}", found.as_str());
        return Err(ort::Error::new(message));
    }
    Ok(memory.device_id())
}

/// cuDNN's state on each device. It stays to the end of the process: by the time
/// that statics go, CUDA may be gone.
static HANDLES: Mutex<BTreeMap<i32, Handle>> = Mutex::new(BTreeMap::new());

struct Handle(sys::cudnnHandle_t);

// SAFETY: cuDNN lets any thread use a handle, one at a time, and `HANDLES` gives it
// out under its lock alone.
unsafe impl Send for Handle {}

impl Handle {
    /// The handle of a device, which the provider has made the thread's own.
    fn of(handles: &mut BTreeMap<i32, Handle>, device: i32) -> ort::Result<sys::cudnnHandle_t> {
        if let Some(handle) = handles.get(&device) {
            return Ok(handle.0);
        }
        // SAFETY: what runs when the library is loaded is cuDNN's own start.
        if !unsafe { sys::is_culib_present() } {
            return Err(ort::Error::new("cuDNN was not found"));
        }
        let handle = result::create_handle().map_err(failed("start"))?;
        handles.insert(device, Handle(handle));
        Ok(handle)
    }
}

fn failed(action: &'static str) -> impl FnOnce(CudnnError) -> ort::Error {
    move |error| ort::Error::new(format!("cuDNN could not {action}: {error}"))
}
