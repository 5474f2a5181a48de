//! Requests and responses in one line, for traces and transcripts.
//!
//! `Fetch orders-0@42 epoch=4`, `Produce orders-1 3 records seq=17 acks=all`,
//! `Vote epoch=4 n2 log 1@10 prevote`; and the answers `Produce orders-1@40`,
//! `Fetch orders-0 NOT_LEADER_OR_FOLLOWER`. A node is `n1`, a position `partition@offset`, a log end
//! `epoch@offset`. What an API carries beyond that is left out, and an API without a line of its own is
//! its name alone. Nothing here is read back by anybody.

mod request;
mod response;

use std::fmt::{Debug, Display};

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{BrokerId, RequestKind, ResponseKind};
use uuid::Uuid;

use super::batch::{Batch, BatchIter};
use super::{request_api, response_api};
use crate::types::{ProducerId, Sequence};

/// How a topic id becomes a name. Without one, the first four hex digits stand for the topic.
pub type Names<'a> = Option<&'a dyn Fn(Uuid) -> Option<String>>;

/// The line for a request.
pub fn brief_request(request: &RequestKind, names: Names<'_>) -> String {
    line(request_api(request), &request::detail(request, names))
}

/// The line for a response.
pub fn brief_response(response: &ResponseKind, names: Names<'_>) -> String {
    line(response_api(response), &response::detail(response, names))
}

/// Kafka's name of an error code, for example `NOT_LEADER_OR_FOLLOWER`; `NONE` for 0.
pub fn error_name(code: i16) -> String {
    match code.err() {
        None => "NONE".to_owned(),
        Some(ResponseError::Unknown(code)) => format!("ERROR_{code}"),
        Some(error) => upper_snake(&format!("{error:?}")),
    }
}

fn upper_snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 8);
    for (at, letter) in camel.char_indices() {
        if letter.is_ascii_uppercase() && at != 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}

fn line(api: impl Debug, detail: &str) -> String {
    if detail.is_empty() {
        format!("{api:?}")
    } else {
        format!("{api:?} {detail}")
    }
}

/// Items separated by commas; `none` where there are none.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(", ")
    }
}

/// A set of nodes: `{1,2,3}`.
fn nodes(ids: impl IntoIterator<Item = BrokerId>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.0.to_string()).collect();
    format!("{{{}}}", ids.join(","))
}

/// A topic by name where it is given or known, by the start of its id otherwise.
fn topic(name: &str, id: Uuid, names: Names<'_>) -> String {
    if !name.is_empty() {
        return name.to_owned();
    }
    names
        .and_then(|names| names(id))
        .unwrap_or_else(|| short(id))
}

/// The first four hex digits of an id.
fn short(id: Uuid) -> String {
    let bytes = id.as_bytes();
    format!("{:02x}{:02x}", bytes[0], bytes[1])
}

/// ` key=value`, or nothing where the value says nothing.
fn unless<T: Display + PartialEq>(nothing: T, key: &str, value: T) -> String {
    if value == nothing {
        String::new()
    } else {
        format!(" {key}={value}")
    }
}

/// ` word`, if it holds.
fn when(holds: bool, word: &str) -> String {
    if holds {
        format!(" {word}")
    } else {
        String::new()
    }
}

/// ` ERROR_NAME`, or nothing for success.
fn error(code: i16) -> String {
    if code == 0 {
        String::new()
    } else {
        format!(" {}", error_name(code))
    }
}

/// What a byte sequence of batches holds: `3 records`, `3 records seq=17 pid=5/0`, `1 marker`.
fn records(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let batches: Vec<Batch<'_>> = BatchIter::new(bytes).map_while(Result::ok).collect();
    let Some(first) = batches.first().map(|batch| &batch.header) else {
        return if bytes.is_empty() {
            "0 records".to_owned()
        } else {
            "garbage".to_owned()
        };
    };
    let count: i64 = batches
        .iter()
        .map(|batch| i64::from(batch.header.record_count))
        .sum();
    let noun = match (first.attributes.is_control(), count) {
        (true, 1) => "marker",
        (true, _) => "markers",
        (false, 1) => "record",
        (false, _) => "records",
    };
    let mut text = format!("{count} {noun}");
    if first.base_sequence != Sequence::NONE {
        text += &format!(" seq={}", first.base_sequence);
    }
    if first.producer_id != ProducerId::NONE {
        text += &format!(" pid={}/{}", first.producer_id, first.producer_epoch);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_kafkas_names() {
        assert_eq!(error_name(0), "NONE");
        assert_eq!(error_name(6), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(error_name(87), "INVALID_RECORD");
        assert_eq!(error_name(-1), "UNKNOWN_SERVER_ERROR");
        assert_eq!(error_name(9999), "ERROR_9999");
    }

    #[test]
    fn a_topic_is_named_as_well_as_it_can_be() {
        let id = Uuid::from_u128(0xab12 << 112);
        let known = |_| Some("orders".to_owned());
        assert_eq!(topic("given", id, None), "given");
        assert_eq!(topic("", id, Some(&known)), "orders");
        assert_eq!(topic("", id, None), "ab12");
    }
}
