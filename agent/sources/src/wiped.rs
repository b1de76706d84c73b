//! A buffer that may have held keys.

use std::ops::{Deref, DerefMut};

use zeroize::Zeroize as _;

/// Bytes that are overwritten when they are dropped.
///
/// `Zeroizing<Vec<u8>>` does the same with a call for each byte, which took a third of the CPU time of a large reading.
pub(crate) struct Wiped(Vec<u8>);

impl Wiped {
    /// So many zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        Self(vec![0; length])
    }

    /// Keeps the first bytes and overwrites the rest.
    pub(crate) fn truncate(&mut self, length: usize) {
        if let Some(rest) = self.0.get_mut(length..) {
            rest.zeroize();
        }
        self.0.truncate(length);
    }
}

impl Deref for Wiped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_buffer_keeps_its_beginning() {
        let mut buffer = Wiped::zeros(4);
        buffer.copy_from_slice(b"abcd");
        buffer.truncate(9);
        assert_eq!(&*buffer, b"abcd");
        buffer.truncate(2);
        assert_eq!(&*buffer, b"ab");
    }
}
