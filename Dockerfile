# One image per service: the static binary, an empty /data that belongs to the
# user it runs as, and nothing else. Compose names the service:
#
#   docker compose build           everything, with nothing but Docker
#
# `make up` does not use this file: it builds on the host, where Go's build
# cache is warm, and copies the binary in (Dockerfile.prebuilt).

# Any image with Go in it; no shell is used.
ARG GO_IMAGE=golang:1.26

FROM ${GO_IMAGE} AS build
# WORKDIR creates the empty directory that becomes /data below.
WORKDIR /out/data
WORKDIR /src
ENV CGO_ENABLED=0
COPY . .
# Every service in one step, so that all images share this layer's cache.
RUN ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "/out/", \
     "./lb/...", "./httpapi/...", "./objectstorage/...", "./services/...", "./dns/..."]

FROM scratch
LABEL minicloud.image=true
USER 65532:65532
ENTRYPOINT ["/service"]
COPY --from=build --chown=65532:65532 /out/data /data
ARG SERVICE
COPY --from=build /out/${SERVICE} /service
