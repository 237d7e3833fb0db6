//! From the activity of a PET to standardised uptake by body weight.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::{
    tags,
    values::{Attributes, Values},
};

/// How the values of a PET become g/ml, and why not.
///
/// The scan's time, to which the activity was corrected, is that of the series;
/// where that lies behind the acquisition, as in a series that was made later,
/// GE's own; else the acquisition's, less the frame's reference time, plus the
/// time within the frame that has its mean count rate.
///
/// # Source
/// QIBA, SUV vendor-neutral pseudo-code ("happy path" and robust version, body
/// weight); DICOM PS3.3 C.8.9.1 (PET series), C.8.9.2 (PET isotope).
pub(super) fn factor(values: &Values) -> Result<f64, &'static str> {
    let own = &values.own;
    let units = own.text(tags::UNITS).unwrap_or_default().to_ascii_uppercase();
    let weight_g = positive(own, tags::PATIENT_WEIGHT).map(|kg| kg * 1000.0);
    match units.as_str() {
        "GML" => match own.text(tags::SUV_TYPE).as_deref() {
            None | Some("BW") => Ok(1.0),
            _ => Err("its SUV is not by body weight"),
        },
        // Philips writes counts, and beside them what makes them SUV or Bq/ml.
        "CNTS" => match positive(own, tags::PHILIPS_SUV_FACTOR) {
            Some(factor) => Ok(factor),
            None => {
                let to_activity = positive(own, tags::PHILIPS_ACTIVITY_FACTOR)
                    .ok_or("its counts have no factor")?;
                Ok(to_activity * weight_g.ok_or("no patient's weight")? / dose_bq(values)?)
            }
        },
        "BQML" => Ok(weight_g.ok_or("no patient's weight")? / dose_bq(values)?),
        _ => Err("its unit is not Bq/ml"),
    }
}

/// The dose in Bq that is left at the time to which the values are corrected.
fn dose_bq(values: &Values) -> Result<f64, &'static str> {
    let own = &values.own;
    let corrected = own.words(tags::CORRECTED_IMAGE);
    if !["ATTN", "DECY"].iter().all(|word| corrected.iter().any(|found| found == word)) {
        return Err("it is not corrected for attenuation and decay");
    }
    let [isotope] = values.items(tags::RADIOPHARMACEUTICAL) else {
        return Err("not one radiopharmaceutical");
    };
    let dose_bq = positive(isotope, tags::TOTAL_DOSE).ok_or("no injected dose")?;
    // Some write MBq.
    if dose_bq < 1e5 {
        return Err("its dose is too low to be in Bq");
    }
    match own.text(tags::DECAY_CORRECTION).as_deref() {
        Some("ADMIN") => Ok(dose_bq),
        Some("START") => {
            let half_life_s = positive(isotope, tags::HALF_LIFE).ok_or("no half-life")?;
            let scan = scan_start(own, half_life_s).ok_or("no time of the scan")?;
            let injection = injection(isotope, scan).ok_or("no time of injection")?;
            let wait_s = seconds(scan - injection);
            if !(0.0..=86_400.0).contains(&wait_s) {
                return Err("its injection is not within a day before the scan");
            }
            Ok(dose_bq * (-wait_s / half_life_s).exp2())
        }
        _ => Err("its decay is corrected to no time that is known"),
    }
}

fn scan_start(own: &Attributes, half_life_s: f64) -> Option<NaiveDateTime> {
    let acquisition = moment(own, tags::ACQUISITION_DATE, tags::ACQUISITION_TIME)
        .or_else(|| date_time(&own.text(tags::ACQUISITION_DATE_TIME)?));
    let series = moment(own, tags::SERIES_DATE, tags::SERIES_TIME);
    match (series, acquisition) {
        (Some(series), Some(acquisition)) if series <= acquisition => return Some(series),
        (_, None) => return None,
        _ => {}
    }
    if let Some(scan) = own.text(tags::GE_SCAN_TIME).and_then(|text| date_time(&text)) {
        return Some(scan);
    }
    let reference_s = positive(own, tags::FRAME_REFERENCE_TIME)? / 1000.0;
    let duration_s = positive(own, tags::FRAME_DURATION)? / 1000.0;
    let constant = std::f64::consts::LN_2 / half_life_s;
    let decay = constant * duration_s;
    let mean_s = (decay / (1.0 - (-decay).exp())).ln() / constant;
    let shift = TimeDelta::try_milliseconds(((mean_s - reference_s) * 1000.0) as i64)?;
    acquisition?.checked_add_signed(shift)
}

/// When the activity was given. Anonymisers move dates one by one: where the
/// date is not that of the scan or the day before, the time of day counts.
fn injection(isotope: &Attributes, scan: NaiveDateTime) -> Option<NaiveDateTime> {
    let within_a_day = |start: &NaiveDateTime| (0.0..86_400.0).contains(&seconds(scan - *start));
    let stamp = isotope.text(tags::DOSE_START_DATE_TIME).and_then(|text| date_time(&text));
    if let Some(start) = stamp.filter(within_a_day) {
        return Some(start);
    }
    let time = isotope.text(tags::DOSE_START_TIME).and_then(|text| time(&text));
    let start = scan.date().and_time(time.or(stamp.map(|stamp| stamp.time()))?);
    if start <= scan { Some(start) } else { start.checked_sub_days(chrono::Days::new(1)) }
}

fn seconds(delta: TimeDelta) -> f64 {
    delta.num_milliseconds() as f64 / 1000.0
}

fn positive(attributes: &Attributes, tag: tags::Tag) -> Option<f64> {
    attributes.decimal(tag).filter(|&number| number > 0.0)
}

fn moment(own: &Attributes, date: tags::Tag, time_of: tags::Tag) -> Option<NaiveDateTime> {
    let date = NaiveDate::parse_from_str(&own.text(date)?, "%Y%m%d").ok()?;
    Some(date.and_time(time(&own.text(time_of)?)?))
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
