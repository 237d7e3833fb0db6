//! What turns stored numbers into values: padding, then a table or a line.

use super::{
    DicomError, PixelLayout,
    cells::Cells,
    scope::Scope,
    tags,
    values::{Attributes, Values},
};

/// What stored numbers of one frame mean.
#[derive(Debug)]
pub(super) struct Transform {
    mapping: Mapping,
    /// Lowest and highest stored number that stand for "nothing here".
    padding: Option<(f64, f64)>,
}

#[derive(Debug)]
enum Mapping {
    Line {
        slope: f64,
        intercept: f64,
    },
    /// Values of the numbers from `first` on; lower ones have the first value,
    /// higher ones the last.
    Table {
        first: i64,
        values: Vec<f32>,
    },
    /// A line for the numbers from `first` to `last`; others have no value.
    Part {
        slope: f64,
        intercept: f64,
        first: f64,
        last: f64,
    },
}

impl Transform {
    /// Of a frame: the Modality LUT, else the rescale of its functional groups,
    /// else that of the data set, else the real world value mapping if it is the
    /// only one, else the numbers as they are. Of a PET without *Units* the mapping
    /// comes first: it alone says what its values are.
    ///
    /// # Source
    /// DICOM PS3.3 C.11.1 (Modality LUT), C.7.6.16.2.9 (pixel value
    /// transformation), C.7.6.16.2.11 (real world value mapping), C.7.5.1.1.2
    /// (padding).
    pub(super) fn of(
        values: &Values,
        frame: usize,
        layout: &PixelLayout,
    ) -> Result<Self, DicomError> {
        let scope = Scope::of_frame(values, frame);
        let padding = padding(&values.own, layout);
        if let [table, ..] = values.items(tags::MODALITY_LUT) {
            return Ok(Self { mapping: Mapping::table(table, layout)?, padding });
        }
        let decimal = |tag| scope.with(tag).decimals::<1>(tag).map(|n| n.map(|[n]| n));
        let (slope, intercept) = (decimal(tags::RESCALE_SLOPE)?, decimal(tags::RESCALE_INTERCEPT)?);
        let mapping = match (slope, intercept) {
            (Some(0.0), _) => {
                return Err(DicomError::Malformed { attribute: tags::name(tags::RESCALE_SLOPE) });
            }
            (None, None) => Mapping::real_world(values, &scope, layout),
            _ if is_pet_without_units(values, &scope) => {
                Mapping::real_world(values, &scope, layout)
            }
            _ => None,
        };
        let line =
            Mapping::Line { slope: slope.unwrap_or(1.0), intercept: intercept.unwrap_or(0.0) };
        Ok(Self { mapping: mapping.unwrap_or(line), padding })
    }

    /// Slope and intercept, where a line is all there is.
    pub(super) fn line(&self) -> Option<[f64; 2]> {
        match self.mapping {
            Mapping::Line { slope, intercept } => Some([slope, intercept]),
            _ => None,
        }
    }

    /// The values of the cells; `NaN` is padding. `unpack` tells where the bits
    /// of integers lie.
    pub(super) fn apply(&self, cells: &Cells, unpack: Unpack, target: &mut [f32]) {
        match cells {
            Cells::U8(cells) => self.whole(cells, unpack, target),
            Cells::U16(cells) => self.whole(cells, unpack, target),
            Cells::U32(cells) => self.whole(cells, unpack, target),
            Cells::F32(cells) => self.each(cells.iter().map(|&cell| f64::from(cell)), target),
            Cells::F64(cells) => self.each(cells.iter().copied(), target),
        }
    }

    /// As [`Transform::apply`], of a part of the cells.
    pub(super) fn apply_words(&self, words: &[u16], unpack: Unpack, target: &mut [f32]) {
        self.whole(words, unpack, target);
    }

    fn whole<T: Copy + Into<u32>>(&self, cells: &[T], unpack: Unpack, target: &mut [f32]) {
        let stored = |cell: T| unpack.stored(cell.into());
        match (&self.mapping, self.padding) {
            // What nearly every slice needs.
            (&Mapping::Line { slope, intercept }, None) => {
                for (value, &cell) in target.iter_mut().zip(cells) {
                    *value = (stored(cell) as f64 * slope + intercept) as f32;
                }
            }
            (mapping, padding) => {
                for (value, &cell) in target.iter_mut().zip(cells) {
                    let number = stored(cell) as f64;
                    // Padding may use bits above the stored ones: compare both.
                    let whole = unpack.whole(cell.into()) as f64;
                    let is = |(low, high): (f64, f64)| {
                        (low..=high).contains(&number) || (low..=high).contains(&whole)
                    };
                    *value = if padding.is_some_and(is) { f32::NAN } else { mapping.value(number) };
                }
            }
        }
    }

