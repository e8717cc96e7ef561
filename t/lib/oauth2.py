#!/usr/bin/env python3

# Stands in for oauth2-proxy and its provider, which lets everybody in: whoever
# signs in is alice from then on, by a cookie, and comes back to where he was.
#
#     oauth2.py PORT

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def do_GET(self):
        url = urlsplit(self.path)

        if url.path == '/oauth2/auth':
            if 'visitor=alice' in self.headers.get('Cookie', ''):
                self.answer(202, X_Auth_Request_User='alice')
            else:
                self.answer(401)

        elif url.path == '/oauth2/sign_in':
            state = urlencode({
                'state': self.headers.get('X-Auth-Request-Redirect', '/')})
            self.answer(302, Location='https://' + self.headers['Host']
                        + '/oauth2/callback?' + state)

        elif url.path == '/oauth2/callback':
            self.answer(302, Location=parse_qs(url.query)['state'][0],
                        Set_Cookie='visitor=alice; Path=/; Secure; HttpOnly')

        else:
            self.answer(404)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
