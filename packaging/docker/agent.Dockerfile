# The agent alone: static, from scratch, without root.  From the top of the tree:
#
#     docker build -f packaging/docker/agent.Dockerfile -t zltunnel-agent .
#     docker run -v ./agent.conf:/etc/zltunnel/agent.conf:ro \
#         -v ./token:/etc/zltunnel/token:ro zltunnel-agent
#
# The token is read by the user 65534, or given as the variable ZLTUNNEL_TOKEN.

FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev libssl-dev libuv1-dev make pkg-config
COPY . /src
RUN make -C /src STATIC=1 agent
RUN strip -o /zltunnel-agent /src/objs/static/zltunnel-agent
RUN mkdir /empty

FROM scratch
COPY --from=build /zltunnel-agent /zltunnel-agent
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65534:65534 /empty /run/zltunnel
USER 65534:65534
HEALTHCHECK --interval=30s --start-period=10s CMD ["/zltunnel-agent", "status", "--control", "/run/zltunnel/agent.sock"]
ENTRYPOINT ["/zltunnel-agent"]
CMD ["run", "--control", "/run/zltunnel/agent.sock", "-c", "/etc/zltunnel/agent.conf"]
