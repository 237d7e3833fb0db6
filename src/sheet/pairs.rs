//! Pairs of views as pictures: what the encoder is told is the same.

use std::path::Path;

use ndarray::Array2;

use super::{
    SheetError,
    canvas::{Canvas, LETTER, LINE, Side},
};
use crate::durable;

/// Between cells, and at the edges of a page.
const MARGIN: usize = 16;

/// Between the two views of a pair.
const GAP: usize = 4;

/// Side in pixels that a view is enlarged to, by whole numbers, where it is smaller.
const TILE: usize = 192;

/// Columns that a title takes at least: views may be narrower than their words.
const LEAST: usize = 46 * LETTER;

/// A pair on a sheet.
#[derive(Debug, Clone)]
pub struct PairCell {
    /// Lines above the pictures.
    pub titles: Vec<String>,
    /// Grey pictures `[row, column]` of the anchor's slices, and of the positive's,
    /// as a person reads them.
    pub sides: [Vec<Array2<u8>>; 2],
}

/// The grey of a slice's values `[row, column]`, as a radiologist sees it: the lowest
/// of a range black and the highest white, the first row at the bottom (rows run to
/// anterior or superior) and the first column on the right (columns run to the
/// patient's right, or to anterior).
pub fn grey(values: &[f32], size: usize, range: [f32; 2]) -> Array2<u8> {
    let [low, high] = range;
    Array2::from_shape_fn((size, size), |(row, column)| {
        let at = (size - 1 - row) * size + size - 1 - column;
        let value = values.get(at).copied().unwrap_or(low);
        let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
        (share * 255.0).round() as u8
    })
}

/// Writes pairs as one PNG, so many beside each other, with a note at the head.
///
/// # Errors
/// [`SheetError::Durable`] and [`SheetError::Write`].
pub fn write_pairs(
    path: &Path,
    cells: &[PairCell],
    columns: usize,
    notes: &[String],
) -> Result<(), SheetError> {
    let canvas = draw(cells, columns.clamp(1, cells.len().max(1)), notes);
    durable::write_atomically(path, |out| canvas.write_png(out).map_err(SheetError::Write))
}

fn draw(cells: &[PairCell], columns: usize, notes: &[String]) -> Canvas {
    let sizes: Vec<_> = cells.iter().map(size).collect();
    let most = |of: fn(&(usize, usize)) -> usize| sizes.iter().map(of).max().unwrap_or(0);
    let (width, height) = (most(|size| size.0), most(|size| size.1));
    let rows = cells.len().div_ceil(columns);
    let head = MARGIN + notes.len() * LINE + MARGIN / 2;
    let mut canvas =
        Canvas::new(MARGIN + columns * (width + MARGIN), head + rows * (height + MARGIN));
    for (n, note) in notes.iter().enumerate() {
        canvas.text(MARGIN, MARGIN / 2 + n * LINE, Side::RightOf, 200, note);
    }
    for (n, cell) in cells.iter().enumerate() {
        let x = MARGIN + n % columns * (width + MARGIN);
        let y = head + n / columns * (height + MARGIN);
        canvas.bar(x, y - MARGIN / 2, width, 1, 60);
        for (line, title) in cell.titles.iter().enumerate() {
            canvas.text(x, y + line * LINE, Side::RightOf, 255, title);
        }
        let top = y + cell.titles.len() * LINE;
        for (side, slices) in cell.sides.iter().enumerate() {
            for (slice, picture) in slices.iter().enumerate() {
                let times = enlarged(picture, slices.len());
                let (down, across) = (picture.nrows() * times, picture.ncols() * times);
                let left = if slices.len() == 1 { side } else { slice } * (across + GAP);
                let below = if slices.len() == 1 { 0 } else { side * (down + GAP) };
                let large = Array2::from_shape_fn((down, across), |(row, column)| {
                    picture[[row / times, column / times]]
                });
                canvas.picture(x + left, top + below, &large);
            }
        }
    }
    canvas
}

/// How many times a picture is enlarged, where so many stand beside each other.
fn enlarged(picture: &Array2<u8>, beside: usize) -> usize {
    let tile = if beside == 1 { TILE } else { TILE / 2 };
    (tile / picture.ncols().max(1)).max(1)
}

/// Width and height: two planes beside each other, or two rows of slices.
fn size(cell: &PairCell) -> (usize, usize) {
    let slices = cell.sides.iter().map(Vec::len).max().unwrap_or(0);
    let picture = cell.sides.iter().flatten().next();
    let (down, across) = picture.map_or((0, 0), |picture| {
        let times = enlarged(picture, slices);
        (picture.nrows() * times, picture.ncols() * times)
    });
    let (beside, above) = if slices == 1 { (2, 1) } else { (slices, 2) };
    let width = (beside * (across + GAP)).max(LEAST);
    (width, cell.titles.len() * LINE + above * (down + GAP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anterior_is_above_and_the_patients_right_on_the_left() {
        // The last row lies anterior, the last column to the patient's right.
        let values = [0.0, 1.0, 2.0, 4.0];
        let seen = grey(&values, 2, [0.0, 4.0]);
        assert_eq!(seen, ndarray::array![[255, 128], [64, 0]]);
        assert_eq!(grey(&values, 2, [3.0, 3.0]), Array2::<u8>::zeros((2, 2)));
    }

    #[test]
    fn a_sheet_has_room_for_every_pair() {
        let picture = Array2::from_elem((48, 48), 200);
        let plane = PairCell {
            titles: vec!["one".to_owned(), "two".to_owned()],
            sides: [vec![picture.clone()], vec![picture.clone()]],
        };
        let slab =
            PairCell { sides: [vec![picture.clone(); 5], vec![picture; 5]], ..plane.clone() };
        let folder = tempfile::tempdir().unwrap();
        for (cell, across, down) in [(plane, 2 * (192 + GAP), 192 + GAP), (slab, 5 * 100, 2 * 100)]
        {
            let path = folder.path().join("pairs.png");
            write_pairs(&path, &vec![cell; 5], 2, &["note".to_owned()]).unwrap();
            let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
            let info = png::Decoder::new(file).read_info().unwrap().info().size();
            let width = MARGIN + 2 * (across + MARGIN);
            let height = MARGIN + LINE + MARGIN / 2 + 3 * (2 * LINE + down + MARGIN);
            assert_eq!(info, (width as u32, height as u32));
        }
    }
}
