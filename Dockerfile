# The released static binary and root certificates, nothing else. release.yml makes the context: amd64/ and arm64/ with
# `updraft` in each, and an empty data/.
#
#   docker run -p 8080:8080 -p 1883:1883 -v updraft:/data -e UPDRAFT_HTTP__PUBLIC_URL=http://192.0.2.7:8080 ghcr.io/updraft-ota/updraft
FROM gcr.io/distroless/static-debian12:nonroot
ARG TARGETARCH
COPY ${TARGETARCH}/updraft /usr/local/bin/updraft
# Its user owns what it writes; a new volume takes that over.
COPY --chown=nonroot:nonroot data /data
WORKDIR /data
VOLUME /data
# Only what -p publishes is reached from outside the container.
ENV UPDRAFT_HTTP__LISTEN=0.0.0.0:8080 UPDRAFT_MQTT__LISTEN=0.0.0.0:1883
EXPOSE 8080 1883
USER nonroot
ENTRYPOINT ["/usr/local/bin/updraft"]
CMD ["serve"]
