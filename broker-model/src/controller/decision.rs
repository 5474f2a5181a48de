//! What a handler decides: records to write, and the answer that leaves when they are committed.

use std::fmt;

use crate::metadata::MetadataRecord;
use crate::note::Note;
use crate::probe::Probe;
use crate::types::{ResponseError, StrBytes};

/// A handler's result (`ControllerResult`). Nothing has changed yet: only replay changes state.
#[derive(Debug)]
pub(super) struct Decision<R> {
    /// Written as one batch.
    pub(super) records: Vec<MetadataRecord>,
    /// Handed out once the records, and everything before them, are committed.
    pub(super) response: R,
    /// Facts about the decision, emitted when its records are appended.
    pub(super) notes: Vec<Note>,
    /// Rare states that the decision met.
    pub(super) probes: Vec<Probe>,
}

impl<R> Decision<R> {
    /// Records and an answer.
    pub(super) fn new(records: Vec<MetadataRecord>, response: R) -> Self {
        Decision {
            records,
            response,
            notes: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// The same with another answer.
    pub(super) fn map<S>(self, answer: impl FnOnce(R) -> S) -> Decision<S> {
        Decision {
            records: self.records,
            response: answer(self.response),
            notes: self.notes,
            probes: self.probes,
        }
    }
}

/// An error code and words for a person (`ApiError`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ApiError {
    /// The code.
    pub(super) error: ResponseError,
    /// The words; `None` where Kafka sends none.
    pub(super) message: Option<StrBytes>,
}

impl ApiError {
    /// A code with words.
    pub(super) fn new(error: ResponseError, message: impl fmt::Display) -> Self {
        ApiError {
            error,
            message: Some(StrBytes::from_string(message.to_string())),
        }
    }

    /// The code on the wire.
    pub(super) fn code(&self) -> i16 {
        self.error.code()
    }
}

impl From<ResponseError> for ApiError {
    fn from(error: ResponseError) -> Self {
        ApiError {
            error,
            message: None,
        }
    }
}

/// Code and words of an outcome, as responses carry them; 0 and nothing for success.
pub(super) fn code_and_message<T>(outcome: &Result<T, ApiError>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(_) => (0, None),
        Err(error) => (error.code(), error.message.clone()),
    }
}
