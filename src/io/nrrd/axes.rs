//! The axes of an NRRD: which are in space, and where.

use glam::{DAffine3, DMat3, DVec3};

use super::{FieldError, Fields, MAX_AXES, VoxelType, values};
use crate::geometry::{Affine, ras_from_lps};

/// One axis.
struct Axis {
    len: u64,
    kind: Option<String>,
    /// The step along it in space, in the unit and frame of the header.
    direction: Option<DVec3>,
    spacing: Option<f64>,
}

/// The axes of a file, fastest first. Those in space are three that follow one
/// another.
pub(super) struct Axes {
    axes: Vec<Axis>,
    first_in_space: usize,
    has_directions: bool,
}

impl Axes {
    pub(super) fn read(fields: &Fields) -> Result<Self, FieldError> {
        let count: usize =
            fields.parse("dimension")?.ok_or(FieldError::Missing { field: "dimension" })?;
        if !(1..=MAX_AXES).contains(&count) {
            return Err(FieldError::Malformed { field: "dimension" });
        }
        let lens: Vec<u64> = values(fields.need("sizes")?, count, "sizes")?;
        let kinds: Option<Vec<String>> =
            fields.get("kinds").map(|text| values(text, count, "kinds")).transpose()?;
        let spacings: Option<Vec<f64>> =
            fields.get("spacings").map(|text| values(text, count, "spacings")).transpose()?;
        let field = "space directions";
        let directions = fields.get(field).map(|text| vectors(text, count, field)).transpose()?;
        if directions.is_none() && spacings.is_none() {
            return Err(FieldError::Missing { field: "spacings" });
        }
        // A step in time alone is no direction; one in both has no place here.
        let in_time =
            |v: &Option<(DVec3, f64)>| v.is_some_and(|(v, t)| t != 0.0 && v != DVec3::ZERO);
        if directions.iter().flatten().any(in_time) {
            return Err(FieldError::Unsupported { field, what: "in space and time at once" });
        }
        let direction = |v: Option<(DVec3, f64)>| v.filter(|(_, t)| *t == 0.0).map(|(v, _)| v);
        let axis = |n: usize| Axis {
            len: lens[n],
            kind: kinds.as_ref().map(|kinds| kinds[n].to_ascii_lowercase()),
            direction: directions.as_ref().and_then(|directions| direction(directions[n])),
            spacing: spacings.as_ref().map(|spacings| spacings[n]).filter(|mm| mm.is_finite()),
        };
        let axes: Vec<Axis> = (0..count).map(axis).collect();
        let has_directions = directions.is_some();
        let in_space = |axis: &Axis| match (&axis.kind, has_directions) {
            (_, true) => axis.direction.is_some(),
            (Some(kind), _) => matches!(kind.as_str(), "domain" | "space"),
            (None, _) => axis.spacing.is_some(),
        };
        let unsupported = |what| FieldError::Unsupported { field: "axes", what };
        let first = axes.iter().position(in_space).ok_or_else(|| unsupported("not in space"))?;
        let found = axes[first..].iter().take_while(|axis| in_space(axis)).count();
        let all = axes.iter().filter(|axis| in_space(axis)).count();
        // Without kinds or directions a fourth axis with a spacing is time.
        if found < 3 || (all > 3 && (has_directions || kinds.is_some())) {
            return Err(unsupported("not three that follow one another in space"));
        }
        Ok(Self { axes, first_in_space: first, has_directions })
    }

    fn in_space(&self) -> &[Axis] {
        &self.axes[self.first_in_space..self.first_in_space + 3]
    }

    pub(super) fn shape(&self) -> [u64; 3] {
        [0, 1, 2].map(|n| self.in_space()[n].len)
    }

    /// Whether the fastest axis is the parts of one voxel: a colour or a complex number.
    fn has_parts(&self) -> bool {
        let kind = self.axes[0].kind.as_deref();
        self.first_in_space > 0
            && kind.is_some_and(|kind| kind == "complex" || kind.ends_with("-color"))
    }

