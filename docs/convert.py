#!/usr/bin/env python3

# Makes agent.conf of frp's frpc.toml, or of rathole's client.toml:
#
#     convert.py [--server URL] frpc.toml > agent.conf
#     convert.py [--server URL] client.toml [server.toml] > agent.conf
#
# rathole has the ports of services in server.toml.  What nginx needs for them,
# and what of the file has no counterpart, is said in comments at the end.
# Python 3.11 or later.

import argparse
import re
import sys
import tomllib

# what has no meaning here: the tunnel does it anyway, or nginx
HARMLESS = re.compile(
    r'auth\.|loginFailExit$|log\.(to|maxDays|disablePrintColor)$|webServer\.'
    r'|transport\.(protocol|tcpMux|heartbeat|dialServer|quic\.|tls\.(enable|dis))'
    r'|udpPacketSize$|serverPort$|user$|natHoleStunServer$'
    r'|transport\.(useEncryption|useCompression)$')


class Section:
    def __init__(self, title, comment=None):
        self.title, self.comment, self.keys = title, comment, []

    def set(self, key, value):
        if value not in (None, ''):
            self.keys.append((key, value))

    def text(self):
        lines = [f'; {self.comment}'] if self.comment else []
        lines += [f'[{self.title}]']
        lines += [f'{key} = {value}' for key, value in self.keys]
        return '\n'.join(lines) + '\n'


class Result:
    def __init__(self):
        self.sections, self.tcp, self.udp = [], [], []
        self.services, self.access = [], []
        self.nginx, self.lost = [], []

    def service(self, name, kind, local, port, comment=None):
        section = Section(f'service {plain(name)}', comment)
        section.set('protocol', 'udp' if kind == 'udp' else None)
        section.set('local', local)
        if port:
            section.set('remote_port', port)
            (self.udp if kind == 'udp' else self.tcp).append(port)
        self.services.append(plain(name))
        self.sections.append(section)
        return section

    def text(self):
        parts = [section.text() for section in self.sections]
        listen = ' '.join([f'listen {p};' for p in sorted(set(self.tcp))]
                          + [f'listen {p} udp;' for p in sorted(set(self.udp))])
        rights = ['services=' + ','.join(self.services)] if self.services else []
        if self.tcp or self.udp:
            rights.append('ports=' + ','.join(
                str(p) for p in sorted(set(self.tcp + self.udp))))
        if self.access:
            rights += ['access=' + ','.join(self.access), 'access_ttl=0']

        end = ['The line of the token: HASH NAME ' + ' '.join(rights)]
        if listen:
            end.append('nginx, in "stream": server { ' + listen
                       + ' zltunnel_ports reserved; }')
        end += [f'nginx, {line}' for line in self.nginx]
        end += [f'Not taken over: {what}' for what in self.lost]
        return '\n'.join(parts + [f'; {line}' for line in end]) + '\n'


def plain(name):
    return re.sub(r'[^A-Za-z0-9_.-]', '-', name)


def address(host, port):
    return f'[{host}]:{port}' if ':' in str(host) else f'{host}:{port}'


def flat(value, prefix=''):
    for key, item in value.items():
        if isinstance(item, dict):
            yield from flat(item, f'{prefix}{key}.')
        else:
            yield prefix + key, item


class Table:
    """A table of TOML that knows what has been asked for."""

    def __init__(self, value):
        self.values, self.used = dict(flat(value)), set()

    def get(self, key, default=None):
        self.used.add(key)
        return self.values.get(key, default)

    def rest(self):
        return [key for key in self.values
                if key not in self.used and not HARMLESS.match(key)]


def frp(conf, server, result):
    top = Table({k: v for k, v in conf.items()
                 if k not in ('proxies', 'visitors')})
    agent = Section('agent')
    agent.set('server', server
              or f'wss://{top.get("serverAddr", "tunnel.example.com")}/tunnel/v1')
    agent.set('token_file', 'token')
    agent.set('proxy', top.get('transport.proxyURL'))
    agent.set('min_idle', top.get('transport.poolCount'))
    level = top.get('log.level')
    agent.set('log_level', 'debug' if level == 'trace' else level)
    result.sections.append(agent)

    start = top.get('start')
    result.lost += top.rest()

    for proxy in conf.get('proxies', []):
        if not start or proxy.get('name') in start:
            frp_proxy(Table(proxy), result)

    for visitor in conf.get('visitors', []):
        if not start or visitor.get('name') in start:
            frp_visitor(Table(visitor), result)


