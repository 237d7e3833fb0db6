//! Which scans of a subject are aligned to which.

use std::collections::BTreeMap;

use crate::{prepare::VolumeRow, study::Modality};

/// Series that share their coordinates: one alignment holds for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Pseudonym of the frame of reference, or of the series where it states none.
    pub name: String,
    /// Pseudonym of the session.
    pub session: String,
    /// Places of its rows in what [`plan`] was given, the first one the best known.
    pub rows: Vec<usize>,
}

/// What is to be done for one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Place of the subject's reference among the rows.
    pub reference: usize,
    /// The reference's frame, which is not moved.
    pub fixed: Frame,
    /// The other frames, each after the one that it is aligned through.
    pub steps: Vec<Step>,
}

/// A frame to be aligned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The frame.
    pub moving: Frame,
    /// Place among the steps of the frame that it is compared with; `None` for the
    /// reference's.
    pub through: Option<usize>,
}

/// What is to be done for every subject, in the order of their names.
///
/// The **reference** of a subject is of the modality that most of its sessions
/// have, so that sessions are compared like with like; then the one with the
/// smallest voxels; then the first by name. A session without the reference's frame
/// has a reference of its own, by the same rule with the subject's modality first;
/// it is compared with the subject's, and the session's other frames with it.
/// `voxels_mm3` is the volume of a voxel of each row as it was scanned.
pub fn plan(rows: &[VolumeRow], voxels_mm3: &[f64]) -> Vec<Plan> {
    let mut subjects: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (n, row) in rows.iter().enumerate() {
        subjects.entry((&row.source, &row.subject)).or_default().push(n);
    }
    subjects.values().filter_map(|of_subject| plan_of(rows, voxels_mm3, of_subject)).collect()
}

fn plan_of(rows: &[VolumeRow], voxels_mm3: &[f64], of_subject: &[usize]) -> Option<Plan> {
    let mut sessions_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in of_subject.iter().map(|&n| &rows[n]) {
        let sessions = sessions_of.entry(&row.modality).or_default();
        if !sessions.contains(&row.session.as_str()) {
            sessions.push(&row.session);
        }
    }
    // Smallest first.
    let rank = |n: usize, first: Option<&str>| {
        let row = &rows[n];
        let sessions = sessions_of.get(row.modality.as_str()).map_or(0, Vec::len);
        let voxel = voxels_mm3.get(n).map(|mm3| (mm3 * 1e6) as u64);
        let other = first.is_some_and(|modality| row.modality != modality);
        (other, std::cmp::Reverse(sessions), voxel, modality_order(row), row.series.clone())
    };
    let reference = *of_subject.iter().min_by_key(|&&n| rank(n, None))?;
    let modality = rows[reference].modality.as_str();
    let mut frames: BTreeMap<String, Frame> = BTreeMap::new();
    for &n in of_subject {
        let name = frame_name(&rows[n]);
        frames
            .entry(name.clone())
            .or_insert_with(|| Frame { name, session: rows[n].session.clone(), rows: Vec::new() })
            .rows
            .push(n);
    }
    for frame in frames.values_mut() {
        frame.rows.sort_by_key(|&n| (n != reference, rank(n, Some(modality))));
        // A frame may span sessions; it belongs to that of its best series.
        frame.session = rows[*frame.rows.first()?].session.clone();
    }
    let fixed = frames.remove(&frame_name(&rows[reference]))?;
    let mut sessions: BTreeMap<String, Vec<Frame>> = BTreeMap::new();
    for frame in frames.into_values() {
        sessions.entry(frame.session.clone()).or_default().push(frame);
    }
    let mut steps: Vec<Step> = Vec::new();
    for (session, mut frames) in sessions {
        frames.sort_by_key(|frame| frame.rows.first().map(|&n| rank(n, Some(modality))));
        let mut through = None;
        for moving in frames {
            steps.push(Step { moving, through });
            if session != fixed.session && through.is_none() {
                through = Some(steps.len() - 1);
            }
        }
    }
    Some(Plan { reference, fixed, steps })
}

/// The two series by which a frame is compared with another: of one modality where
/// there are two such, else the best of each.
pub fn compared(rows: &[VolumeRow], fixed: &Frame, moving: &Frame) -> Option<(usize, usize)> {
    let alike = moving.rows.iter().find_map(|&m| {
        let same = |&&f: &&usize| rows[f].modality == rows[m].modality;
        Some((*fixed.rows.iter().find(same)?, m))
    });
    alike.or_else(|| Some((*fixed.rows.first()?, *moving.rows.first()?)))
}

/// The pseudonym of a series' frame of reference, its own where it states none:
/// images without one are near each other within a session, not aligned.
fn frame_name(row: &VolumeRow) -> String {
    row.frame_of_reference.clone().unwrap_or_else(|| row.series.clone())
}

fn modality_order(row: &VolumeRow) -> Option<Modality> {
    row.modality.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        subject: &str,
        session: &str,
        modality: &str,
        frame: Option<&str>,
        mm: f64,
    ) -> VolumeRow {
        let word = |text: &str| text.to_owned();
        VolumeRow {
            source: word("test"),
            subject: word(subject),
            session: word(session),
            study: word(session),
            series: format!("{subject}-{session}-{modality}"),
            modality: word(modality),
            frame_of_reference: frame.map(word),
            file: word("x.nii"),
            shape: [1; 3],
            spacing_mm: [mm; 3],
            affine: [0.0; 16],
            centre_mm: [0.0; 3],
            foreground_above: 0.0,
            background: 0.0,
            intensity_centre: 0.0,
            intensity_scale: 1.0,
        }
    }

    fn plan_of(rows: &[VolumeRow]) -> Vec<Plan> {
        let voxels_mm3: Vec<f64> = rows.iter().map(|row| row.spacing_mm.iter().product()).collect();
        plan(rows, &voxels_mm3)
    }

    #[test]
    fn the_modality_of_most_sessions_is_the_reference_and_sessions_are_chained() {
        let rows = [
            row("s", "1", "T1", None, 0.5),
            row("s", "1", "FLAIR", None, 1.0),
            row("s", "2", "T2", None, 1.0),
            row("s", "2", "FLAIR", None, 1.0),
            row("s", "2", "PD", None, 1.0),
        ];
        let plans = plan_of(&rows);
        assert_eq!(plans.len(), 1);
        assert_eq!(plans[0].reference, 1);
        let steps: Vec<_> =
            plans[0].steps.iter().map(|step| (step.moving.rows.clone(), step.through)).collect();
        // Session 1's T1 to the reference; session 2's FLAIR too, and the rest to that.
        assert_eq!(
            steps,
            [(vec![0], None), (vec![3], None), (vec![2], Some(1)), (vec![4], Some(1))]
        );
    }

    #[test]
    fn a_frame_of_reference_is_aligned_once_by_what_is_most_alike() {
        let rows = [
            row("s", "1", "CT", Some("f"), 1.0),
            row("s", "1", "PET", Some("f"), 4.0),
            row("s", "2", "PET", Some("g"), 4.0),
            row("s", "2", "T1", Some("g"), 1.0),
            row("other", "1", "T1", None, 1.0),
        ];
        let plans = plan_of(&rows);
        assert_eq!(plans.len(), 2);
        let of_s = plans.iter().find(|plan| plan.steps.len() == 1).unwrap();
        assert_eq!(of_s.reference, 1, "PET is what both sessions have");
        let step = &of_s.steps[0];
        assert_eq!((step.moving.rows.len(), step.through), (2, None));
        assert_eq!(compared(&rows, &of_s.fixed, &step.moving), Some((1, 2)));
    }
}
