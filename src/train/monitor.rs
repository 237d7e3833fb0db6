//! Watching a run: how much is learned, of whom, and whether it can be believed.
//!
//! Every step gives a row. From time to time a look embeds fixed pairs by the
//! encoder as it then is, as `embed` would, and measures. Nothing here draws from
//! the random numbers of training or touches its state: with and without a
//! monitor a run gives the same bits.

mod alarm;
mod events;
mod panel;
mod probe;
mod row;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    embed::{EmbedError, Embedder},
    encoder::{EncoderError, Towers, Weights},
    evaluate::{self, EvaluateError},
    objective::LARGEST_LOG_SCALE,
    pairing::PairRow,
    progress::Progress,
    runtime::Runtime,
    table::{self, TableError},
    train, view,
};

use alarm::Rules;
pub use alarm::{Alarm, Raised, raised};
use events::Events;
use probe::Probe;
pub use row::MetricRow;

/// The recipe in the metadata of the encoders that are looked at; none is kept.
const RECIPE: &str = "a look";
/// Between two drawings of the panel.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// How training is watched, as a pipeline sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Steps between two looks; 0 looks never.
    pub every: usize,
    /// Pairs of a look, on either side of the split.
    pub probe: usize,
    /// Whether event files for TensorBoard are written.
    pub tensorboard: bool,
    /// Alarms that are not to be raised.
    pub silence: Vec<Alarm>,
}

/// What a run is watched with.
pub struct Watch<'a> {
    /// How.
    pub settings: &'a Settings,
    /// The held-out pairs.
    pub held_out: &'a [PairRow],
    /// Where `metrics.parquet` goes.
    pub metrics: PathBuf,
    /// The folder of the event files.
    pub events: PathBuf,
    /// Whether an alarm stops the run.
    pub strict: bool,
}

/// Why a run cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The encoder cannot be written for a look.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The encoder cannot be run.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The probe cannot be embedded.
    #[error(transparent)]
    Probe(#[from] EvaluateError),
    /// The metrics cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// An event file cannot be written.
    #[error("the event file for TensorBoard cannot be written")]
    Events(#[source] std::io::Error),
}

/// Watches one run.
pub(super) struct Monitor<'a> {
    watch: &'a Watch<'a>,
    runtime: &'a Runtime,
    task: &'a train::Task<'a>,
    view: &'a view::Settings,
    settings: &'a train::Settings,
    probe: Option<Probe>,
    held_out: Option<Probe>,
    rules: Rules,
    raised: Vec<Raised>,
    events: Option<Events>,
    drawn: Instant,
}

impl<'a> Monitor<'a> {
    /// A monitor of a run that has made the rows given.
    ///
    /// # Errors
    /// [`MonitorError::Events`].
    pub fn open(
        runtime: &'a Runtime,
        task: &'a train::Task<'a>,
        view: &'a view::Settings,
        settings: &'a train::Settings,
        towers: &Towers,
        rows: &[MetricRow],
        progress: &Progress,
    ) -> Result<Self, MonitorError> {
        let watch = &task.watch;
        // A modality that was not trained on may have no encoder.
        let seen = |pair: &&PairRow| {
            let sides = [&pair.anchor_modality, &pair.positive_modality];
            sides.into_iter().all(|modality| towers.number(modality).is_some())
        };
        let draw = |pairs: &[PairRow], most| {
            let pairs: Vec<PairRow> = pairs.iter().filter(seen).cloned().collect();
            Probe::draw(&pairs, watch.settings.probe, most, settings)
        };
        let looks = watch.settings.every > 0;
        let most = settings.batch.min(watch.settings.probe);
        let held_out = if looks { draw(watch.held_out, most) } else { None };
        // Both sides tell one pair from equally many, or they could not be compared.
        let batch = held_out.as_ref().map_or(most, Probe::batch);
        let probe = if looks { draw(task.pairs, batch) } else { None };
        if looks && held_out.is_none() {
            progress.note(
                "no batch of held-out pairs: the monitor looks at the training subjects alone",
            );
        } else if looks && batch < most {
            progress.note(&format!(
                "only {batch} held-out pairs, fewer than {most}: the bounds of the \
                 monitor's looks have the ceiling ln {batch} = {:.2} nats",
                (batch as f32).ln()
            ));
        }
        let silence = watch.settings.silence.clone();
        let lowest = (-LARGEST_LOG_SCALE).exp();
        let lowest_temperature = settings.objective.learns_temperature().then_some(lowest);
        let rules = Rules { warmup: settings.warmup, lowest_temperature, silence };
        let raised = raised(rows, watch.settings);
        let events = match watch.settings.tensorboard {
            true => Some(Events::create(&watch.events, rows.len(), settings.steps)),
            false => None,
        };
        let events = events.transpose().map_err(MonitorError::Events)?;
        let drawn = Instant::now();
        Ok(Self {
            watch,
            runtime,
            task,
            view,
            settings,
            probe,
            held_out,
            rules,
            raised,
            events,
            drawn,
        })
    }

