//! From requests to values, every failure as the error body. Owns body limits and deadlines of small bodies; must never know what a value means.

use std::sync::Arc;

use api::limits::JSON_BYTES_MAX;
use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::id::AppId;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;
use wishes::{caller::Caller, principal};

use crate::{api_error::ApiError, core::Core, limits::BODY_SILENCE_MAX};

/// A JSON body of at most so many bytes.
pub(crate) struct Json<T, const BYTES_MAX: usize = JSON_BYTES_MAX>(pub(crate) T);

impl<T: DeserializeOwned, const BYTES_MAX: usize> FromRequest<Arc<Core>> for Json<T, BYTES_MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<Core>) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // A browser sends this type to another site only after asking, so that a foreign page's form never gets here.
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            let error = ApiError::new("E0408", "the body is not said to be JSON", "send `Content-Type: application/json`");
            return Err(error.status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let late = |_| ApiError::new("E0408", format!("the body did not come within {} s", BODY_SILENCE_MAX.as_secs()), "");
        let whole = timeout(BODY_SILENCE_MAX, Limited::new(request.into_body(), BYTES_MAX).collect()).await.map_err(late)?;
        let bytes = whole.map_err(|error| too_large_or_broken(&*error, BYTES_MAX))?.to_bytes();
        let wrong = |error| ApiError::new("E0408", format!("the body cannot be read: {error}"), "/openapi.json tells its shape");
        serde_json::from_slice(&bytes).map(Self).map_err(wrong)
    }
}

fn too_large_or_broken(error: &(dyn std::error::Error + Send + Sync + 'static), bytes_max: usize) -> ApiError {
    if error.is::<LengthLimitError>() {
        return ApiError::new("E0409", format!("the body has more than {bytes_max} bytes"), "send fewer documents at once");
    }
    ApiError::new("E0408", format!("the body broke off: {error}"), "send it again")
}

/// A query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Core>> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Core>) -> Result<Self, ApiError> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        let wrong = |error| ApiError::new("E0408", format!("the query cannot be read: {error}"), "/openapi.json tells what may be asked");
        query.map(|axum::extract::Query(query)| Self(query)).map_err(wrong)
    }
}

/// The app a path names: `/v1/namespaces/NAMESPACE/apps/APP`.
pub(crate) struct AppPath(pub(crate) AppId);

impl FromRequestParts<Arc<Core>> for AppPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, ApiError> {
        let names = Path::<(String, String)>::from_request_parts(parts, core).await;
        let Path((namespace, name)) = names.map_err(|error| ApiError::new("E0408", error.to_string(), ""))?;
        let wrong = |error: model::id::InvalidId| ApiError::new("E0408", error.to_string(), "");
        let namespace = namespace.parse().map_err(wrong)?;
        // Here and not in each handler: whatever names an app is held against the caller's namespace.
        if let Some(caller) = parts.extensions.get::<Caller>() {
            principal::within(&caller.principal, &namespace)?;
        }
        Ok(Self(AppId { namespace, name: name.parse().map_err(wrong)? }))
    }
}

/// The one value a path names, as its id.
pub(crate) struct IdPath<T>(pub(crate) T);

impl<T: std::str::FromStr<Err = model::id::InvalidId>> FromRequestParts<Arc<Core>> for IdPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, ApiError> {
        let text = Path::<String>::from_request_parts(parts, core).await;
        let Path(text) = text.map_err(|error| ApiError::new("E0408", error.to_string(), ""))?;
        text.parse().map(Self).map_err(|error| ApiError::new("E0408", error.to_string(), ""))
    }
}

/// An answer.
pub(crate) struct Answer<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).expect("wire types have string keys only");
        ([(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
    }
}
