//! Grey pixels to draw on.

use std::{
    convert::Infallible,
    io::{self, Write},
};

use embedded_graphics::{
    Drawable, Pixel,
    draw_target::DrawTarget,
    geometry::{OriginDimensions, Point, Size},
    mono_font::{MonoFont, MonoTextStyle, iso_8859_1},
    pixelcolor::Gray8,
    pixelcolor::GrayColor,
    primitives::{Primitive, PrimitiveStyle, Rectangle},
    text::{Alignment, Baseline, Text, TextStyleBuilder},
};
use ndarray::Array2;

/// The letters of labels: 7 by 13 pixels.
const FONT: MonoFont = iso_8859_1::FONT_7X13;

/// Width of a letter.
pub(super) const LETTER: usize = 7;

/// Height of a line of text.
pub(super) const LINE: usize = 15;

/// A grey picture `[row, column]`.
pub(super) struct Canvas {
    pixels: Array2<u8>,
}

/// Which side of a place a text stands on.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// Begins there, below.
    RightOf,
    /// Has its middle there.
    Around,
}

impl Canvas {
    pub fn new(width: usize, height: usize) -> Self {
        Self { pixels: Array2::zeros((height, width)) }
    }

    /// Lays a picture with its upper left corner at a place.
    pub fn picture(&mut self, x: usize, y: usize, picture: &Array2<u8>) {
        for ((row, column), &grey) in picture.indexed_iter() {
            self.put(x + column, y + row, grey);
        }
    }

    /// A text in a grey.
    pub fn text(&mut self, x: usize, y: usize, side: Side, grey: u8, text: &str) {
        let style = MonoTextStyle::new(&FONT, Gray8::new(grey));
        let placed = match side {
            Side::RightOf => TextStyleBuilder::new().baseline(Baseline::Top).build(),
            Side::Around => TextStyleBuilder::new()
                .baseline(Baseline::Middle)
                .alignment(Alignment::Center)
                .build(),
        };
        let place = Point::new(x as i32, y as i32);
        let Ok(_) = Text::with_text_style(text, place, style, placed).draw(self);
    }

    /// A filled rectangle.
    pub fn bar(&mut self, x: usize, y: usize, width: usize, height: usize, grey: u8) {
        let place = Point::new(x as i32, y as i32);
        let size = Size::new(width as u32, height as u32);
        let style = PrimitiveStyle::with_fill(Gray8::new(grey));
        let Ok(()) = Rectangle::new(place, size).into_styled(style).draw(self);
    }

    fn put(&mut self, x: usize, y: usize, grey: u8) {
        if let Some(pixel) = self.pixels.get_mut((y, x)) {
            *pixel = grey;
        }
    }

    /// Writes the picture as an 8-bit grey PNG.
    pub fn write_png(&self, out: impl Write) -> io::Result<()> {
        let (height, width) = self.pixels.dim();
        let mut encoder = png::Encoder::new(out, width as u32, height as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_slice().unwrap_or_default())?;
        Ok(writer.finish()?)
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        let (height, width) = self.pixels.dim();
        Size::new(width as u32, height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Gray8;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Gray8>>,
    {
        for Pixel(place, colour) in pixels {
            if let (Ok(x), Ok(y)) = (place.x.try_into(), place.y.try_into()) {
                self.put(x, y, colour.luma());
            }
        }
        Ok(())
    }
}