    fn each(&self, numbers: impl Iterator<Item = f64>, target: &mut [f32]) {
        for (value, number) in target.iter_mut().zip(numbers) {
            let is_padding = self.padding.is_some_and(|(low, high)| (low..=high).contains(&number));
            *value = if is_padding { f32::NAN } else { self.mapping.value(number) };
        }
    }
}

impl Mapping {
    fn value(&self, number: f64) -> f32 {
        match self {
            Self::Line { slope, intercept } => (number * slope + intercept) as f32,
            Self::Part { first, last, .. } if number < *first || number > *last => f32::NAN,
            Self::Part { slope, intercept, .. } => (number * slope + intercept) as f32,
            Self::Table { first, values } => {
                let place = (number as i64 - first).clamp(0, values.len() as i64 - 1);
                values.get(place as usize).copied().unwrap_or(f32::NAN)
            }
        }
    }

    fn table(item: &Attributes, layout: &PixelLayout) -> Result<Self, DicomError> {
        let malformed = |tag| DicomError::Malformed { attribute: tags::name(tag) };
        let [count, first, bits] = item.u16s(tags::LUT_DESCRIPTOR)[..] else {
            return Err(malformed(tags::LUT_DESCRIPTOR));
        };
        let count = if count == 0 { 1 << 16 } else { usize::from(count) };
        let first = if layout.signed { i64::from(first as i16) } else { i64::from(first) };
        let words = item.u16s(tags::LUT_DATA);
        let bytes = item.bytes(tags::LUT_DATA).unwrap_or_default();
        // Eight bits may lie in bytes or in words.
        let values: Vec<f32> = if words.len() >= count {
            words.iter().take(count).map(|&word| f32::from(word)).collect()
        } else if bits <= 8 && bytes.len() >= count {
            bytes.iter().take(count).map(|&byte| f32::from(byte)).collect()
        } else {
            return Err(malformed(tags::LUT_DATA));
        };
        Ok(Self::Table { first, values })
    }

    /// The only real world value mapping, where it is a line.
    fn real_world(values: &Values, scope: &Scope<'_>, layout: &PixelLayout) -> Option<Self> {
        let item = scope.real_world(values)?;
        let slope = item.f64(tags::REAL_WORLD_SLOPE).filter(|&slope| slope != 0.0)?;
        let intercept = item.f64(tags::REAL_WORLD_INTERCEPT)?;
        let end = |tag| {
            let word = item.u16(tag).ok().flatten()?;
            Some(if layout.signed { f64::from(word as i16) } else { f64::from(word) })
        };
        let first = end(tags::REAL_WORLD_FIRST).unwrap_or(f64::NEG_INFINITY);
        let last = end(tags::REAL_WORLD_LAST).unwrap_or(f64::INFINITY);
        Some(Self::Part { slope, intercept, first, last })
    }
}

fn is_pet_without_units(values: &Values, scope: &Scope<'_>) -> bool {
    values.own.text(tags::MODALITY).as_deref() == Some("PT")
        && scope.with(tags::UNITS).text(tags::UNITS).is_none()
        && scope.real_world(values).is_some_and(|item| item.text(tags::CODE_VALUE).is_some())
}

pub(super) fn padding(own: &Attributes, layout: &PixelLayout) -> Option<(f64, f64)> {
    let word = |tag| {
        let word = own.u16(tag).ok().flatten()?;
        Some(if layout.signed { f64::from(word as i16) } else { f64::from(word) })
    };
    let value = own.f32(tags::FLOAT_PADDING).or(own.f64(tags::DOUBLE_PADDING));
    let value = value.or_else(|| word(tags::PADDING))?;
    let limit = own.f32(tags::FLOAT_PADDING_LIMIT).or(own.f64(tags::DOUBLE_PADDING_LIMIT));
    let limit = limit.or_else(|| word(tags::PADDING_LIMIT)).unwrap_or(value);
    Some((value.min(limit), value.max(limit)))
}

/// Takes the stored bits out of a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpack {
    left: u32,
    right: u32,
    /// As much for the whole cell.
    unused: u32,
    signed: bool,
}

