//! HTTP/2 on either side of the router.
