//! The worker's engine for real: code files become programs of the runtime, and their lines go to the log store. Must never hold a rule about when.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use api::{
    node::AssignedProgram,
    time::Time,
    v1::{LogLine, LogStream},
};
use model::id::{ComponentId, Digest, Timestamp};
use runtime::{
    Code, ComponentFigures, ComponentReading, Line, LogSink, OpenError, Program, ProgramConfig, Runtime, SandboxError, Settings,
    StartError, Stream, code_store::CodeStore,
};

use crate::{
    agent::chain,
    directories::Directories,
    engine::{Again, Engine, Failure},
    files::Files,
    logs::LogStore,
    secrets::SecretValues,
};

/// The runtime of this node and its code.
pub struct Sandboxes {
    runtime: Arc<Runtime>,
    code: CodeStore,
    figures: Mutex<BTreeMap<ComponentId, Arc<ComponentFigures>>>,
    codes_max: usize,
    files: Files,
}

impl Sandboxes {
    /// Starts the engine. Lines of guests go to `logs`.
    pub fn start(settings: &Settings, directories: &Directories, logs: Arc<LogStore>) -> Result<Self, StartError> {
        let runtime = Arc::new(Runtime::start(settings, Arc::new(Lines { logs }))?);
        let codes_max = usize::try_from(settings.codes).unwrap_or(usize::MAX);
        let (code, files) = (CodeStore::new(directories.code()), Files::new(directories.files()));
        Ok(Self { runtime, code, files, codes_max, figures: Mutex::default() })
    }

    /// The runtime itself, for its figures and its end.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The counters of a component, the same ones for as long as a program of it is on this node, loaded or not.
    pub fn figures(&self, component: &ComponentId) -> Arc<ComponentFigures> {
        // Adding a component is one step, so whoever panicked left the map whole.
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.entry(component.clone()).or_default().clone()
    }
}

impl Engine for Sandboxes {
    type Code = Code;
    type Program = Program;

    fn codes_max(&self) -> usize {
        self.codes_max
    }

    fn has_code(&self, digest: Digest) -> bool {
        self.code.path(&digest).is_some()
    }

    async fn open(&self, digest: Digest, again: bool) -> Result<Code, Failure> {
        let Some(path) = self.code.path(&digest) else {
            return Err(Failure::new(Again::WithNewCode, "E0302", format!("the code of artifact {digest} is gone")));
        };
        let runtime = self.runtime.clone();
        match tokio::task::spawn_blocking(move || if again { runtime.open_again(&path) } else { runtime.open(&path) }).await {
            Ok(opened) => opened.map_err(|error| cannot_open(&error)),
            Err(error) => Err(Failure::new(Again::Sometimes, "E0302", error)),
        }
    }

    fn close_to_guests(&self, places: &[String]) {
        self.runtime.close_to_guests(places);
    }

    fn counters(&self) -> Vec<(ComponentId, ComponentReading)> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.iter().map(|(component, figures)| (component.clone(), figures.read())).collect()
    }

    fn sandboxes(&self) -> (u32, u32) {
        let figures = self.runtime.figures();
        (figures.sandboxes_live, figures.slots)
    }

    fn program(&self, code: &Code, assigned: &AssignedProgram, secrets: &SecretValues) -> Result<Arc<Program>, Failure> {
        let with = |own: &BTreeMap<String, String>| {
            let secrets = secrets.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
            own.iter().map(|(name, value)| (name.clone(), value.clone())).chain(secrets).collect()
        };
        let config = ProgramConfig {
            component: assigned.component.clone(),
            revision: assigned.revision,
            env: with(&assigned.env),
            args: assigned.args.clone(),
            config: with(&assigned.config),
            memory_bytes: assigned.resources.memory.0,
            instance_memory_bytes: assigned.resources.instance_memory.0,
            cpu_time: assigned.resources.cpu_time.duration(),
            queue_wait: assigned.resources.queue_wait.duration(),
            max_in_flight: assigned.resources.max_in_flight,
            timeout: assigned.resources.timeout.duration(),
            reuse: assigned.reuse.clone(),
            egress: assigned.egress.clone(),
            files: self.files.directory(&assigned.files),
            figures: self.figures(&assigned.component),
        };
        self.runtime.program(code, config).map_err(|error| cannot_open(&error))
    }

    fn held_bytes(&self, program: &Program, ordinal: u32) -> u64 {
        program.held_bytes(ordinal)
    }

    fn forget(&self, component: &ComponentId) {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).remove(component);
    }

    async fn probe(&self, program: &Arc<Program>) -> Result<(), Failure> {
        program.probe().await.map_err(|error| {
            let again = if matches!(error, SandboxError::Exhausted { .. }) { Again::Sometimes } else { Again::Never };
            Failure::new(again, error.code(), chain(&error))
        })
    }
}

fn cannot_open(error: &OpenError) -> Failure {
    let again = match error {
        // What is wrong with a file is mended by writing it anew.
        OpenError::Read { .. } | OpenError::Unprotected { .. } | OpenError::Damaged { .. } | OpenError::Foreign { .. } => {
            Again::WithNewCode
        }
        OpenError::Engine { .. } | OpenError::Files { .. } => Again::Sometimes,
        OpenError::Import { .. } | OpenError::Handler { .. } | OpenError::TooLarge { .. } => Again::Never,
    };
    Failure::new(again, error.code(), chain(error))
}

/// Hands guest lines on to the log store.
struct Lines {
    logs: Arc<LogStore>,
}

impl LogSink for Lines {
    fn line(&self, line: Line) {
        self.logs.line(LogLine {
            at: Time(now()),
            component: line.component,
            revision: line.revision,
            node: String::new(),
            stream: match line.stream {
                Stream::Stdout => LogStream::Stdout,
                Stream::Stderr => LogStream::Stderr,
                Stream::Host => LogStream::Host,
            },
            request_id: line.request_id.map(|id| id.as_ref().to_owned()),
            text: line.text,
        });
    }
}

/// What time it is, by the system's clock.
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
