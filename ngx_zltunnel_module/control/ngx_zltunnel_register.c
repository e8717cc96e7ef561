
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Registration: what services an agent has, and which of them its token allows.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_register.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_event.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_health_control.h"
#include "ngx_zltunnel_register_host.h"
#include "ngx_zltunnel_register_room.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"
#include "zlt_name.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>


#define NGX_ZLTUNNEL_ALLOW_MAX  4096  /* bytes of token names */


static ngx_uint_t ngx_zltunnel_register_check(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_token_t *token, const char **reason);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_register_add(
    ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_token_t *token, u_char *id, ngx_uint_t *code,
    const char **reason, u_char *from);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_register_named(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    zlt_msg_t *m, ngx_zltunnel_token_t *token, ngx_uint_t *twice);
static ngx_uint_t ngx_zltunnel_register_fits(
    ngx_zltunnel_sh_service_t *service, zlt_msg_t *m,
    ngx_zltunnel_token_t *token);
static ngx_int_t ngx_zltunnel_register_again(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_zltunnel_sh_service_t *service, zlt_msg_t *m,
    ngx_zltunnel_token_t *token, ngx_uint_t *code, const char **reason);
static ngx_uint_t ngx_zltunnel_register_names(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_token_t *token,
    const char **reason);
static const char *ngx_zltunnel_register_full(const char *fmt, ngx_uint_t n);
static void ngx_zltunnel_register_note(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_str_t *name, ngx_uint_t code, const char *reason);
static void ngx_zltunnel_register_ok(ngx_zltunnel_control_t *control,
    u_char *id, in_port_t port);
static void ngx_zltunnel_register_urls(ngx_zltunnel_registry_t *registry,
    zlt_msg_t *m);


/* of the Register that is being looked at */

static ngx_zltunnel_register_host_t  ngx_zltunnel_register_hosts;


void
ngx_zltunnel_register(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    u_char                      id[ZLT_ID_SIZE], from[ZLT_ID_SIZE];
    ngx_str_t                   name;
    in_port_t                   port;
    ngx_uint_t                  code, again;
    const char                 *reason;
    u_char                      text[NGX_ZLTUNNEL_TEXT_MAX];
    zlt_msg_t                   fail;
    ngx_zltunnel_ipc_t          msg;
    ngx_zltunnel_event_t       *event;
    ngx_zltunnel_token_t       *token;
    ngx_zltunnel_sh_service_t  *service;

    name.data = text;
    name.len = ngx_zltunnel_log_printable(text, sizeof(text), m->name.data,
                                          m->name.len);

    service = NULL;
    port = 0;
    again = 0;

    token = ngx_zltunnel_token_find(control->registry, control->token);

    code = ngx_zltunnel_register_check(control, m, token, &reason);

    if (code == 0) {
        code = ngx_zltunnel_register_host_check(control->registry, token, m,
                                                &ngx_zltunnel_register_hosts,
                                                &reason);
    }

    if (code == 0) {
        ngx_zltunnel_util_random(id, ZLT_ID_SIZE);
        id[6] = (id[6] & 0x0f) | 0x40;
        id[8] = (id[8] & 0x3f) | 0x80;

        ngx_zltunnel_zone_lock(control->registry);

        service = ngx_zltunnel_register_add(control, m, token, id, &code,
                                            &reason, from);
        if (service) {
            again = (ngx_memcmp(id, service->id, ZLT_ID_SIZE) != 0);
            ngx_memcpy(id, service->id, ZLT_ID_SIZE);
            port = service->port;

            ngx_zltunnel_health_control_register(control, service, m);

            event = ngx_zltunnel_event_new(control->registry,
                                           again ? NGX_ZLTUNNEL_EVENT_AGAIN
                                             : NGX_ZLTUNNEL_EVENT_REGISTERED);
            ngx_zltunnel_event_service(event, service);
        }

        ngx_zltunnel_zone_unlock(control->registry);
    }

    if (service == NULL) {

        ngx_zltunnel_register_note(control, m, &name, code, reason);

        ngx_memzero(&fail, sizeof(zlt_msg_t));

        fail.type = ZLT_REGISTER_FAIL;
        fail.reason.data = (u_char *) reason;
        fail.reason.len = ngx_strlen(reason);

        if (control->extended) {
            fail.ext = ZLT_X_CODE;
            fail.code = code;
        }

        ngx_zltunnel_control_io_write(control, &fail);
        return;
    }

    ngx_zltunnel_event_tell(control->end.connection->log);

    ngx_zltunnel_register_ok(control, id, port);

    if (again || control->registry->gated) {

        /* those that have waited for it */

        ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

        msg.type = NGX_ZLTUNNEL_IPC_UP;
        msg.code = (ngx_memcmp(from, control->tunnel_id, ZLT_ID_SIZE) != 0);
        ngx_memcpy(msg.tunnel_id, from, ZLT_ID_SIZE);
        ngx_memcpy(msg.service_id, id, ZLT_ID_SIZE);

        ngx_zltunnel_ipc_broadcast(control->registry, &msg);
        (void) ngx_zltunnel_ipc_send(control->registry,
                                     control->registry->slot, &msg, NULL, -1);
    }
}


