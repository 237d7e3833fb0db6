//! The `[monitor]` table.

use serde::Deserialize;

use super::{ConfigError, within, word};
use crate::train::monitor::Settings;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMonitor {
    pub every: usize,
    pub probe: usize,
    pub tensorboard: bool,
    pub silence: Vec<String>,
}

impl Default for RawMonitor {
    fn default() -> Self {
        Self { every: 200, probe: 512, tensorboard: true, silence: Vec::new() }
    }
}

impl RawMonitor {
    pub fn check(&self) -> Result<Settings, ConfigError> {
        within("monitor.every", self.every as f64, 0.0, 1e8, "0 to 100 million")?;
        within("monitor.probe", self.probe as f64, 2.0, 65_536.0, "2 to 65536")?;
        let silence = self.silence.iter().map(|name| word("monitor.silence", name));
        Ok(Settings {
            every: self.every,
            probe: self.probe,
            tensorboard: self.tensorboard,
            silence: silence.collect::<Result<_, _>>()?,
        })
    }
}
