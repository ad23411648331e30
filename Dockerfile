# The released static binary and Mozilla's root certificates, nothing else: no shell, no package, no base image that
# could change beneath it. `scripts/package context` makes the context.
#
#   docker run -p 8080:8080 -p 1883:1883 -v updraft:/data -e UPDRAFT_HTTP__PUBLIC_URL=http://192.0.2.7:8080 ghcr.io/updraft-ota/updraft
FROM scratch
ARG TARGETARCH
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY ${TARGETARCH}/updraft /usr/local/bin/updraft
# Its user owns what it writes; a new volume takes that over. By number, so that Kubernetes sees that it is not root.
COPY --chown=65532:65532 data /data
COPY --chown=65532:65532 data /tmp
WORKDIR /data
VOLUME /data
# Only what -p publishes is reached from outside the container.
ENV UPDRAFT_HTTP__LISTEN=0.0.0.0:8080 UPDRAFT_MQTT__LISTEN=0.0.0.0:1883
EXPOSE 8080 1883
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/updraft"]
CMD ["serve"]
