#!/usr/bin/env python3

# The services and the clients of t/life/soak.t.
#
#     soak.py serve TCP_PORT HTTP_PORT UDP_PORT
#     soak.py load SECONDS CLIENTS LIMIT KIND=PORT...
#
# A transfer sends "up" bytes and gets "down" bytes, both of a stream that a
# seed tells, so that each side knows every byte that it is to see.  The kinds
# of client: raw (a TCP connection, by a port, a stream upstream or an access
# session), http (requests over kept connections), udp.
#
# The load prints a line of JSON for each transfer: kind, start, end (seconds,
# as time.monotonic() has them), bytes, and
#
#     ok       all bytes were right
#     left     the client went in the middle, as it meant to
#     failed   a reset, a refusal, 5xx, an answer cut short that says so
#     short    the stream ended early as if that were its end
#     wrong    a byte that is not the right one
#     hung     nothing for LIMIT seconds
#
# and "detail".  A datagram that is lost is no line; one that is wrong is.  What
# the services see end before its time they say on standard error.

import asyncio
import hashlib
import json
import random
import socket
import struct
import sys
import time

HEADER = struct.Struct('!IIIB')      # up, down, seed, flags
HALF_CLOSE = 1                       # the client ends its side after "up"
BREAK = 2                            # the service resets in the middle
CHUNK = 65536


def stream(seed, size):
    return hashlib.shake_128(b'%d' % seed).digest(size)


def reset(writer):
    sock = writer.get_extra_info('socket')
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack('ii', 1, 0))
    except OSError:
        pass                 # it is closed already
    writer.transport.abort()


# Services

