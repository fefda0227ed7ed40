//! One component's client: what goes over the wire, what is pooled, what is bounded, and how it ends.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use http::StatusCode;
use http_body_util::{Channel, StreamBody};
use tokio::{sync::oneshot, time::Instant};

use super::*;

#[tokio::test]
async fn a_request_goes_out_as_it_is_with_a_host() {
    let server = Server::hello().await;
    let client = client_of(&[server.rule("127.0.0.1")]);
    let request = Request::get(server.url("127.0.0.1")).header("x-own", "1").header("traceparent", "00-1").body(body("")).unwrap();
    let response = send(&client, request, None).await.ok().unwrap();
    let said = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let host = format!("host: {}", server.address);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["GET /path?query", "x-own: 1", "traceparent: 00-1", &host]);
}

/// Goal: connections are used again, by every sandbox of a program, and go with it.
#[tokio::test]
async fn connections_are_pooled_and_end_with_the_client() {
    let mut server = Server::hello().await;
    let client = client_of(&[server.rule("127.0.0.1")]);
    for _ in 0..20 {
        get(&client, &server.url("127.0.0.1")).await.unwrap();
    }
    assert_eq!(server.connections.load(SeqCst), 1);
    drop(client);
    server.open.wait_for(|open| *open == 0).await.unwrap();
}

/// Goal: what the slow lane drives does not tie the pool to it. Method: the first request comes from another executor, which then ends.
#[test]
fn connections_live_on_the_executor_of_the_program() {
    let executor = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (main, slow) = (executor(), executor());
    let server = main.block_on(Server::hello());
    let client = main.block_on(async { client_of(&[server.rule("127.0.0.1")]) });
    slow.block_on(get(&client, &server.url("127.0.0.1"))).unwrap();
    drop(slow);
    for _ in 0..4 {
        main.block_on(get(&client, &server.url("127.0.0.1"))).unwrap();
    }
    assert_eq!(server.connections.load(SeqCst), *server.open.borrow(), "none broke off");
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_needs_a_rule_for_the_address() {
    let server = Server::hello().await;
    let url = server.url("localhost");
    let said = get(&client_of(&[server.rule("localhost")]), &url).await.unwrap_err();
    assert!(said == "denied: 127.0.0.1 is loopback" || said == "denied: ::1 is loopback", "{said}");
    assert_eq!(server.connections.load(SeqCst), 0, "nothing was connected to");
    let said = get(&client_of(&[server.rule("127.0.0.1")]), &url).await.unwrap();
    assert!(said.contains(&format!("host: localhost:{}", server.address.port())), "{said}");
    assert_eq!(get(&client_of(&[]), &url).await.unwrap_err(), "denied");
    assert_eq!(get(&client_of(&[server.rule("127.0.0.2")]), &server.url("127.0.0.1")).await.unwrap_err(), "denied");
}

#[tokio::test]
async fn a_redirect_is_the_guests_to_follow() {
    let server = Server::start(|_| async {
        Response::builder().status(StatusCode::FOUND).header("location", "http://169.254.169.254/").body(body("")).unwrap()
    })
    .await;
    let client = client_of(&[server.rule("127.0.0.1")]);
    let request = Request::get(server.url("127.0.0.1")).body(body("")).unwrap();
    assert_eq!(send(&client, request, None).await.ok().unwrap().status(), StatusCode::FOUND);
}

/// Goal: a guest that does not read holds the other side back, and one that goes away frees it.
#[tokio::test]
async fn a_response_is_streamed_with_back_pressure() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let mut server = Server::start(move |_| {
        let count = Arc::clone(&count);
        let endless = futures_util::stream::repeat_with(move || {
            count.fetch_add(64 << 10, SeqCst);
            Ok(hyper::body::Frame::data(Bytes::from(vec![0; 64 << 10])))
        });
        async { Response::new(StreamBody::new(endless).boxed_unsync()) }
    })
    .await;
    let client = client_of(&[server.rule("127.0.0.1")]);
    let request = Request::get(server.url("127.0.0.1")).body(body("")).unwrap();
    let mut response = send(&client, request, None).await.ok().unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    let other = Server::hello().await;
    let others = client_of(&[other.rule("127.0.0.1")]);
    for _ in 0..200 {
        get(&others, &other.url("127.0.0.1")).await.unwrap();
    }
    let before = written.load(SeqCst);
    assert!(before < 32 << 20, "{before} bytes were taken from a server nobody reads");
    drop(response);
    server.open.wait_for(|open| *open == 0).await.unwrap();
}

