//! Answers in JSON.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::problem::internal;

/// A value as JSON. Written into a vector, which a long list fills faster than the buffer of axum's type
/// of this name.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => {
                let json = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, json)], text).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                internal("the answer could not be written").into_response()
            }
        }
    }
}