async def serve_raw(reader, writer):
    seed = 0

    try:
        up, down, seed, flags = HEADER.unpack(
            await reader.readexactly(HEADER.size))

        if up and await reader.readexactly(up) != stream(seed, up):
            print('wrong upload of', up, flush=True)
            reset(writer)
            return

        if flags & HALF_CLOSE and await reader.read(1) != b'':
            print('bytes behind the end', flush=True)
            reset(writer)
            return

        data = stream(seed + 1, down)

        if flags & BREAK:
            writer.write(data[:down // 2])
            await writer.drain()
            await asyncio.sleep(0.05)
            reset(writer)
            return

        writer.write(data)
        await writer.drain()
        writer.close()

    except (OSError, asyncio.IncompleteReadError) as e:
        print(f'{time.monotonic():.3f} seed {seed}: {e!r}', file=sys.stderr,
              flush=True)
        writer.transport.abort()


async def serve_http(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b'\r\n\r\n')
            line, *headers = head.decode('latin-1').split('\r\n')
            _, path, _ = line.split(' ')
            _, down, seed = path.split('/')
            down, seed = int(down), int(seed)
            size = 0

            for header in headers:
                name, _, value = header.partition(':')
                if name.lower() == 'content-length':
                    size = int(value)

            right = not size \
                or await reader.readexactly(size) == stream(seed, size)
            writer.write(b'HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n'
                         % (200 if right else 409, down))
            writer.write(stream(seed + 1, down))
            await writer.drain()

    except (OSError, asyncio.IncompleteReadError):
        writer.transport.abort()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def serve(tcp, http, udp):
    await asyncio.start_server(serve_raw, '127.0.0.1', tcp, backlog=1024)
    await asyncio.start_server(serve_http, '127.0.0.1', http, backlog=1024)
    await asyncio.get_running_loop().create_datagram_endpoint(
        Echo, local_addr=('127.0.0.1', udp))
    print('ready', flush=True)
    await asyncio.Event().wait()


# Clients

class Outcome(Exception):
    def __init__(self, result, detail=''):
        super().__init__(result, detail)
        self.result, self.detail = result, detail


class Stale(Exception):
    pass


def size():
    most = random.choices((0, 100, 4000, 100_000, 1_000_000, 5_000_000),
                          (5, 20, 35, 30, 8, 2))[0]
    return random.randint(0, most)


async def read_stream(reader, expected, leave):
    got = 0

    while got < len(expected):
        data = await reader.read(CHUNK)
        if data == b'':
            raise Outcome('short', f'{got} of {len(expected)}')
        if data != expected[got:got + len(data)]:
            raise Outcome('wrong', f'at {got} of {len(expected)}')
        got += len(data)
        if leave and got > len(expected) // 2:
            raise Outcome('left')
        if random.random() < 0.02:
            await asyncio.sleep(random.random() / 5)


async def raw(port, breaks):
    up, down, seed = size(), size(), random.getrandbits(31)
    flags = HALF_CLOSE if random.random() < 0.5 else 0
    if breaks and random.random() < 0.05 and down > 1:
        flags |= BREAK
    leave = random.random() < 0.05

    reader, writer = await asyncio.open_connection('127.0.0.1', port)

    async def send():
        writer.write(HEADER.pack(up, down, seed, flags))
        data = stream(seed, up)
        for at in range(0, up, CHUNK):
            writer.write(data[at:at + CHUNK])
            await writer.drain()
        if flags & HALF_CLOSE:
            writer.write_eof()

    sending = asyncio.ensure_future(send())

    try:
        expected = stream(seed + 1, down)
        try:
            await read_stream(reader, expected, leave)
            if await reader.read(1) != b'':
                raise Outcome('wrong', 'bytes behind the end')
        except ConnectionResetError:
            if flags & BREAK:
                raise Outcome('ok')
            raise
        if flags & BREAK:
            raise Outcome('wrong', 'a reset came as an end')
        await sending
        raise Outcome('ok')

    except Outcome as e:
        if e.result == 'short':
            client = writer.get_extra_info('sockname')[1]
            e.detail += f', {up} up, flags {flags}, seed {seed}, from {client}'
        raise

    finally:
        sending.cancel()
        try:
            await sending
        except (asyncio.CancelledError, OSError):
            pass
        reset(writer)


async def http(port, kept):
    up = size() if random.random() < 0.4 else 0
    down, seed = size(), random.getrandbits(31)
    leave = random.random() < 0.05

    old = bool(kept)
    reader, writer = kept.pop() if kept else \
        await asyncio.open_connection('127.0.0.1', port)
    good = False

    try:
        # nginx may close a kept connection when a request is on its way
        try:
            writer.write(b'%s /%d/%d HTTP/1.1\r\nHost: soak\r\n'
                         b'Content-Length: %d\r\n\r\n'
                         % (b'POST' if up else b'GET', down, seed, up))
            writer.write(stream(seed, up))
            await writer.drain()
            head = await reader.readuntil(b'\r\n\r\n')
        except (OSError, asyncio.IncompleteReadError) as e:
            raise Stale() if old else e
        status = int(head.split(b' ', 2)[1])

        if status == 409:
            raise Outcome('wrong', 'upload')
        if status != 200:
            raise Outcome('failed', f'status {status}')
        if b'ontent-Length: %d\r\n' % down not in head:
            raise Outcome('wrong', 'another length')

        try:
            await read_stream(reader, stream(seed + 1, down), leave)
        except Outcome as e:
            # there is a length, which says that it is not all
            raise Outcome('failed', e.detail) if e.result == 'short' else e

        good = True
        raise Outcome('ok')

    except asyncio.IncompleteReadError:
        raise Outcome('failed', 'no answer')

    finally:
        if good and random.random() < 0.9:
            kept.append((reader, writer))
        else:
            reset(writer)


async def udp(port):
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect(('127.0.0.1', port))
    sent = {}

    try:
        for n in range(random.randint(1, 20)):
            seed = random.getrandbits(31)
            data = struct.pack('!I', seed) \
                + stream(seed, random.randint(0, 1200))
            sent[seed] = data
            try:
                sock.send(data)
            except OSError:
                break
            try:
                got = await asyncio.wait_for(loop.sock_recv(sock, 65536), 0.5)
            except (asyncio.TimeoutError, OSError):
                continue
            if got not in sent.values():
                raise Outcome('wrong', 'a datagram')
        raise Outcome('ok')

    finally:
        sock.close()


async def one(kind, port, limit, kept):
    proto = kind.split(':')[0]
    start = time.monotonic()

    try:
        while True:
            # a stream proxy of nginx's own hands on a reset as an end
            what = udp(port) if proto == 'udp' \
                else http(port, kept) if proto == 'http' \
                else raw(port, kind != 'stream:s')
            try:
                await asyncio.wait_for(what, limit)
            except Stale:
                pass
    except Outcome as e:
        result, detail = e.result, e.detail
    except asyncio.TimeoutError:
        result, detail = 'hung', ''
    except (OSError, asyncio.IncompleteReadError) as e:
        result, detail = 'failed', repr(e)

    print(json.dumps({'kind': kind, 'start': start, 'end': time.monotonic(),
                      'result': result, 'detail': detail}), flush=True)

    if result == 'failed':
        await asyncio.sleep(0.2)


async def load(seconds, clients, limit, targets):
    end = time.monotonic() + seconds

    async def client():
        kept = {}
        while time.monotonic() < end:
            kind, port = random.choice(targets)
            await one(kind, port, limit,
                      kept.setdefault(port, []))
        for pool in kept.values():
            for _, writer in pool:
                reset(writer)

    await asyncio.gather(*(client() for _ in range(clients)))


if __name__ == '__main__':
    if sys.argv[1] == 'serve':
        asyncio.run(serve(*map(int, sys.argv[2:5])))
    else:
        pairs = [a.split('=') for a in sys.argv[5:]]
        asyncio.run(load(float(sys.argv[2]), int(sys.argv[3]),
                         float(sys.argv[4]),
                         [(k, int(p)) for k, p in pairs]))
