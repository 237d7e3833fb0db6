//! Memory for the voxels of a volume.
//!
//! On Linux the system is asked for huge pages, as NumPy asks: taking 64 MiB in pages of
//! 4 KiB costs more than filling it.

/// There is no room in memory for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory for {voxels} voxels")]
pub struct NoRoom {
    /// Voxels asked for.
    pub voxels: usize,
}

/// Room for so many voxels, empty.
///
/// # Errors
/// [`NoRoom`].
pub fn room(voxels: usize) -> Result<Vec<f32>, NoRoom> {
    let mut room: Vec<f32> = Vec::new();
    room.try_reserve_exact(voxels).map_err(|_| NoRoom { voxels })?;
    #[cfg(target_os = "linux")]
    advise_huge_pages(room.as_mut_ptr(), size_of::<f32>() * room.capacity());
    Ok(room)
}

/// So many zeros; memory is taken from the system when it is written to.
///
/// # Errors
/// [`NoRoom`].
pub fn zeros(voxels: usize) -> Result<Vec<f32>, NoRoom> {
    // Whether there is room is asked first: without it `vec!` ends the process.
    Vec::<f32>::new().try_reserve_exact(voxels).map_err(|_| NoRoom { voxels })?;
    let mut zeros = vec![0.0; voxels];
    #[cfg(target_os = "linux")]
    advise_huge_pages(zeros.as_mut_ptr(), size_of_val(&zeros[..]));
    Ok(zeros)
}

/// Lets a program keep the memory of a frame for the next one. By default the C library
/// gives it back to the system each time, and taking it again costs more than decoding
/// run lengths does. What is above 8 MiB, as most volumes are, still goes back; of the rest
/// up to 64 MiB may be kept at the end of each arena, of which there is about one a thread.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGEST_FRAME: i32 = 8 << 20;
        const KEPT: i32 = 64 << 20;
        // SAFETY: the two change when memory is taken and given back, nothing else.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_FRAME);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}

/// Asks for huge pages for the memory of a vector.
#[cfg(target_os = "linux")]
fn advise_huge_pages(start: *mut f32, bytes: usize) {
    const HUGE_PAGE: usize = 1 << 21;
    let start = start.cast::<u8>();
    let skip = start.align_offset(HUGE_PAGE);
    let whole = bytes.saturating_sub(skip) / HUGE_PAGE * HUGE_PAGE;
    if whole > 0 {
        // SAFETY: the range lies within the vector's own memory, as both callers give
        // it, and the advice changes no byte of it. Where it is refused, pages stay small.
        #[allow(unsafe_code)]
        unsafe {
            libc::madvise(start.add(skip).cast(), whole, libc::MADV_HUGEPAGE);
        }
    }
}
