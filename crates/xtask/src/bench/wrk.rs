//! Load by wrk and what it says about it. Owns the command line and the reading of its report; must never judge the figures.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What a run of wrk saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Requests that were answered.
    pub requests: f64,
    /// Of these, not with 2xx or 3xx.
    pub bad: f64,
    /// Connections that could not be made, and answers that broke off or came too late.
    pub socket_errors: f64,
    /// Half of the answers took at most so many milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took at most so many milliseconds.
    pub p99_ms: f64,
}

/// A run under way; killed when dropped before its end.
#[derive(Debug)]
pub struct Run(Option<Child>);

impl Run {
    /// GETs `/` at `address` under `host` on `connections` connections with one thread for `seconds`.
    pub fn start(address: &str, host: &str, connections: u32, seconds: u64) -> Result<Self> {
        let child = Command::new("wrk")
            .args(["-t1", "--latency", "-c", &connections.to_string(), "-d", &format!("{seconds}s"), "--timeout", "30s"])
            .args(["-H", &format!("Host: {host}"), &format!("http://{address}/")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("wrk is needed: apt-get install wrk")?;
        Ok(Self(Some(child)))
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Result<Report> {
        let child = self.0.take().context("a run is finished once")?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "wrk failed: {}", String::from_utf8_lossy(&output.stderr));
        read(&String::from_utf8_lossy(&output.stdout))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One run from start to end.
pub fn load(address: &str, host: &str, connections: u32, seconds: u64) -> Result<Report> {
    Run::start(address, host, connections, seconds)?.finish()
}

fn read(text: &str) -> Result<Report> {
    let rest = |mark: &str| text.lines().find_map(|line| line.trim().strip_prefix(mark)).map(str::trim);
    let requests = text.lines().find(|line| line.contains(" requests in ")).and_then(|line| line.split_whitespace().next());
    let errors = rest("Socket errors:").unwrap_or_default();
    Ok(Report {
        requests: requests.with_context(|| format!("wrk counts no requests:\n{text}"))?.parse()?,
        bad: rest("Non-2xx or 3xx responses:").unwrap_or("0").parse()?,
        socket_errors: errors.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse::<f64>().ok()).sum(),
        p50_ms: millis(rest("50%").unwrap_or("0ms"))?,
        p99_ms: millis(rest("99%").unwrap_or("0ms"))?,
    })
}

fn millis(text: &str) -> Result<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)];
    let found = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.parse::<f64>().ok()?, factor)));
    let (number, factor) = found.with_context(|| format!("`{text}` is no time"))?;
    Ok(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = "Running 5s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Latency Distribution\n     50%  812.00us\n     75%    1.00ms\n     \
                    90%    2.00ms\n     99%    1.25s \n  12345 requests in 5.00s, 1.00MB read\n  Socket errors: connect 0, read 3, write 0, timeout 4\n  \
                    Non-2xx or 3xx responses: 17\nRequests/sec:   2469.00\n";
        let report = read(text).unwrap();
        assert_eq!(report, Report { requests: 12345.0, bad: 17.0, socket_errors: 7.0, p50_ms: 0.812, p99_ms: 1250.0 });
        assert!(read("nothing").is_err());
    }
}
