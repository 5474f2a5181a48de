//! What frames mean: requests by the header they carry, responses by the request they answer.

use broker_model::input::{Input, RequestHeader};
use broker_model::types::ConnectionId;
use broker_model::wire::frame::{Decoded, decode_request, decode_response, encode_response};
use broker_model::wire::versions::unsupported_api_versions_response;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

use super::Connection;

/// What a frame turned out to be.
pub(super) enum Read {
    /// What it is to the process.
    Input(Input),
    /// It was answered on the spot.
    Answered,
    /// Nothing that can be read: the connection has to go.
    Malformed,
}

/// Reads what came in on a connection that somebody opened to us.
pub(super) fn read_request(conn: ConnectionId, connection: &Connection, frame: &Bytes) -> Read {
    match decode_request(connection.listener, frame) {
        Ok(Decoded::Request { header, body, .. }) => Read::Input(Input::Request {
            conn,
            header: RequestHeader {
                version: header.request_api_version,
                correlation_id: header.correlation_id,
                client_id: header.client_id.unwrap_or_default(),
            },
            body: Box::new(body),
        }),
        Ok(Decoded::UnsupportedApiVersions { correlation_id }) => {
            let answer = ResponseKind::ApiVersions(unsupported_api_versions_response());
            let mut frame = BytesMut::new();
            encode_response(ApiKey::ApiVersions, 0, correlation_id, &answer, &mut frame)
                .expect("version 0 carries an error code");
            drop(connection.outgoing.send(frame.freeze()));
            Read::Answered
        }
        Err(_) => Read::Malformed,
    }
}

/// Reads what came back on a connection that we opened; answers come in the order of the requests.
pub(super) fn read_response(
    conn: ConnectionId,
    connection: &mut Connection,
    frame: &Bytes,
) -> Read {
    let Some((expected, api_key, version)) = connection.awaited.pop_front() else {
        return Read::Malformed;
    };
    let decoded = decode_response(api_key, version, frame).or_else(|error| {
        // A peer that does not know our version of ApiVersions answers in version 0 (KIP-511).
        if api_key == ApiKey::ApiVersions {
            decode_response(api_key, 0, frame)
        } else {
            Err(error)
        }
    });
    match decoded {
        Ok((correlation_id, body)) if correlation_id == expected => Read::Input(Input::Response {
            conn,
            correlation_id,
            body: Box::new(body),
        }),
        _ => Read::Malformed,
    }
}

/// A produce request with acks=0 gets no answer.
pub(super) fn is_unanswered(request: &RequestKind) -> bool {
    matches!(request, RequestKind::Produce(produce) if produce.acks == 0)
}
