//! Nothing wrong but that it is on no floor.
pub struct Dust;
