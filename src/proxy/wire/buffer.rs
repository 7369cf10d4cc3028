//! A buffer for the bytes of a connection.

use super::object_pool::PoolItem;

/// Bytes that were read and not used yet, or that are about to be written.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// The room for one read: a head with a small body, or a good piece of a large one.
    ///
    /// It is a little less than the 64 KiB that the kernel sends at once. A piece that is a few bytes larger would need one
    /// more packet, which costs as much as a large one.
    const ROOM: usize = 60 * 1024;
    /// The capacity beyond which a buffer, grown for a large head, is not kept.
    pub(crate) const MOST_KEPT: usize = 128 * 1024;

    /// Returns the bytes that were not used yet.
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

    /// Returns the vector behind the buffer, with room at its end for one more read.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() - self.bytes.len() < Self::ROOM / 4 {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.reserve(Self::ROOM);
        }
        &mut self.bytes
    }

    /// Returns the vector behind the buffer, to append to.
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
    fn used_bytes_make_room() {
        let mut buffer = Buffer::default();
        buffer.room().extend_from_slice(&[7; Buffer::ROOM]);
        buffer.consume(Buffer::ROOM - 2);
        let room = buffer.room();
        assert!(room.capacity() - room.len() >= Buffer::ROOM / 4);
        assert_eq!(buffer.data(), [7, 7]);
    }
}
