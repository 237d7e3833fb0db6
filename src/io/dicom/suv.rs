//! From the activity of a PET to standardised uptake by body weight.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::{
    scope::Scope,
    tags,
    values::{Attributes, Values},
};

/// What *Units* of a PET may say.
const UNITS: [&str; 6] = ["BQML", "GML", "CM2ML", "CNTS", "PROPCNTS", "CPS"];

/// *Enhanced PET Image Storage*, whose dose is in MBq.
const ENHANCED: &str = "1.2.840.10008.5.1.4.1.1.130";

/// Below it a dose cannot be in Bq, and above it cannot be in MBq.
const LEAST_DOSE_BQ: f64 = 1e5;

/// Longest wait from an injection to the scan, in half-lives and in days: a hundredth is
/// left, and zirconium-89 is looked at for a week or two.
const MOST_HALF_LIVES: f64 = 6.0;
const MOST_DAYS: f64 = 30.0;
const DAY_S: f64 = 86_400.0;

/// Unit of the values of a PET: its *Units*, else that of its real world values.
///
/// # Source
/// DICOM PS3.3 C.8.9.1.1.3; PS3.16 CID 84, whose codes are of UCUM.
pub(super) fn unit(values: &Values) -> Option<&'static str> {
    let scope = Scope::of_frame(values, 0);
    let words = scope.with(tags::UNITS).words(tags::UNITS);
    let word = UNITS.into_iter().find(|unit| words.iter().any(|word| word == unit));
    word.or_else(|| match &*scope.real_world(values)?.text(tags::CODE_VALUE)? {
        "Bq/ml" | "Bq/mL" => Some("BQML"),
        code if code.starts_with("{SUV") && code.ends_with("cm2/ml") => Some("CM2ML"),
        code if code.starts_with("{SUV") && code.ends_with("g/ml") => Some("GML"),
        "g/ml" => Some("GML"),
        "{counts}" => Some("CNTS"),
        "{counts}/s" => Some("CPS"),
        "{propcounts}" => Some("PROPCNTS"),
        _ => None,
    })
}

/// How the values of a PET become g/ml, and why not.
///
/// The scan's time, to which the activity was corrected, is that of the series;
/// where that lies behind the acquisition, as in a series that was made later,
/// GE's own; else the acquisition's, less the frame's reference time, plus the
/// time within the frame that has its mean count rate. An enhanced PET says it.
///
/// # Source
/// QIBA, SUV vendor-neutral pseudo-code ("happy path" and robust version, body
/// weight); DICOM PS3.3 C.8.9.1 (PET series), C.8.9.2 (PET isotope), C.8.22.4 and
/// C.8.22.6 (isotope and corrections of enhanced PET).
pub(super) fn factor(values: &Values) -> Result<f64, &'static str> {
    let scope = Scope::of_frame(values, 0);
    let own = &values.own;
    let weight_g = positive(own, tags::PATIENT_WEIGHT).map(|kg| kg * 1000.0);
    match unit(values) {
        Some("GML") => match is_by_weight(values, &scope) {
            true => Ok(1.0),
            false => Err("its SUV is not by body weight"),
        },
        // Philips writes counts, and beside them what makes them SUV or Bq/ml.
        Some("CNTS") => match positive(own, tags::PHILIPS_SUV_FACTOR) {
            Some(factor) => Ok(factor),
            None => {
                let to_activity = positive(own, tags::PHILIPS_ACTIVITY_FACTOR)
                    .ok_or("its counts have no factor")?;
                Ok(to_activity * weight_g.ok_or("no patient's weight")? / dose_bq(values, &scope)?)
            }
        },
        Some("BQML") => Ok(weight_g.ok_or("no patient's weight")? / dose_bq(values, &scope)?),
        _ => Err("its unit is not Bq/ml"),
    }
}

fn is_by_weight(values: &Values, scope: &Scope<'_>) -> bool {
    if let Some(of) = scope.with(tags::SUV_TYPE).text(tags::SUV_TYPE) {
        return of == "BW";
    }
    let code = scope.real_world(values).and_then(|item| item.text(tags::CODE_VALUE));
    code.is_none_or(|code| !code.starts_with("{SUV") || code.starts_with("{SUVbw}"))
}

