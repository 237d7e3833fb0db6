//! Stacks whose places are there several times: which images make which volume.

use std::collections::{BTreeMap, BTreeSet};

use super::{SeriesError, stack::Placed};

/// What tells volumes at the same places apart, the most telling first.
const KEYS: [(&str, KeyOf); 6] = [
    ("temporal position", |slice| Some(vec![slice.frame().temporal_position?])),
    ("trigger time", |slice| Some(vec![rounded(slice.frame().timing.trigger_ms?)])),
    ("b-value", |slice| Some(vec![rounded(slice.frame().timing.b_value?)])),
    ("b-value and direction", |slice| {
        let frame = slice.frame();
        let b_value = rounded(frame.timing.b_value?);
        let direction = frame.gradient.map_or([0; 3], |cosines| cosines.map(|c| rounded(c * 1e3)));
        Some([&[b_value], &direction[..]].concat())
    }),
    ("dimension index", |slice| {
        let dimensions = &slice.frame().dimensions;
        (!dimensions.is_empty()).then(|| dimensions.iter().map(|&n| i64::from(n)).collect())
    }),
    ("acquisition time", |slice| {
        let time = slice.image.instance.acquisition_time.as_ref()?;
        Some(vec![rounded(time.parse::<f64>().ok()? * 1e3)])
    }),
];

type Key = Vec<i64>;

/// The key of an image, where it has what the key is made of.
type KeyOf = fn(&Placed) -> Option<Key>;

/// Thousandths are rounding.
fn rounded(number: f64) -> i64 {
    (number * 1e3).round() as i64
}

/// The volumes of a stack where each of `places` places is there `times` times,
/// in order, and what tells them apart. `place` is the place of each image.
///
/// A key is taken where it makes `times` groups with every place once. Where none
/// does, the images of a place are taken in the order of b-value, instance and
/// frame, if then every volume has one temporal position, trigger time and
/// b-value.
///
/// # Errors
/// [`SeriesError::Repeated`] where nothing tells them apart.
pub(super) fn split(
    slices: Vec<Placed>,
    place: &[usize],
    times: usize,
    places: usize,
) -> Result<(Vec<Vec<Placed>>, &'static str), SeriesError> {
    for (name, key) in KEYS {
        let keys: Option<Vec<Key>> = slices.iter().map(key).collect();
        // What an image lacks tells it apart too: a b-value of 0 is often left out.
        let keys = keys
            .unwrap_or_else(|| slices.iter().map(|slice| key(slice).unwrap_or_default()).collect());
        if tells_apart(&keys, place, times, places) {
            return Ok((grouped(slices, keys), name));
        }
    }
    let keys = ranks(&slices, place).ok_or(SeriesError::Repeated { times, places })?;
    if !tells_apart(&keys, place, times, places) {
        return Err(SeriesError::Repeated { times, places });
    }
    let volumes = grouped(slices, keys);
    let uniform = |volume: &Vec<Placed>| {
        KEYS[..3].iter().all(|(_, key)| volume.iter().map(key).collect::<BTreeSet<_>>().len() == 1)
    };
    if volumes.iter().all(uniform) {
        Ok((volumes, "instance number"))
    } else {
        Err(SeriesError::Repeated { times, places })
    }
}

fn tells_apart(keys: &[Key], place: &[usize], times: usize, places: usize) -> bool {
    let mut groups: BTreeMap<&Key, BTreeSet<usize>> = BTreeMap::new();
    keys.iter().zip(place).all(|(key, &place)| groups.entry(key).or_default().insert(place))
        && groups.len() == times
        && groups.values().all(|found| found.len() == places)
}

fn grouped(slices: Vec<Placed>, keys: Vec<Key>) -> Vec<Vec<Placed>> {
    let mut groups: BTreeMap<Key, Vec<Placed>> = BTreeMap::new();
    for (slice, key) in slices.into_iter().zip(keys) {
        groups.entry(key).or_default().push(slice);
    }
    groups.into_values().collect()
}

/// The rank of each image among those of its place; none where two are equal.
fn ranks(slices: &[Placed], place: &[usize]) -> Option<Vec<Key>> {
    let order = |index: usize| {
        let slice = &slices[index];
        let b_value = slice.frame().timing.b_value.map(rounded);
        (place[index], b_value, slice.image.instance.instance_number, slice.image.index)
    };
    let mut indices: Vec<usize> = (0..slices.len()).collect();
    indices.sort_by_key(|&index| order(index));
    if indices.windows(2).any(|pair| order(pair[0]) == order(pair[1])) {
        return None;
    }
    let mut keys = vec![Vec::new(); slices.len()];
    let mut rank = 0;
    for (position, &index) in indices.iter().enumerate() {
        let same = position > 0 && place[indices[position - 1]] == place[index];
        rank = if same { rank + 1 } else { 0 };
        keys[index] = vec![rank];
    }
    Some(keys)
}
