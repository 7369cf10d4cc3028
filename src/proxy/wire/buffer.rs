//! A buffer of bytes that came in, or that go out.

use super::object_pool::PoolItem;

/// Bytes that came in and have not been used yet.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// What one read may bring: a head with a small body, or a good piece of a large one.
    ///
    /// A little less than 64 KiB, which is what the kernel sends in one go: the few bytes of a piece that were beyond it
    /// would make a packet of their own, which costs as much as a large one.
    const ROOM: usize = 60 * 1024;
    /// A buffer that grew beyond this, for a large head, is not kept.
    pub(crate) const MOST_KEPT: usize = 128 * 1024;

    pub(crate) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Forgets the first `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// The vector behind the buffer with room at its end for one more read.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() - self.bytes.len() < Self::ROOM / 4 {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.reserve(Self::ROOM);
        }
        &mut self.bytes
    }

    /// The bytes, to write into.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl PoolItem for Buffer {
    fn reset(&mut self) -> bool {
        self.bytes.clear();
        self.start = 0;
        (1..=Self::MOST_KEPT).contains(&self.bytes.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_by_forgetting_what_was_used() {
        let mut buffer = Buffer::default();
        buffer.room().extend_from_slice(&[7; Buffer::ROOM]);
        buffer.consume(Buffer::ROOM - 2);
        let room = buffer.room();
        assert!(room.capacity() - room.len() >= Buffer::ROOM / 4);
        assert_eq!(buffer.data(), [7, 7]);
    }
}
