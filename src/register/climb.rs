//! From a pose to the nearest one where mutual information is largest.

use std::cell::RefCell;

use argmin::{
    core::{CostFunction, Error, Executor, Gradient, IterState},
    solver::{linesearch::MoreThuenteLineSearch, quasinewton::BFGS},
};

use super::{
    metric::{Metric, Value},
    rigid::Pose,
};

/// Evaluations of the metric that one climb may take.
const MOST: usize = 80;

/// Nats below which a step gains nothing: some hundredths of a mm.
const GAIN: f64 = 2e-6;

/// Place, gradient and inverse Hessian of a minimisation.
type State = IterState<Vec<f64>, Vec<f64>, (), Vec<Vec<f64>>, (), f64>;

/// The metric around a pose as a cost of six numbers.
struct Cost<'a> {
    metric: &'a Metric<'a>,
    start: Pose,
    radius_mm: f64,
    seen: RefCell<Seen>,
}

struct Seen {
    evaluations: usize,
    last: (Vec<f64>, Value),
    best: (Vec<f64>, Value),
}

impl Cost<'_> {
    /// Cost and gradient are asked for one after the other at the same place.
    fn value(&self, step: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        let mut seen = self.seen.borrow_mut();
        if seen.last.0 != step {
            if seen.evaluations >= MOST {
                return Err(Error::msg("enough"));
            }
            seen.evaluations += 1;
            let value = self.metric.at(&self.start.moved(step, self.radius_mm));
            seen.last = (step.to_vec(), value);
            if value.information > seen.best.1.information {
                seen.best = seen.last.clone();
            }
        }
        let value = seen.last.1;
        let gradient = Pose::gradient(step, self.radius_mm, value.force, value.torque);
        Ok((-value.information, gradient.iter().map(|slope| -slope).collect()))
    }
}

impl CostFunction for &Cost<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, step: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.value(step)?.0)
    }
}

impl Gradient for &Cost<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, step: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.value(step)?.1)
    }
}

/// The best pose that BFGS finds from a start, and the metric there. Its first
/// step is `first_mm` long.
pub(super) fn climb(metric: &Metric, start: Pose, radius_mm: f64, first_mm: f64) -> (Pose, Value) {
    let origin = vec![0.0; 6];
    let value = metric.at(&start);
    let first = (origin.clone(), value);
    let seen = RefCell::new(Seen { evaluations: 1, last: first.clone(), best: first });
    let cost = Cost { metric, start, radius_mm, seen };
    // Where it ends early, by a line without a better place or by its limit, the
    // best place that was seen still counts.
    let _ended = minimise(&cost, origin, first_mm);
    let best = cost.seen.into_inner().best;
    (start.moved(&best.0, radius_mm), best.1)
}

fn minimise(cost: &Cost, origin: Vec<f64>, first_mm: f64) -> Result<(), Error> {
    let slope = cost.value(&origin)?.1.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
    if slope < 1e-12 {
        return Ok(());
    }
    let scale = first_mm / slope;
    let guess: Vec<Vec<f64>> =
        (0..6).map(|row| (0..6).map(|n| if n == row { scale } else { 0.0 }).collect()).collect();
    let line = MoreThuenteLineSearch::new().with_bounds(1e-3, 20.0)?.with_width_tolerance(1e-2)?;
    let solver = BFGS::new(line).with_tolerance_cost(GAIN)?.with_tolerance_grad(1e-7)?;
    Executor::new(cost, solver)
        .configure(|state: State| state.param(origin).inv_hessian(guess).max_iters(MOST as u64))
        .timer(false)
        .run()?;
    Ok(())
}
