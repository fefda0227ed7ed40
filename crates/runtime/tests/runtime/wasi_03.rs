//! Components of WASI 0.3, each request in a sandbox of its own.

use model::app::ReuseMode;
use runtime::Kind;

use crate::{
    kept::{reuse, with},
    support::{Bench, fetch, sample},
};

#[tokio::test]
async fn hello_answers() {
    let bench = Bench::new();
    let code = bench.open(&sample("hello-p3"));
    assert_eq!(code.kind(), Kind::Wasi03);
    let program = bench.runtime.program(&code, with(reuse(ReuseMode::Fresh))).unwrap();
    program.probe().await.unwrap();
    for _ in 0..20 {
        let (status, text) = fetch(&program, "/").await.unwrap();
        assert!(status == 200 && text.starts_with("Hello from Shoal"), "{status} {text}");
    }
    assert_eq!(bench.live(), 0);
    assert_eq!(bench.lines.all(), []);
}
