//! What is not done, and why: what other parts fail with, as the errors of the API. Must never hold a text that is for the log only.

use api::v1::ErrorDetail;
use artifacts::UploadError;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use consensus::ProposeError;
use doors::refusal;
use model::problem::{Problem, chain};

/// A request that is not done, and why.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: ErrorDetail,
}

impl ApiError {
    /// An error with `code`, which sets the status.
    pub(crate) fn new(code: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        ErrorDetail::new(code, message, help).into()
    }

    /// The same with another status.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Its code.
    pub(crate) fn code(&self) -> &str {
        &self.detail.code
    }

    /// Its sentence.
    pub(crate) fn message(&self) -> &str {
        &self.detail.message
    }

    /// `E0402`: there is no such thing.
    pub(crate) fn not_found(what: &str) -> Self {
        ErrorDetail::not_found(what).into()
    }

    /// `E0431`: a change that may be done, now or later, or never; `why` nobody knows.
    pub(crate) fn in_doubt(why: &str) -> Self {
        let help = "look whether it was done, or send it again with the same Idempotency-Key";
        Self::new("E0431", format!("it may or may not have been done: {why}"), help)
    }

    /// What is wrong with the documents of a request; at least one thing.
    pub(crate) fn problems(problems: Vec<(usize, Problem)>) -> Self {
        ErrorDetail::problems(problems).into()
    }
}

impl From<ErrorDetail> for ApiError {
    fn from(detail: ErrorDetail) -> Self {
        Self { status: refusal::status_of(&detail.code), detail }
    }
}

impl From<ProposeError> for ApiError {
    fn from(error: ProposeError) -> Self {
        let message = format!("cannot write to the log of the control plane: {}", chain(&error));
        match error {
            ProposeError::NotLeader { .. } => crate::forward::no_leader(&chain(&error)),
            ProposeError::Unknown => Self::in_doubt("leadership moved, or a majority was away, while this was written"),
            // What was written last is kept or cut off when the log is read again.
            ProposeError::Failed { .. } => Self::in_doubt(&chain(&error)),
            ProposeError::Storage { .. } => Self::new("E0406", message, "free disk space under the data directory; nothing was changed"),
            ProposeError::TooLarge { .. } | ProposeError::Encode { .. } => Self::new("E0405", message, "split the app"),
            ProposeError::Stopped => Self::new("E0407", message, "try again in a moment"),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        Self::new(error.code(), chain(&error), error.help())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        refusal::answer(self.status, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;

    #[test]
    fn a_write_that_may_be_done_has_a_code_of_its_own() {
        let check = |error: ProposeError, code: &str, status: u16| {
            let told = ApiError::from(error);
            assert_eq!((told.code(), told.status.as_u16()), (code, status), "{}", told.message());
        };
        check(ProposeError::Unknown, "E0431", 503);
        check(ProposeError::Failed { message: "the disk is gone".to_owned() }, "E0431", 503);
        check(ProposeError::NotLeader { leader: None }, "E0422", 503);
        check(ProposeError::Stopped, "E0407", 503);
        check(ProposeError::Storage { source: Arc::new(io::ErrorKind::StorageFull.into()) }, "E0406", 507);
        check(ProposeError::TooLarge { bytes: 2, limit: 1 }, "E0405", 422);
    }
}
