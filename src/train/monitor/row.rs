//! What is known of a step.

use serde::{Deserialize, Serialize};

use crate::table::record;

record! {
    /// A row of `metrics.parquet`: one step, and from time to time a look at the
    /// encoder as it then is. A cell is empty where nothing was looked at, or
    /// where the objective has no such number.
    #[derive(Default, Serialize, Deserialize)]
    pub struct MetricRow {
        /// The step, from 0.
        pub step: u32,
        /// The loss; of a contrastive objective in nats.
        pub loss: f32,
        /// The ceiling less the loss: a lower bound on the information between the views,
        /// nats. Empty where the objective bounds nothing.
        pub bound_nats: Option<f32>,
        /// Mean of ln K over the anchors, with K an anchor's candidates: the bound cannot
        /// exceed it.
        pub ceiling_nats: Option<f32>,
        /// What scores were divided by.
        pub temperature: Option<f32>,
        /// Mean number of negatives of an anchor.
        pub negatives: Option<f32>,
        /// Rows of the batch that had no negative left.
        pub without_negatives: Option<f32>,
        /// The learning rate.
        pub learning_rate: f32,
        /// Norm of the gradient before it is clipped.
        pub gradient_norm: f32,
        /// Pairs a second, the wait for the batch included.
        pub pairs_per_second: f32,
        /// Share of the step's time spent waiting for its batch.
        pub wait_share: f32,
        /// Mean of ln K of the probe's bound.
        pub look_ceiling_nats: Option<f32>,
        /// The same of the held-out one: other pairs exclude others.
        pub held_out_ceiling_nats: Option<f32>,
        /// The bound on the probe of the training subjects, nats.
        pub probe_bound_nats: Option<f32>,
        /// The bound on the probe of the held-out subjects, nats.
        pub held_out_bound_nats: Option<f32>,
        /// The bound on shuffled pairs of the training subjects, nats: 0.
        pub control_nats: Option<f32>,
        /// Mean squared distance of positives on the unit sphere, training subjects.
        pub alignment: Option<f32>,
        /// Log of the mean Gaussian potential of embeddings, training subjects.
        pub uniformity: Option<f32>,
        /// Effective rank of the embeddings, training subjects.
        pub rank_me: Option<f32>,
        /// [`Self::alignment`] of the held-out subjects.
        pub held_out_alignment: Option<f32>,
        /// [`Self::uniformity`] of the held-out subjects.
        pub held_out_uniformity: Option<f32>,
        /// [`Self::rank_me`] of the held-out subjects.
        pub held_out_rank_me: Option<f32>,
        /// How long the look took.
        pub look_seconds: Option<f32>,
        /// Names of the alarms that were raised at this step, with commas.
        pub alarms: Option<String>,
    }
}

impl MetricRow {
    /// Its numbers under the names that TensorBoard shows them by: what stands
    /// before the stroke is the heading of a group.
    pub(super) fn scalars(&self) -> impl Iterator<Item = (&'static str, f32)> {
        let always = [
            ("step/loss", self.loss),
            ("step/learning_rate", self.learning_rate),
            ("step/gradient_norm", self.gradient_norm),
            ("step/pairs_per_second", self.pairs_per_second),
            ("step/wait_share", self.wait_share),
        ];
        let sometimes = [
            ("step/temperature", self.temperature),
            ("step/negatives", self.negatives),
            ("step/without_negatives", self.without_negatives),
            ("bound_nats/batch", self.bound_nats),
            ("bound_nats/batch_ceiling", self.ceiling_nats),
            ("bound_nats/probe", self.probe_bound_nats),
            ("bound_nats/held_out", self.held_out_bound_nats),
            ("bound_nats/look_ceiling", self.look_ceiling_nats),
            ("bound_nats/held_out_ceiling", self.held_out_ceiling_nats),
            ("bound_nats/control", self.control_nats),
            ("geometry/alignment", self.alignment),
            ("geometry/uniformity", self.uniformity),
            ("geometry/rank_me", self.rank_me),
            ("held_out_geometry/alignment", self.held_out_alignment),
            ("held_out_geometry/uniformity", self.held_out_uniformity),
            ("held_out_geometry/rank_me", self.held_out_rank_me),
            ("step/look_seconds", self.look_seconds),
        ];
        let given = sometimes.into_iter().filter_map(|(tag, value)| Some((tag, value?)));
        always.into_iter().chain(given)
    }

    /// Whether the encoder was looked at after this step.
    pub(super) fn is_look(&self) -> bool {
        self.rank_me.is_some()
    }
}
