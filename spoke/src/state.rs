//! Folding the events of a process into its state: pure.
//!
//! The general state is the deep merge of the events' data in their order: objects are merged key by
//! key, everything else (also `null` and arrays) replaces what was there. A service that knows its
//! events better folds them itself: [`crate::Spoke::fold`].

use proto::{Event, EventId};
use serde_json::Value;

/// An event's data cannot become part of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the data of event {id} cannot be read as a value: {reason}; read the event's data as text")]
pub struct StateError {
    /// The event.
    pub id: EventId,
    /// What the JSON parser says.
    pub reason: String,
}

/// The state that `events` leave behind: the deep merge of their data, in the order given.
///
/// # Errors
/// [`StateError`] if an event's data does not fit a JSON value, for example a number of 400 digits.
///
/// ```
/// use eventflow_spoke::{compose_state, Data, Event, Position, Version};
/// # fn event(data: &str) -> Event {
/// #     serde_json::from_value(serde_json::json!({
/// #         "position": 1, "id": "e", "timestamp": "2024-01-01T00:00:00Z", "domain": "order",
/// #         "pid": "1", "version": 1, "name": "changed", "rid": null, "publisher": null,
/// #         "metadata": {}, "data": serde_json::from_str::<serde_json::Value>(data).unwrap(),
/// #         "eids": [], "cpids": []
/// #     })).unwrap()
/// # }
/// let placed = event(r#"{"customer": {"name": "Ada", "city": "Rome"}, "items": [1, 2]}"#);
/// let moved = event(r#"{"customer": {"city": "Oslo"}, "items": [3]}"#);
/// let state = compose_state([&placed, &moved])?;
/// assert_eq!(state["customer"]["name"], "Ada");
/// assert_eq!(state["customer"]["city"], "Oslo");
/// assert_eq!(state["items"], serde_json::json!([3]));
/// # Ok::<(), eventflow_spoke::StateError>(())
/// ```
pub fn compose_state<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Value, StateError> {
    let mut state = Value::Object(serde_json::Map::new());
    for event in events {
        merge_event(&mut state, event)?;
    }
    Ok(state)
}

/// Merges one more event's data into `state`.
pub(crate) fn merge_event(state: &mut Value, event: &Event) -> Result<(), StateError> {
    let data: Value =
        event.data.to().map_err(|error| StateError { id: event.id.clone(), reason: error.to_string() })?;
    merge(state, data);
    Ok(())
}

/// Merges `change` into `state`. How deep it recurses is bounded by the depth that event data may have.
fn merge(state: &mut Value, change: Value) {
    match (state, change) {
        (Value::Object(state), Value::Object(change)) => {
            for (key, value) in change {
                match state.get_mut(&key) {
                    Some(old) => merge(old, value),
                    None => drop(state.insert(key, value)),
                }
            }
        }
        (state, change) => *state = change,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(changes: impl IntoIterator<Item = Value>) -> Value {
        let mut state = json!({});
        changes.into_iter().for_each(|change| merge(&mut state, change));
        state
    }

    #[test]
    fn objects_are_merged_key_by_key_at_every_depth() {
        let state =
            merged([json!({"a": {"b": {"c": 1, "d": 2}}, "e": 1}), json!({"a": {"b": {"d": 3}, "f": 4}})]);
        assert_eq!(state, json!({"a": {"b": {"c": 1, "d": 3}, "f": 4}, "e": 1}));
    }

    #[test]
    fn everything_but_an_object_replaces_what_was_there() {
        assert_eq!(merged([json!({"a": [1, 2]}), json!({"a": [3]})]), json!({"a": [3]}));
        assert_eq!(merged([json!({"a": {"b": 1}}), json!({"a": null})]), json!({"a": null}));
        assert_eq!(merged([json!({"a": {"b": 1}}), json!({"a": 5})]), json!({"a": 5}));
        assert_eq!(merged([json!({"a": 5}), json!({"a": {"b": 1}})]), json!({"a": {"b": 1}}));
        assert_eq!(merged([json!({"a": 5}), json!(7)]), json!(7));
    }

    #[test]
    fn keys_keep_the_order_in_which_they_first_came() {
        let state = merged([json!({"z": 1, "a": 1}), json!({"m": 1, "z": 2})]);
        assert_eq!(state.to_string(), r#"{"z":2,"a":1,"m":1}"#);
    }

    #[test]
    fn no_events_leave_an_empty_object() {
        assert_eq!(compose_state([]), Ok(json!({})));
    }
}
