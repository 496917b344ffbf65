//! Refusals: every one is an [`ErrorBody`] with a stable code, whoever made it.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use warp_coordinator_core::access::Refusal;
use warp_protocol::{ProblemCode, rest::ErrorBody};

use crate::{answer::Json, monitoring::requests::RefusedWith, store::StoreError};

/// A refusal on its way to a client.
#[derive(Debug)]
pub(crate) struct Refused {
    code: ProblemCode,
    detail: String,
    status: StatusCode,
    /// Seconds after which it makes sense to ask again.
    retry_after: Option<u64>,
}

impl Refused {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            status: status_of(code),
            retry_after: None,
        }
    }

    /// The same code under another HTTP status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    pub(crate) fn code(&self) -> ProblemCode {
        self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

/// The HTTP status of each code that the coordinator answers with.
fn status_of(code: ProblemCode) -> StatusCode {
    use ProblemCode as P;
    match code {
        P::WrongPassword | P::TokenExpired | P::NotSignedIn => StatusCode::UNAUTHORIZED,
        P::NameTaken | P::ZoneClosed | P::NoHost | P::Conflict => StatusCode::CONFLICT,
        P::HostRefused | P::BadName | P::BadPassword => StatusCode::UNPROCESSABLE_ENTITY,
        P::BadRequest => StatusCode::BAD_REQUEST,
        P::Forbidden
        | P::HostNotYours
        | P::CertificateMissing
        | P::CertificateInvalid
        | P::CertificateExpired
        | P::DeviceRevoked
        | P::Banned => StatusCode::FORBIDDEN,
        P::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        P::CoordinatorFault | P::EndpointUnreachable => StatusCode::SERVICE_UNAVAILABLE,
        P::NotFound | P::UnknownZone | P::UnknownSession => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            detail: self.detail,
            code: self.code,
        };
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(RefusedWith(self.code));
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.why)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        // What exactly failed is for the operator's log, not for a client.
        tracing::warn!(%error, "store");
        Self::new(
            ProblemCode::CoordinatorFault,
            "the coordinator's database does not answer; try again later",
        )
    }
}

/// A field of a well-formed request holds what it cannot: 422.
pub(crate) fn invalid(detail: impl Into<String>) -> Refused {
    Refused::new(ProblemCode::BadRequest, detail).with_status(StatusCode::UNPROCESSABLE_ENTITY)
}

/// A fault of our own that has no better name.
pub(crate) fn internal(detail: &'static str) -> Refused {
    Refused::new(ProblemCode::Internal, detail)
}
