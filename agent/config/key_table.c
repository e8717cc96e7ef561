
/*
 * Copyright (C) zltunnel authors
 */

/*
 * All keys.  A key that is new stands here, and in docs/ and
 * agent.conf.example, which t/agent/docs.t compares.
 *
 * "help" is one line of what the key does; "fallback" is the value that holds
 * without it, "without" says the same where that is no value.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "conf_node.h"
#include "config.h"
#include "headers.h"
#include "key.h"
#include "log.h"
#include "zlt_name.h"


#define zlt_key_at(type, field)                                               \
    .offset = offsetof(type, field), .size = sizeof(((type *) 0)->field)

/* keys of a link, by [agent] and [tunnel NAME], and by options */

#define ZLT_KEY_LINK  .sections = ZLT_KEY_AGENT|ZLT_KEY_TUNNEL

#define ZLT_KEY_ALL   .commands = ZLT_KEY_CONNECT|ZLT_KEY_VISIT|ZLT_KEY_RUN

#define ZLT_KEY_BOTH  .commands = ZLT_KEY_CONNECT|ZLT_KEY_RUN


static int zlt_key_table_server(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_metrics(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_log(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_header(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_string(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_name(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_local(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_remote_ports(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_remote_same(const void *a, const void *b);
static int zlt_key_table_range_same(const void *a, const void *b);
static int zlt_key_table_allow_access(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_check(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_host(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_hosts(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_visit(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_visit_local(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_visit_same(const void *a, const void *b);
static int zlt_key_table_visit_to(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_allow(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_node(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_nodes(const zlt_key_t *k, void *base,
    const char *value, char *error);
static int zlt_key_table_bad(const zlt_key_t *k, const char *value,
    const char *why, char *error);


const zlt_key_t  zlt_key_table[] = {

    /* [agent]: these come first, for the bits of zlt_conf_t's "set" */

    { .name = "server", ZLT_KEY_LINK, ZLT_KEY_ALL, .many = 1,
      .form = ZLT_KEY_TEXT, .set = zlt_key_table_server, .arg = "URL",
      .help = "wss://HOST[:PORT][/PATH], or ws://, or srv+wss://NAME[/PATH], or "
              "ws+unix:/SOCKET[:/PATH]; the path is " ZLT_URL_DEFAULT_PATH
              " if there is none.  More than once: stand-bys",
      .reload = ZLT_KEY_WAY },

    { .name = "mode", ZLT_KEY_LINK, ZLT_KEY_BOTH, .form = ZLT_KEY_CHOICE,
      zlt_key_at(zlt_conf_t, mode), .choices = "standby|all", .arg = "MODE",
      .fallback = "standby",
      .help = "with several servers: at one at a time, or at all",
      .reload = ZLT_KEY_WAY },

    { .name = "nodes", ZLT_KEY_LINK, ZLT_KEY_BOTH, .form = ZLT_KEY_NUMBER,
      zlt_key_at(zlt_conf_t, nodes), .least = 1, .most = ZLT_CONF_MAX_NODES,
      .arg = "N", .fallback = "16",
      .help = "with mode = all, at so many addresses and nodes at the most",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "token_file", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_PATH,
      zlt_key_at(zlt_conf_t, token_file), .arg = "FILE",
      .without = "the variable ZLTUNNEL_TOKEN",
      .help = "holds the token, and nobody else may read it",
      .reload = ZLT_KEY_TOKEN },

    { .name = "ca_file", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_PATH,
      zlt_key_at(zlt_conf_t, ca_file), .arg = "FILE",
      .without = "the system's",
      .help = "trust these certificates",
      .reload = ZLT_KEY_RECONNECT },

    { .name = "insecure", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_BOOL,
      zlt_key_at(zlt_conf_t, insecure), .most = 1, .fallback = "no",
      .help = "do not verify the server's certificate",
      .reload = ZLT_KEY_RECONNECT },

    { .name = "cert", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_PATH,
      zlt_key_at(zlt_conf_t, cert), .arg = "FILE",
      .help = "our certificate with its chain, where the server wants one",
      .reload = ZLT_KEY_RECONNECT },

    { .name = "key", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_PATH,
      zlt_key_at(zlt_conf_t, key), .arg = "FILE",
      .without = "in the certificate's file",
      .help = "the certificate's key",
      .reload = ZLT_KEY_RECONNECT },

    { .name = "proxy", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_STRING,
      zlt_key_at(zlt_conf_t, proxy), .arg = "URL",
      .without = "the environment's",
      .help = "http://HOST:PORT, socks5:// or socks5h://, or none",
      .reload = ZLT_KEY_WAY },

    { .name = "proxy_file", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_PATH,
      zlt_key_at(zlt_conf_t, proxy_file), .arg = "FILE",
      .help = "holds the proxy's URL, if there is a password in it",
      .reload = ZLT_KEY_WAY },

    { .name = "header", ZLT_KEY_LINK, ZLT_KEY_ALL, .many = ZLT_KEY_LINES,
      .form = ZLT_KEY_STRING, zlt_key_at(zlt_conf_t, header),
      .set = zlt_key_table_header, .arg = "NAME: VALUE",
      .help = "a header of all handshakes, for what is on the way; may be "
              "repeated",
      .reload = ZLT_KEY_NEXT },

    { .name = "header_file", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_PATH,
      zlt_key_at(zlt_conf_t, header_file), .arg = "FILE",
      .help = "holds more of them, a line each, and is read at each connect",
      .reload = ZLT_KEY_NEXT },

    { .name = "transport", ZLT_KEY_LINK, ZLT_KEY_ALL, .form = ZLT_KEY_CHOICE,
      zlt_key_at(zlt_conf_t, transport), .choices = "auto|raw|websocket",
      .arg = "WAY", .fallback = "auto",
      .help = "how data channels are opened",
      .reload = ZLT_KEY_NEXT },

    { .name = "log_level", .sections = ZLT_KEY_AGENT, ZLT_KEY_ALL,
      .form = ZLT_KEY_CHOICE, zlt_key_at(zlt_conf_t, log_level),
      .choices = "error|warn|info|debug", .arg = "LEVEL", .fallback = "info",
      .help = "how much is logged",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "log_format", .sections = ZLT_KEY_AGENT, ZLT_KEY_ALL,
      .form = ZLT_KEY_CHOICE, zlt_key_at(zlt_conf_t, log_format),
      .choices = "text|json", .arg = "FORMAT", .fallback = "text",
      .help = "how a line of the log looks",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "log", .sections = ZLT_KEY_AGENT, ZLT_KEY_ALL,
      .form = ZLT_KEY_STRING, zlt_key_at(zlt_conf_t, log),
      .set = zlt_key_table_log, .arg = "stderr|syslog[:/PATH]",
      .without = "stderr",
      .help = "where the log goes; PATH is another socket than /dev/log",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "reconnect_interval", ZLT_KEY_LINK, ZLT_KEY_ALL,
      .form = ZLT_KEY_TIME, zlt_key_at(zlt_conf_t, reconnect_interval),
      .least = 100, .most = 3600000, .arg = "T", .fallback = "5s",
      .help = "the wait before a new attempt, at random below this at first",
      .reload = ZLT_KEY_NEXT },

    { .name = "max_reconnect_interval", ZLT_KEY_LINK, ZLT_KEY_ALL,
      .form = ZLT_KEY_TIME, zlt_key_at(zlt_conf_t, max_reconnect_interval),
      .least = 100, .most = 86400000, .arg = "T", .fallback = "60s",
      .help = "the bound to which that doubles",
      .reload = ZLT_KEY_NEXT },

    { .name = "connect_timeout", ZLT_KEY_LINK, ZLT_KEY_ALL,
      .form = ZLT_KEY_TIME, zlt_key_at(zlt_conf_t, connect_timeout),
      .least = 1000, .most = 600000, .arg = "T", .fallback = "10s",
      .help = "for the server and for services to answer",
      .reload = ZLT_KEY_NEXT },

    { .name = "shutdown_timeout", .sections = ZLT_KEY_AGENT, ZLT_KEY_BOTH,
      .form = ZLT_KEY_TIME, zlt_key_at(zlt_conf_t, shutdown_timeout),
      .most = 86400000, .arg = "T", .fallback = "30s",
      .help = "how long the end waits for open connections",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "min_idle", ZLT_KEY_LINK, ZLT_KEY_BOTH,
      .form = ZLT_KEY_NUMBER, zlt_key_at(zlt_conf_t, min_idle),
      .most = 65535, .arg = "N", .without = "the server's",
      .help = "idle data channels, at least",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "max_idle", ZLT_KEY_LINK, ZLT_KEY_BOTH,
      .form = ZLT_KEY_NUMBER, zlt_key_at(zlt_conf_t, max_idle),
      .most = 65535, .arg = "N", .without = "the server's",
      .help = "idle data channels, at most",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "udp_timeout", ZLT_KEY_LINK, ZLT_KEY_ALL,
      .form = ZLT_KEY_TIME, zlt_key_at(zlt_conf_t, udp_timeout),
      .least = 1000, .most = 86400000, .arg = "T", .fallback = "60s",
      .help = "after which a quiet UDP session ends",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "max_udp_sessions", ZLT_KEY_LINK, ZLT_KEY_BOTH,
      .form = ZLT_KEY_NUMBER, zlt_key_at(zlt_conf_t, max_udp_sessions),
      .least = 1, .most = 1000000, .arg = "N", .fallback = "4096",
      .help = "UDP sessions of each service",
      .reload = ZLT_KEY_NEXT },

    { .name = "control", .sections = ZLT_KEY_AGENT, ZLT_KEY_ALL,
      .form = ZLT_KEY_PATH, zlt_key_at(zlt_conf_t, control), .arg = "PATH",
      .without = "agent.sock in a place of the system's or the user's",
      .help = "the control socket, or none",
      .reload = ZLT_KEY_RESTART },

    { .name = "metrics", .sections = ZLT_KEY_AGENT, ZLT_KEY_BOTH,
      .form = ZLT_KEY_STRING, zlt_key_at(zlt_conf_t, metrics),
      .set = zlt_key_table_metrics, .arg = "[ADDRESS:]PORT|unix:/PATH",
      .help = "where Prometheus reads the agent's figures; a port alone is of "
              "127.0.0.1",
      .reload = ZLT_KEY_AT_ONCE },

    /* [service NAME], and some of them elsewhere */

    { .name = "local", .sections = ZLT_KEY_SERVICE,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_service_conf_t, local), .set = zlt_key_table_local,
      .arg = "[HOST:]PORT|unix:/PATH",
      .help = "where the service is: a port of this machine, HOST:PORT, or "
              "unix:/PATH; PORT may be a range, FIRST-LAST",
      .reload = ZLT_KEY_NEXT },

    { .name = "protocol",
      .sections = ZLT_KEY_SERVICE|ZLT_KEY_TUNNEL|ZLT_KEY_OPEN,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_CHOICE,
      zlt_key_at(zlt_service_conf_t, protocol), .choices = "tcp|udp",
      .arg = "PROTOCOL", .fallback = "tcp", .help = "of the service",
      .reload = ZLT_KEY_REGISTER },

    { .name = "remote_port", .sections = ZLT_KEY_SERVICE|ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_PORT,
      zlt_key_at(zlt_service_conf_t, remote_port),
      .same = zlt_key_table_remote_same, .arg = "PORT",
      .without = "one that the server chooses",
      .help = "this port of the server, or the service is refused",
      .reload = ZLT_KEY_REGISTER },

    { .name = "remote_ports", .sections = ZLT_KEY_SERVICE,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TEXT,
      .set = zlt_key_table_remote_ports, .same = zlt_key_table_range_same,
      .arg = "FIRST-LAST",
      .help = "these ports of the server for a range, all of them or none",
      .reload = ZLT_KEY_REGISTER },

    { .name = "preferred_port", .sections = ZLT_KEY_SERVICE,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_PORT,
      zlt_key_at(zlt_service_conf_t, preferred_port), .arg = "PORT",
      .without = "one that the server chooses",
      .help = "this port of the server, or another",
      .reload = ZLT_KEY_REGISTER },

    { .name = "private", .sections = ZLT_KEY_SERVICE,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_FLAG,
      zlt_key_at(zlt_service_conf_t, flags), .least = ZLT_R_PRIVATE,
      .fallback = "no",
      .help = "no port: for the server's own use and for visitors",
      .reload = ZLT_KEY_REGISTER },

    { .name = "internal", .sections = ZLT_KEY_SERVICE,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_FLAG,
      zlt_key_at(zlt_service_conf_t, flags), .least = ZLT_R_INTERNAL,
      .fallback = "no",
      .help = "a port for the server's machine alone",
      .reload = ZLT_KEY_REGISTER },

    { .name = "host", .sections = ZLT_KEY_SERVICE, .many = 1,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_service_conf_t, hosts), .set = zlt_key_table_hosts,
      .arg = "NAME,...",
      .help = "the names under which it is reached by HTTP, or TLS; what has "
              "no dot is below the server's domain, and auto is one that the "
              "server makes up.  There is no port then, unless one is asked "
              "for",
      .reload = ZLT_KEY_REGISTER },

    { .name = "proxy_protocol", .sections = ZLT_KEY_SERVICE|ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_CHOICE,
      zlt_key_at(zlt_service_conf_t, proxy_protocol), .choices = "no|v1|v2",
      .arg = "VERSION", .fallback = "no",
      .help = "connections to the service begin with the header of the PROXY "
              "protocol",
      .reload = ZLT_KEY_NEXT },

    { .name = "check", .sections = ZLT_KEY_SERVICE|ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_service_conf_t, check), .set = zlt_key_table_check,
      .arg = "tcp|http:/PATH",
      .without = "the service is not checked",
      .help = "the service is checked, by a connection, or by a request for "
              "that path; one that is down gets no connections where another "
              "agent has it, too",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "check_interval", .sections = ZLT_KEY_SERVICE|ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TIME,
      zlt_key_at(zlt_service_conf_t, check_interval),
      .least = 100, .most = 86400000, .arg = "T", .fallback = "10s",
      .help = "the time between two checks",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "check_timeout", .sections = ZLT_KEY_SERVICE|ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TIME,
      zlt_key_at(zlt_service_conf_t, check_timeout),
      .least = 100, .most = 600000, .arg = "T", .fallback = "5s",
      .help = "the time in which a check is answered, or has failed",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "check_fails", .sections = ZLT_KEY_SERVICE|ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_NUMBER,
      zlt_key_at(zlt_service_conf_t, check_fails),
      .least = 1, .most = 1000, .arg = "N", .fallback = "3",
      .help = "so many checks in a row that fail make the service down; one "
              "that does not makes it up again",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "on_fail", .sections = ZLT_KEY_SERVICE|ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_CHOICE,
      zlt_key_at(zlt_service_conf_t, on_fail), .choices = "keep|refuse",
      .arg = "WHAT", .fallback = "keep",
      .help = "the port of a service that is down stays open, or refuses "
              "connections until it is up again",
      .reload = ZLT_KEY_AT_ONCE },

    { .name = "allow_access", .sections = ZLT_KEY_SERVICE|ZLT_KEY_OPEN,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_service_conf_t, allow_access),
      .set = zlt_key_table_allow_access, .arg = "TOKEN,...",
      .without = "all whom the server lets",
      .help = "visitors, by the names of their tokens",
      .reload = ZLT_KEY_REGISTER },

    /* [tunnel NAME] */

    { .name = "from", .sections = ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_TUNNEL, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_tunnel_conf_t, from), .set = zlt_key_table_node,
      .arg = "NODE", .help = "the node where the tunnel begins",
      .reload = ZLT_KEY_TUNNELS },

    { .name = "to", .sections = ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_TUNNEL, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_tunnel_conf_t, to), .set = zlt_key_table_node,
      .arg = "NODE", .help = "the node where the tunnel ends",
      .reload = ZLT_KEY_TUNNELS },

    { .name = "service", .sections = ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_service_conf_t, name), .set = zlt_key_table_name,
      .arg = "NAME", .without = "the tunnel's name",
      .help = "the name of the tunnel's service at the server",
      .reload = ZLT_KEY_REGISTER },

    { .name = "local_host", .sections = ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_TUNNEL, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_tunnel_conf_t, host), .set = zlt_key_table_host,
      .arg = "HOST", .fallback = "127.0.0.1",
      .help = "where the tunnel's service is",
      .reload = ZLT_KEY_NEXT },

    { .name = "local_port", .sections = ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_TUNNEL, .form = ZLT_KEY_PORT,
      zlt_key_at(zlt_tunnel_conf_t, port), .arg = "PORT",
      .help = "the port of the tunnel's service",
      .reload = ZLT_KEY_NEXT },

    { .name = "expose", .sections = ZLT_KEY_TUNNEL,
      .of = ZLT_KEY_OF_TUNNEL, .form = ZLT_KEY_CHOICE,
      zlt_key_at(zlt_tunnel_conf_t, is_public),
      .choices = "internal|public", .arg = "TO", .fallback = "internal",
      .help = "the port is for the server's machine alone, or for all",
      .reload = ZLT_KEY_REGISTER },

    /* [access NAME] */

    { .name = "service", .sections = ZLT_KEY_ACCESS,
      .of = ZLT_KEY_OF_ACCESS, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_access_conf_t, service), .set = zlt_key_table_visit,
      .arg = "NAME", .without = "the section's name",
      .help = "the service, if the section has another name",
      .reload = ZLT_KEY_OPENED },

    { .name = "protocol", .sections = ZLT_KEY_ACCESS,
      .of = ZLT_KEY_OF_ACCESS, .form = ZLT_KEY_CHOICE,
      zlt_key_at(zlt_access_conf_t, protocol), .choices = "tcp|udp",
      .arg = "PROTOCOL", .fallback = "tcp", .help = "of the service",
      .reload = ZLT_KEY_OPENED },

    { .name = "local", .sections = ZLT_KEY_ACCESS,
      .of = ZLT_KEY_OF_ACCESS, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_access_conf_t, host), .set = zlt_key_table_visit_local,
      .same = zlt_key_table_visit_same, .arg = "[ADDRESS:]PORT|unix:/PATH",
      .without = "a free port of 127.0.0.1",
      .help = "where the service is to be reached here",
      .reload = ZLT_KEY_OPENED },

    { .name = "ttl", .sections = ZLT_KEY_ACCESS,
      .of = ZLT_KEY_OF_ACCESS, .form = ZLT_KEY_SECONDS,
      zlt_key_at(zlt_access_conf_t, ttl), .arg = "T", .fallback = "1h",
      .help = "how long; 0: without end, where the token allows that",
      .reload = ZLT_KEY_OPENED },

    { .name = "grace", .sections = ZLT_KEY_ACCESS,
      .of = ZLT_KEY_OF_ACCESS, .form = ZLT_KEY_SECONDS,
      zlt_key_at(zlt_access_conf_t, grace), .arg = "T", .fallback = "0",
      .help = "how long connections may go on after that",
      .reload = ZLT_KEY_OPENED },

    { .name = "to", .sections = ZLT_KEY_ACCESS,
      .of = ZLT_KEY_OF_ACCESS, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_access_conf_t, target), .set = zlt_key_table_visit_to,
      .arg = "HOST:PORT",
      .help = "where to, if the service leads to many places",
      .reload = ZLT_KEY_OPENED },

    /* [access] */

    { .name = "name", .sections = ZLT_KEY_OPEN,
      .of = ZLT_KEY_OF_SERVICE, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_service_conf_t, name), .set = zlt_key_table_name,
      .arg = "NAME", .fallback = "access",
      .help = "the name by which visitors ask for it",
      .reload = ZLT_KEY_REGISTER },

    { .name = "allow", .sections = ZLT_KEY_OPEN, .many = 1,
      .of = ZLT_KEY_OF_LINK, .form = ZLT_KEY_TEXT,
      .set = zlt_key_table_allow, .arg = "HOST:PORTS,...",
      .help = "where visitors may be led to",
      .reload = ZLT_KEY_AT_ONCE },

    /* [node], [nodes] */

    { .name = "name", .sections = ZLT_KEY_NODE,
      .of = ZLT_KEY_OF_CONFIG, .form = ZLT_KEY_TEXT,
      zlt_key_at(zlt_config_t, node), .set = zlt_key_table_node,
      .arg = "NODE", .help = "which node this is",
      .reload = ZLT_KEY_TUNNELS },

    { .name = "names", .sections = ZLT_KEY_NODES, .many = 1,
      .of = ZLT_KEY_OF_CONFIG, .form = ZLT_KEY_TEXT,
      .set = zlt_key_table_nodes, .arg = "NODE,...",
      .help = "all nodes that there are, so that a wrong name is told",
      .reload = ZLT_KEY_TUNNELS },

    { .name = NULL }
};


static int
zlt_key_table_server(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    (void) k;

    return zlt_conf_server_add(base, value, error);
}


static int
zlt_key_table_metrics(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    char                must[192];
    const char         *why;
    zlt_access_conf_t   a;

    zlt_option_access_init(&a);

    if (zlt_option_access_local(value, &a, &why) == -1) {
        (void) snprintf(must, sizeof(must), "%s; it must be %s, as 9114", why,
                        k->arg);
        return zlt_key_table_bad(k, value, must, error);
    }

    if (!a.is_unix && a.port == 0) {
        return zlt_key_table_bad(k, value, "the local port is 0", error);
    }

    return zlt_key_table_string(k, base, value, error);
}


static int
zlt_key_table_log(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    if (!zlt_log_is_where(value)) {
        return zlt_key_table_bad(k, value, "it must be stderr, syslog, or "
                                 "syslog:/PATH", error);
    }

    return zlt_key_table_string(k, base, value, error);
}


static int
zlt_key_table_header(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    char        **string;
    zlt_text_t    t;

    string = (char **) (void *) ((char *) base + k->offset);

    memset(&t, 0, sizeof(zlt_text_t));

    if (*string) {
        zlt_text_append(&t, *string, strlen(*string));
    }

    if (zlt_headers_add(&t, value, strlen(value), error) == -1) {
        zlt_text_free(&t);
        return -1;
    }

    zlt_text_append(&t, "", 1);

    if (t.failed) {
        (void) strcpy(error, "out of memory");
        zlt_text_free(&t);
        return -1;
    }

    free(*string);
    *string = t.data;

    return 0;
}


/* A copy of what has been checked. */

static int
zlt_key_table_string(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    char  *copy, **string;

    copy = strdup(value);

    if (copy == NULL) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    string = (char **) (void *) ((char *) base + k->offset);
    free(*string);
    *string = copy;

    return 0;
}


static int
zlt_key_table_name(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    const char  *why;

    return zlt_option_service_name(value, base, &why) == 0
           ? 0 : zlt_key_table_bad(k, value, why, error);
}


static int
zlt_key_table_local(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    const char  *why;

    return zlt_option_service_local(value, base, &why) == 0
           ? 0 : zlt_key_table_bad(k, value, why, error);
}


static int
zlt_key_table_remote_ports(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    const char          *why;
    zlt_service_conf_t  *s;

    s = base;

    if (zlt_option_range_ports(value, &s->remote_port, &s->remote_ports, &why)
        == 0)
    {
        return 0;
    }

    return zlt_key_table_bad(k, value,
                             why ? why : "it is not a range like 8000-8010",
                             error);
}


/* Of a range, what stays keeps its port. */

static int
zlt_key_table_remote_same(const void *a, const void *b)
{
    const zlt_service_conf_t  *s, *t;

    s = a;
    t = b;

    return (s->ports && t->ports) || s->remote_port == t->remote_port;
}


static int
zlt_key_table_range_same(const void *a, const void *b)
{
    const zlt_service_conf_t  *s, *t;

    s = a;
    t = b;

    return (s->ports == 0) == (t->ports == 0);
}


static int
zlt_key_table_allow_access(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    const char  *why;

    return zlt_option_service_allow(value, base, &why) == 0
           ? 0 : zlt_key_table_bad(k, value, why, error);
}


static int
zlt_key_table_check(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    const char  *why;

    return zlt_option_check(value, base, &why) == 0
           ? 0 : zlt_key_table_bad(k, value, why, error);
}


/* What it is worth is seen when the port is known. */

static int
zlt_key_table_host(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    zlt_tunnel_conf_t  *t;

    t = base;

    if (strlen(value) > ZLT_OPTION_HOST_MAX - 2) {
        (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is too long",
                        k->name);
        return -1;
    }

    (void) strcpy(t->host, value);

    return 0;
}


/* What is wrong is told with the name that it is wrong of. */

static int
zlt_key_table_hosts(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    const char  *why;

    if (zlt_option_host_add(value, base, &why) == 0) {
        return 0;
    }

    (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\": %s", k->name, why);

    return -1;
}


static int
zlt_key_table_visit(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    zlt_access_conf_t  *a;

    a = base;

    if (!zlt_name_valid((const uint8_t *) value, strlen(value))) {
        return zlt_key_table_bad(k, value, "it is not the name of a service",
                                 error);
    }

    (void) strcpy(a->service, value);

    return 0;
}


static int
zlt_key_table_visit_local(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    const char  *why;

    return zlt_option_access_local(value, base, &why) == 0
           ? 0 : zlt_key_table_bad(k, value, why, error);
}


static int
zlt_key_table_visit_same(const void *a, const void *b)
{
    const zlt_access_conf_t  *p, *q;

    p = a;
    q = b;

    return p->port == q->port && p->is_unix == q->is_unix
           && strcmp(p->host, q->host) == 0;
}


static int
zlt_key_table_visit_to(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    const char  *why;

    return zlt_option_access_target(value, base, &why) == 0
           ? 0 : zlt_key_table_bad(k, value, why, error);
}


/* What is wrong is told of the rule that it is wrong of. */

static int
zlt_key_table_allow(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    char         text[ZLT_CONF_ERROR_SIZE / 2];
    size_t       rule;
    zlt_conf_t  *conf;
    const char  *why;

    conf = base;

    if (zlt_allow_parse(&conf->allow, value, &why, &rule) == 0) {
        return 0;
    }

    (void) snprintf(text, sizeof(text), "%.100s", value + rule);
    text[strcspn(text, ",")] = '\0';

    return zlt_key_table_bad(k, text, why, error);
}


static int
zlt_key_table_node(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    return zlt_conf_node_name(k->name, value, (char *) base + k->offset,
                              error);
}


static int
zlt_key_table_nodes(const zlt_key_t *k, void *base, const char *value,
    char *error)
{
    return zlt_conf_node_names(base, k->name, value, error);
}


static int
zlt_key_table_bad(const zlt_key_t *k, const char *value, const char *why,
    char *error)
{
    (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "\"%s\" is \"%.150s\": %s",
                    k->name, value, why);

    return -1;
}
