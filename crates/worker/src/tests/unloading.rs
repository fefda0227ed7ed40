//! Programs that nobody asks for: when their code goes, how it comes back, and what gives way when too much is open.

use super::*;
use crate::{engine::Engine as _, programs::Found, roster::ProgramKey};

/// Programs over a stub engine, with a control plane and a supervisor that make its code.
struct Node {
    programs: Arc<Programs<Stub>>,
    engine: Arc<Stub>,
    _control: Control,
    _parts: [AbortOnDropHandle<()>; 2],
}

impl Node {
    fn start(directory: &Path) -> Self {
        std::fs::create_dir_all(directory.join("worker/incoming")).unwrap();
        let control = Control::listen(directory);
        let engine: Arc<Stub> = Arc::default();
        let (theirs, ours) = UnixStream::pair().unwrap();
        let (lifeline, task) = Lifeline::new(theirs, CancellationToken::new());
        let supervisor = tokio::spawn(supervise(ours, engine.clone(), watch::channel(false).0));
        let parts = [AbortOnDropHandle::new(tokio::spawn(task)), AbortOnDropHandle::new(supervisor)];
        let (directories, counts) = (Directories::new(directory), Arc::new(Metrics::register(&mut Registry::default())));
        identify(directory);
        let standing = crate::standing::Standing::read(&directories).unwrap();
        let control_of_worker = crate::control::Control::new(crate::way::Way::Socket(directories.control_socket()), standing);
        let jobs = Arc::new(Jobs::new(engine.clone(), control_of_worker, lifeline, directories, counts));
        Self { programs: Arc::new(Programs::new(jobs)), engine, _control: control, _parts: parts }
    }

    /// Starts `component` of the artifact that its name or `artifact` names.
    async fn run(&self, component: &str, artifact: &str) -> ProgramKey {
        let digest = Digest::of(artifact.as_bytes());
        self.engine.code.lock().unwrap().insert(digest);
        let assigned = AssignedProgram { digest, ..place(component, 1, 1, Wanted::Run) };
        let key = ProgramKey::of(&assigned);
        let slot = self.programs.start(Arc::new(assigned), Default::default()).await.unwrap();
        self.programs.insert(&key, slot);
        key
    }

    async fn open(&self, key: &ProgramKey) -> Result<Arc<Echo>, Failure> {
        match self.programs.find(key).expect("it was inserted") {
            Found::Loaded(program) => Ok(program),
            Found::Unloaded(slot) => self.programs.open(key.clone(), slot).await,
        }
    }

    fn opened(&self) -> u64 {
        self.engine.opened.load(Ordering::Relaxed)
    }

    /// Looks for idle programs twice: the first look finds who asked since the last one.
    fn sweep(&self) -> (usize, usize) {
        self.programs.sweep(Duration::ZERO);
        self.programs.sweep(Duration::ZERO);
        (self.programs.loaded(), 0)
    }
}

#[tokio::test]
async fn what_nobody_asks_for_is_unloaded_and_opened_once_for_everybody_who_asks_again() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path());
    let key = node.run("hello/web", "hello/web").await;
    assert_eq!((node.programs.loaded(), node.opened()), (1, 1));
    let program = node.open(&key).await.unwrap();
    assert_eq!(node.programs.sweep(Duration::ZERO), (0, 1), "somebody asked since the last look");
    assert_eq!(node.programs.sweep(Duration::ZERO), (0, 1), "a request is under way");
    drop(program);
    assert_eq!(node.programs.sweep(Duration::from_secs(3600)), (0, 1), "not for long enough");
    assert_eq!(node.programs.sweep(Duration::ZERO), (1, 0));
    let asked = futures_util::future::join_all((0..20).map(|_| node.open(&key))).await;
    assert!(asked.into_iter().all(|program| program.unwrap().0 == "hello/web r1"));
    assert_eq!((node.programs.loaded(), node.opened()), (1, 2), "twenty who asked at once share one opening");
}

#[tokio::test]
async fn programs_of_one_artifact_share_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path());
    for number in 0..20 {
        node.run(&format!("app-{number}/web"), "hello/web").await;
    }
    assert_eq!((node.programs.loaded(), node.opened()), (20, 1));
}

#[tokio::test]
async fn code_that_is_gone_when_it_is_wanted_again_is_made_anew_while_the_request_waits() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path());
    let key = node.run("hello/web", "hello/web").await;
    node.sweep();
    node.engine.code.lock().unwrap().clear();
    assert_eq!(node.open(&key).await.unwrap().0, "hello/web r1");
    assert!(node.engine.has_code(Digest::of(b"hello/web")));
}

#[tokio::test]
async fn code_that_cannot_be_made_anew_is_a_clear_error_and_is_not_tried_for_every_request() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path());
    let key = node.run("hello/web", "unknown to the control plane").await;
    node.sweep();
    node.engine.code.lock().unwrap().clear();
    let failure = node.open(&key).await.err().expect("nobody has the artifact");
    assert_eq!((failure.code.as_ref(), failure.again), ("E0206", Again::Never));
    let opened = node.opened();
    assert_eq!(node.open(&key).await.err(), Some(failure));
    assert_eq!(node.opened(), opened, "the second request is told the same");
}

#[tokio::test]
async fn the_least_recently_used_code_gives_way_and_what_is_in_use_never_does() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path());
    let first = node.run("first/web", "one").await;
    let second = node.run("second/web", "two").await;
    node.programs.sweep(Duration::from_secs(3600));
    let held = node.open(&first).await.unwrap();
    let third = node.run("third/web", "three").await;
    let loaded = |key| matches!(node.programs.find(key), Some(Found::Loaded(_)));
    assert!(loaded(&first) && loaded(&third) && !loaded(&second), "two codes may be open, and the second was asked for least");
    let other = node.open(&third).await.unwrap();
    let failure = node.open(&second).await.err().expect("both codes have requests");
    assert_eq!((failure.code.as_ref(), failure.again), ("E0308", Again::Sometimes));
    assert!(failure.message.contains("all 2 codes"), "{failure}");
    drop((held, other));
}

#[tokio::test]
async fn what_is_counted_of_a_component_outlives_unloading_and_goes_with_its_last_program() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path());
    let first = node.run("hello/web", "one").await;
    let second = ProgramKey { revision: model::id::RevisionNumber(2), ..first.clone() };
    let Some(Found::Loaded(_)) = node.programs.find(&first) else { panic!("it was started") };
    let assigned = AssignedProgram { digest: Digest::of(b"one"), ..place("hello/web", 2, 2, Wanted::Run) };
    node.programs.insert(&second, node.programs.start(Arc::new(assigned), Default::default()).await.unwrap());
    node.sweep();
    node.programs.remove(&first);
    assert!(node.engine.forgotten.lock().unwrap().is_empty(), "another revision is still here");
    node.programs.remove(&second);
    assert_eq!(*node.engine.forgotten.lock().unwrap(), ["hello/web"]);
}
