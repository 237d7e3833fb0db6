//! How far a stage is: a bar on a terminal, plain lines elsewhere.

use std::{
    fmt,
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// Between two plain lines in a log file.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A bar with room below it.
const PANEL: &str = "{prefix:8} {bar:20} {pos}/{len}  {rate}  {eta} left\n{msg}";

/// The progress of one stage, shared by its threads.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    stage: &'static str,
    unit: &'static str,
    started: Instant,
    /// Whether there is more than a line, which then stays when all is done.
    panel: bool,
    /// When the last plain line was printed; `None` on a terminal.
    plain: Option<Mutex<Instant>>,
}

impl Progress {
    /// Progress of `total` steps, each a `unit` ("files", "volumes"), on
    /// standard error; `total` 0 where it is not known yet.
    pub fn new(stage: &'static str, unit: &'static str, total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            ProgressBar::new(total as u64).with_style(style(total, unit)).with_prefix(stage)
        } else {
            ProgressBar::hidden().with_prefix(stage)
        };
        bar.set_length(total as u64);
        let now = Instant::now();
        let plain = (!terminal).then(|| Mutex::new(now));
        Self { bar, stage, unit, started: now, panel: false, plain }
    }

    /// [`Progress::new`], with the message on lines of its own below the bar.
    pub fn with_panel(stage: &'static str, unit: &'static str, total: usize) -> Self {
        let progress = Self { panel: true, ..Self::new(stage, unit, total) };
        if progress.is_live() {
            progress.bar.set_style(styled(PANEL, unit));
        }
        progress
    }

    /// Whether there is a terminal to draw on.
    pub fn is_live(&self) -> bool {
        self.plain.is_none()
    }

    /// Counts `steps` as done.
    pub fn advance(&self, steps: usize) {
        self.bar.inc(steps as u64);
        let Some(last) = &self.plain else { return };
        let Ok(mut last) = last.lock() else { return };
        if last.elapsed() >= PLAIN_INTERVAL {
            *last = Instant::now();
            eprintln!("{}", self.plain_line());
        }
    }

    /// Sets the words at the end of the line: loss, bound.
    pub fn message(&self, message: String) {
        self.bar.set_message(message);
    }

    /// Prints a line that stays, above the bar.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Starts the count at `done`, for a stage that goes on from a checkpoint.
    pub fn resume_from(&self, done: usize) {
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
    }

    /// Ends the line; the last state stays in a log file, and a panel on the terminal.
    pub fn finish(&self) {
        if self.plain.is_some() {
            eprintln!("{}", self.plain_line());
        }
        match self.panel {
            true => self.bar.abandon(),
            false => self.bar.finish_and_clear(),
        }
    }

    fn plain_line(&self) -> String {
        let done = self.bar.position();
        let rate = done as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let total = self.bar.length().filter(|&n| n > 0);
        let left = total.map_or_else(String::new, |total| {
            let seconds = total.saturating_sub(done) as f64 / rate.max(1e-9);
            format!("/{total}, {seconds:.0} s left")
        });
        let message = self.bar.message();
        let gap = if message.is_empty() { "" } else { "  " };
        format!("{:8} {done}{left} ({rate:.1} {}/s){gap}{message}", self.stage, self.unit)
    }
}

fn style(total: usize, unit: &'static str) -> ProgressStyle {
    let template = if total > 0 {
        "{prefix:8} {bar:30} {pos}/{len}  {rate}  {eta} left  {msg}"
    } else {
        "{prefix:8} {spinner} {pos}  {rate}  {msg}"
    };
    styled(template, unit)
}

fn styled(template: &str, unit: &'static str) -> ProgressStyle {
    let rate = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(out, "{:.1} {unit}/s", state.per_sec());
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
}
