//! HTTP/2 when a side fails, is slow, or does not keep to the rules.
