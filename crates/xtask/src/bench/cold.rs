//! The first request to an app whose code was unloaded, with its file still in the page cache.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Bench, client, many, quiet::Quiet, report::Section, report::percentile};

/// Until everything idle was unloaded.
const SETTLE: Duration = Duration::from_secs(3);

pub fn measure(bench: &Bench, apps: usize) -> Result<Section> {
    let server = bench.start_with(&["--unload-after", "1s"])?;
    many::deploy(bench, &server, apps, apps)?;
    std::thread::sleep(SETTLE);
    let quiet = Quiet::begin()?;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for number in 0..apps {
        let host = format!("app-{number:05}.localhost");
        for millis in [&mut first, &mut second] {
            let begin = Instant::now();
            ensure!(client::status(&server.http, &host)? == 200, "{host} does not answer");
            millis.push(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    let mut section = Section::new(
        "The first request after code was unloaded",
        &format!(
            "`lean`, one request each to {apps} apps of different artifacts, each on a new connection; the page cache is warm; {}",
            quiet.end()?
        ),
        &["request", "p50 ms", "p99 ms"],
    );
    for (name, millis) in [("the first", &mut first), ("the second", &mut second)] {
        section.row(vec![name.into(), format!("{:.2}", percentile(millis, 50)), format!("{:.2}", percentile(millis, 99))]);
    }
    Ok(section)
}
