//! How cuDNN computes a gradient of given sizes.

use std::ffi::{c_int, c_void};
use std::ptr;

use cudarc::cudnn::{CudnnError, result, sys};

use super::failed;
use crate::conv::{Conv, Sizes};

/// What a gradient is taken of.
#[derive(Clone, Copy)]
pub enum Of {
    Image,
    Kernel,
}

// cuDNN's headers call these deterministic. Nothing chooses among algorithms, so the
// bits do not hang on what memory is free or what a heuristic of the day says.
const OF_IMAGE: sys::cudnnConvolutionBwdDataAlgo_t =
    sys::cudnnConvolutionBwdDataAlgo_t::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
const OF_KERNEL: sys::cudnnConvolutionBwdFilterAlgo_t =
    sys::cudnnConvolutionBwdFilterAlgo_t::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;

/// Row-major order, as ONNX Runtime keeps tensors.
const DENSE: sys::cudnnTensorFormat_t = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;

/// A gradient's operands and result as cuDNN knows them.
pub struct Plan {
    of: Of,
    descriptors: Descriptors,
    workspace: usize,
}

impl Plan {
    /// A plan for a handle's device.
    ///
    /// # Safety
    /// The handle lives, and is used by this thread alone.
    pub unsafe fn new(
        handle: sys::cudnnHandle_t,
        of: Of,
        conv: &Conv,
        sizes: &Sizes,
    ) -> ort::Result<Self> {
        let lists = Lists::new(conv, sizes).ok_or_else(|| {
            ort::Error::new("cuDNN requires pads alike before and after, and sizes below 2³¹")
        })?;
        let descriptors = Descriptors::new(&lists).map_err(failed("take the sizes"))?;
        let Descriptors { image, places, kernel, convolution } = descriptors;
        // SAFETY: as the caller promises; the descriptors are alive.
        let workspace = unsafe {
            match of {
                Of::Image => result::get_convolution_backward_data_workspace_size(
                    handle,
                    kernel,
                    places,
                    convolution,
                    image,
                    OF_IMAGE,
                ),
                Of::Kernel => result::get_convolution_backward_filter_workspace_size(
                    handle,
                    image,
                    places,
                    convolution,
                    kernel,
                    OF_KERNEL,
                ),
            }
        };
        let workspace = workspace.map_err(failed("compute a gradient of these sizes"))?;
        Ok(Self { of, descriptors, workspace })
    }

    /// The bytes that a launch needs beside its operands.
    pub fn workspace(&self) -> usize {
        self.workspace
    }

    /// Puts the computation on the handle's stream: of the image from the places
    /// and the kernel, of the kernel from the image and the places.
    ///
    /// # Safety
    /// The operands and the result are dense `f32` of the plan's sizes, and
    /// `workspace` has the bytes that the plan needs; all are on the handle's device
    /// and stay until the stream has passed this point. The handle lives, and is
    /// used by this thread alone.
    pub unsafe fn launch(
        &self,
        handle: sys::cudnnHandle_t,
        [first, second]: [*const c_void; 2],
        result: *mut c_void,
        workspace: *mut c_void,
    ) -> Result<(), CudnnError> {
        // result = 1 · gradient + 0 · result
        let (one, zero) = (1.0f32, 0.0f32);
        let (one, zero) = (ptr::from_ref(&one).cast(), ptr::from_ref(&zero).cast());
        let Descriptors { image, places, kernel, convolution } = self.descriptors;
        // SAFETY: as the caller promises; the descriptors live as long as `self`.
        unsafe {
            match self.of {
                Of::Image => result::convolution_backward_data(
                    handle,
                    one,
                    kernel,
                    second,
                    places,
                    first,
                    convolution,
                    OF_IMAGE,
                    workspace,
                    self.workspace,
                    zero,
                    image,
                    result,
                ),
                Of::Kernel => result::convolution_backward_filter(
                    handle,
                    one,
                    image,
                    first,
                    places,
                    second,
                    convolution,
                    OF_KERNEL,
                    workspace,
                    self.workspace,
                    zero,
                    kernel,
                    result,
                ),
            }
        }
    }
}