def frp_proxy(proxy, result):
    name, kind = proxy.get('name'), proxy.get('type', 'tcp')
    plugin = proxy.get('plugin.type')
    port = proxy.get('remotePort', 0)
    local = address(proxy.get('localIP', '127.0.0.1'), proxy.get('localPort'))

    if plugin == 'unix_domain_socket':
        local = 'unix:' + proxy.get('plugin.unixPath')
    elif plugin:
        result.lost.append(f'"{name}": the agent has no plugins ({plugin})')
        return

    udp = 'udp' if kind in ('udp', 'sudp') else 'tcp'
    section = result.service(name, udp, local,
                             port if kind in ('tcp', 'udp') else 0)
    section.set('proxy_protocol', proxy.get('transport.proxyProtocolVersion'))

    if kind not in ('tcp', 'udp'):
        section.set('private', 'yes')
        proxy.get('secretKey')

    if kind in ('http', 'https', 'tcpmux'):
        names = list(proxy.get('customDomains', []))
        if proxy.get('subdomain'):
            names.append(proxy.get('subdomain') + '.tunnel.example.com')
        result.nginx.append(
            f'for {", ".join(names)}: '
            + (f'upstream {plain(name)} {{ zltunnel_service {plain(name)}; }}'
               if kind == 'http' else
               f'"ssl_preread on;" and zltunnel_pass {plain(name)};'
               if kind == 'https' else f'zltunnel_pass {plain(name)};'))

    lose(name, proxy, result)


def frp_visitor(visitor, result):
    name, kind = visitor.get('name'), visitor.get('type')
    service, port = visitor.get('serverName'), visitor.get('bindPort', -1)

    if visitor.get('plugin.type') or port <= 0:
        result.lost.append(f'"{name}": a visitor without a port of its own')
        return

    section = Section(f'access {plain(name)}')
    section.set('service', plain(service))
    section.set('protocol', 'udp' if kind == 'sudp' else None)
    section.set('local', address(visitor.get('bindAddr', '127.0.0.1'), port))
    section.set('ttl', '0')
    visitor.get('secretKey')
    result.access.append(plain(service))
    result.sections.append(section)
    lose(name, visitor, result)


def lose(name, table, result):
    if table.rest():
        result.lost.append(f'"{name}": ' + ', '.join(table.rest()))


def rathole(conf, server, result):
    client = conf['client']
    host = client['remote_addr'].rsplit(':', 1)[0]
    agent = Section('agent')
    agent.set('server', server or f'wss://{host}/tunnel/v1')
    agent.set('token_file', 'token')
    proxy = client.get('transport', {}).get('tcp', {}).get('proxy')
    agent.set('proxy', proxy)
    result.sections.append(agent)

    there = conf.get('server', {}).get('services', {})

    for name, service in client.get('services', {}).items():
        public = there.get(name, {})
        bind = public.get('bind_addr')
        local = service['local_addr']
        section = result.service(
            name, service.get('type', 'tcp'),
            'unix:' + local if local.startswith('/') else local,
            int(bind.rsplit(':', 1)[1]) if bind else 0,
            None if bind else 'its port is in server.toml: add remote_port')
        section.set('proxy_protocol', public.get('proxy_protocol'))


def main():
    parser = argparse.ArgumentParser(
        description='agent.conf of frpc.toml, or of client.toml of rathole')
    parser.add_argument('--server', metavar='URL',
                        help='wss://host/tunnel/v1 of the nginx')
    parser.add_argument('file', nargs='+')
    args = parser.parse_args()
    conf = {}

    for name in args.file:
        try:
            with open(name, 'rb') as file:
                for key, value in tomllib.load(file).items():
                    conf.setdefault(key, value)
        except (OSError, tomllib.TOMLDecodeError) as error:
            sys.exit(f'convert.py: {name}: {error}')

    result = Result()

    if 'client' in conf and 'remote_addr' in conf['client']:
        rathole(conf, args.server, result)
    elif 'proxies' in conf or 'visitors' in conf or 'serverAddr' in conf:
        frp(conf, args.server, result)
    else:
        sys.exit(f'convert.py: {args.file[0]} is neither frpc.toml nor '
                 "rathole's client.toml")

    sys.stdout.write(result.text())


if __name__ == '__main__':
    main()