static ngx_uint_t
ngx_zltunnel_register_check(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_token_t *token, const char **reason)
{
    if (token == NULL) {
        *reason = "The token is no longer valid";
        return ZLT_E_BAD_TOKEN;
    }

    if (ngx_exiting || control->state != NGX_ZLTUNNEL_CONTROL_OPEN) {
        *reason = "The server is reloading, connect again";
        return ZLT_E_BUSY;
    }

    if (!zlt_name_valid(m->name.data, m->name.len)) {
        *reason = "A service name has 1 to 255 bytes: letters, digits, "
                  "\"-\", \"_\" and \".\"";
        return ZLT_E_FORBIDDEN;
    }

    if (!ngx_zltunnel_rights_service(token, (u_char *) m->name.data,
                                     m->name.len))
    {
        *reason = "The token does not allow a service of that name";
        return ZLT_E_FORBIDDEN;
    }

    if (m->protocol == ZLT_PROTO_UDP ? !token->udp : !token->tcp) {
        *reason = "The token does not allow that protocol";
        return ZLT_E_FORBIDDEN;
    }

    if ((m->ext & ZLT_X_ALLOW) && m->allow.len > NGX_ZLTUNNEL_ALLOW_MAX) {
        *reason = "The list of tokens that may reach the service is too long";
        return ZLT_E_FORBIDDEN;
    }

    /* an agent of version 1 carries nothing, whatever it registers */

    if (m->protocol == ZLT_PROTO_UDP && control->extended
        && !(control->features & ZLT_F_DATAGRAMS))
    {
        *reason = "The agent does not carry UDP";
        return ZLT_E_FORBIDDEN;
    }

    return 0;
}


/* under the lock; from: the tunnel in which it was, this one if it is new */

static ngx_zltunnel_sh_service_t *
ngx_zltunnel_register_add(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_token_t *token, u_char *id, ngx_uint_t *code,
    const char **reason, u_char *from)
{
    ngx_uint_t                  twice;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    registry = control->registry;

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, control->tunnel_id);

    if (tunnel == NULL || tunnel->epoch != control->epoch) {
        *code = ZLT_E_BUSY;
        *reason = "The tunnel was lost, connect again";
        control->failed = 1;
        return NULL;
    }

    service = ngx_zltunnel_register_named(registry, tunnel, m, token, &twice);

    if (twice) {
        *code = ZLT_E_DUPLICATE;
        *reason = "The service is already registered";
        return NULL;
    }

    ngx_memcpy(from, service ? service->tunnel->id : tunnel->id, ZLT_ID_SIZE);

    if ((service == NULL || service->tunnel != tunnel)
        && tunnel->nservices >= registry->max_services
        && !ngx_zltunnel_register_room_evict(registry, tunnel, NULL))
    {
        *code = ZLT_E_LIMIT;
        *reason = !control->extended
                  ? "The tunnel has reached its limit of services"
                  : ngx_zltunnel_register_full("The tunnel has as many "
                        "services as \"max_services\" in the server's "
                        "configuration allows: %ui%Z",
                        registry->max_services);
        return NULL;
    }

    if ((m->ext & ZLT_X_ALLOW)
        && ngx_zltunnel_register_room_lists(registry->sh, &token->name, service)
           + ngx_zltunnel_service_list_size(m->allow.len)
           > NGX_ZLTUNNEL_ZONE_LISTS)
    {
        *code = ZLT_E_LIMIT;
        *reason = "The lists of tokens that may reach the token's services "
                  "take too much room";
        return NULL;
    }

    if (service) {
        return ngx_zltunnel_register_again(registry, tunnel, service, m, token,
                                           code, reason)
               == NGX_OK ? service : NULL;
    }

    if (token->max_services
        && ngx_zltunnel_register_room_services(registry->sh, &token->name)
           >= token->max_services
        && !ngx_zltunnel_register_room_evict(registry, tunnel, NULL))
    {
        *code = ZLT_E_LIMIT;
        *reason = !control->extended
                  ? "The token has reached its limit of services"
                  : ngx_zltunnel_register_full("The token has as many "
                        "services as \"max_services=\" in the server's token "
                        "file allows: %ui%Z", token->max_services);
        return NULL;
    }

    service = ngx_zltunnel_service_add(registry, tunnel, m, token, id, code,
                                       reason);
    if (service == NULL) {
        return NULL;
    }

    *code = ngx_zltunnel_register_names(registry, tunnel, service, token,
                                        reason);
    if (*code) {
        ngx_zltunnel_service_remove(registry, service);
        return NULL;
    }

    return service;
}