/// Sizes as cuDNN counts, over two spatial axes or three: an image of one axis has
/// a single row.
struct Lists {
    groups: c_int,
    image: Vec<c_int>,
    places: Vec<c_int>,
    kernel: Vec<c_int>,
    pads: Vec<c_int>,
    strides: Vec<c_int>,
    dilations: Vec<c_int>,
}

impl Lists {
    /// The sizes, where cuDNN can hold them and the pads are alike.
    fn new(conv: &Conv, sizes: &Sizes) -> Option<Self> {
        let window = &conv.window;
        let first = 3 - window.kernel().len().max(2);
        let list = |n: &[usize]| n.iter().map(|&n| n.try_into().ok()).collect::<Option<Vec<_>>>();
        let tensor = |n, c, sizes: &[usize; 3]| list(&[&[n, c], &sizes[first..]].concat());
        let (o, c) = (sizes.o * sizes.groups, sizes.c * sizes.groups);
        (window.before == window.after).then_some(())?;
        Some(Self {
            groups: sizes.groups.try_into().ok()?,
            image: tensor(sizes.images, c, &sizes.image)?,
            places: tensor(sizes.images, o, &sizes.places)?,
            kernel: tensor(o, sizes.c, &window.kernel)?,
            pads: list(&window.before[first..])?,
            strides: list(&window.strides[first..])?,
            dilations: list(&window.dilations[first..])?,
        })
    }
}

struct Descriptors {
    image: sys::cudnnTensorDescriptor_t,
    places: sys::cudnnTensorDescriptor_t,
    kernel: sys::cudnnFilterDescriptor_t,
    convolution: sys::cudnnConvolutionDescriptor_t,
}

// SAFETY: descriptors are plain memory of the host, which nothing else points to.
unsafe impl Send for Descriptors {}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: each was created with `self` and is destroyed with it alone.
        // There is nothing to do where cuDNN fails to.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.image);
            let _ = result::destroy_tensor_descriptor(self.places);
            let _ = result::destroy_filter_descriptor(self.kernel);
            let _ = result::destroy_convolution_descriptor(self.convolution);
        }
    }
}

impl Descriptors {
    fn new(lists: &Lists) -> Result<Self, CudnnError> {
        let float = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        let this = Self {
            image: result::create_tensor_descriptor()?,
            places: result::create_tensor_descriptor()?,
            kernel: result::create_filter_descriptor()?,
            convolution: result::create_convolution_descriptor()?,
        };
        let (axes, spatial) = (lists.kernel.len() as c_int, lists.pads.len() as c_int);
        // SAFETY: the descriptors were created above, and every list has as many
        // numbers as is said, which are copied.
        unsafe {
            for (tensor, shape) in [(this.image, &lists.image), (this.places, &lists.places)] {
                let shape = shape.as_ptr();
                sys::cudnnSetTensorNdDescriptorEx(tensor, DENSE, float, axes, shape).result()?;
            }
            let kernel = lists.kernel.as_ptr();
            result::set_filternd_descriptor(this.kernel, float, DENSE, axes, kernel)?;
            result::set_convolutionnd_descriptor(
                this.convolution,
                spatial,
                lists.pads.as_ptr(),
                lists.strides.as_ptr(),
                lists.dilations.as_ptr(),
                // what ONNX calls a convolution
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                float,
            )?;
            result::set_convolution_group_count(this.convolution, lists.groups)?;
            // of f32, TF32 where the device has it
            let math = sys::cudnnMathType_t::CUDNN_DEFAULT_MATH;
            result::set_convolution_math_type(this.convolution, math)?;
        }
        Ok(this)
    }
}
