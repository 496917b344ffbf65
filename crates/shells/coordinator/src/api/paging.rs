//! Lists in pages: `limit` and `offset` in the query, the number of all items in `X-Total-Count`.

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use warp_protocol::contract::{DEFAULT_LIMIT, MAX_LIMIT, TOTAL_COUNT};

use crate::{
    answer::Json,
    extract::QueryOf,
    problem::{Refused, invalid},
};

/// Items that may be passed over: what fits in the 32 bits of the document.
const MAX_OFFSET: u32 = i32::MAX as u32;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// How many items at most, 1 to 1000; default 100.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 1000, required = false)]
    pub(crate) limit: u32,
    /// How many items are passed over, at most 2147483647.
    #[serde(default)]
    #[param(minimum = 0, maximum = 2147483647, required = false)]
    pub(crate) offset: u32,
}

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let QueryOf(paging) = QueryOf::<Self>::from_request_parts(parts, state).await?;
        if !(1..=MAX_LIMIT).contains(&paging.limit) {
            return Err(invalid("`limit` is 1 to 1000"));
        }
        if paging.offset > MAX_OFFSET {
            return Err(invalid("`offset` is at most 2147483647"));
        }
        Ok(paging)
    }
}

impl Paging {
    /// How many items are passed over, and how many are taken.
    pub(crate) fn range(self) -> (usize, usize) {
        let size = |n| usize::try_from(n).unwrap_or(usize::MAX);
        (size(self.offset), size(self.limit))
    }

    /// A page of a list that is at hand.
    pub(crate) fn of<T>(self, all: Vec<T>) -> Page<T> {
        let total = all.len() as u64;
        let (offset, limit) = self.range();
        Page {
            items: all.into_iter().skip(offset).take(limit).collect(),
            total,
        }
    }
}

/// A page of a list: the plain array, with the number of all items in a header.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) total: u64,
}

impl<T> Page<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(Vec<T>) -> Vec<U>) -> Page<U> {
        Page {
            items: change(self.items),
            total: self.total,
        }
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        let total = HeaderValue::from(self.total);
        response.headers_mut().insert(TOTAL_COUNT, total);
        response
    }
}
