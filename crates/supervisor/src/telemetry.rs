//! How the processes of a node write their own log: to stderr, as lines for people or as JSON. Must never hold what guests write.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::options::{LogFormat, LogOptions};

/// The environment variable that filters what is logged.
pub const FILTER_VARIABLE: &str = "SHOAL_LOG";

/// What is logged when nobody says otherwise; the libraries of consensus tell of every step they take, of each message that fails, and at each start of
/// what else lies in the directory of the log, or of a file there that was made and never begun.
const FILTER_DEFAULT: &str = "info,raft_log=warn,chunked_wal=warn,chunked_wal::wal=error,openraft=error";

/// Starts the process's log. A second call changes nothing. A filter that is none is told and replaced by the default.
pub fn start(options: &LogOptions) {
    let asked = options.filter.clone().or_else(|| std::env::var(FILTER_VARIABLE).ok()).unwrap_or_else(|| FILTER_DEFAULT.into());
    let (filter, wrong) = match EnvFilter::try_new(&asked) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(FILTER_DEFAULT), Some(error)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // The log may have been started by whoever called us; then theirs is the right one.
    let _ = match options.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(color).with_target(false).try_init()
        }
    };
    if let Some(error) = wrong {
        tracing::warn!(filter = asked, error = %error, "the log filter is not understood; the default holds");
    }
}
