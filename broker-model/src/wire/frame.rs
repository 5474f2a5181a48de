//! Frames: a length, a header, a body.
//!
//! Mirrors Kafka's `NetworkReceive`, `RequestHeader`, `RequestContext.parseRequest` and
//! `ResponseHeader`. Does not answer anything: what cannot be read is an error, and whoever owns the
//! connection closes it. The one exception is Kafka's own: ApiVersions in a version nobody knows.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::api::{decode_request_body, decode_response_body, request_api};
use super::guard::decode_bounded;
use super::versions::api;
use crate::types::Listener;

/// Kafka's default of `socket.request.max.bytes`.
pub const SOCKET_REQUEST_MAX_BYTES: usize = 104_857_600;

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl FrameDecoder {
    /// A decoder for one connection; `frame_bytes_max` is `socket.request.max.bytes`.
    pub fn new(frame_bytes_max: usize) -> Self {
        FrameDecoder {
            buffer: BytesMut::new(),
            frame_bytes_max,
        }
    }

    /// Takes what the connection delivered.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer to read a socket into without a copy; what is appended is as if pushed.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame without its length, or `None` until more bytes come.
    ///
    /// After an error the stream has no frames any more: close the connection.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let declared = i32::from_be_bytes(*prefix);
        let length = usize::try_from(declared).map_err(|_| FrameError::Negative(declared))?;
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if self.frame_bytes_max < length {
            return Err(FrameError::TooLarge {
                length,
                frame_bytes_max: self.frame_bytes_max,
            });
        }
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        FrameDecoder::new(SOCKET_REQUEST_MAX_BYTES)
    }
}

/// A length that no frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A frame of no bytes: there is not even a header in it.
    Empty,
    /// The length is below zero.
    Negative(i32),
    /// The length exceeds `socket.request.max.bytes`.
    TooLarge {
        /// The declared length in bytes.
        length: usize,
        /// The longest frame accepted, in bytes.
        frame_bytes_max: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Empty => write!(f, "frame of zero bytes"),
            FrameError::Negative(length) => write!(f, "frame of {length} bytes"),
            FrameError::TooLarge {
                length,
                frame_bytes_max,
            } => {
                write!(
                    f,
                    "frame of {length} bytes exceeds socket.request.max.bytes={frame_bytes_max}"
                )
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// A request as read from a frame.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the small variant is one frame in a connection's life"
)]
pub enum Decoded {
    /// A request in a version this listener serves.
    Request {
        /// The header, with API key, version, correlation id and client id.
        header: RequestHeader,
        /// The API key of the header, known to be served.
        api_key: ApiKey,
        /// The request itself.
        body: RequestKind,
    },
    /// ApiVersions in an unknown version: answered in version 0 with UNSUPPORTED_VERSION, and the
    /// connection stays (KIP-511). See `versions::unsupported_api_versions_response`.
    UnsupportedApiVersions {
        /// What the answer must carry.
        correlation_id: i32,
    },
}

/// Bytes that are not a request, or not a response, that we can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// Too short to hold a header.
    Short {
        /// The length of the frame in bytes.
        length: usize,
    },
    /// No API has this key.
    UnknownApi(i16),
    /// The API is not served here, or not in this version.
    UnsupportedVersion {
        /// The API.
        api_key: ApiKey,
        /// The version asked for.
        version: i16,
    },
    /// The header or body is not what its version says.
    Undecodable {
        /// The API.
        api_key: ApiKey,
        /// The version asked for.
        version: i16,
        /// The decoder's words.
        reason: String,
    },
    /// A message that its version cannot carry.
    Unencodable {
        /// The API.
        api_key: ApiKey,
        /// The version asked for.
        version: i16,
        /// The encoder's words.
        reason: String,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Short { length } => write!(f, "frame of {length} bytes holds no header"),
            WireError::UnknownApi(key) => write!(f, "unknown api key {key}"),
            WireError::UnsupportedVersion { api_key, version } => {
                write!(f, "{api_key:?} version {version} is not served here")
            }
            WireError::Undecodable {
                api_key,
                version,
                reason,
            } => {
                write!(
                    f,
                    "{api_key:?} version {version} cannot be decoded: {reason}"
                )
            }
            WireError::Unencodable {
                api_key,
                version,
                reason,
            } => {
                write!(
                    f,
                    "{api_key:?} version {version} cannot be encoded: {reason}"
                )
            }
        }
    }
}

impl std::error::Error for WireError {}

