//! What a person sees of a run in the terminal.

use super::{MetricRow, Raised};

/// Cells of a bar and of a line of small bars.
const CELLS: usize = 20;
/// Steps that the numbers of steps are averaged over.
const RECENT: usize = 10;

/// A step in a few words, for a log file.
pub(super) fn brief(row: &MetricRow) -> String {
    let loss = row.loss;
    match (row.bound_nats, row.ceiling_nats) {
        (Some(bound), Some(ceiling)) => {
            format!("loss {loss:.3}  bound {} of {ceiling:.2} nats", shown(bound, 2))
        }
        _ => format!("loss {loss:.3}"),
    }
}

/// A look in one line, for a log file.
pub(super) fn look(row: &MetricRow) -> String {
    let mut words = vec![format!("step {}:", row.step)];
    let mut add = |name: &str, value: Option<f32>, digits: usize| {
        if let Some(value) = value {
            words.push(format!("{name} {} ", shown(value, digits)));
        }
    };
    add("bound", row.probe_bound_nats, 2);
    add("of", row.look_ceiling_nats, 2);
    add("held out", row.held_out_bound_nats, 2);
    add("of", row.held_out_ceiling_nats, 2);
    add("control", row.control_nats, 2);
    add("rank", row.rank_me, 1);
    add("alignment", row.alignment, 2);
    add("uniformity", row.uniformity, 2);
    words.join(" ").trim_end().to_owned()
}

/// The panel: lines of less than 80 columns, to stand below the bar of the run.
/// `dim` is what the rank cannot exceed.
pub(super) fn panel(rows: &[MetricRow], dim: usize, raised: &[Raised]) -> String {
    let Some(last) = rows.last() else { return String::new() };
    let mut lines = Vec::new();
    let bounds: Vec<f32> = rows.iter().filter_map(|row| row.bound_nats).collect();
    if let (Some(now), Some(ceiling)) = (recent(rows, |row| row.bound_nats), last.ceiling_nats) {
        lines.push(bound_line("bound", now, ceiling, &bounds));
    }
    let seen: Vec<&MetricRow> = rows.iter().filter(|row| row.is_look()).collect();
    if let Some(look) = seen.last() {
        let held_out: Vec<f32> = seen.iter().filter_map(|row| row.held_out_bound_nats).collect();
        if let (Some(&now), Some(ceiling)) = (held_out.last(), look.held_out_ceiling_nats) {
            lines.push(bound_line("held out", now, ceiling, &held_out));
        }
        if let Some(control) = look.control_nats {
            let step = look.step;
            lines.push(format!(
                "  control   {} nats, 0 expected   last look at step {step}",
                shown(control, 2)
            ));
        }
        lines.push(geometry_line("seen", look.rank_me, look.alignment, look.uniformity, dim));
        if look.held_out_rank_me.is_some() {
            let (alignment, uniformity) = (look.held_out_alignment, look.held_out_uniformity);
            let rank = look.held_out_rank_me;
            lines.push(geometry_line("held out", rank, alignment, uniformity, dim));
        }
    }
    let mean = |of: fn(&MetricRow) -> f32| recent(rows, |row| Some(of(row))).unwrap_or_default();
    let mut words = format!(
        "  step      {}   loss {:.3}   lr {:.1e}   gradient {:.2}",
        last.step,
        mean(|row| row.loss),
        last.learning_rate,
        mean(|row| row.gradient_norm),
    );
    if let Some(temperature) = last.temperature {
        words += &format!("   temp {temperature:.3}");
    }
    lines.push(words);
    let wait = 100.0 * mean(|row| row.wait_share);
    let mut words = format!("  speed     {:.0} pairs/s", mean(|row| row.pairs_per_second));
    words += &format!("   waits {wait:.1} % for data");
    if let Some(negatives) = recent(rows, |row| row.negatives) {
        words += &format!("   {negatives:.0} negatives an anchor");
    }
    lines.push(words);
    lines.push(match raised {
        [] => "  alarms    none".to_owned(),
        raised => {
            let named: Vec<String> = raised.iter().map(Raised::to_string).collect();
            format!("  ALARMS    {}", named.join(", "))
        }
    });
    let cut = |line: &String| line.chars().take(79).collect::<String>();
    lines.iter().map(cut).collect::<Vec<_>>().join("\n")
}

