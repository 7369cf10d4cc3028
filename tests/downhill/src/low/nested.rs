//! What `super` means here is two floors of modules down.

use super::super::high::Thing;
use super::inline;
pub(super) fn fine() {}

#[cfg(test)]
mod tests {
    use planted::high::Thing;
    use self::super::fine;
}
