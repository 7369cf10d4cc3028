//! Words that the test finds, and beside each of them one that it leaves alone.

mod inner;

/// Whatever begins so does not begin with "What".
mod plain {
    /// `What` is code, and a name may hold a part of a word: "Mader" is not "Made".
    pub struct Mader;
}

/// Where a module would have its subject.
mod written_here {
    pub type Config = ();
}

/// A thing.
pub struct Thing;

/// A configuration, of which there may be two.
pub struct Config;

/// What a type holds.
pub struct HeldName {
    /// Whether a field may begin so: it may.
    open: bool,
    /// Who asked, which a field may not say.
    caller: String,
}

/// Whose bell it is.
pub enum Bell {
    /// How a variant may begin.
    Rung,
    /// What a variant may not say.
    Silent,
}

impl HeldName {
    /// How many there may be.
    const LIMIT: usize = 1;

    /// Whether it is open.
    fn is_open(&self) -> bool {
        self.open
    }
}

impl Caller for HeldName {
    type Thing = ();

    /// How a function may not begin.
    /// Whether the second line begins so does not matter.
    fn open(&mut self) {
        /// Of a constant.
        const OPEN: bool = true;
        self.open = OPEN;
    }
}

/// Whom a trait serves.
///
/// What follows the first sentence may begin in any way.
trait Caller {
    type Thing;

    /// Whether a function of a trait may begin so: it may not.
    fn open(&mut self);
}

/// Whoever a macro serves.
macro_rules! serve {
    () => {};
}

#[cfg(test)]
mod tests {
    /// What a test says is its own affair, and its types are as well.
    struct Thing;
}
