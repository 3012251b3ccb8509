"""An HTTPS server for one version of TLS. usage: server.py ADDRESS {1.2|1.3} CERTIFICATE. Prints "ready" once it listens."""
import http.server
import ssl
import sys

ADDRESS, VERSION, CERTIFICATE = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"secret " + self.path.encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512

    def finish_request(self, request, client_address):
        # The handshake is for the connection's own thread.
        with context.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, *_):
        pass  # A client that left.


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE)
context.minimum_version = context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[VERSION]
server = Server((ADDRESS, 443), Handler)
print("ready", flush=True)
server.serve_forever()