impl Unpack {
    /// `high_bit` says where the bits lie; a code stream has them lowest.
    ///
    /// # Source
    /// DICOM PS3.5 8.1.1.
    pub(super) fn new(layout: &PixelLayout, high_bit: u16) -> Self {
        // The highest stored bit goes to bit 31, then down again with the sign.
        Self {
            left: 31 - u32::from(high_bit.min(31)),
            right: 32 - u32::from(layout.bits_stored.clamp(1, 32)),
            unused: 32 - u32::from(layout.bits_allocated.clamp(1, 32)),
            signed: layout.signed,
        }
    }

    pub(super) fn stored(self, cell: u32) -> i64 {
        Self::down(cell << self.left, self.right, self.signed)
    }

    /// Whether a code stream's cells hold nothing but the stored bits, or padding: what is
    /// above them would be lost.
    pub(super) fn holds(self, cells: &Cells, padding: Option<(f64, f64)>) -> bool {
        match cells {
            Cells::U8(cells) => self.holds_all(cells, padding),
            Cells::U16(cells) => self.holds_all(cells, padding),
            Cells::U32(cells) => self.holds_all(cells, padding),
            Cells::F32(_) | Cells::F64(_) => true,
        }
    }

    fn holds_all<T: Copy + Into<u32>>(self, cells: &[T], padding: Option<(f64, f64)>) -> bool {
        let above = u32::MAX.checked_shl(self.right_of_stored()).unwrap_or(0);
        // What nearly every image has.
        if cells.iter().fold(0, |all, &cell| all | cell.into()) & above == 0 {
            return true;
        }
        let is_padding = |number: i64| {
            padding.is_some_and(|(low, high)| (low..=high).contains(&(number as f64)))
        };
        cells.iter().map(|&cell| cell.into()).all(|cell: u32| {
            let whole = self.whole(cell);
            cell & above == 0 || whole == self.stored(cell) || is_padding(whole)
        })
    }

    /// Bits stored.
    fn right_of_stored(self) -> u32 {
        32 - self.right
    }

    /// The cell with the bits above the stored ones.
    fn whole(self, cell: u32) -> i64 {
        Self::down(cell << self.unused, self.unused, self.signed)
    }

    fn down(top: u32, right: u32, signed: bool) -> i64 {
        if signed { i64::from((top as i32) >> right) } else { i64::from(top >> right) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::dicom::Photometric;

    fn layout(bits_stored: u16, signed: bool) -> PixelLayout {
        PixelLayout {
            rows: 1,
            columns: 2,
            bits_allocated: 16,
            bits_stored,
            high_bit: bits_stored - 1,
            signed,
            samples: 1,
            planar: false,
            photometric: Photometric::Grey,
        }
    }

    #[test]
    fn unpacks_sign_mask_and_high_bit() {
        let stored = |cell, layout: PixelLayout, high| Unpack::new(&layout, high).stored(cell);
        assert_eq!(stored(0x0800, layout(12, true), 11), -2048);
        assert_eq!(stored(0x0800, layout(12, false), 11), 2048);
        // Overlay bits above the stored ones are dropped.
        assert_eq!(stored(0x8001, layout(12, true), 11), 1);
        assert_eq!(stored(0x8000, layout(12, true), 15), -2048);
        assert_eq!(stored(0xABCF, layout(12, false), 15), 0xABC);
        assert_eq!(stored(0xFFFF, layout(16, true), 15), -1);
        assert_eq!(stored(0xFFFF, layout(16, false), 15), 65535);
    }

    #[test]
    fn more_bits_than_are_stored_are_seen() {
        let holds = |cell, signed, padding| {
            Unpack::new(&layout(12, signed), 11).holds(&Cells::U16(vec![7, cell]), padding)
        };
        assert!(holds(4095, false, None) && holds(4095, true, None) && holds(0xFFFF, true, None));
        assert!(!holds(5000, false, None) && !holds(5000, true, None));
        assert!(holds(0xF830, true, Some((-2000.0, -2000.0))) && !holds(0x7830, true, None));
        assert!(holds(63_536, false, Some((63_536.0, 63_536.0))) && !holds(63_536, false, None));
        let whole = Unpack::new(&layout(16, false), 15);
        assert!(whole.holds(&Cells::U16(vec![0xFFFF]), None));
    }

    #[test]
    fn padding_is_not_a_number() {
        let line = Mapping::Line { slope: 1.0, intercept: 0.0 };
        let transform = Transform { mapping: line, padding: Some((-2000.0, -2000.0)) };
        let mut found = [0.0; 2];
        let cells = Cells::U16(vec![(-2000i16) as u16, 5]);
        transform.apply(&cells, Unpack::new(&layout(12, true), 11), &mut found);
        assert!(found[0].is_nan());
        assert_eq!(found[1], 5.0);
    }
}
