//! The log store as a whole: what was written is found by each filter, lines that do not fit are counted, followers miss nothing.

use std::time::Duration;

use api::{time::Time, v1::AccessLine};

use super::{
    super::{
        LogConfig, LogRate,
        tests::{ANY_RATE, line},
    },
    *,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn access(component: Option<&str>, at: u64, request: &str, status: u16) -> AccessLine {
    AccessLine {
        at: Time(Timestamp(at)),
        request_id: request.to_owned(),
        component: component.map(|text| text.parse().unwrap()),
        revision: None,
        ordinal: None,
        node: String::new(),
        client: "127.0.0.1".into(),
        method: "GET".into(),
        host: "hello.localhost".into(),
        path: "/".into(),
        protocol: "HTTP/1.1".into(),
        trace_id: None,
        status,
        code: None,
        request_bytes: 0,
        response_bytes: 0,
        duration_micros: 1,
    }
}

fn keep(store: &LogStore, line: AccessLine) {
    let component = line.component.clone();
    store.access(component.as_ref(), |node, out| {
        serde_json::to_writer(out, &LogEntry::Access(AccessLine { node: node.to_owned(), ..line })).unwrap();
    });
}

struct Fixture {
    rate: LogRate,
    store: Option<Arc<LogStore>>,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new(file_bytes_max: u64) -> Self {
        let mut fixture = Self { rate: ANY_RATE, store: None, directory: tempfile::tempdir().unwrap() };
        fixture.reopen(file_bytes_max);
        fixture
    }

    fn reopen(&mut self, file_bytes_max: u64) {
        self.store = None;
        let config = LogConfig { file_bytes_max, ..LogConfig::new(self.directory.path().to_owned(), "one".into(), self.rate) };
        self.store = Some(Arc::new(LogStore::start(config).unwrap()));
    }

    fn store(&self) -> &Arc<LogStore> {
        self.store.as_ref().unwrap()
    }

    async fn ask(&self, query: LogQuery) -> Vec<String> {
        let mut chunks = self.store().query(query.try_into().unwrap()).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = tokio::time::timeout(DEADLINE, chunks.recv()).await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).unwrap().lines().map(brief).collect()
    }

    async fn check(&self, query: LogQuery, expected: &[&str]) {
        assert_eq!(self.ask(query.clone()).await, expected, "{query:?}");
    }
}

fn brief(text: &str) -> String {
    match serde_json::from_str(text).unwrap() {
        LogEntry::Line(line) => {
            assert_eq!(line.node, "one");
            format!("{} {}", line.component, line.text)
        }
        LogEntry::Access(line) => {
            assert_eq!(line.node, "one");
            format!("{} {}", line.request_id, line.status)
        }
        LogEntry::Absent { node, .. } => panic!("a worker says nothing of other nodes, not even of {node}"),
        LogEntry::Dropped { lines, component, .. } => format!("dropped {lines} {}", component.unwrap()),
    }
}

fn query(app: &str) -> LogQuery {
    LogQuery { app: Some(app.parse().unwrap()), ..LogQuery::default() }
}

#[tokio::test]
async fn every_filter_selects_what_it_says() {
    let fixture = Fixture::new(1 << 20);
    let store = fixture.store();
    store.line(line("hello/web", 10, Some("a"), "first"));
    store.line(line("hello/api", 20, None, "second"));
    store.line(line("team/other/web", 15, None, "elsewhere"));
    store.line(line("hello/web", 30, Some("b"), "third"));
    keep(store, access(Some("hello/web"), 12, "a", 200));
    keep(store, access(Some("hello/web"), 32, "b", 503));
    keep(store, access(None, 40, "c", 404));

    fixture.check(query("hello"), &["hello/web first", "hello/api second", "hello/web third"]).await;
    fixture.check(query("team/other"), &["team/other/web elsewhere"]).await;
    fixture.check(query("absent"), &[]).await;
    fixture.check(LogQuery::default(), &["hello/web first", "team/other/web elsewhere", "hello/api second", "hello/web third"]).await;
    fixture.check(LogQuery { component: Some("api".parse().unwrap()), ..query("hello") }, &["hello/api second"]).await;
    fixture.check(LogQuery { tail: Some(1), ..query("hello") }, &["hello/web third"]).await;
    fixture.check(LogQuery { tail: Some(0), ..query("hello") }, &[]).await;
    fixture.check(LogQuery { since: Some(Time(Timestamp(20))), ..query("hello") }, &["hello/api second", "hello/web third"]).await;
    fixture.check(LogQuery { grep: Some("ir".into()), ..query("hello") }, &["hello/web first", "hello/web third"]).await;
    fixture.check(LogQuery { request: Some("b".into()), ..query("hello") }, &["hello/web third"]).await;
    let with_access = LogQuery { request: Some("b".into()), access: true, ..LogQuery::default() };
    fixture.check(with_access, &["hello/web third", "b 503"]).await;
    fixture.check(LogQuery { status: Some("5xx".into()), ..query("hello") }, &["b 503"]).await;
    fixture.check(LogQuery { status: Some("404".into()), ..LogQuery::default() }, &["c 404"]).await;
}

