//! What is counted per component, for scrapers. Owns names and labels of these series; a component has series from its first request or line on, and none
//! once it is no longer assigned. Must never count anything itself.

use std::{fmt, sync::Arc};

use model::id::ComponentId;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::logs::LogStore;

/// Shows the counts of every component.
#[derive(Debug)]
pub struct ComponentSeries {
    /// The logs.
    pub logs: Arc<LogStore>,
}

impl Collector for ComponentSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Log lines of guests that were counted instead of kept, by component";
        let mut metric = encoder.encode_descriptor("component_log_lines_dropped", help, None, MetricType::Counter)?;
        for (component, count) in self.logs.dropped_by_component() {
            metric.encode_family(&labels_of(&component))?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }
}

/// Who a series is of: the same three labels wherever something is counted per component.
fn labels_of(id: &ComponentId) -> [(&'static str, &str); 3] {
    [("namespace", id.app.namespace.as_str()), ("app", id.app.name.as_str()), ("component", id.component.as_str())]
}
