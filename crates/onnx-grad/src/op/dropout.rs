//! Dropout whose mask is a function of counters, so that it can be drawn again.

use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, count};

/// 2³¹ − 1, the prime of the field that all numbers are drawn from: a product of
/// one of its elements with the sum of two stays below 2⁶³.
const P: i64 = (1 << 31) - 1;
/// The prime before it; with `P` it tells apart seeds up to 2⁶².
const Q: i64 = (1 << 31) - 19;
/// The rounds of [`Graph::scramble`]: the result is a polynomial of degree 2⁴.
const ROUNDS: usize = 4;

impl Graph {
    /// `x` with a part of its elements, `ratio` on average, set to zero and the
    /// others divided by `1 − ratio`. The seed is an `i64` of shape `[]`.
    ///
    /// Which elements go depends on their place in the shape, the seed and the
    /// number of the site, and on nothing else: the same ones in every run, on
    /// every device. Sites of one graph need different numbers, steps of a run
    /// different seeds. A ratio of 0 is `x` itself.
    ///
    /// # Errors
    /// [`Error::Attribute`] where the ratio is not within `0.0..1.0`,
    /// [`Error::Shape`] and [`Error::ElementType`] where the seed is not an
    /// `i64` of shape `[]` or `x` is not `f32`.
    ///
    /// # Source
    /// Srivastava et al. 2014, section 10, inverted; ONNX `Dropout`. The mask is
    /// Carter and Wegman 1979's universal hash: with the shape cut in rows and
    /// columns, element (r, c) stays where `aᵣ·x꜀ + bᵣ mod p` is small. The
    /// numbers of rows and columns come from their index by quadratic maps.
    pub fn dropout(
        &mut self,
        x: Value,
        ratio: f32,
        seed: Value,
        site: u64,
    ) -> Result<Value, Error> {
        if !(0.0..1.0).contains(&ratio) {
            return Err(Error::attribute("Dropout", "a ratio within 0.0..1.0", ratio));
        }
        if self.element_type(seed) != ElementType::I64 {
            return Err(Error::element_type("Dropout", "a seed of I64", &[self.ty(seed)]));
        }
        if !self.shape(seed).is_empty() {
            return Err(Error::shape("Dropout", "a seed of shape []", &[self.ty(seed)]));
        }
        if ratio == 0.0 {
            return Ok(x);
        }
        let shape = self.shape(x).to_vec();
        let kept = self.kept(&shape, ratio, seed, site)?;
        let (scale, zero) = (self.scalar(1.0 / (1.0 - ratio)), self.scalar(0.0));
        let scaled = self.mul(x, scale)?;
        self.where_(kept, scaled, zero)
    }

    /// The mask, as truth values.
    fn kept(
        &mut self,
        shape: &[usize],
        ratio: f32,
        seed: Value,
        site: u64,
    ) -> Result<Value, Error> {
        let (rows, columns) = balanced(shape);
        let (p, q) = (self.constant_i64(&[], &[P])?, self.constant_i64(&[], &[Q])?);
        let (lower, upper) = (self.mod_(seed, p)?, self.mod_(seed, q)?);
        let keys: Vec<i64> = (0..ROUNDS as u64).map(|round| key(site, round)).collect();
        let keys = self.constant_i64(&[ROUNDS], &keys)?;
        let keys = self.scramble(keys, &[lower, upper, lower, upper])?;
        let keys = self.split(keys, 0, &[1; ROUNDS])?;

        // counted from 1: the maps leave 0 where it is
        let drawn = rows.saturating_mul(2).saturating_add(columns);
        let index: Vec<i64> = (1..=drawn as i64).map(|i| i % P).collect();
        let index = self.constant_i64(&[drawn], &index)?;
        let numbers = self.scramble(index, &keys)?;
        let parts = self.split(numbers, 0, &[rows, rows, columns])?;
        let slope = self.reshape(parts[0], &[rows, 1])?;
        let offset = self.reshape(parts[1], &[rows, 1])?;
        let line = self.mul(slope, parts[2])?;
        let line = self.add(line, offset)?;
        let number = self.mod_(line, p)?;
        let limit = ((1.0 - f64::from(ratio)) * P as f64).round() as i64;
        let limit = self.constant_i64(&[], &[limit])?;
        let kept = self.less(number, limit)?;
        self.reshape(kept, shape)
    }

    /// x ← x·(x + key) mod p, once for every key.
    fn scramble(&mut self, x: Value, keys: &[Value]) -> Result<Value, Error> {
        let p = self.constant_i64(&[], &[P])?;
        keys.iter().try_fold(x, |x, &key| {
            let sum = self.add(x, key)?;
            let product = self.mul(x, sum)?;
            self.mod_(product, p)
        })
    }
}

/// Rows and columns of a shape cut in two where there is least to draw.
fn balanced(shape: &[usize]) -> (usize, usize) {
    (0..=shape.len())
        .map(|axis| (count(&shape[..axis]), count(&shape[axis..])))
        .min_by_key(|(rows, columns)| rows.saturating_mul(2).saturating_add(*columns))
        .unwrap_or((1, 1))
}

/// A number within `1..P` for a round of a site.
///
/// The source is Steele, Lea and Flood 2014, `mix64` of SplittableRandom.
fn key(site: u64, round: u64) -> i64 {
    let counter = site.wrapping_mul(ROUNDS as u64).wrapping_add(round + 1);
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % (P as u64 - 1)) as i64 + 1
}
