//! Commands that follow what happens, while the server they are connected to is killed and comes back. Owns the reading of their output.

use std::time::Duration;

use cluster_tests::{
    cluster::hello,
    eventually, guest,
    node::{self, Node},
    raw,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    time::timeout,
};

/// How long a line may take that must come.
const LINE_MAX: Duration = Duration::from_secs(60);

/// A command that goes on; killed when dropped.
struct Follow {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Follow {
    fn start(node: &Node, args: &[&str]) -> Self {
        let mut command = tokio::process::Command::from(node.command(args));
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("shoal runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { _child: child, lines, seen: Vec::new() }
    }

    /// Reads until a line has `words`.
    async fn until(&mut self, words: &str) {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                self.seen.push(line);
                if self.seen.last().is_some_and(|line| line.contains(words)) {
                    return;
                }
            }
            panic!("it ended after {:?}", self.seen);
        };
        if timeout(LINE_MAX, reading).await.is_err() {
            panic!("no line with {words} among {:?}", self.seen);
        }
    }

    fn count(&self, words: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(words)).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_goes_on_when_the_server_comes_back() {
    let node = Node::start().await;
    node.apply(&hello(&guest("hello"), "")).expect(0);
    let mut logs = Follow::start(&node, &["logs", "hello", "--access", "-f", "-o", "json"]);
    let mut events = Follow::start(&node, &["events", "-w", "-o", "json"]);
    let ask = async |path: &'static str| {
        eventually("an answer", || async {
            raw::get(&node.http, "hello.localhost", path).await.is_ok_and(|got| got.status == 200).then_some(())
        })
        .await;
    };
    ask("/before").await;
    logs.until("\"/before\"").await;
    events.until("AppDeployed").await;
    node::kill(node.child("control-plane").expect("it runs"));
    ask("/meanwhile").await;
    logs.until("\"/meanwhile\"").await;
    eventually("another revision", || async {
        (node.apply(&hello(&guest("hello"), "      env: {TURN: \"2\"}\n")).code == 0).then_some(())
    })
    .await;
    events.until("AppDeployed").await;
    ask("/after").await;
    logs.until("\"/after\"").await;
    assert_eq!((logs.count("\"/before\""), logs.count("\"/meanwhile\""), logs.count("\"/after\"")), (1, 1, 1), "{:?}", logs.seen);
    assert_eq!(events.count("AppDeployed"), 2, "{:?}", events.seen);
}
