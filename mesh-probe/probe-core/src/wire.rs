//! What the two probe formats have in common: the head, the authentication tag, and the ways to be wrong.

use evidence::PublicKey;
use thiserror::Error;

use crate::{
    cursor::Cursor,
    key::{ProbeKey, TAG_LENGTH},
};

/// Bytes of the head that both formats begin with.
pub(crate) const HEAD_LENGTH: usize = 88;

/// The only version there is.
pub(crate) const VERSION: u8 = 1;

/// Why bytes are not a probe of this mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Probes of a format all have one size.
    #[error("probe has {found} bytes, expected {expected}")]
    Length {
        /// Bytes that came.
        found: usize,
        /// Bytes of the format.
        expected: usize,
    },
    /// The first four bytes are not those of the format.
    #[error("probe does not begin with its magic")]
    Magic,
    /// A version this program does not speak.
    #[error("probe has version {0}, expected {VERSION}")]
    Version(u8),
    /// Made with another key, or changed on the way.
    #[error("probe has a wrong authentication tag")]
    Tag,
    /// Authentic, but of no known kind.
    #[error("probe has the unknown kind {0}")]
    Kind(u8),
}

/// How often bytes were not a probe, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireCounters {
    /// Wrong size.
    pub length: u64,
    /// Wrong magic.
    pub magic: u64,
    /// Unknown version.
    pub version: u64,
    /// Wrong authentication tag.
    pub tag: u64,
    /// Unknown kind.
    pub kind: u64,
}

impl WireCounters {
    pub(crate) const fn count(&mut self, error: WireError) {
        let counter = match error {
            WireError::Length { .. } => &mut self.length,
            WireError::Magic => &mut self.magic,
            WireError::Version(_) => &mut self.version,
            WireError::Tag => &mut self.tag,
            WireError::Kind(_) => &mut self.kind,
        };
        *counter += 1;
    }
}

/// The head: who to whom, and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) magic: [u8; 4],
    pub(crate) kind: u8,
    pub(crate) sender: PublicKey,
    pub(crate) receiver: PublicKey,
    pub(crate) session: u64,
    pub(crate) sequence: u64,
}

/// Head, body and tag in `LENGTH` bytes; the body is what lies between the other two.
pub(crate) fn seal<const LENGTH: usize>(head: &Head, body: &[u8], key: &ProbeKey) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    let (signed, tag) = out.split_at_mut(LENGTH - TAG_LENGTH);
    let (front, back) = signed.split_at_mut(HEAD_LENGTH);
    front[..4].copy_from_slice(&head.magic);
    front[4] = VERSION;
    front[5] = head.kind;
    front[8..40].copy_from_slice(head.sender.as_bytes());
    front[40..72].copy_from_slice(head.receiver.as_bytes());
    front[72..80].copy_from_slice(&head.session.to_be_bytes());
    front[80..88].copy_from_slice(&head.sequence.to_be_bytes());
    back.copy_from_slice(body);
    tag.copy_from_slice(&key.tag(signed));
    out
}

/// The inverse of [`seal`]. The tag is checked before anything inside is believed.
pub(crate) fn open<'a, const LENGTH: usize>(
    magic: [u8; 4],
    bytes: &'a [u8],
    key: &ProbeKey,
) -> Result<(Head, &'a [u8]), WireError> {
    let wrong_length = WireError::Length {
        found: bytes.len(),
        expected: LENGTH,
    };
    if bytes.len() != LENGTH {
        return Err(wrong_length);
    }
    let (signed, tag) = bytes.split_last_chunk::<TAG_LENGTH>().ok_or(wrong_length)?;
    let (front, body) = signed.split_at_checked(HEAD_LENGTH).ok_or(wrong_length)?;
    let mut cursor = Cursor::new(front);
    if cursor.take() != Some(magic) {
        return Err(WireError::Magic);
    }
    match cursor.byte() {
        Some(VERSION) => {}
        other => return Err(WireError::Version(other.unwrap_or(0))),
    }
    if !key.accepts(signed, tag) {
        return Err(WireError::Tag);
    }
    let head = fields(magic, &mut cursor).ok_or(wrong_length)?;
    Ok((head, body))
}

fn fields(magic: [u8; 4], cursor: &mut Cursor<'_>) -> Option<Head> {
    let kind = cursor.byte()?;
    let _reserved: [u8; 2] = cursor.take()?;
    Some(Head {
        magic,
        kind,
        sender: PublicKey::from_bytes(cursor.take()?),
        receiver: PublicKey::from_bytes(cursor.take()?),
        session: cursor.u64_be()?,
        sequence: cursor.u64_be()?,
    })
}
