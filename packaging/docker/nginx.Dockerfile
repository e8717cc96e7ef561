# nginx of Debian with the module, its log on the standard error.  From the top of
# the tree:
#
#     docker build -f packaging/docker/nginx.Dockerfile -t zltunnel-nginx .
#
# What is beside http goes to /etc/nginx/modules-enabled/80-zltunnel.conf, what is
# in http to /etc/nginx/conf.d, as in README.md.

FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libnginx-mod-stream libssl-dev make nginx nginx-dev zlib1g-dev
COPY . /src
RUN make -C /src module
RUN strip --strip-unneeded -o /ngx_zltunnel_module.so /src/objs/ngx_zltunnel_module.so

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libnginx-mod-stream nginx && rm -rf /var/lib/apt/lists/*
COPY --from=build /ngx_zltunnel_module.so /usr/lib/nginx/modules/ngx_zltunnel_module.so
COPY --from=build /src/ngx_zltunnel_module/zltunnel_error.conf /etc/nginx/zltunnel_error.conf
COPY --from=build /src/ngx_zltunnel_module/zltunnel_proxy.conf /etc/nginx/zltunnel_proxy.conf
COPY --from=build /src/ngx_zltunnel_module/dashboard.html /usr/share/zltunnel/dashboard.html
RUN echo 'load_module modules/ngx_zltunnel_module.so;' > /etc/nginx/modules-enabled/70-mod-zltunnel.conf
RUN rm -f /etc/nginx/sites-enabled/default
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=30s --start-period=10s CMD ["nginx", "-t", "-q"]
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]
