//! The weighting of an MR image, from its physics, then from its name.

use std::borrow::Cow;

use super::{MrTiming, scope::Scope, tags};
use crate::study::{Family, Modality};

/// What an MR image shows; [`Modality::Mr`] where the header does not tell.
///
/// What the scanner computed (*Image Type*) comes first, then *Acquisition
/// Contrast* of enhanced MR, then sequence and times:
///
/// | sequence | TR ms | TE ms | TI ms | flip | weighting |
/// |---|---|---|---|---|---|
/// | inversion, not short TI | | ≥ 70 | 1400 to 3500 | | FLAIR |
/// | inversion | | ≤ 30 | 400 to 1400 | | T1 |
/// | spin echo | ≤ 1000 | ≤ 30 | | | T1 |
/// | spin echo | ≥ 1800 | ≥ 60 | | | T2 |
/// | spin echo | ≥ 1800 | ≤ 45 | | | PD |
/// | gradient echo, spoiled | ≤ 300 | ≤ 10 | | ≥ 20° | T1 |
/// | gradient echo | | ≥ 12 | | ≤ 35° | T2* |
/// | gradient, echo planar | | | | | EPI |
///
/// Where TR and TE are absent, as in files that were anonymised with a broad
/// brush, or in the gaps of the table, the words of *Series Description* and
/// *Protocol Name* decide if they name one weighting: only words on the closed
/// list of [`Modality`] are looked at.
///
/// # Source
/// Bushberg et al., The Essential Physics of Medical Imaging, chapter on
/// magnetic resonance (T1: TR 400 to 600, TE 5 to 30; PD: TR 1500 to 3500, TE
/// 5 to 30; T2: TR 1500 to 3500, TE 60 to 150); De Coene et al., AJNR 1992,
/// 13:1555 (FLAIR: TI 1800 to 2500, long TE). The limits are wider than the
/// books', for 3 T and for turbo spin echo.
pub(super) fn weighting(scope: &Scope<'_>, timing: &MrTiming, image_type: &[String]) -> Modality {
    let text = |tag| short_text(scope, tag);
    let is = |word: &str| image_type.iter().any(|w| w == word);
    if is("ADC") {
        return Modality::Adc;
    }
    if is("DIFFUSION") || timing.b_value.is_some() {
        return Modality::Dwi;
    }
    let contrast = text(tags::ACQUISITION_CONTRAST);
    if let Some(named) = contrast.and_then(|word| acquisition_contrast(&word)) {
        return with_agent(scope, named);
    }
    let angio = text(tags::ANGIO_FLAG).is_some_and(|flag| flag == "Y");
    if angio || is("ANGIO") || is("TOF") || is("MIP") {
        return Modality::Mra;
    }
    let sequence = Sequence {
        kinds: scope.with(tags::SCANNING_SEQUENCE).words(tags::SCANNING_SEQUENCE),
        variants: scope.with(tags::SEQUENCE_VARIANT).words(tags::SEQUENCE_VARIANT),
    };
    let found = sequence.weighting(timing).unwrap_or_else(|| {
        let texts = [tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME].map(text);
        texts.iter().flatten().find_map(|text| named(text)).unwrap_or(Modality::Mr)
    });
    with_agent(scope, found)
}

/// A text, where it has no more than twice the 512 bytes that 64 letters and their escapes
/// take: each of a file's frames is looked at.
fn short_text<'a>(scope: &Scope<'a>, tag: tags::Tag) -> Option<Cow<'a, str>> {
    let holds = scope.with(tag);
    holds.bytes(tag).filter(|bytes| bytes.len() <= 1024)?;
    holds.text(tag)
}

/// T1 becomes T1 after contrast agent where the header names one.
fn with_agent(scope: &Scope<'_>, found: Modality) -> Modality {
    let agent = short_text(scope, tags::CONTRAST_AGENT);
    let agent = agent.is_some_and(|name| !["NO", "NONE"].contains(&name.to_uppercase().as_str()));
    if found == Modality::T1 && agent { Modality::T1Post } else { found }
}

/// *Acquisition Contrast* of enhanced MR, where it names a weighting.
///
/// # Source
/// DICOM PS3.3 C.8.13.3.3.1.
fn acquisition_contrast(word: &str) -> Option<Modality> {
    Some(match word {
        "DIFFUSION" => Modality::Dwi,
        "FLUID_ATTENUATED" => Modality::Flair,
        "PROTON_DENSITY" => Modality::Pd,
        "T1" => Modality::T1,
        "T2" => Modality::T2,
        "T2_STAR" => Modality::T2Star,
        "TOF" => Modality::Mra,
        _ => return None,
    })
}

struct Sequence {
    kinds: Vec<String>,
    variants: Vec<String>,
}

