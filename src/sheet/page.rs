//! Cells on a page.

use super::{
    Cell, Convention, Picture, Settings,
    canvas::{Canvas, LETTER, LINE, Side},
    window,
};

/// Between cells, and at the edges of a page.
const MARGIN: usize = 16;

/// Around a plane, for the letters of its edges.
const BORDER: usize = 16;

/// Most letters that stand beside each other on a cell.
fn letters(width: usize) -> usize {
    width / LETTER
}

fn cell_size(settings: &Settings) -> (usize, usize) {
    let tile = settings.tile + 2 * BORDER;
    // Two lines above, the scale bar below.
    (3 * tile, 2 * LINE + tile + LINE)
}

/// The page of some cells; `number` is (this page, of how many).
pub(super) fn draw(
    cells: &[Cell],
    settings: &Settings,
    note: &str,
    number: (usize, usize),
) -> Canvas {
    let (width, height) = cell_size(settings);
    let columns = settings.columns.min(cells.len()).max(1);
    let rows = cells.len().div_ceil(columns);
    let head = MARGIN + 2 * LINE;
    let mut canvas = Canvas::new(
        MARGIN + columns * (width + MARGIN),
        head + rows * (height + MARGIN) + MARGIN + 3 * LINE,
    );
    let convention = match settings.convention {
        Convention::Radiological => "RADIOLOGICAL: the patient's right is on the left",
        Convention::Neurological => "NEUROLOGICAL: the patient's left is on the left",
    };
    let (page, pages) = number;
    canvas.text(MARGIN, MARGIN, Side::RightOf, 255, convention);
    let told = "axial, coronal, sagittal through the middle of the volume";
    canvas.text(MARGIN, MARGIN + LINE, Side::RightOf, 170, told);
    for (n, cell) in cells.iter().enumerate() {
        let x = MARGIN + n % columns * (width + MARGIN);
        let y = head + MARGIN / 2 + n / columns * (height + MARGIN);
        canvas.bar(x, y - MARGIN / 2, width, 1, 60);
        draw_cell(&mut canvas, x, y, cell, settings);
    }
    let [low, high] = settings.ct_window_hu;
    let foot = head + rows * (height + MARGIN) + MARGIN / 2;
    let lines = [
        format!("CT {low} to {high} HU; {}; dark grey: not scanned", window::told()),
        note.to_owned(),
        format!("page {page} of {pages}"),
    ];
    for (n, line) in lines.iter().enumerate() {
        canvas.text(MARGIN, foot + n * LINE, Side::RightOf, 170, line);
    }
    canvas
}

fn draw_cell(canvas: &mut Canvas, x: usize, y: usize, cell: &Cell, settings: &Settings) {
    canvas.text(x, y, Side::RightOf, 255, &cell.title);
    canvas.text(x, y + LINE, Side::RightOf, 255, &cell.details);
    let top = y + 2 * LINE;
    match &cell.picture {
        Ok(picture) => draw_picture(canvas, x, top, picture, settings.tile),
        Err(error) => {
            let text: Vec<char> = format!("cannot be shown: {error}").chars().collect();
            for (n, line) in text.chunks(letters(cell_size(settings).0)).enumerate() {
                let line: String = line.iter().collect();
                canvas.text(x, top + BORDER + n * LINE, Side::RightOf, 255, &line);
            }
        }
    }
}

fn draw_picture(canvas: &mut Canvas, x: usize, y: usize, picture: &Picture, tile: usize) {
    let side = tile + 2 * BORDER;
    for (n, plane) in picture.planes.iter().enumerate() {
        let (rows, columns) = plane.pixels.dim();
        let left = x + n * side + (side - columns) / 2;
        let top = y + (side - rows) / 2;
        canvas.picture(left, top, &plane.pixels);
        let (middle, centre) = (left + columns / 2, top + rows / 2);
        let places = [
            (left - BORDER / 2, centre),
            (left + columns + BORDER / 2, centre),
            (middle, top - BORDER / 2),
            (middle, top + rows + BORDER / 2),
        ];
        for ((x, y), letter) in places.into_iter().zip(plane.letters) {
            canvas.text(x, y, Side::Around, 255, &letter.to_string());
        }
    }
    let mm = scale_bar_mm(picture.mm_per_pixel * tile as f64 / 2.0);
    let width = (mm / picture.mm_per_pixel).round() as usize;
    let (left, top) = (x + BORDER, y + side + LINE / 2);
    canvas.bar(left, top - 1, width, 2, 255);
    canvas.bar(left, top - 4, 1, 8, 255);
    canvas.bar(left + width, top - 4, 1, 8, 255);
    let text = if mm >= 10.0 { format!("{} cm", mm / 10.0) } else { format!("{mm} mm") };
    canvas.text(left + width + LETTER, top - LINE / 2, Side::RightOf, 255, &text);
}

/// The longest of 1, 2, 5, 10, … mm that is no longer than `limit`.
fn scale_bar_mm(limit: f64) -> f64 {
    let power = 10f64.powf(limit.log10().floor());
    [5.0, 2.0, 1.0].map(|n| n * power).into_iter().find(|&mm| mm <= limit).unwrap_or(power)
}