/// The dose in Bq that is left at the time to which the values are corrected.
fn dose_bq(values: &Values, scope: &Scope<'_>) -> Result<f64, &'static str> {
    let corrected = scope.with(tags::CORRECTED_IMAGE).words(tags::CORRECTED_IMAGE);
    let is_corrected = [("ATTN", tags::ATTENUATION_CORRECTED), ("DECY", tags::DECAY_CORRECTED)]
        .iter()
        .all(|(word, flag)| {
            corrected.iter().any(|found| found == word)
                || scope.with(*flag).text(*flag).as_deref() == Some("YES")
        });
    if !is_corrected {
        return Err("it is not corrected for attenuation and decay");
    }
    let [isotope] = values.items(tags::RADIOPHARMACEUTICAL) else {
        return Err("not one radiopharmaceutical");
    };
    let mut dose_bq = positive(isotope, tags::TOTAL_DOSE).ok_or("no injected dose")?;
    if dose_bq < LEAST_DOSE_BQ {
        if values.own.text(tags::SOP_CLASS).as_deref() != Some(ENHANCED) {
            // Some write MBq.
            return Err("its dose is too low to be in Bq");
        }
        dose_bq *= 1e6;
    }
    let half_life_s = || positive(isotope, tags::HALF_LIFE).ok_or("no half-life");
    let scan = match scope.with(tags::DECAY_CORRECTION).text(tags::DECAY_CORRECTION).as_deref() {
        Some("ADMIN") => return Ok(dose_bq),
        Some("START") => scan_start(scope, half_life_s()?).ok_or("no time of the scan")?,
        _ => scope
            .with(tags::DECAY_CORRECTION_TIME)
            .text(tags::DECAY_CORRECTION_TIME)
            .and_then(|text| date_time(&text))
            .ok_or("its decay is corrected to no time that is known")?,
    };
    let half_life_s = half_life_s()?;
    let wait_s = seconds(scan - injection(isotope, scan, half_life_s)?);
    Ok(dose_bq * (-wait_s / half_life_s).exp2())
}

fn scan_start(scope: &Scope<'_>, half_life_s: f64) -> Option<NaiveDateTime> {
    let stamp = |tag| date_time(&scope.with(tag).text(tag)?);
    let positive = |tag| positive(scope.with(tag), tag);
    let acquisition = moment(scope, tags::ACQUISITION_DATE, tags::ACQUISITION_TIME)
        .or_else(|| stamp(tags::ACQUISITION_DATE_TIME));
    let series = moment(scope, tags::SERIES_DATE, tags::SERIES_TIME);
    match (series, acquisition) {
        (Some(series), Some(acquisition)) if series <= acquisition => return Some(series),
        (_, None) => return None,
        _ => {}
    }
    if let Some(scan) = stamp(tags::GE_SCAN_TIME) {
        return Some(scan);
    }
    let reference_s = positive(tags::FRAME_REFERENCE_TIME)? / 1000.0;
    let duration_s = positive(tags::FRAME_DURATION)? / 1000.0;
    let constant = std::f64::consts::LN_2 / half_life_s;
    let decay = constant * duration_s;
    let mean_s = (decay / (1.0 - (-decay).exp())).ln() / constant;
    let shift = TimeDelta::try_milliseconds(((mean_s - reference_s) * 1000.0) as i64)?;
    acquisition?.checked_add_signed(shift)
}

/// When the activity was given. Anonymisers move dates one by one: where the date cannot
/// be, the time of day counts, on the day of the scan or the one before. Of an isotope that
/// is looked at for days, that time would not say the day.
fn injection(
    isotope: &Attributes,
    scan: NaiveDateTime,
    half_life_s: f64,
) -> Result<NaiveDateTime, &'static str> {
    let longest_s = (MOST_HALF_LIVES * half_life_s).clamp(DAY_S, MOST_DAYS * DAY_S);
    let stamp = isotope.text(tags::DOSE_START_DATE_TIME).and_then(|text| date_time(&text));
    let may_be = |start: &NaiveDateTime| (0.0..longest_s).contains(&seconds(scan - *start));
    if let Some(start) = stamp.filter(may_be) {
        return Ok(start);
    }
    if longest_s > DAY_S {
        return Err("no day of the injection that its half-life allows");
    }
    let time = isotope.text(tags::DOSE_START_TIME).and_then(|text| time(&text));
    let none = "no time of injection";
    let start = scan.date().and_time(time.or(stamp.map(|stamp| stamp.time())).ok_or(none)?);
    if start <= scan {
        return Ok(start);
    }
    start.checked_sub_days(chrono::Days::new(1)).ok_or(none)
}

fn seconds(delta: TimeDelta) -> f64 {
    delta.num_milliseconds() as f64 / 1000.0
}

fn positive(attributes: &Attributes, tag: tags::Tag) -> Option<f64> {
    attributes.decimal(tag).filter(|&number| number > 0.0)
}

fn moment(scope: &Scope<'_>, date: tags::Tag, time_of: tags::Tag) -> Option<NaiveDateTime> {
    let text = |tag| scope.with(tag).text(tag);
    let date = NaiveDate::parse_from_str(&text(date)?, "%Y%m%d").ok()?;
    Some(date.and_time(time(&text(time_of)?)?))
}

/// # Source
/// DICOM PS3.5 table 6.2-1 (DT); a time zone is passed over, as DA and TM of the
/// same file have none.
fn date_time(text: &str) -> Option<NaiveDateTime> {
    let (date, rest) = text.split_at_checked(8)?;
    let rest = rest.split(['+', '-', '&']).next()?;
    Some(NaiveDate::parse_from_str(date, "%Y%m%d").ok()?.and_time(time(rest)?))
}

/// # Source
/// DICOM PS3.5 table 6.2-1 (TM).
fn time(text: &str) -> Option<NaiveTime> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let whole = format!("{whole:0<6}");
    let time = NaiveTime::parse_from_str(&whole, "%H%M%S").ok()?;
    let millis: f64 = format!("0.{part}").parse::<f64>().ok()? * 1000.0;
    Some(time + TimeDelta::try_milliseconds(millis as i64)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_fractions() {
        let at = |h, m, s| NaiveTime::from_hms_opt(h, m, s);
        assert_eq!(time("112011.00"), at(11, 20, 11));
        assert_eq!(time("1120"), at(11, 20, 0));
        assert_eq!(time("112011.5"), at(11, 20, 11).map(|t| t + TimeDelta::milliseconds(500)));
        assert_eq!(time("noon"), None);
        let date = NaiveDate::from_ymd_opt(2006, 1, 29);
        assert_eq!(
            date_time("20060129135100.00+0100"),
            date.and_then(|d| d.and_hms_opt(13, 51, 0))
        );
    }
}
