#!/usr/bin/python3

# An HTTP/3 client: all requests are streams of one QUIC connection.
#
#     h3_client.py PORT CA_FILE IDLE
#
# IDLE is the seconds of silence after which the connection is over.  It prints
# "ready" once it is connected, and reads commands, one a line; each ends with
# "done COMMAND".
#
#     get PATH...           all at once; PATH@FROM-TO asks for a range of bytes
#     hosts PATH HOST...    the same of each of them, all at once; printed is
#                           "HOST STATUS BODY"
#     post PATH SIZE        begins an upload and sends half of it, the bytes
#                           that body() tells
#     rest                  sends the rest
#     reset                 resets it instead
#     open N PATH           begins N requests
#     begun                 once each of these has had bytes of its answer
#     cancel                cancels these, with STOP_SENDING
#
# An answer is "PATH STATUS LENGTH SHA256 END", where END is "whole", "reset",
# or "closed", which is the connection.

import asyncio
import hashlib
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset


class Answer:

    def __init__(self, path):
        self.path = path
        self.status = '-'
        self.length = 0
        self.sha = hashlib.sha256()
        self.begin = b''
        self.begun = asyncio.Event()
        self.ended = asyncio.get_running_loop().create_future()

    def end(self, how):
        self.begun.set()
        if not self.ended.done():
            self.ended.set_result(how)

    async def show(self):
        how = await self.ended
        print(self.path, self.status, self.length, self.sha.hexdigest(), how)


class Client(QuicConnectionProtocol):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answers = {}
        self.opened = []
        self.upload = None

    def quic_event_received(self, event):
        if isinstance(event, StreamReset):
            if event.stream_id in self.answers:
                self.answers[event.stream_id].end('reset')

        elif isinstance(event, ConnectionTerminated):
            for answer in self.answers.values():
                answer.end('closed')

        for e in self.http.handle_event(event):
            answer = self.answers.get(getattr(e, 'stream_id', None))
            if answer is None:
                continue

            if isinstance(e, HeadersReceived):
                answer.status = dict(e.headers)[b':status'].decode()

            elif isinstance(e, DataReceived):
                answer.length += len(e.data)
                answer.sha.update(e.data)
                answer.begin = (answer.begin + e.data)[:1000]
                answer.begun.set()

            if e.stream_ended:
                answer.end('whole')

    def request(self, path, method='GET', length=None, host='localhost'):
        stream = self._quic.get_next_available_stream_id()
        self.answers[stream] = Answer(path)

        path, _, part = path.partition('@')
        headers = [(b':method', method.encode()), (b':scheme', b'https'),
                   (b':authority', host.encode()), (b':path', path.encode())]
        if part:
            headers.append((b'range', b'bytes=' + part.encode()))
        if length is not None:
            headers.append((b'content-length', b'%d' % length))

        self.http.send_headers(stream, headers, end_stream=length is None)
        self.transmit()

        return stream

    async def get(self, *paths):
        streams = [self.request(path) for path in paths]
        for stream in streams:
            await self.answers[stream].show()

    async def hosts(self, path, *hosts):
        streams = [(host, self.request(path, host=host)) for host in hosts]
        for host, stream in streams:
            answer = self.answers[stream]
            await answer.ended
            print(host, answer.status, answer.begin.decode().strip())

    async def post(self, path, size):
        data = body(int(size))
        half = len(data) // 2
        stream = self.request(path, 'POST', len(data))

        self.http.send_data(stream, data[:half], end_stream=False)
        self.transmit()
        self.upload = stream, data[half:]

    async def rest(self):
        stream, data = self.upload
        self.http.send_data(stream, data, end_stream=True)
        self.transmit()
        await self.answers[stream].show()

    async def reset(self):
        stream, _ = self.upload
        self._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.transmit()

    async def open(self, n, path):
        self.opened = [self.request(path) for _ in range(int(n))]

    async def begun(self):
        for stream in self.opened:
            await self.answers[stream].begun.wait()

    async def cancel(self):
        for stream in self.opened:
            self._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.transmit()
        for stream in self.opened:
            await self.answers[stream].show()


def body(size):
    return bytes(i * 7 % 251 for i in range(size))


async def main(port, ca, idle):
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)

    config = QuicConfiguration(alpn_protocols=H3_ALPN,
                               idle_timeout=float(idle))
    config.load_verify_locations(ca)

    async with connect('localhost', int(port), configuration=config,
                       create_protocol=Client) as client:
        print('ready', flush=True)

        while line := (await stdin.readline()).decode():
            command, *args = line.split()
            await getattr(client, command)(*args)
            print('done', command, flush=True)


asyncio.run(main(*sys.argv[1:]))
