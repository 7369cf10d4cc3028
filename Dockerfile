# The image: one static binary, and nothing else. It runs as user 65532, on a root file system that may be
# read-only.
#
#   docker build --tag signpost:0.1.0 .

FROM docker.io/library/rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
# The C library is linked in. With an explicit target the flag does not apply to build scripts.
RUN RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --release --locked --bin signpost --target "$(rustc --print host-tuple)" \
 && mkdir /image \
 && strip --output-file=/image/signpost "target/$(rustc --print host-tuple)/release/signpost"

FROM scratch
COPY --from=build /image/signpost /signpost
USER 65532:65532
ENTRYPOINT ["/signpost"]
