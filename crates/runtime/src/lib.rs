//! WebAssembly behind one door: compile, code store, sandbox pool, limits, host capabilities.
//!
//! Owns everything that touches the engine; no type of the engine appears in its public interface. Must never know routes, placements, the
//! control plane or how logs are kept.
//! Start with [`Runtime`]: it opens [`Code`], makes a [`Program`] of it, and a program answers requests, each in a sandbox.
//! [`compile`] and [`code_store`] are the other half: they run in a child process of their own, because compiling is not safe from its input.

pub mod code_store;
pub mod compile;

mod body;
mod capabilities;
mod component_figures;
mod engine;
mod error;
mod failure_log;
mod figures;
mod handler;
mod host_limit;
mod instance;
mod kept;
mod lane;
mod limits;
mod logs;
mod memory;
mod meter;
mod program;
mod room;
mod runtime;
mod sandbox;
mod settings;
mod slow_lane;
mod ticker;

pub use body::SandboxBody;
pub use component_figures::{ComponentFigures, ComponentReading, RequestUsage};
pub use engine::Kind;
pub use error::{OpenError, SandboxError, StartError};
pub use figures::{Figures, Histogram, PoolFigures};
pub use logs::{Line, LogSink, Stream};
pub use program::{Call, Program, ProgramConfig, Scheme};
pub use runtime::{Code, Runtime};
pub use settings::{Allocator, DirtyPages, Settings, SystemNeeds};