/// Reads a request that arrived on `listener`. Bytes behind the request are ignored, as Kafka does.
pub fn decode_request(listener: Listener, frame: &Bytes) -> Result<Decoded, WireError> {
    let Some(prefix) = frame.first_chunk::<4>() else {
        return Err(WireError::Short {
            length: frame.len(),
        });
    };
    let key = i16::from_be_bytes([prefix[0], prefix[1]]);
    let version = i16::from_be_bytes([prefix[2], prefix[3]]);
    let api_key = ApiKey::try_from(key).map_err(|_| WireError::UnknownApi(key))?;
    let served = api(listener, api_key).is_some_and(|api| api.serves(version));
    if !served && api_key != ApiKey::ApiVersions {
        return Err(WireError::UnsupportedVersion { api_key, version });
    }
    let undecodable = |reason| WireError::Undecodable {
        api_key,
        version,
        reason,
    };
    let mut header_bytes = frame.clone();
    let header_version = api_key.request_header_version(version);
    let header = RequestHeader::decode(&mut header_bytes, header_version)
        .map_err(|error| undecodable(error.to_string()))?;
    if !served {
        return Ok(Decoded::UnsupportedApiVersions {
            correlation_id: header.correlation_id,
        });
    }
    let body = decode_bounded(&header_bytes, |reader| {
        decode_request_body(api_key, version, reader)
    })
    .map_err(undecodable)?;
    Ok(Decoded::Request {
        header,
        api_key,
        body,
    })
}