/* its names of hosts: those of services that wait for their agent, which this
   one has left out so far, give way */

static ngx_uint_t
ngx_zltunnel_register_names(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_token_t *token, const char **reason)
{
    ngx_uint_t  code;

    do {
        code = ngx_zltunnel_register_host_claim(registry, token, service,
                                                &ngx_zltunnel_register_hosts,
                                                reason);

    } while (code == ZLT_E_LIMIT
             && ngx_zltunnel_register_room_evict(registry, tunnel, service));

    return code;
}


/* How many there may be, and by what; until the next call. */

static const char *
ngx_zltunnel_register_full(const char *fmt, ngx_uint_t n)
{
    static u_char  text[128];

    ngx_snprintf(text, sizeof(text), fmt, n);

    return (char *) text;
}


/*
 * A service that waits for its agent, which is this one: of the same name and
 * protocol, in any tunnel of the token's name.  Agents that share a token come
 * back to whichever of their tunnels was left.  twice: there is one in this
 * tunnel that does not wait.
 */

static ngx_zltunnel_sh_service_t *
ngx_zltunnel_register_named(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, zlt_msg_t *m,
    ngx_zltunnel_token_t *token, ngx_uint_t *twice)
{
    ngx_str_t                   name;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_service_t  *service, *next, *found;

    sh = registry->sh;
    found = NULL;
    *twice = 0;

    name.data = (u_char *) m->name.data;
    name.len = m->name.len;

    for (service = ngx_zltunnel_service_next(sh, &name, NULL);
         service;
         service = next)
    {
        next = ngx_zltunnel_service_next(sh, &name, service);

        if (service->tunnel == tunnel && !service->stale) {
            *twice = 1;
            return NULL;
        }

        if (!ngx_zltunnel_tunnel_of(service->tunnel, &token->name)
            || !ngx_zltunnel_service_waits(service))
        {
            continue;
        }

        if (ngx_zltunnel_register_fits(service, m, token)) {

            if (found == NULL || service->tunnel == tunnel) {
                found = service;
            }

            continue;
        }

        if (service->tunnel == tunnel && token->sessions == 1) {

            /* nobody else can mean it */

            ngx_zltunnel_service_withdraw(registry, service,
                                          "registered in another way");
        }
    }

    return found;
}


static ngx_uint_t
ngx_zltunnel_register_fits(ngx_zltunnel_sh_service_t *service, zlt_msg_t *m,
    ngx_zltunnel_token_t *token)
{
    ngx_uint_t  private;

    private = (m->ext & ZLT_X_FLAGS)
              && (m->flags & (ZLT_R_PRIVATE|ZLT_R_OPEN));

    return service->udp == (m->protocol == ZLT_PROTO_UDP)
           && (m->remote_port == 0 || m->remote_port == service->port)
           && private == ((service->flags & (ZLT_R_PRIVATE|ZLT_R_OPEN)) != 0)
           && (service->port == 0
               || ngx_zltunnel_rights_port(token, service->port));
}


/* what cannot be leaves it as it was, to wait on */

