//! `mivox doctor`

use super::End;
use crate::runtime::{Device, INSTALL, Runtime, candidates, has_gpu};

pub(super) fn run() -> anyhow::Result<End> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("mivox          {}", env!("CARGO_PKG_VERSION"));
    println!("threads        {threads}");
    match memory_gib() {
        Some((free, total)) => println!("memory         {free:.1} GiB free of {total:.1} GiB"),
        None => println!("memory         not known on this system"),
    }
    println!("NVIDIA GPU     {}", if has_gpu() { "seen" } else { "none seen" });
    println!("ONNX Runtime   looked for, in this order:");
    for candidate in candidates() {
        let found = match &candidate.found {
            Some(path) => path.display().to_string(),
            None => "-".to_owned(),
        };
        println!("  {:48} {found}", candidate.place);
    }
    match Runtime::open(Device::Auto, 0) {
        Ok(runtime) => {
            println!("  version        {}", runtime.version());
            println!("  providers      {}", runtime.providers().join(", "));
            println!("  auto means     {:?}", runtime.device());
            if has_gpu() && runtime.device() == Device::Cpu {
                println!("A GPU is there, and this ONNX Runtime has no CUDA. To use it:");
                println!("  {}", INSTALL.replace("onnxruntime==", "onnxruntime-gpu=="));
            }
            println!("All good.");
            Ok(End::Good)
        }
        Err(error) => {
            println!("  {error}");
            println!("Type:\n  {INSTALL}");
            Ok(End::Failed)
        }
    }
}

/// Free and total memory in GiB, where the system says.
///
/// # Source
/// proc(5), `/proc/meminfo`.
fn memory_gib() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let gib = |key: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib / 1024.0 / 1024.0)
    };
    Some((gib("MemAvailable")?, gib("MemTotal")?))
}
