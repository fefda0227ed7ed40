//! The file that a cluster is saved in: what it is of, its state, and, when wanted, its artifacts and the key that opens its secrets.
//!
//! Owns the layout and that a torn or damaged file is refused; both ways it streams, and holds no more than one piece. Must never know what a part means, nor
//! open a file: it is handed a reader or a writer.
//!
//! ```text
//! "SHOALBAK" | part … | end            part: kind, name, pieces, an empty piece; the end has the SHA-256 of all before it
//! ```

mod read;
mod write;

use model::id::Digest;
use serde::{Deserialize, Serialize};

pub use crate::{
    read::{BackupError, Part, Reader},
    write::Writer,
};

const MAGIC: &[u8; 8] = b"SHOALBAK";

/// The format this program reads and writes.
pub const FORMAT: u32 = 1;

/// Bytes of one piece at most: small enough to be held many times at once, large enough that its length does not show.
pub const PIECE_BYTES_MAX: usize = 256 << 10;

/// Bytes of a part that is read whole: the description and the key have a few hundred.
pub const SMALL_PART_BYTES_MAX: usize = 64 << 10;

/// What a part is. The numbers are for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The [`About`] of the file, as JSON: the first part.
    About,
    /// The state, as consensus writes it.
    State,
    /// The key that opens what is sealed in the state.
    Key,
    /// An artifact, by its digest.
    Artifact(Digest),
}

impl Kind {
    fn number(&self) -> u8 {
        match self {
            Self::About => 1,
            Self::State => 2,
            Self::Key => 3,
            Self::Artifact(_) => 4,
        }
    }
}

/// The number that stands in the place of a kind at the end.
const END: u8 = 0;

/// What a file is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct About {
    /// The format of the file.
    pub format: u32,
    /// The cluster, as it prints.
    pub cluster: String,
    /// The last entry of the log that is in the state.
    pub index: u64,
    /// The hash of the state: what is restored has the same one.
    pub state_hash: Digest,
    /// When it was saved, in milliseconds since 1970.
    pub saved_at: u64,
    /// The version of the program that wrote it.
    pub release: String,
    /// How many artifacts are in it; none when they were not wanted.
    pub artifacts: Option<u64>,
    /// Artifacts that were wanted and that no server had; the first of them when there are very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Digest>,
    /// Whether the key that opens the secrets is in it.
    pub with_keys: bool,
}
