//! Memory for the voxels of a volume.

use super::ImageError;

/// Room for so many voxels, empty.
///
/// On Linux the system is asked for huge pages, as NumPy asks: taking 64 MiB
/// in pages of 4 KiB costs more than filling it.
///
/// # Errors
/// [`ImageError::Memory`] where there is no room.
pub(super) fn room(voxels: usize) -> Result<Vec<f32>, ImageError> {
    let mut room = Vec::new();
    room.try_reserve_exact(voxels).map_err(|_| ImageError::Memory { voxels })?;
    #[cfg(target_os = "linux")]
    advise_huge_pages(&mut room);
    Ok(room)
}

#[cfg(target_os = "linux")]
fn advise_huge_pages(room: &mut Vec<f32>) {
    const HUGE_PAGE: usize = 1 << 21;
    let bytes = room.spare_capacity_mut();
    let len = size_of_val(bytes);
    let start = bytes.as_mut_ptr().cast::<u8>();
    let skip = start.align_offset(HUGE_PAGE);
    let whole = len.saturating_sub(skip) / HUGE_PAGE * HUGE_PAGE;
    if whole > 0 {
        // SAFETY: the range lies within the vector's own memory, and the advice
        // changes no byte of it. Where it is refused, pages stay small.
        #[allow(unsafe_code)]
        unsafe {
            libc::madvise(start.add(skip).cast(), whole, libc::MADV_HUGEPAGE);
        }
    }
}
