//! The pixels of a file, frame by frame.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ndarray::Array3;

use super::{
    DicomError, Instance, PixelLayout,
    cells::Cells,
    header::{Opened, open},
    mosaic::Tiling,
    pixel_data::PixelData,
    source::Source,
    transform::{Transform, Unpack, padding},
    values::Values,
};

/// Words that are read at a time: they stay in the nearest caches.
const PART: usize = 1 << 13;

/// The values of a mosaic, once it was decoded.
type Decoded = Mutex<Option<Arc<[f32]>>>;

/// A file whose frames are read one by one, by several threads if need be.
#[derive(Debug)]
pub struct FrameReader {
    instance: Instance,
    layout: PixelLayout,
    values: Values,
    data: PixelData,
    source: Mutex<Source>,
    /// The values of a mosaic, which all its slices are cut from.
    mosaic: Option<(Tiling, Decoded)>,
}

impl FrameReader {
    /// Opens a file that has pixels, whatever its kind.
    ///
    /// # Errors
    /// [`DicomError`] as [`open_header`](super::open_header), and where there
    /// are no pixels.
    pub fn open(path: &Path) -> Result<Self, DicomError> {
        let Opened { mut walked, instance, data } = open(path)?;
        let layout = match instance.pixels {
            Some(layout) => layout,
            None if walked.pixels.is_none() => return Err(DicomError::NoPixels),
            None => PixelLayout::of(&walked.values.own)?,
        };
        let data = match data {
            Some(data) => data,
            None => PixelData::find(&mut walked, &layout, instance.number_of_frames)?,
        };
        // As the header has it: of an image of many frames each is a plane.
        let is_mosaic = instance.number_of_frames == 1 && instance.frames.len() > 1;
        let tiling = Tiling::of(&walked.values, &layout).filter(|_| is_mosaic);
        Ok(Self {
            source: Mutex::new(data.seekable(walked.source)?),
            values: walked.values,
            mosaic: tiling.map(|tiling| (tiling, Mutex::new(None))),
            instance,
            layout,
            data,
        })
    }

    /// Slope and intercept from the stored numbers of a frame to its values; `None`
    /// where a table makes them, or a mapping of a part of the numbers.
    pub fn rescale(&self, frame: u32) -> Option<[f64; 2]> {
        Transform::of(&self.values, frame as usize, &self.layout).ok()?.line()
    }

    /// The header.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The stored numbers of a frame `[row, column, sample]`, bits unpacked, not
    /// rescaled: exact, as no stored number has more than 32 bits. The samples of
    /// a colour are as they are coded (RGB, or luma and chroma).
    ///
    /// # Errors
    /// [`DicomError`] where the frame is not there or cannot be decoded.
    pub fn stored(&self, frame: u32) -> Result<Array3<f64>, DicomError> {
        let unpack = Unpack::new(&self.layout, self.data.high_bit(&self.layout));
        let whole = |cell: u32| unpack.stored(cell) as f64;
        let numbers: Vec<f64> = match self.cells(frame)? {
            Cells::U8(cells) => cells.into_iter().map(|cell| whole(u32::from(cell))).collect(),
            Cells::U16(cells) => cells.into_iter().map(|cell| whole(u32::from(cell))).collect(),
            Cells::U32(cells) => cells.into_iter().map(whole).collect(),
            Cells::F32(cells) => cells.into_iter().map(f64::from).collect(),
            Cells::F64(cells) => cells,
        };
        let layout = &self.layout;
        let (promised, found) = (layout.samples_of_frame() as u64, numbers.len() as u64);
        let shape = (layout.rows, layout.columns, usize::from(layout.samples));
        Array3::from_shape_vec(shape, numbers)
            .map_err(|_| DicomError::PixelLength { promised, found })
    }

    /// Writes the values of a plane (a frame, or a tile of a mosaic) into a target,
    /// row by row, after Modality LUT or rescale; `NaN` is padding.
    ///
    /// # Errors
    /// [`DicomError`] where the frame is not there or cannot be decoded, the image
    /// has colours, or the target another size.
    ///
    /// # Source
    /// DICOM PS3.3 C.11.1 (Modality LUT), C.7.5.1.1.2 (padding).
    pub fn read(&self, plane: u32, target: &mut [f32]) -> Result<(), DicomError> {
        if self.layout.samples != 1 {
            return Err(DicomError::Unsupported { what: "a colour image" });
        }
        let Some((tiling, whole)) = &self.mosaic else {
            return self.whole(plane, target);
        };
        let all = {
            // Who needs it at the same time waits for the first.
            let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
            match &*whole {
                Some(all) => Arc::clone(all),
                None => {
                    let mut all = vec![0.0; self.layout.samples_of_frame()];
                    self.whole(0, &mut all)?;
                    Arc::clone(whole.insert(all.into()))
                }
            }
        };
        check_size(tiling.rows * tiling.columns, target)?;
        let (row, column) = tiling.corner(plane as usize);
        let rows = all.chunks_exact(self.layout.columns).skip(row);
        for (from, to) in rows.zip(target.chunks_exact_mut(tiling.columns)) {
            to.copy_from_slice(&from[column..column + tiling.columns]);
        }
        Ok(())
    }

    fn whole(&self, frame: u32, target: &mut [f32]) -> Result<(), DicomError> {
        check_size(self.layout.samples_of_frame(), target)?;
        let transform = Transform::of(&self.values, frame as usize, &self.layout)?;
        let unpack = Unpack::new(&self.layout, self.data.high_bit(&self.layout));
        match self.data.plain_words(&self.layout, frame) {
            Some(first) if frame < self.instance.number_of_frames => {
                self.stream(first, &transform, unpack, target)?;
            }
            _ => transform.apply(&self.cells(frame)?, unpack, target),
        }
        Ok(())
    }

    /// The values of words from a byte on, a part at a time: the memory of a whole frame
    /// is given back and cleared for the next one, which takes longer than its values.
    fn stream(
        &self,
        first: u64,
        transform: &Transform,
        unpack: Unpack,
        target: &mut [f32],
    ) -> Result<(), DicomError> {
        let mut bytes = vec![0; 2 * PART];
        let mut words = vec![0; PART];
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.jump(first)?;
        for part in target.chunks_mut(PART) {
            let bytes = &mut bytes[..2 * part.len()];
            source.fill(bytes)?;
            for (word, pair) in words.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *word = u16::from_le_bytes(*pair);
            }
            transform.apply_words(&words[..part.len()], unpack, part);
        }
        Ok(())
    }

    fn cells(&self, frame: u32) -> Result<Cells, DicomError> {
        if frame >= self.instance.number_of_frames {
            return Err(DicomError::NoPixels);
        }
        let coded = {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            self.data.bytes(&mut source, &self.layout, frame)?
        };
        let cells = coded.decode(&self.layout)?;
        if let Some(codec) = self.data.code_stream() {
            let unpack = Unpack::new(&self.layout, self.data.high_bit(&self.layout));
            if !unpack.holds(&cells, padding(&self.values.own, &self.layout)) {
                return Err(codec.too_wide());
            }
        }
        Ok(cells)
    }
}

fn check_size(promised: usize, target: &[f32]) -> Result<(), DicomError> {
    let (promised, found) = (promised as u64, target.len() as u64);
    if promised == found { Ok(()) } else { Err(DicomError::PixelLength { promised, found }) }
}
