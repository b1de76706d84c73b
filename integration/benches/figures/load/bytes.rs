//! Messages that are encoded before they are sent and not decoded when they come, so that the load costs the machine little
//! besides what is measured.

use prost::{
    Message as _,
    bytes::{Buf as _, BufMut as _, Bytes, BytesMut},
};
use proto::wire::{ReportRequest, report_request::Body};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Takes and gives the bytes of messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}

/// The part of a report that may be made long before it is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportBody(Bytes);

impl ReportBody {
    pub(crate) fn of(request: ReportRequest) -> Self {
        Self::of_body(request.body)
    }

    fn of_body(body: Option<Body>) -> Self {
        let alone = ReportRequest {
            body,
            ..ReportRequest::default()
        };
        Self(alone.encode_to_vec().into())
    }

    /// The whole message: the order of fields is free.
    pub(crate) fn with(&self, sequence: u64, now_ms: i64) -> Bytes {
        let head = ReportRequest {
            sequence,
            now_ms,
            body: None,
        };
        let mut all = BytesMut::with_capacity(head.encoded_len() + self.0.len());
        all.put_slice(&head.encode_to_vec());
        all.put_slice(&self.0);
        all.freeze()
    }
}

/// What a response acknowledges; the peer list in it is passed over.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Acknowledged {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
}
