//! A file whose module has a banned name.
