//! Files that end early: never a volume of what is not there.

use super::{
    seeds::seeds,
    verdict::{Place, Verdict},
};
use crate::readers::files::decode_apart;

#[test]
fn a_file_cut_at_any_percent_gives_no_volume() {
    decode_apart();
    let folder = tempfile::tempdir().unwrap();
    let (mut cut, mut wrong) = (0, Vec::new());
    // Of five slices four remain, which are for the index to refuse: see
    // tests/pipeline/damaged.rs.
    for seed in seeds().into_iter().filter(|seed| seed.name != "CT series") {
        let place = Place::new(&folder.path().join("cut"), &seed);
        for &file in &seed.damaged {
            let whole = &seed.files[file].1;
            for percent in 0..100 {
                place.put(file, &whole[..whole.len() * percent / 100]);
                cut += 1;
                if place.verdict(&seed) == Verdict::Volume {
                    wrong.push(format!("{} at {percent} %", seed.name));
                }
            }
            place.put(file, whole);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    println!("cut at each percent | {cut} files | all refused");
}
