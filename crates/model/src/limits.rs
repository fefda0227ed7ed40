//! How large a manifest and what stands in it may be, each with its reason. Owns the numbers; must never be read from configuration.

use crate::quantity::{Bytes, Millis};

/// Largest manifest file. The longest hand-written ones are some hundred lines; a whole file is held in memory several times over.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// Most YAML nodes of a file once aliases and `defaults` are written out. An alias bomb of nine lines would make billions.
pub const MANIFEST_NODES_MAX: usize = 100_000;

/// Most bytes of text once aliases and variables are written out: a variable of 500 kB used a thousand times must not fill the memory.
pub const MANIFEST_EXPANDED_BYTES_MAX: usize = 4 << 20;

/// Deepest nesting. The manifest format itself needs ten; every walk over the tree recurses as deep as this.
pub const MANIFEST_DEPTH_MAX: usize = 64;

/// Most documents of a file.
pub const MANIFEST_DOCUMENTS_MAX: usize = 1_000;

/// Most problems told at once: nobody reads more, and a file of the wrong kind would have thousands.
pub const PROBLEMS_MAX: usize = 100;

/// Most components of an app: all of them are rolled out together and shown on one page.
pub const COMPONENTS_PER_APP_MAX: usize = 64;

/// Most routes of a component; a gateway looks through the routes of one host in order.
pub const ROUTES_PER_COMPONENT_MAX: usize = 256;

/// Most instances of a component: what one cell of 5,000 workers still places within a second.
pub const REPLICAS_MAX: u32 = 1_000;

/// Most bytes of a component's environment, configuration and arguments together. They travel in every assignment and are copied into every sandbox.
pub const SETTINGS_BYTES_MAX: usize = 64 << 10;

/// Most bytes of all labels and annotations of an object: they travel with every listing.
pub const METADATA_BYTES_MAX: usize = 16 << 10;

/// Longest host name, of a route and of what may be reached alike.
pub use egress::limits::HOST_BYTES_MAX;

/// Longest path of a route or a rewrite; as long as the gateway accepts a request line's path.
pub const PATH_BYTES_MAX: usize = 2_048;

/// Longest wait for response headers. A longer one outlives the drain of a node by so much that it is cut anyway.
pub const TIMEOUT_MAX: Millis = Millis(3_600_000);

/// Longest silence on a stream: a day, for event streams that say something daily.
pub const IDLE_TIMEOUT_MAX: Millis = Millis(86_400_000);

/// Largest request body a route may allow. Bodies are streamed, so this guards guests and links, not the gateway.
pub const BODY_BYTES_MAX: Bytes = Bytes(64 << 30);

/// Least memory of one sandbox. The smallest guest of a usual toolchain starts with 17 pages of 64 KiB, its stack and data.
pub const SANDBOX_MEMORY_MIN: crate::quantity::Bytes = crate::quantity::Bytes(1 << 20);

/// Most memory of one instance: more than any machine of today gives one process, and far from where sums of them would overflow.
pub const INSTANCE_MEMORY_MAX: Bytes = Bytes(1 << 40);

/// Most of whatever is counted in requests or sandboxes: a number that is surely a mistake, and small enough that products with sizes fit.
pub const COUNT_MAX: u32 = 1_000_000;

/// Most egress rules of a component: each request to the outside looks through them, and a person must be able to read what is allowed.
pub const EGRESS_RULES_MAX: usize = 256;

/// Most files of a component: they travel by name in every assignment, and each is one artifact to fetch and lay out.
pub const FILES_PER_COMPONENT_MAX: usize = 1_000;

/// Longest path of a file of a guest: a quarter of what Linux opens, so that it fits below whatever directory it is laid out in.
pub const FILE_PATH_BYTES_MAX: usize = 1_024;

/// Largest file of a component: files are for configuration and assets; each is uploaded, hashed and fetched as a whole.
pub const FILE_BYTES_MAX: Bytes = Bytes(16 << 20);

/// Most bytes of all files of a component: every node that runs it keeps a copy.
pub const FILES_BYTES_MAX: Bytes = Bytes(64 << 20);

/// Most bytes of one value of a Config: as much as all settings of a component. It travels in every assignment of an app that reads it.
pub const CONFIG_VALUE_BYTES_MAX: usize = SETTINGS_BYTES_MAX;

/// Most bytes of all keys and values of a Config: one log entry, kept once.
pub const CONFIG_BYTES_MAX: usize = 256 << 10;

/// Most bytes of all keys and values of a Secret: a chain of certificates with its key has 10 KiB. Ten versions are kept.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// Longest key of a Config or a Secret: longer than any file name people use as one.
pub const DATA_KEY_BYTES_MAX: usize = 253;

/// Most entries of each ceiling of a namespace: every deploy is held against all of them.
pub const CEILING_ENTRIES_MAX: usize = 256;

/// Most secret values of a component: each is an environment variable of every sandbox.
pub const SECRETS_PER_COMPONENT_MAX: usize = 64;
