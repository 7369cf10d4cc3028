//! It is said to be still to come.