/// A number with so many digits, and never −0.
fn shown(value: f32, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.chars().all(|c| c == '0' || c == '.') => zero.to_owned(),
        _ => text,
    }
}

fn recent(rows: &[MetricRow], of: impl Fn(&MetricRow) -> Option<f32>) -> Option<f32> {
    let last = &rows[rows.len().saturating_sub(RECENT)..];
    let values: Vec<f32> = last.iter().filter_map(of).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f32>() / values.len() as f32)
}

fn bound_line(name: &str, now: f32, ceiling: f32, history: &[f32]) -> String {
    let numbers = format!("{} of {ceiling:.2} nats", shown(now, 2));
    format!("  {name:9} {numbers:18} ▕{}▏ {}", bar(now / ceiling), course(history, ceiling))
}

fn geometry_line(
    name: &str,
    rank: Option<f32>,
    alignment: Option<f32>,
    uniformity: Option<f32>,
    dim: usize,
) -> String {
    let number = |value: Option<f32>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| shown(value, digits))
    };
    format!(
        "  {name:9} rank {} of {dim}   alignment {}   uniformity {}",
        number(rank, 1),
        number(alignment, 2),
        number(uniformity, 2)
    )
}

/// A bar filled by a share, in eighths of a cell.
fn bar(share: f32) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (8 * CELLS) as f32).round() as usize;
    let filled = "█".repeat(eighths / 8) + PARTS[eighths % 8];
    format!("{filled:CELLS$}")
}

/// The course of a number from 0 to `most`, oldest first, as small bars.
fn course(history: &[f32], most: f32) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let cells = CELLS.min(history.len());
    let height = |cell: usize| {
        let from = cell * history.len() / cells;
        let part = &history[from..((cell + 1) * history.len() / cells).max(from + 1)];
        let mean = part.iter().sum::<f32>() / part.len() as f32;
        let at = ((mean / most).clamp(0.0, 1.0) * HEIGHTS.len() as f32) as usize;
        HEIGHTS[at.min(HEIGHTS.len() - 1)]
    };
    (0..cells).map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::monitor::Alarm;

    fn rows() -> Vec<MetricRow> {
        (0..200)
            .map(|step| MetricRow {
                step,
                loss: 123.456,
                bound_nats: Some(step as f32 / 50.0),
                ceiling_nats: Some(4.0),
                temperature: Some(0.1),
                negatives: Some(63.0),
                learning_rate: 5e-4,
                rank_me: (step % 50 == 49).then_some(23.14),
                held_out_rank_me: Some(10.0),
                look_ceiling_nats: Some(4.0),
                held_out_bound_nats: (step % 50 == 49).then_some(-0.5),
                control_nats: Some(0.0),
                ..MetricRow::default()
            })
            .collect()
    }

    #[test]
    fn the_panel_fits_80_columns_and_says_all() {
        let raised = |alarm| Raised { alarm, step: 12_345 };
        let all: Vec<Raised> = Alarm::ALL.into_iter().map(raised).collect();
        let panel = panel(&rows(), 768, &all);
        assert!(panel.lines().all(|line| line.chars().count() < 80), "{panel}");
        for word in ["3.89 of 4.00 nats", "held out", "rank 23.1 of 768", "63 negatives", "ALARMS"]
        {
            assert!(panel.contains(word), "{word}\n{panel}");
        }
        assert!(!super::panel(&rows()[..1], 768, &[]).contains("held out"));
        assert_eq!(super::panel(&[], 768, &[]), "");
    }

    #[test]
    fn bars_and_courses() {
        assert_eq!(bar(0.5), "█".repeat(10) + &" ".repeat(10));
        assert_eq!(bar(-1.0), " ".repeat(20));
        assert_eq!(bar(f32::NAN).chars().count(), 20);
        assert_eq!(bar(1.0 / 160.0).trim_end(), "▏");
        assert_eq!(course(&[0.0, 1.0, 2.0, 4.0], 4.0), "▁▃▅█");
        assert_eq!(course(&[], 4.0), "");
        let rise: Vec<f32> = (0..997).map(|n| n as f32).collect();
        let course = course(&rise, 996.0);
        assert!(course.starts_with('▁') && course.ends_with('█') && course.chars().count() == 20);
    }
}