/// Appends a request frame, its length included.
pub fn encode_request(
    correlation_id: i32,
    client_id: &str,
    version: i16,
    request: &RequestKind,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let api_key = request_api(request);
    let header = RequestHeader::default()
        .with_request_api_key(api_key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    frame(api_key, version, out, |out| {
        header
            .encode(out, api_key.request_header_version(version))
            .and_then(|()| request.encode(out, version))
            .map_err(|error| error.to_string())
    })
}

/// Appends a request frame around a body that is encoded already, its length included.
pub fn frame_request(
    correlation_id: i32,
    client_id: &str,
    (api_key, version): (ApiKey, i16),
    body: &[u8],
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let header = RequestHeader::default()
        .with_request_api_key(api_key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    frame(api_key, version, out, |out| {
        header
            .encode(out, api_key.request_header_version(version))
            .map_err(|error| error.to_string())?;
        out.put_slice(body);
        Ok(())
    })
}

/// Appends a response frame around a body that is encoded already, its length included.
pub fn frame_response(
    correlation_id: i32,
    (api_key, version): (ApiKey, i16),
    body: &[u8],
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    frame(api_key, version, out, |out| {
        header
            .encode(out, response_header_version(api_key, version))
            .map_err(|error| error.to_string())?;
        out.put_slice(body);
        Ok(())
    })
}

/// Appends a response frame, its length included.
pub fn encode_response(
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &ResponseKind,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    frame(api_key, version, out, |out| {
        header
            .encode(out, response_header_version(api_key, version))
            .and_then(|()| response.encode(out, version))
            .map_err(|error| error.to_string())
    })
}

/// Reads a response to a request that was sent as `api_key` in `version`.
///
/// A broker that does not know the version of an ApiVersions request answers it in version 0:
/// [`correlation_id`] finds the request, and the caller decodes with version 0 when this one fails.
pub fn decode_response(
    api_key: ApiKey,
    version: i16,
    frame: &Bytes,
) -> Result<(i32, ResponseKind), WireError> {
    let undecodable = |reason| WireError::Undecodable {
        api_key,
        version,
        reason,
    };
    if frame.len() < LENGTH_BYTES {
        return Err(WireError::Short {
            length: frame.len(),
        });
    }
    let mut body_bytes = frame.clone();
    let header = ResponseHeader::decode(&mut body_bytes, response_header_version(api_key, version))
        .map_err(|error| undecodable(error.to_string()))?;
    let body = decode_bounded(&body_bytes, |reader| {
        decode_response_body(api_key, version, reader)
    })
    .map_err(undecodable)?;
    Ok((header.correlation_id, body))
}

/// The correlation id of a response, which says how the rest must be decoded.
pub fn correlation_id(frame: &Bytes) -> Option<i32> {
    frame
        .first_chunk::<4>()
        .map(|bytes| i32::from_be_bytes(*bytes))
}

/// ApiVersions answers with the old header in every version, so that any client can read it.
fn response_header_version(api_key: ApiKey, version: i16) -> i16 {
    if api_key == ApiKey::ApiVersions {
        0
    } else {
        api_key.response_header_version(version)
    }
}

/// Writes a frame around what `write` appends. Appends nothing if that fails.
fn frame(
    api_key: ApiKey,
    version: i16,
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), String>,
) -> Result<(), WireError> {
    let start = out.len();
    out.put_i32(0);
    let written = write(out).and_then(|()| {
        i32::try_from(out.len() - start - LENGTH_BYTES)
            .map_err(|_| "frame longer than a length can say".to_owned())
    });
    match written {
        Ok(length) => {
            out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(reason) => {
            out.truncate(start);
            Err(WireError::Unencodable {
                api_key,
                version,
                reason,
            })
        }
    }
}

/// The bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, MetadataResponse};

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("test data is hex"))
            .collect()
    }

    fn on_broker(raw: &str) -> Result<Decoded, WireError> {
        let mut frames = FrameDecoder::default();
        frames.push(&hex(raw));
        let frame = frames
            .next_frame()
            .expect("the length is sane")
            .expect("the frame is whole");
        decode_request(Listener::Broker, &frame)
    }

    #[test]
    fn a_frame_split_anywhere_comes_out_whole() {
        let mut bytes = BytesMut::new();
        let request = RequestKind::Metadata(MetadataRequest::default());
        encode_request(7, "c1", 12, &request, &mut bytes).expect("version 12 is known");
        for cut in 0..bytes.len() {
            let mut frames = FrameDecoder::default();
            frames.push(&bytes[..cut]);
            assert_eq!(frames.next_frame(), Ok(None));
            frames.push(&bytes[cut..]);
            let frame = frames.next_frame().expect("sane").expect("whole");
            let decoded = decode_request(Listener::Broker, &frame).expect("our own request");
            let Decoded::Request { header, body, .. } = decoded else {
                panic!("{decoded:?}")
            };
            assert_eq!((header.correlation_id, body), (7, request.clone()));
        }
    }

    #[test]
    fn lengths_that_no_frame_has_are_errors() {
        let length = |bytes: [u8; 4]| {
            let mut frames = FrameDecoder::new(1000);
            frames.push(&bytes);
            frames.next_frame()
        };
        assert_eq!(length([0, 0, 0, 0]), Err(FrameError::Empty));
        assert_eq!(length([0xff; 4]), Err(FrameError::Negative(-1)));
        assert_eq!(
            length([0, 0, 4, 0]),
            Err(FrameError::TooLarge {
                length: 1024,
                frame_bytes_max: 1000
            })
        );
        assert_eq!(length([0, 0, 3, 0xe8]), Ok(None));
    }

    #[test]
    fn what_kafka_closes_for_is_an_error() {
        assert_eq!(
            on_broker("0000000a03e7000000000001ffff"),
            Err(WireError::UnknownApi(999))
        );
        let unsupported = |raw| match on_broker(raw) {
            Err(WireError::UnsupportedVersion { api_key, version }) => (api_key, version),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            unsupported("0000000b0034000000000001ffff00"),
            (ApiKey::Vote, 0)
        );
        let produce = "000000140000000200000001ffff00010000100000000000";
        assert_eq!(unsupported(produce), (ApiKey::Produce, 2));
        assert_eq!(
            unsupported("0000000a0003ffff00000001ffff"),
            (ApiKey::Metadata, -1)
        );
        let null_key = on_broker("0000000e000a000300000001ffff00000000");
        assert!(matches!(null_key, Err(WireError::Undecodable { .. })));
    }

    #[test]
    fn bytes_behind_a_request_are_ignored() {
        let decoded = on_broker("000000120003000100000001ffff00000000deadbeef");
        assert!(matches!(
            decoded,
            Ok(Decoded::Request {
                api_key: ApiKey::Metadata,
                ..
            })
        ));
    }

    #[test]
    fn api_versions_in_an_unknown_version_is_answered_not_closed() {
        let decoded = on_broker("0000000c0012006300000005000163000102");
        assert_eq!(
            decoded,
            Ok(Decoded::UnsupportedApiVersions { correlation_id: 5 })
        );
    }

    #[test]
    fn frames_shorter_than_their_header_are_errors() {
        for length in 0..10 {
            let frame = Bytes::from(vec![0; length]);
            assert!(decode_request(Listener::Broker, &frame).is_err());
            assert!(decode_response(ApiKey::Metadata, 12, &frame).is_err());
        }
    }

    #[test]
    fn an_api_versions_response_has_the_old_header_in_every_version() {
        let mut out = BytesMut::new();
        let response = ResponseKind::ApiVersions(Default::default());
        encode_response(ApiKey::ApiVersions, 3, 9, &response, &mut out).expect("known version");
        // Length, correlation id, and at once the error code: no tagged fields in between.
        assert_eq!(out[4..10], [0, 0, 0, 9, 0, 0]);
        let frame = out.split_off(4).freeze();
        assert_eq!(
            decode_response(ApiKey::ApiVersions, 3, &frame),
            Ok((9, response))
        );
    }

    #[test]
    fn what_a_version_cannot_carry_leaves_no_bytes_behind() {
        let mut out = BytesMut::from(&b"before"[..]);
        let request = RequestKind::ApiVersions(ApiVersionsRequest::default());
        assert!(encode_request(1, "c1", 77, &request, &mut out).is_err());
        let response = ResponseKind::Metadata(MetadataResponse::default());
        assert!(encode_response(ApiKey::Metadata, 77, 1, &response, &mut out).is_err());
        assert_eq!(&out[..], b"before");
    }
}
