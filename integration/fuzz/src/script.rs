//! Reading an input as a script: what a machine that has state is told, step by step.

/// Most steps of one script, so that no input takes long.
pub(crate) const MAX_STEPS: usize = 256;

/// What is left of an input.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_le_bytes(*first))
    }

    /// Mostly a small number, as counters are; any number behind 255.
    pub(crate) fn number(&mut self) -> Option<u64> {
        match self.byte()? {
            255 => {
                let (first, rest) = self.0.split_first_chunk()?;
                self.0 = rest;
                Some(u64::from_le_bytes(*first))
            }
            small => Some(small.into()),
        }
    }

    /// As many bytes as the next byte says, or what is left.
    pub(crate) fn chunk(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (chunk, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(chunk)
    }

    /// Two parts: as many bytes as the next two say, or what is left, and the rest.
    pub(crate) fn halves(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let length = usize::from(self.u16()?).min(self.0.len());
        Some(self.0.split_at(length))
    }
}

/// The inverse of [`Script::halves`].
pub(crate) fn halves(first: &[u8], second: &[u8]) -> Vec<u8> {
    let length = u16::try_from(first.len()).expect("seeds are short");
    [&length.to_le_bytes(), first, second].concat()
}
