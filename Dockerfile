# Builds `bench` and puts it into an image that holds little else.
#
#     docker build --build-arg BENCH_COMMIT="$(git rev-parse HEAD)" --tag bench:0.1.0 .
#     docker run --rm bench:0.1.0 apply scenarios/quickstart.toml

FROM rust:1.95-slim-trixie AS build
WORKDIR /src
COPY . .
# Reports name the commit that measured; .git is not part of the build context.
ARG BENCH_COMMIT=""
ENV BENCH_COMMIT=${BENCH_COMMIT}
RUN cargo build --locked --profile dist --bin bench \
    && mkdir /out \
    && cp target/dist/bench /out/bench

# The same Debian as the build stage, so that the C library fits.
FROM debian:trixie-slim
ARG BENCH_COMMIT=""
LABEL org.opencontainers.image.title="bench" \
      org.opencontainers.image.description="LLM-inference benchmarks as code" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${BENCH_COMMIT}"
# Certificates of public authorities, for https:// servers and buckets; the slim image has none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bench /usr/local/bin/bench
COPY scenarios /bench/scenarios
# A folder for reports that the user below may write to.
RUN install --directory --owner=65532 --group=65532 /bench/reports
WORKDIR /bench
# A number, because Kubernetes cannot tell whether a name is root.
USER 65532:65532
ENTRYPOINT ["bench"]
CMD ["--help"]