    /// Whether the encoder is to be looked at after this step, counted from 0.
    pub fn is_due(&self, step: usize) -> bool {
        let done = step + 1;
        let due = done.is_multiple_of(self.watch.settings.every) || done == self.settings.steps;
        self.probe.is_some() && due
    }

    /// Looks at the encoder and adds what is seen to the row of its step.
    ///
    /// # Errors
    /// [`MonitorError`].
    pub fn look(
        &self,
        row: &mut MetricRow,
        encoders: &[(Option<String>, Weights)],
    ) -> Result<(), MonitorError> {
        let Some(probe) = &self.probe else { return Ok(()) };
        let started = Instant::now();
        let train::Settings { seed, steps, .. } = *self.settings;
        let given = self.settings.objective.temperature.at(row.step as usize, steps);
        let temperature = row.temperature.unwrap_or(given);
        let mut embedder = None;
        for (modality, weights) in encoders {
            let metadata = train::metadata(RECIPE, "", seed, temperature);
            let bytes = self.task.encoder.export(weights, metadata)?;
            let one = Embedder::new(self.runtime, &bytes, RECIPE)?;
            embedder = Some(one.after(embedder, modality.clone()));
        }
        let Some(mut embedder) = embedder else { return Ok(()) };
        let settings = evaluate::Settings {
            tolerance_mm: 0.0,
            batch: probe.batch(),
            temperature,
            augment: self.settings.augment.clone(),
            seed,
        };
        let mut look = |probe: &Probe, control| {
            probe.look(&mut embedder, self.task.volumes, self.view, &settings, control)
        };
        let (meters, control) = look(probe, true)?;
        row.look_ceiling_nats = Some(probe.ceiling_nats());
        row.probe_bound_nats = Some(meters.bound_nats);
        row.control_nats = control;
        row.alignment = Some(meters.alignment);
        row.uniformity = Some(meters.uniformity);
        row.rank_me = Some(meters.rank_me);
        if let Some(held_out) = &self.held_out {
            let (meters, _) = look(held_out, false)?;
            row.held_out_ceiling_nats = Some(held_out.ceiling_nats());
            row.held_out_bound_nats = Some(meters.bound_nats);
            row.held_out_alignment = Some(meters.alignment);
            row.held_out_uniformity = Some(meters.uniformity);
            row.held_out_rank_me = Some(meters.rank_me);
        }
        row.look_seconds = Some(started.elapsed().as_secs_f32());
        Ok(())
    }

    /// Judges the last row, names in it what alarms it raises, and shows it.
    ///
    /// # Errors
    /// [`MonitorError::Events`].
    pub fn tell(
        &mut self,
        rows: &mut [MetricRow],
        progress: &Progress,
    ) -> Result<(), MonitorError> {
        let new = alarm::raise(rows, &self.rules, &self.raised);
        let done = rows.len() == self.settings.steps;
        let Some(last) = rows.last_mut() else { return Ok(()) };
        if !new.is_empty() {
            let names: Vec<&str> = new.iter().map(|(alarm, _)| alarm.as_str()).collect();
            last.alarms = Some(names.join(","));
        }
        for (alarm, seen) in new {
            let raised = Raised { alarm, step: last.step };
            progress.note(&format!("WARNING {raised}: {seen}. {}", alarm.advice()));
            self.raised.push(raised);
        }
        if let Some(events) = &mut self.events {
            events.add(last).map_err(MonitorError::Events)?;
        }
        if !progress.is_live() {
            progress.message(panel::brief(last));
            if last.is_look() {
                progress.note(&format!("train    {}", panel::look(last)));
            }
        } else if self.drawn.elapsed() >= REDRAW_EVERY || last.step == 0 || last.is_look() || done {
            self.drawn = Instant::now();
            progress.message(panel::panel(rows, self.task.encoder.dim(), &self.raised));
        }
        Ok(())
    }

    /// Whether the run must stop, as there was an alarm and it is strict.
    pub fn must_stop(&self) -> bool {
        self.watch.strict && !self.raised.is_empty()
    }

    /// Writes what is known so far to `metrics.parquet` and the event file.
    ///
    /// # Errors
    /// [`MonitorError`].
    pub fn save(&mut self, rows: &[MetricRow]) -> Result<(), MonitorError> {
        if let Some(events) = &mut self.events {
            events.flush().map_err(MonitorError::Events)?;
        }
        write_metrics(&self.watch.metrics, rows)
    }
}

fn write_metrics(path: &Path, rows: &[MetricRow]) -> Result<(), MonitorError> {
    Ok(table::write(path, rows.to_vec(), &[])?)
}
