//! `mivox pairs`

use std::collections::BTreeMap;

use super::{
    job::{Job, counted, say},
    register,
};
use crate::{
    pairing::{self, HELD_OUT, PairRow},
    table,
};

pub(super) fn run(job: &Job) -> anyhow::Result<bool> {
    let config = &job.config;
    let depends = (&config.pairs, &config.view, config.seed);
    let stamp = job.stamp("pairs", Some(register::before_pairs(job)), &depends)?;
    let output = job.path("pairs.parquet");
    if stamp.is_set(std::slice::from_ref(&output)) {
        say("pairs", "unchanged");
        return Ok(true);
    }
    stamp.clear()?;
    let split = job.split(&job.volume_rows()?);
    let (pairs, missing) = pairing::pairs(&job.volumes()?, &config.pairs, &config.view, &split)?;
    for kind in &missing {
        say("pairs", &format!("WARNING: {kind}"));
    }
    if split.held_out_count() == 0 {
        say("pairs", "WARNING: no subject is held out, so the encoder cannot be evaluated");
    }
    summarise(&pairs);
    table::write(&output, pairs, &[("mivox.seed", config.seed.to_string())])?;
    stamp.set()?;
    Ok(true)
}

fn summarise(pairs: &[PairRow]) {
    let mut kinds: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for pair in pairs {
        kinds.entry(&pair.kind).or_default()[usize::from(pair.split == HELD_OUT)] += 1;
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, [train, held_out])| format!("{kind} {train} + {held_out} held out"))
        .collect();
    say("pairs", &format!("{}: {}", counted(pairs.len(), "pair"), kinds.join(", ")));
}