    /// The type of a voxel whose numbers have a type.
    pub(super) fn voxel_type(&self, number: VoxelType) -> Result<VoxelType, FieldError> {
        let unsupported = |what| Err(FieldError::Unsupported { field: "kinds", what });
        let others = self
            .axes
            .iter()
            .enumerate()
            .filter(|(n, _)| !(self.first_in_space..self.first_in_space + 3).contains(n));
        for (n, axis) in others {
            let kind = axis.kind.as_deref().unwrap_or("none");
            let ends = ["vector", "gradient", "normal", "matrix", "quaternion", "point"];
            if ends.iter().any(|end| kind.ends_with(end)) {
                return unsupported("vectors or matrices");
            }
            if n > 0 && (kind == "complex" || kind.ends_with("-color")) {
                return unsupported("colours or complex numbers whose parts are not together");
            }
        }
        if !self.has_parts() {
            return Ok(number);
        }
        match (self.axes[0].kind.as_deref(), self.axes[0].len, number) {
            (Some("rgb-color" | "3-color"), 3, VoxelType::U8) => Ok(VoxelType::Rgb24),
            (Some("rgba-color" | "4-color"), 4, VoxelType::U8) => Ok(VoxelType::Rgba32),
            (Some("complex"), 2, VoxelType::F32) => Ok(VoxelType::Complex64),
            (Some("complex"), 2, VoxelType::F64) => Ok(VoxelType::Complex128),
            _ => unsupported("colours or complex numbers of another type"),
        }
    }

    /// How many frames alternate, and how many there are.
    pub(super) fn frames(&self) -> Result<(usize, usize), FieldError> {
        let product = |axes: &[Axis]| {
            axes.iter().try_fold(1u64, |n, axis| n.checked_mul(axis.len)).filter(|&n| n > 0)
        };
        let parts = usize::from(self.has_parts());
        let inner = product(&self.axes[parts..self.first_in_space]);
        let outer = product(&self.axes[self.first_in_space + 3..]);
        let limit = super::super::nifti::MAX_FRAMES as u64;
        match (inner, outer) {
            (Some(inner), Some(outer)) if inner.saturating_mul(outer) <= limit => {
                Ok((inner as usize, (inner * outer) as usize))
            }
            _ => Err(FieldError::Malformed { field: "sizes" }),
        }
    }

    /// Voxel to RAS+ mm, and the field it is from.
    pub(super) fn affine(
        &self,
        fields: &Fields,
        remarks: &mut Vec<String>,
    ) -> Result<(Affine, &'static str), FieldError> {
        let (space_from_voxel, source) = if self.has_directions {
            (self.by_directions(fields, remarks)?, "space directions")
        } else {
            (self.by_spacings(fields, remarks)?, "spacings")
        };
        let mm = self.unit_mm(fields, remarks)?;
        let ras_from_space = ras_from_space(fields, remarks)?;
        Ok((ras_from_space * DAffine3::from_scale(DVec3::splat(mm)) * space_from_voxel, source))
    }

    /// Millimetres of the unit of length of the axes in space: of each of them, or, where
    /// it is not in quotes, of all.
    fn unit_mm(&self, fields: &Fields, remarks: &mut Vec<String>) -> Result<f64, FieldError> {
        let (field, first) = match fields.get("space units") {
            Some(_) => ("space units", 0),
            None => ("units", self.first_in_space),
        };
        let text = fields.get(field).unwrap_or_default();
        let quoted: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        let unit = |n: usize| match text.contains('"') {
            true => quoted.get(first + n).copied().unwrap_or_default().trim(),
            false => text,
        };
        let [unit, y, z] = [0, 1, 2].map(|n| match unit(n) {
            "m" => Some(("metres", 1000.0)),
            "cm" => Some(("centimetres", 10.0)),
            "um" | "µm" | "microns" => Some(("micrometres", 0.001)),
            _ => None,
        });
        if unit != y || unit != z {
            return Err(FieldError::Unsupported { field, what: "not the same for all of space" });
        }
        let Some((name, mm)) = unit else { return Ok(1.0) };
        remarks.push(format!("the header's {name} are read as millimetres"));
        Ok(mm)
    }

    fn by_directions(
        &self,
        fields: &Fields,
        remarks: &mut Vec<String>,
    ) -> Result<Affine, FieldError> {
        let field = "space directions";
        let column = |n: usize| self.in_space()[n].direction.ok_or(FieldError::Missing { field });
        let matrix = DMat3::from_cols(column(0)?, column(1)?, column(2)?);
        let field = "space origin";
        let origin = match fields.get(field) {
            Some(text) => vectors(text, 1, field)?[0].ok_or(FieldError::Malformed { field })?.0,
            None => {
                remarks.push("no space origin: the first voxel is taken to lie at 0".to_owned());
                DVec3::ZERO
            }
        };
        Ok(DAffine3::from_mat3_translation(matrix, origin))
    }

