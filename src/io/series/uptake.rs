//! PET in standardised uptake, where every image allows it.

use super::image::Image;

/// Largest relative difference of factors within a series.
const SAME_FACTOR: f64 = 1e-3;

/// What the values of a series are multiplied by, their unit then, and what to
/// say of it.
pub(super) struct Uptake {
    pub(super) scale: f64,
    pub(super) unit: Option<&'static str>,
    pub(super) remark: Option<String>,
}

impl Uptake {
    /// Of a stack; for anything but a PET its unit as it is.
    pub(super) fn of(images: &[Image]) -> Self {
        let unit = images.first().and_then(|image| image.instance.unit);
        let as_is = |remark| Self { scale: 1.0, unit, remark };
        let Some(first) = images.first() else { return as_is(None) };
        if first.frame().modality != Some(crate::study::Modality::Pet) {
            return as_is(None);
        }
        let no = |why: &str| as_is(Some(format!("not in SUV: {why}")));
        let factor = match first.instance.suv_factor {
            Ok(factor) => factor,
            Err(why) => return no(why),
        };
        for image in images {
            match image.instance.suv_factor {
                Ok(other) if (other - factor).abs() <= SAME_FACTOR * factor.abs() => {}
                Ok(_) => return no("its images differ in dose or times"),
                Err(why) => return no(why),
            }
        }
        let remark = (factor != 1.0).then(|| "made SUV by body weight".to_owned());
        Self { scale: factor, unit: Some("GML"), remark }
    }
}