static ngx_int_t
ngx_zltunnel_register_again(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_sh_service_t *service,
    zlt_msg_t *m, ngx_zltunnel_token_t *token, ngx_uint_t *code,
    const char **reason)
{
    u_char  *list;

    if (ngx_zltunnel_service_list(registry, m, &list) != NGX_OK) {
        *code = ZLT_E_BUSY;
        *reason = NGX_ZLTUNNEL_ZONE_FULL;
        return NGX_ERROR;
    }

    *code = ngx_zltunnel_register_names(registry, tunnel, service, token,
                                        reason);
    if (*code) {

        if (list) {
            ngx_zltunnel_zone_free(registry, list);
        }

        return NGX_ERROR;
    }

    ngx_zltunnel_service_allow(registry, service, list, m->allow.len);

    if (service->tunnel != tunnel) {
        ngx_zltunnel_service_move(service, tunnel);
    }

    service->stale = 0;
    service->fails = 0;
    service->local_port = m->local_port;
    service->flags = (m->ext & ZLT_X_FLAGS) ? m->flags : 0;

    return NGX_OK;
}


static void
ngx_zltunnel_register_note(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_str_t *name, ngx_uint_t code, const char *reason)
{
    u_char                    *p, text[NGX_ZLTUNNEL_ERROR_TEXT + 1];
    ngx_zltunnel_event_t      *event;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    p = ngx_snprintf(text, NGX_ZLTUNNEL_ERROR_TEXT,
                     "service \"%V\" refused: %s", name, reason);
    *p = '\0';

    ngx_zltunnel_zone_lock_read(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);
    if (tunnel) {
        ngx_zltunnel_tunnel_error(tunnel, (char *) text);
    }

    ngx_zltunnel_zone_unlock(control->registry);

    event = ngx_zltunnel_control_event(control,
                                       NGX_ZLTUNNEL_EVENT_SERVICE_REFUSED);
    if (event) {
        event->udp = (m->protocol == ZLT_PROTO_UDP);
        event->port = (in_port_t) m->remote_port;

        ngx_zltunnel_event_text(event, &event->service, name->data, name->len);
        ngx_zltunnel_event_reason(event, code, reason);
    }

    ngx_zltunnel_event_tell(control->end.connection->log);
}


static void
ngx_zltunnel_register_ok(ngx_zltunnel_control_t *control, u_char *id,
    in_port_t port)
{
    u_char     addr[NGX_ZLTUNNEL_TEXT_MAX + NGX_INT_T_LEN + 1], *p;
    zlt_msg_t  m;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_REGISTER_OK;
    m.service_id = id;

    if (control->extended) {
        m.ext = ZLT_X_PORT;
        m.port = port;

        if (port && control->host.len
            && control->host.len <= NGX_ZLTUNNEL_TEXT_MAX)
        {
            p = ngx_sprintf(addr, "%V:%ui", &control->host,
                            (ngx_uint_t) port);

            m.ext |= ZLT_X_PUBLIC;
            m.public_addr.data = addr;
            m.public_addr.len = p - addr;
        }

        if (ngx_zltunnel_register_hosts.n) {
            ngx_zltunnel_register_urls(control->registry, &m);
        }
    }

    ngx_zltunnel_control_io_write(control, &m);
}


static void
ngx_zltunnel_register_urls(ngx_zltunnel_registry_t *registry, zlt_msg_t *m)
{
    u_char                    *p;
    ngx_uint_t                 i;
    ngx_zltunnel_host_name_t  *names;

    static u_char  text[NGX_ZLTUNNEL_REGISTER_HOSTS
                        * (ZLT_MAX_HOST + NGX_ZLTUNNEL_DOMAIN_URL + 1)];

    names = ngx_zltunnel_register_hosts.names;
    p = text;

    for (i = 0; i < ngx_zltunnel_register_hosts.n; i++) {

        if (i) {
            *p++ = ' ';
        }

        p = ngx_zltunnel_domain_of(registry, p, &names[i].name);
    }

    m->ext |= ZLT_X_URLS;
    m->urls.data = text;
    m->urls.len = p - text;
}


void
ngx_zltunnel_register_remove(ngx_zltunnel_control_t *control, u_char *id)
{
    ngx_uint_t                  found;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    found = 0;

    ngx_zltunnel_zone_lock(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);

    if (tunnel && tunnel->epoch == control->epoch) {
        service = ngx_zltunnel_service_by_id(tunnel, id);

        if (service) {
            ngx_zltunnel_service_withdraw(control->registry, service,
                                          "unregistered");
            found = 1;
        }
    }

    ngx_zltunnel_zone_unlock(control->registry);

    ngx_zltunnel_event_tell(control->end.connection->log);

    if (!found
        && ngx_zltunnel_log_paced(control->end.connection->log,
                                  "services that are unknown"))
    {
        ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                      "agent \"%V\" unregistered an unknown service",
                      &control->peer->name);
    }
}
