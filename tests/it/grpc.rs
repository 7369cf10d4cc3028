//! gRPC through the router, with tonic on both ends.
