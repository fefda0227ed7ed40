//! What deployed apps cost while nobody asks for them: anonymous memory of all the server's processes, against the same server without apps.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, many, processes, quiet::Quiet, report::Section};

/// Until everything idle was unloaded and the memory given back.
const SETTLE: Duration = Duration::from_secs(45);

pub fn measure(bench: &Bench, apps: usize) -> Result<Section> {
    let empty = {
        let server = bench.start_with(&["--unload-after", "5s"])?;
        std::thread::sleep(SETTLE);
        processes::anonymous_bytes(server.process.id())?
    };
    let server = bench.start_with(&["--unload-after", "5s"])?;
    let quiet = Quiet::begin()?;
    let took = many::deploy(bench, &server, apps, apps)?;
    std::thread::sleep(SETTLE);
    let full = processes::anonymous_bytes(server.process.id())?;
    let each = (full as f64 - empty as f64) / 1024.0 / apps as f64;
    let mut section = Section::new(
        &format!("{apps} idle apps of different artifacts"),
        &format!("RssAnon of all processes after everything was unloaded, less that of a server without apps; {}", quiet.end()?),
        &["apps", "empty MiB", "full MiB", "KiB each", "deploy s"],
    );
    let mebibytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1_048_576.0);
    section.row(vec![apps.to_string(), mebibytes(empty), mebibytes(full), format!("{each:.1}"), format!("{:.1}", took.as_secs_f64())]);
    Ok(section)
}
