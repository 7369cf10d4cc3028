//! The rights of the caller of one request.

/// The rights of the caller of one request: decided once, by [`Policy::enter`](super::Policy::enter), and asked by
/// every step that does, shows or keeps more for a trusted caller.
///
/// A caller has none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grant {
    steers: bool,
}

impl Grant {
    /// Makes the grant of a caller that is trusted to steer its requests, or of one that is not.
    pub(super) fn new(steers: bool) -> Self {
        Self { steers }
    }

    /// Returns whether the caller may steer its requests, and see the names and addresses to which they led.
    pub fn is_trusted(self) -> bool {
        self.steers
    }
}
