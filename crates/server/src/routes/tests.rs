//! What a late answer says.

use api::peer::DEADLINE_HEADER;
use http_body_util::BodyExt;

use super::*;

async fn code_when_late(method: Method, path: &'static str) -> String {
    let handler = || std::future::pending::<&str>();
    let handler = get(handler).post(handler).delete(handler).layer(from_fn(deadline));
    let router: Router = Router::new().route("/v1/plan", handler.clone()).route("/v1/apps/{app}", handler);
    let request = Request::builder().method(method).uri(path).header(DEADLINE_HEADER, 0).body(Body::empty()).expect("a request");
    let answer = router.oneshot(request).await.expect("it answers");
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    let body = answer.into_body().collect().await.expect("an answer has a body").to_bytes();
    serde_json::from_slice::<v1::ErrorBody>(&body).expect("an error").error.code
}

#[tokio::test]
async fn a_change_that_is_given_up_is_in_doubt_and_a_question_is_not() {
    assert_eq!(code_when_late(Method::DELETE, "/v1/apps/hello").await, "E0431");
    assert_eq!(code_when_late(Method::POST, "/v1/apps/hello").await, "E0431");
    assert_eq!(code_when_late(Method::GET, "/v1/apps/hello").await, "E0407");
    assert_eq!(code_when_late(Method::POST, "/v1/plan").await, "E0407");
}
