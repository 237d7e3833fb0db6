//! Critics: networks that score how well two rows belong together.

use std::str::FromStr;

use onnx_grad::{ElementType, Error, Graph, Layout, Parameter, Value};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::UnknownName;

/// How a critic scores x and y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CriticKind {
    /// g(x) · h(y), a network for each: K networks for K² scores.
    Separable,
    /// One network of x beside y: K² of them, and the most that can be told.
    Concatenated,
    /// xᵀ W y.
    Bilinear,
}

/// Names of all critics.
pub const CRITICS: [&str; 3] = ["separable", "concatenated", "bilinear"];

impl CriticKind {
    /// The name that a command line knows it by.
    pub fn name(self) -> &'static str {
        CRITICS[self as usize]
    }
}

impl FromStr for CriticKind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::Separable, Self::Concatenated, Self::Bilinear]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownName::new(name, &CRITICS))
    }
}

/// The size of a critic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CriticSettings {
    /// How it scores.
    pub kind: CriticKind,
    /// Hidden layers of each network.
    pub layers: usize,
    /// Units of a hidden layer, with ReLU.
    pub hidden: usize,
    /// Width of g(x) and h(y) of a separable critic.
    pub embed: usize,
}

impl Default for CriticSettings {
    /// Poole et al. 2019: two layers of 256, an embedding of 32.
    fn default() -> Self {
        Self { kind: CriticKind::Separable, layers: 2, hidden: 256, embed: 32 }
    }
}

/// A critic of rows of two widths, and with it the baseline of TUBA where that is learned.
///
/// Untrained, it scores every pairing 0: a critic that knows nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Critic {
    settings: CriticSettings,
    widths: [usize; 2],
    learns_baseline: bool,
    layout: Layout,
    /// Standard deviation of each parameter at the beginning.
    deviations: Vec<f32>,
}

impl Critic {
    /// A critic of rows of x and y with `widths` numbers.
    ///
    /// # Errors
    /// [`Error`] where a width is 0.
    pub fn new(
        settings: CriticSettings,
        widths: [usize; 2],
        learns_baseline: bool,
    ) -> Result<Self, Error> {
        let layout = Layout::new();
        let mut critic = Self { settings, widths, learns_baseline, layout, deviations: Vec::new() };
        // every parameter is written down while the graph is laid out once
        let mut g = Graph::new();
        let [of_x, of_y] = widths;
        let x = g.input("x", ElementType::F32, &[2, of_x]);
        let y = g.input("y", ElementType::F32, &[2, of_y]);
        let mut declare = Parameters::Declare(Vec::new());
        critic.lay_out(&mut g, &mut declare, x, y)?;
        if let Parameters::Declare(declared) = declare {
            for (parameter, deviation) in declared {
                critic.layout.push(parameter)?;
                critic.deviations.push(deviation);
            }
        }
        Ok(critic)
    }

    /// Where each parameter lies in the flat buffer.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Numbers in a row of x and of y.
    pub fn widths(&self) -> [usize; 2] {
        self.widths
    }

