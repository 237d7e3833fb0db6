//! Damage at random, the same for the same number.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::seeds::Seed;

/// Most bytes that count as the header.
const HEADER: usize = 700;

/// The file of a seed that is damaged in a case, and its bytes then.
pub fn damaged(seed: &Seed, run: u64, case: u64) -> (usize, Vec<u8>) {
    let mut random = ChaCha8Rng::seed_from_u64(run);
    random.set_stream(case);
    let file = seed.damaged[random.random_range(0..seed.damaged.len())];
    let bytes = &seed.files[file].1;
    let bytes = match seed.packed {
        Some(packed) if random.random() => packed.close(&mutate(packed.open(bytes), &mut random)),
        _ => mutate(bytes.clone(), &mut random),
    };
    (file, bytes)
}

fn mutate(mut bytes: Vec<u8>, random: &mut impl Rng) -> Vec<u8> {
    // In the header, anywhere, or behind the start of pixel data where that is found.
    let pixels = bytes.windows(4).rposition(|tag| tag == [0xE0, 0x7F, 0x10, 0]).unwrap_or(0);
    let places = [0..HEADER, 0..usize::MAX, pixels..usize::MAX];
    let place = places[random.random_range(0..places.len())].clone();
    let changes = if random.random() { 1 } else { random.random_range(2..=6) };
    for _ in 0..changes {
        let end = place.end.min(bytes.len());
        if bytes.len() < 16 || place.start >= end {
            break;
        }
        let at = random.random_range(place.start..end);
        one(&mut bytes, at, random);
    }
    bytes
}

/// One change, at a byte that is there.
fn one(bytes: &mut Vec<u8>, at: usize, random: &mut impl Rng) {
    const BYTES: [u8; 8] = [0, 1, 0x7F, 0x80, 0xFF, b'9', b' ', b'\\'];
    const WORDS: [u16; 6] = [0, 1, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF];
    const LONGS: [u32; 6] = [0, 0x7FFF_FFFF, 0x8000_0000, 0xF000_0000, 0xFFFF_FFFE, u32::MAX];
    let put = |bytes: &mut Vec<u8>, new: &[u8]| {
        for (old, new) in bytes[at..].iter_mut().zip(new) {
            *old = *new;
        }
    };
    let len = random.random_range(1..=16);
    match random.random_range(0..12) {
        0 => bytes[at] = random.random(),
        1 | 2 => bytes[at] ^= 1 << random.random_range(0..8),
        3 => bytes[at] = BYTES[random.random_range(0..BYTES.len())],
        4 => {
            let word = WORDS[random.random_range(0..WORDS.len())];
            put(bytes, &if random.random() { word.to_le_bytes() } else { word.to_be_bytes() });
        }
        5 => {
            let long = LONGS[random.random_range(0..LONGS.len())];
            put(bytes, &if random.random() { long.to_le_bytes() } else { long.to_be_bytes() });
        }
        6 => bytes[at] = bytes[at].wrapping_add(random.random_range(1..=3)),
        7 => drop(bytes.remove(at)),
        8 => drop(bytes.drain(at..(at + len).min(bytes.len()))),
        9 => {
            let part = bytes[at..(at + len).min(bytes.len())].to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, part);
        }
        10 => bytes.insert(at, random.random()),
        _ => {
            let part = bytes[at..(at + len).min(bytes.len())].to_vec();
            let to = random.random_range(0..bytes.len());
            for (old, new) in bytes[to..].iter_mut().zip(part) {
                *old = new;
            }
        }
    }
}
