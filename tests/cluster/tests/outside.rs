//! What components reach outside, with real processes: denied first, allowed by the line in the log, and read-only files of the manifest.

use cluster_tests::{eventually, guest, node::Node, raw};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn app(name: &str, extra: &str) -> String {
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         routes: [{{host: {name}.localhost}}]\n{extra}",
        guest(name).display()
    )
}

/// Answers every connection with "outside".
async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\noutside").await;
        }
    });
    port
}

/// Waits for an answer like this: the node's gateway hears of a new revision a moment after the control plane has decided it.
async fn answers(node: &Node, path: &str, status: u16, text: &str) {
    eventually(&format!("{status} with `{text}` for {path}"), || async {
        let answer = raw::get(&node.http, "caller.localhost", path).await.ok()?;
        (answer.status == status && answer.body.contains(text)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_in_the_log_is_the_line_that_allows_the_call() {
    let port = server().await;
    let node = Node::start().await;
    let path = format!("/?url=http://127.0.0.1:{port}/");
    node.apply(&app("caller", "")).expect(0);
    let answer = raw::get(&node.http, "caller.localhost", &path).await.unwrap();
    assert!(answer.status == 502 && answer.body.contains("HttpRequestDenied"), "{answer:?}");
    let line = eventually("the denial in the log", || {
        let said = node.shoal(&["logs", "caller"]).out;
        let line = said.lines().find_map(|line| Some(line[line.find("egress: {allow:")?..].to_owned()));
        async move { line }
    })
    .await;

    let granted = app("caller", &format!("      {line}\n"));
    node.apply(&granted).expect(7);
    node.accept(&granted).expect(0);
    answers(&node, &path, 200, "outside").await;

    // A rule for the name alone does not lead to this machine, and neither do the cluster's own sockets.
    node.accept(&app("caller", &format!("      egress: {{allow: [\"http://localhost:{port}\"]}}\n"))).expect(0);
    answers(&node, &format!("/?url=http://localhost:{port}/"), 502, "HttpRequestDenied").await;
    let answer = raw::get(&node.http, "caller.localhost", &format!("/?url=http://{}/v1/apps", node.api)).await.unwrap();
    assert!(answer.status == 502 && answer.body.contains("HttpRequestDenied"), "{answer:?}");

    // Not even by a rule that names the address: whoever reaches the API on loopback is its owner.
    let (api, http) = (node.api.clone(), node.http.clone());
    node.accept(&app(
        "caller",
        &format!("      egress: {{allow: [\"http://{api}\", \"http://{http}\", \"http://0.0.0.0:{}\"]}}\n", port_of(&api)),
    ))
    .expect(0);
    answers(&node, &format!("/?url=http://{http}/"), 404, "").await;
    for host in ["127.0.0.1", "0.0.0.0"] {
        answers(&node, &format!("/?url=http://{host}:{}/v1/apps", port_of(&api)), 502, "HttpRequestDenied").await;
    }
    eventually("that no rule opens it, in the log", || {
        let said = node.shoal(&["logs", "caller"]).out;
        async move { said.contains("no rule opens it").then_some(()) }
    })
    .await;
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').expect("an address has a port").1
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_manifest_are_read_by_the_guest_and_go_with_it() {
    let node = Node::start().await;
    node.write("color.txt", "blue");
    node.apply(&app("reader", "      files: [{from: ./color.txt, to: /etc/color.txt}]\n")).expect(0);
    let read = async || raw::get(&node.http, "reader.localhost", "/?read=/etc/color.txt").await.unwrap();
    assert_eq!(read().await.body, "blue");
    let answer = raw::get(&node.http, "reader.localhost", "/?write=/etc/color.txt").await.unwrap();
    assert_eq!(answer.status, 404, "{answer:?}");
    node.write("color.txt", "green");
    node.apply(&app("reader", "      files: [{from: ./color.txt, to: /etc/color.txt}]\n")).expect(0);
    eventually("the new file", || async { (read().await.body == "green").then_some(()) }).await;
    node.shoal(&["delete", "app", "reader", "--yes"]).expect(0);
    let files = node.data().join("worker/files");
    eventually("the removal of the files", || {
        let left = std::fs::read_dir(&files).map_or(0, Iterator::count);
        async move { (left == 0).then_some(()) }
    })
    .await;
}
