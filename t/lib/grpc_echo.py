#!/usr/bin/python3

# A gRPC service and its client, without generated code: messages are bytes.
#
#     grpc_echo.py serve PORT          /test.Echo/Once and /test.Echo/Stream
#     grpc_echo.py call PORT N         calls both, N messages each, and checks

import sys
from concurrent import futures

import grpc


class Echo(grpc.GenericRpcHandler):

    def service(self, details):
        if details.method == '/test.Echo/Once':
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: b'echo ' + request)

        if details.method == '/test.Echo/Stream':
            return grpc.stream_stream_rpc_method_handler(self.stream)

        return None

    def stream(self, requests, context):
        for request in requests:
            yield b'echo ' + request


def serve(port):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port('127.0.0.1:%s' % port)
    server.start()
    print('ready', flush=True)
    server.wait_for_termination()


def call(port, n):
    channel = grpc.insecure_channel('127.0.0.1:%s' % port)
    once = channel.unary_unary('/test.Echo/Once')
    stream = channel.stream_stream('/test.Echo/Stream')
    missing = channel.unary_unary('/test.Echo/Missing')

    for i in range(n):
        text = b'once %d' % i
        assert once(text, timeout=30) == b'echo ' + text

    big = b'x' * 1000000
    assert once(big, timeout=30) == b'echo ' + big
    print('once', n)

    # each message is answered before the next one is sent

    answers = stream(iter_of(n), timeout=60)
    count = 0
    for answer in answers:
        assert answer == b'echo stream %d' % count, answer
        count += 1
        sent.release()
    assert count == n
    print('stream', count)

    try:
        missing(b'', timeout=30)
    except grpc.RpcError as e:
        print('missing', e.code().name)


from threading import Semaphore
sent = Semaphore(1)


def iter_of(n):
    for i in range(n):
        sent.acquire()
        yield b'stream %d' % i


if sys.argv[1] == 'serve':
    serve(sys.argv[2])
else:
    call(sys.argv[2], int(sys.argv[3]))