    /// Axes along those of the space; the origin from `axis mins`, which are the
    /// edge of a first cell and the centre of a first node.
    fn by_spacings(
        &self,
        fields: &Fields,
        remarks: &mut Vec<String>,
    ) -> Result<Affine, FieldError> {
        let count = self.axes.len();
        let mins: Option<Vec<f64>> = fields
            .any(&["axis mins", "axismins"])
            .map(|t| values(t, count, "axis mins"))
            .transpose()?;
        let centers: Option<Vec<String>> = fields
            .any(&["centerings", "centers"])
            .map(|text| values(text, count, "centerings"))
            .transpose()?;
        let (mut size, mut origin) = (DVec3::ZERO, DVec3::ZERO);
        for n in 0..3 {
            let axis = self.first_in_space + n;
            let missing = FieldError::Missing { field: "spacings" };
            size[n] = self.axes[axis].spacing.ok_or(missing)?;
            if let Some(min) = mins.as_ref().map(|mins| mins[axis]).filter(|min| min.is_finite()) {
                let is_node = centers.as_ref().is_some_and(|centers| centers[axis] == "node");
                origin[n] = if is_node { min } else { min + size[n] / 2.0 };
            }
        }
        if mins.is_none() {
            remarks.push("no axis mins: the first voxel is taken to lie at 0".to_owned());
        }
        Ok(DAffine3::from_mat3_translation(DMat3::from_diagonal(size), origin))
    }
}

/// The patient's axes from those that `space` names.
fn ras_from_space(fields: &Fields, remarks: &mut Vec<String>) -> Result<Affine, FieldError> {
    let flip = |x, y| DAffine3::from_scale(DVec3::new(x, y, 1.0));
    let space = fields.get("space").map(str::to_ascii_lowercase);
    // Time is the last axis of its spaces and has no part in the affine.
    match space.as_deref().map(|space| space.strip_suffix("-time").unwrap_or(space)) {
        Some("right-anterior-superior" | "ras" | "rast") => Ok(flip(1.0, 1.0)),
        Some("left-anterior-superior" | "las" | "last") => Ok(flip(-1.0, 1.0)),
        Some("left-posterior-superior" | "lps" | "lpst") => Ok(ras_from_lps()),
        Some("scanner-xyz" | "3d-right-handed") => {
            remarks.push(
                "the header's space says nothing of the patient: it is taken as LPS".to_owned(),
            );
            Ok(ras_from_lps())
        }
        None => {
            remarks.push("the header names no space: it is taken as LPS".to_owned());
            Ok(ras_from_lps())
        }
        Some("3d-left-handed") => {
            Err(FieldError::Unsupported { field: "space", what: "left-handed" })
        }
        Some(_) => Err(FieldError::Malformed { field: "space" }),
    }
}

/// Steps in space and time, such as `(1,0,0)` or `(0,0,0,2.5)`, or `none`, one
/// for each axis.
fn vectors(
    text: &str,
    count: usize,
    field: &'static str,
) -> Result<Vec<Option<(DVec3, f64)>>, FieldError> {
    let malformed = || FieldError::Malformed { field };
    let mut vectors = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("none") {
            vectors.push(None);
            rest = after.trim_start();
            continue;
        }
        let inner = rest.strip_prefix('(').ok_or_else(malformed)?;
        let (inner, after) = inner.split_once(')').ok_or_else(malformed)?;
        let numbers: Result<Vec<f64>, _> = inner.split(',').map(|n| n.trim().parse()).collect();
        match numbers.map_err(|_| malformed())?[..] {
            [x, y, z] => vectors.push(Some((DVec3::new(x, y, z), 0.0))),
            [x, y, z, time] => vectors.push(Some((DVec3::new(x, y, z), time))),
            _ => return Err(malformed()),
        }
        rest = after.trim_start();
    }
    if vectors.len() == count { Ok(vectors) } else { Err(malformed()) }
}