    /// The flat parameters before training, drawn from a seed.
    ///
    /// # Source
    /// Glorot and Bengio 2010, eq. 12, by its normal form; the last layer is zero.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut flat = vec![0.0; self.layout.len()];
        for (index, &deviation) in self.deviations.iter().enumerate() {
            let Some(at) = self.layout.offset(index) else { continue };
            let count: usize = self.layout.parameters()[index].shape.iter().product();
            let Ok(normal) = Normal::new(0.0, deviation) else { continue };
            if deviation > 0.0 {
                flat[at..at + count].fill_with(|| normal.sample(&mut rng));
            }
        }
        flat
    }

    /// Adds the critic to a graph: the scores `[K, K]` of x `[K, widths[0]]` with y
    /// `[K, widths[1]]`, and where it is learned ln a(y) `[K]`. `parameters` are in
    /// the order of the layout.
    ///
    /// # Errors
    /// [`Error`] where a shape differs.
    pub fn forward(
        &self,
        g: &mut Graph,
        parameters: &[Value],
        x: Value,
        y: Value,
    ) -> Result<(Value, Option<Value>), Error> {
        self.lay_out(g, &mut Parameters::Bind(parameters.iter()), x, y)
    }

    fn lay_out(
        &self,
        g: &mut Graph,
        p: &mut Parameters,
        x: Value,
        y: Value,
    ) -> Result<(Value, Option<Value>), Error> {
        let CriticSettings { layers, hidden, embed, .. } = self.settings;
        let [k, k_y] = [x, y].map(|v| g.shape(v).first().copied().unwrap_or(1));
        let network = vec![hidden; layers];
        let scores = match self.settings.kind {
            CriticKind::Separable => {
                let widths = [&network[..], &[embed]].concat();
                let of_x = mlp(g, p, "x", x, &widths, false)?;
                let of_y = mlp(g, p, "y", y, &widths, true)?;
                g.gemm(of_x, false, of_y, true)?
            }
            CriticKind::Bilinear => {
                let [of_x, of_y] = self.widths;
                let weight = p.next(g, "bilinear.weight", &[of_x, of_y], 0.0)?;
                let turned = g.matmul(x, weight)?;
                g.gemm(turned, false, y, true)?
            }
            CriticKind::Concatenated => {
                // the first layer of x beside y is the sum of one of x and one of y
                let deviation = glorot(self.widths[0] + self.widths[1], hidden);
                let of_x = p.next(g, "pair.x.weight", &[self.widths[0], hidden], deviation)?;
                let of_y = p.next(g, "pair.y.weight", &[self.widths[1], hidden], deviation)?;
                let bias = p.next(g, "pair.bias", &[hidden], 0.0)?;
                let of_x = g.linear(x, of_x, bias)?;
                let of_y = g.matmul(y, of_y)?;
                let of_x = g.reshape(of_x, &[k, 1, hidden])?;
                let of_y = g.reshape(of_y, &[1, k_y, hidden])?;
                let first = g.add(of_x, of_y)?;
                let first = g.relu(first)?;
                let first = g.reshape(first, &[k * k_y, hidden])?;
                let widths = [network.get(1..).unwrap_or_default(), &[1]].concat();
                let score = mlp(g, p, "pair", first, &widths, true)?;
                g.reshape(score, &[k, k_y])?
            }
        };
        if !self.learns_baseline {
            return Ok((scores, None));
        }
        let widths = [&network[..], &[1]].concat();
        let log_baseline = mlp(g, p, "baseline", y, &widths, true)?;
        Ok((scores, Some(g.reshape(log_baseline, &[k_y])?)))
    }
}

/// Layers of these widths with ReLU between them; the last begins at zero where `silent`.
fn mlp(
    g: &mut Graph,
    p: &mut Parameters,
    name: &str,
    x: Value,
    widths: &[usize],
    silent: bool,
) -> Result<Value, Error> {
    let mut x = x;
    for (n, &outputs) in widths.iter().enumerate() {
        let inputs = g.shape(x).last().copied().unwrap_or(1);
        let last = n + 1 == widths.len();
        let deviation = if last && silent { 0.0 } else { glorot(inputs, outputs) };
        let weight = p.next(g, &format!("{name}.{n}.weight"), &[inputs, outputs], deviation)?;
        let bias = p.next(g, &format!("{name}.{n}.bias"), &[outputs], 0.0)?;
        x = g.linear(x, weight, bias)?;
        if !last {
            x = g.relu(x)?;
        }
    }
    Ok(x)
}

fn glorot(inputs: usize, outputs: usize) -> f32 {
    (2.0 / (inputs + outputs).max(1) as f32).sqrt()
}

/// Where a critic's parameters come from.
enum Parameters<'a> {
    /// From nowhere yet: they are written down with their deviations.
    Declare(Vec<(Parameter, f32)>),
    /// From values of the graph.
    Bind(std::slice::Iter<'a, Value>),
}

impl Parameters<'_> {
    fn next(
        &mut self,
        g: &mut Graph,
        name: &str,
        shape: &[usize],
        deviation: f32,
    ) -> Result<Value, Error> {
        match self {
            Self::Declare(declared) => {
                declared.push((Parameter::new(name, shape, false), deviation));
                Ok(g.input(name, ElementType::F32, shape))
            }
            Self::Bind(values) => {
                let missing = || Error::MissingParameter { name: name.to_owned() };
                values.next().copied().ok_or_else(missing)
            }
        }
    }
}