#[tokio::test]
async fn silence_has_an_end() {
    let brief = Some(Duration::from_millis(50));
    let silent = Server::start(|_| std::future::pending()).await;
    let client = client_of(&[silent.rule("127.0.0.1")]);
    let options = RequestOptions { first_byte_timeout: brief, ..RequestOptions::default() };
    let request = || Request::get(silent.url("127.0.0.1")).body(body("")).unwrap();
    assert!(matches!(failed(send(&client, request(), Some(options)).await), Error::ConnectionReadTimeout));

    let stuck = Server::start(|_| async {
        let (mut pieces, body) = Channel::<Bytes, Error>::new(1);
        pieces.send_data(Bytes::from_static(b"first")).await.unwrap();
        tokio::spawn(async move {
            let _pieces = pieces;
            std::future::pending::<()>().await
        });
        Response::new(body.boxed_unsync())
    })
    .await;
    let client = client_of(&[stuck.rule("127.0.0.1")]);
    let options = RequestOptions { between_bytes_timeout: brief, ..RequestOptions::default() };
    let request = Request::get(stuck.url("127.0.0.1")).body(body("")).unwrap();
    let mut response = send(&client, request, Some(options)).await.ok().unwrap();
    assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    assert!(matches!(response.body_mut().frame().await, Some(Err(Error::ConnectionReadTimeout))));
}

/// Goal: a long upload is not silence. Method: every piece that is taken moves the moment from which the other side's silence counts.
#[tokio::test]
async fn the_other_side_has_its_time_after_the_last_piece_of_the_request() {
    let (mut pieces, body) = Channel::<Bytes, Error>::new(1);
    let sent = Sent::new(body.boxed_unsync());
    let mut upload = sent.upload();
    for piece in ["one", "two", "three"] {
        pieces.send_data(Bytes::from_static(piece.as_bytes())).await.unwrap();
        let before = Instant::now();
        assert_eq!(upload.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
        assert!(sent.moved_at() >= before, "{piece}");
    }
}

#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    let server = Server::hello().await;
    let client = client_of(&[server.rule("127.0.0.1")]);
    let options = Some(RequestOptions { connect_timeout: Some(Duration::from_millis(50)), ..RequestOptions::default() });
    let one = Arc::new(Semaphore::new(1));
    let request = || Request::get(server.url("127.0.0.1")).body(body("")).unwrap();
    let held = client.send(request(), options, Arc::clone(&one)).await.ok().unwrap();
    let second = client.send(request(), options, Arc::clone(&one)).await;
    assert!(matches!(failed(second), Error::ConnectionLimitReached), "the first body is still held");
    drop(held);
    assert!(client.send(request(), options, one).await.is_ok());
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let server = Server::start(|_| async {
        let mut response = text("");
        for number in 0..40 {
            response.headers_mut().insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), "y".repeat(2_000).parse().unwrap());
        }
        response
    })
    .await;
    let request = Request::get(server.url("127.0.0.1")).body(body("")).unwrap();
    let error = failed(send(&client_of(&[server.rule("127.0.0.1")]), request, None).await);
    assert!(matches!(error, Error::HttpResponseHeaderSectionSize(_)), "{error:?}");
}

/// Goal: a guest that is still writing learns what went wrong instead of seeing a broken pipe.
#[tokio::test]
async fn the_rest_of_a_failed_request_is_read() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = client_of(&[format!("http://{nobody}")]);
    let (mut pieces, upload) = Channel::<Bytes, Error>::new(1);
    let request = Request::post(format!("http://{nobody}/")).body(upload.boxed_unsync()).unwrap();
    let (done, wrote) = oneshot::channel();
    tokio::spawn(async move {
        for _ in 0..100 {
            pieces.send_data(Bytes::from_static(b"piece")).await.expect("somebody reads");
        }
        done.send(()).unwrap();
    });
    assert!(matches!(failed(send(&client, request, None).await), Error::ConnectionRefused));
    wrote.await.expect("all of it was taken");
}

#[tokio::test]
async fn what_the_cluster_is_run_by_is_reached_by_no_rule() {
    let server = Server::start(|_| async { text("in") }).await;
    let cluster = Arc::new(ClusterSockets::default());
    let surroundings = Arc::new(HttpSurroundings::new(Arc::clone(&cluster), TaskTracker::new()));
    let (url, port) = (format!("http://{}/", server.address), server.address.port());
    let ask = async || get(&client_in(Arc::clone(&surroundings), &[format!("http://{}", server.address)]), &url).await;
    assert_eq!(ask().await, Ok("in".to_owned()));
    // By its address, by any other of this machine, and by a name.
    for place in [server.address.to_string(), format!("0.0.0.0:{port}"), format!("[::1]:{port}"), format!("LOCALHOST:{port}")] {
        cluster.close(std::slice::from_ref(&place));
        assert_eq!(ask().await, Err("closed: 127.0.0.1".to_owned()), "{place}");
    }
    cluster.close(&[format!("10.0.0.9:{port}"), "localhost:1".to_owned(), format!("no-such-host.invalid:{port}")]);
    assert_eq!(ask().await, Ok("in".to_owned()), "elsewhere is elsewhere");
}
