//! What a JSON type prints, it reads again.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `text` as a `T`; if it is one, it is printed, read and printed again, and both have to be
/// the same value. (Compared as JSON: not all types can be compared, and numbers with a fraction
/// may change in their last binary digit each time they are read.)
pub(crate) fn survives<T: Serialize + DeserializeOwned + Debug>(text: &[u8]) -> Option<T> {
    let first: T = serde_json::from_slice(text).ok()?;
    // Debug must not fail either: values are logged so.
    let _ = format!("{first:?}");
    let printed = serde_json::to_vec(&first).expect("what was read can be printed");
    let again: T = serde_json::from_slice(&printed).expect("what was printed can be read");
    let (one, two) = (value(&first), value(&again));
    assert!(same(&one, &two), "{one} became {two}");
    Some(first)
}

fn value<T: Serialize>(of: &T) -> Value {
    serde_json::to_value(of).expect("what was read can be printed")
}

fn same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) if one.is_f64() || two.is_f64() => {
            match (one.as_f64(), two.as_f64()) {
                (Some(one), Some(two)) => (one - two).abs() <= one.abs() * 1e-12,
                _ => false,
            }
        }
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && (one.iter()).all(|(key, one)| two.get(key).is_some_and(|two| same(one, two)))
        }
        _ => one == two,
    }
}