impl Sequence {
    fn weighting(&self, timing: &MrTiming) -> Option<Modality> {
        let is = |word: &str| self.kinds.iter().any(|kind| kind == word);
        let spoiled = self.variants.iter().any(|variant| variant == "SP");
        let echo = timing.echo_ms.filter(|&ms| ms > 0.0)?;
        let inversion = timing.inversion_ms.filter(|&ms| ms > 0.0);
        match inversion {
            Some(1400.0..=3500.0) if echo >= 70.0 => return Some(Modality::Flair),
            Some(400.0..=1400.0) if echo <= 30.0 => return Some(Modality::T1),
            Some(_) if is("IR") => return None,
            _ => {}
        }
        if is("EP") {
            return is("GR").then_some(Modality::Epi);
        }
        let repetition = timing.repetition_ms.filter(|&ms| ms > 0.0)?;
        if is("GR") {
            let flip = timing.flip_degrees?;
            let t1 = spoiled && repetition <= 300.0 && echo <= 10.0 && flip >= 20.0;
            let t2_star = echo >= 12.0 && flip <= 35.0;
            return match (t1, t2_star) {
                (true, _) => Some(Modality::T1),
                (_, true) => Some(Modality::T2Star),
                _ => None,
            };
        }
        if !is("SE") {
            return None;
        }
        match (repetition, echo) {
            (..=1000.0, ..=30.0) => Some(Modality::T1),
            (1800.0.., 60.0..) => Some(Modality::T2),
            (1800.0.., ..=45.0) => Some(Modality::Pd),
            _ => None,
        }
    }
}

/// The one weighting that a text names; `T2 FLAIR` is FLAIR, `T1 FLAIR` is T1.
fn named(text: &str) -> Option<Modality> {
    let mut found: Vec<Modality> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '*')
        .filter_map(|word| match word {
            "T2*" | "t2*" => Some(Modality::T2Star),
            _ => word.parse().ok(),
        })
        .filter(|&modality: &Modality| modality.family() == Family::Mr && modality != Modality::Mr)
        .collect();
    found.sort_unstable();
    found.dedup();
    match found[..] {
        [one] => Some(one),
        [Modality::T1, Modality::Flair] => Some(Modality::T1),
        [Modality::T2, Modality::Flair] => Some(Modality::Flair),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::dicom::{values::Values, walk::Encoding};

    fn of(kinds: &str, variants: &str, times: [f64; 4]) -> Option<Modality> {
        let words = |text: &str| text.split('\\').map(str::to_owned).collect();
        let some = |n: f64| (n > 0.0).then_some(n);
        let [tr, te, ti, flip] = times;
        let timing = MrTiming {
            repetition_ms: some(tr),
            echo_ms: some(te),
            inversion_ms: some(ti),
            flip_degrees: some(flip),
            ..MrTiming::default()
        };
        Sequence { kinds: words(kinds), variants: words(variants) }.weighting(&timing)
    }

    #[test]
    fn clinical_protocols_have_their_weighting() {
        assert_eq!(of("SE", "SK", [550.0, 12.0, 0.0, 90.0]), Some(Modality::T1));
        assert_eq!(of("SE", "SK\\SP", [4000.0, 100.0, 0.0, 150.0]), Some(Modality::T2));
        assert_eq!(of("SE", "SK", [2500.0, 15.0, 0.0, 90.0]), Some(Modality::Pd));
        assert_eq!(of("SE\\IR", "SK", [9000.0, 120.0, 2500.0, 150.0]), Some(Modality::Flair));
        assert_eq!(of("GR\\IR", "SP\\MP", [2300.0, 3.0, 900.0, 9.0]), Some(Modality::T1));
        assert_eq!(of("GR", "SP", [20.0, 4.0, 0.0, 25.0]), Some(Modality::T1));
        assert_eq!(of("GR", "SP", [600.0, 20.0, 0.0, 20.0]), Some(Modality::T2Star));
        assert_eq!(of("EP\\GR", "SK", [2000.0, 30.0, 0.0, 90.0]), Some(Modality::Epi));
    }

    #[test]
    fn what_lies_between_is_left_open() {
        assert_eq!(of("SE\\IR", "SK", [4000.0, 60.0, 160.0, 150.0]), None);
        assert_eq!(of("SE", "SK", [1400.0, 50.0, 0.0, 90.0]), None);
        assert_eq!(of("SE", "SK", [0.0; 4]), None);
    }

    #[test]
    fn a_text_that_is_no_name_is_not_looked_at() {
        let of = |length: usize| {
            let mut values = Values::new(Encoding::EXPLICIT);
            let append = |bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(b"T2");
                bytes.resize(length, b' ');
                Ok(())
            };
            values.own.insert(tags::SERIES_DESCRIPTION, append).unwrap();
            weighting(&Scope::of_frame(&values, 0), &MrTiming::default(), &[])
        };
        assert_eq!((of(64), of(2000)), (Modality::T2, Modality::Mr));
    }

    #[test]
    fn a_name_counts_where_it_names_one_weighting() {
        assert_eq!(named("AXIAL SE T2 FAT SAT"), Some(Modality::T2));
        assert_eq!(named("ax_t2_flair"), Some(Modality::Flair));
        assert_eq!(named("SAG T1 FLAIR"), Some(Modality::T1));
        assert_eq!(named("T1 and T2"), None);
        assert_eq!(named("ax t2* gre"), Some(Modality::T2Star));
        assert_eq!(named("CT of Mr X"), None);
    }
}
