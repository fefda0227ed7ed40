//! Amounts as users write them: `64Mi`, `250m`, `30s`. Owns their grammar; must never know what they limit.

use serde::{Deserialize, Serialize};

/// A span of time in milliseconds. Written `500ms`, `30s`, `5m`, `2h`, `7d`; canonical JSON holds the number of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The span as the standard library's type.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// An amount of memory or data in bytes. Written `64Mi`, `1Gi`, `16Ki`, `10M`, or a plain number; canonical JSON holds the number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Thousandths of a core. Written `250m`, `1`, `0.5`; canonical JSON holds the number of thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuMillis(pub u32);
