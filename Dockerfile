# The server in an image of its own: one static program, no shell, no libraries, not root.
#
#   docker build --tag sse-server .
#   docker run --publish 8080:8080 --env SSE_PUBLISHER_JWT_KEY=.. sse-server
#
# docs/packaging.md tells how to run it.

FROM rust:1.95-bookworm AS build
# The base image pins the release of Debian; versions of packages within one go away.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake musl-tools \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /build
COPY . .
# glibc's compiler would bring glibc's headers.
ENV CC_x86_64_unknown_linux_musl=musl-gcc CC_aarch64_unknown_linux_musl=musl-gcc
RUN target="$(uname -m)-unknown-linux-musl" \
    && cargo build --release --locked --package sse-server --target "$target" \
    && install -D "target/$target/release/sse-server" /image/usr/bin/sse-server \
    && install -d -m 0700 /image/var/lib/sse-server

FROM scratch
COPY --from=build --chown=10001:10001 /image /
USER 10001:10001
# Beyond this machine it asks for a publisher key. The admin listener stays within the container.
ENV SSE_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s CMD ["/usr/bin/sse-server", "health"]
ENTRYPOINT ["/usr/bin/sse-server"]