#[tokio::test]
async fn lines_outlive_the_process_and_old_ones_give_way() {
    let mut fixture = Fixture::new(600);
    for number in 0..20 {
        fixture.store().line(line("hello/web", number, None, &format!("line {number}")));
    }
    fixture.reopen(600);
    let kept = fixture.ask(query("hello")).await;
    assert!(kept.len() > 2 && kept.len() < 20, "{kept:?}");
    assert_eq!(kept.last().unwrap(), "hello/web line 19");
    let written: u64 = std::fs::read_dir(fixture.directory.path().join("default/hello/web"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(written <= 1_200, "{written} bytes");
}

#[tokio::test]
async fn lines_that_come_too_fast_are_counted_the_count_is_told_and_others_lose_nothing() {
    let mut fixture = Fixture::new(64 << 20);
    fixture.rate = LogRate { lines: 100, bytes: 1 << 20 };
    fixture.reopen(64 << 20);
    let sent = 50_000;
    for number in 0..sent {
        fixture.store().line(line("noisy/web", number, None, "x"));
        if number % 500 == 0 {
            fixture.store().line(line("quiet/web", number, None, "said"));
        }
    }
    let (mut lines, mut dropped) = (0, 0);
    for told in fixture.ask(query("noisy")).await {
        match told.strip_prefix("dropped ") {
            Some(count) => dropped += count.strip_suffix(" noisy/web").unwrap().parse::<u64>().unwrap(),
            None => lines += 1,
        }
    }
    assert_eq!(dropped, fixture.store().dropped());
    assert_eq!(dropped, fixture.store().dropped_of(&"noisy/web".parse().unwrap()));
    assert!(dropped > 0, "nobody may write {sent} lines at once");
    assert_eq!(lines + dropped, sent);
    assert_eq!(fixture.ask(query("quiet")).await.len(), 100);
}

#[tokio::test]
async fn a_follower_gets_what_was_there_and_everything_after_once() {
    let fixture = Fixture::new(1 << 20);
    fixture.store().line(line("hello/web", 1, None, "before"));
    let follow = LogQuery { follow: true, ..query("hello") };
    let mut chunks = fixture.store().query(follow.try_into().unwrap()).await.unwrap();
    fixture.store().line(line("hello/web", 2, None, "after"));
    fixture.store().line(line("other/web", 3, None, "not asked for"));
    fixture.store().line(line("hello/web", 4, None, "last"));
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "hello/web last") {
        let chunk = tokio::time::timeout(DEADLINE, chunks.recv()).await.unwrap().expect("the stream goes on");
        told.extend(std::str::from_utf8(&chunk).unwrap().lines().map(brief));
    }
    assert_eq!(told, ["hello/web before", "hello/web after", "hello/web last"]);
}

#[tokio::test]
async fn a_follower_of_access_lines_gets_each_as_the_file_has_it() {
    let fixture = Fixture::new(1 << 20);
    keep(fixture.store(), access(Some("hello/web"), 1, "before", 200));
    let follow = LogQuery { follow: true, access: true, ..query("hello") };
    let mut chunks = fixture.store().query(follow.try_into().unwrap()).await.unwrap();
    for (component, request) in [("hello/web", "one"), ("hello/web", "two"), ("other/web", "not asked for"), ("hello/web", "last")] {
        keep(fixture.store(), access(Some(component), 2, request, 503));
    }
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "last 503") {
        let chunk = tokio::time::timeout(DEADLINE, chunks.recv()).await.unwrap().expect("the stream goes on");
        told.extend(std::str::from_utf8(&chunk).unwrap().lines().map(brief));
    }
    assert_eq!(told, ["before 200", "one 503", "two 503", "last 503"]);
}

#[test]
fn a_status_is_a_number_or_a_class() {
    assert_eq!(statuses("5xx"), Ok(500..=599));
    assert_eq!(statuses("404"), Ok(404..=404));
    for wrong in ["", "9xx", "xx", "60000", "ok"] {
        assert_eq!(statuses(wrong), Err(InvalidQuery::Status(wrong.into())));
    }
}
