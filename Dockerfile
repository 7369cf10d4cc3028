# The image: one static binary, and nothing else. It runs as user 65532, on a root file system that may be
# read-only.
#
#   docker build --tag signpost:0.1.0 --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" .

FROM docker.io/library/rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
# What `signpost --version` says: the sources come without their history.
ARG COMMIT=
# The C library is linked in. With an explicit target the flag does not apply to build scripts.
RUN RUSTFLAGS='-C target-feature=+crt-static' SIGNPOST_COMMIT="${COMMIT:+commit $COMMIT}" \
    cargo build --profile dist --locked --bin signpost --target "$(rustc --print host-tuple)" \
 && mkdir /image \
 && cp "target/$(rustc --print host-tuple)/dist/signpost" /image/signpost

FROM scratch
COPY --from=build /image/signpost /signpost
USER 65532:65532
ENTRYPOINT ["/signpost"]
