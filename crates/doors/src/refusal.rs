//! Refusals as answers: the only place where a code becomes an HTTP status. Must never hold a text that is for the log only.

use api::v1::{ErrorBody, ErrorDetail};
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

/// The answer that says `detail`; one that is over in a moment says when to ask again.
pub fn answer(status: StatusCode, detail: ErrorDetail) -> Response {
    let body = serde_json::to_vec(&ErrorBody { error: detail }).expect("an error body has string keys only");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The status of an error with `code`, unless the place knows better.
pub fn status_of(code: &str) -> StatusCode {
    match code {
        "E0402" => StatusCode::NOT_FOUND,
        "E0401" | "E0403" | "E0430" => StatusCode::CONFLICT,
        "E0211" | "E0404" | "E0421" => StatusCode::FORBIDDEN,
        "E0406" => StatusCode::INSUFFICIENT_STORAGE,
        "E0407" | "E0422" | "E0431" => StatusCode::SERVICE_UNAVAILABLE,
        "E0423" => StatusCode::UNAUTHORIZED,
        "E0408" => StatusCode::BAD_REQUEST,
        "E0208" | "E0409" => StatusCode::PAYLOAD_TOO_LARGE,
        "E0410" => StatusCode::MISDIRECTED_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
