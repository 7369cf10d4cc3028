//! How a program may not begin.

struct Thing;

fn main() {}
