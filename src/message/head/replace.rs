//! Values of fields, replaced where they stand.

use super::{FieldLine, Head, trim_invisible};
use crate::message::KnownField;

impl Head {
    /// Replaces values of a known field, each by the one that `replacement` returns for it, or none; an empty one
    /// removes the field. The names stay as they came, and so does the order.
    ///
    /// The new values are treated as by [`append`](Self::append).
    pub fn replace_values(
        &mut self,
        known: KnownField,
        mut replacement: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain_mut(|line| {
            if line.known != known {
                return true;
            }
            let Some(value) = replacement(line.value.of(&self.bytes)) else { return true };
            if trim_invisible(&value).is_empty()
                || self.lacks_room((line.end - line.start) as usize + value.len())
            {
                return false;
            }
            let start = self.bytes.len();
            self.bytes.extend_from_within(line.start as usize..line.name_end as usize);
            let never_indexed = line.never_indexed;
            *line = FieldLine { never_indexed, ..self.end_line(start, known, &value) };
            true
        });
        self.lines = lines;
        self.note_known();
    }
}
