
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How many connections and UDP sessions there may be: of a service, by the
 * block, and of all tunnels of a token, by its line.
 *
 * A line of the token file costs a comparison with all of them to find, so what
 * it says is noted in the tunnel.  There is what its services have open, too:
 * counters keep that right, also when a worker dies.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_quota.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_counter.h"
#include "ngx_zltunnel_remote.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_tunnel.h"


static ngx_uint_t ngx_zltunnel_quota_active(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_uint_t udp);


void
ngx_zltunnel_quota_note(ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_zltunnel_token_t *token)
{
    tunnel->max_connections = (uint16_t) token->max_connections;
    tunnel->max_udp_sessions = (uint16_t) token->max_udp_sessions;
}


const char *
ngx_zltunnel_quota_service(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_uint_t                 most;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    most = service->udp ? registry->max_udp_sessions
                        : registry->max_connections;

    if (ngx_zltunnel_counter_active(service) >= most) {
        return service->udp ? "max_udp_sessions" : "max_connections";
    }

    tunnel = service->tunnel;
    most = service->udp ? tunnel->max_udp_sessions : tunnel->max_connections;

    if (most
        && ngx_zltunnel_quota_active(registry, tunnel, service->udp) >= most)
    {
        return service->udp ? "max_udp_sessions= of the token"
                            : "max_connections= of the token";
    }

    return NULL;
}


const char *
ngx_zltunnel_quota_visit(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *visitor)
{
    if (visitor->visits >= registry->max_connections) {
        return "max_connections";
    }

    if (visitor->max_connections
        && visitor->visits >= visitor->max_connections)
    {
        return "max_connections= of the token";
    }

    return NULL;
}


/* of all tunnels of the token */

static ngx_uint_t
ngx_zltunnel_quota_active(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_uint_t udp)
{
    ngx_str_t  name;

    name.data = tunnel->name;
    name.len = tunnel->name_len;

    return ngx_zltunnel_tunnel_sum(registry->sh, &name,
                               offsetof(ngx_zltunnel_sh_tunnel_t, active)
                               + udp * sizeof(ngx_uint_t))
           + ngx_zltunnel_remote_active(registry->sh, &name, udp);
}
