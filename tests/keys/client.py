"""Asks HTTPS servers. usage: client.py {now|first|late|never} COUNT ADDRESS...

Every ADDRESS is asked COUNT times for /python/N, all at once; then keys are logged: at once, those for /python/0 alone, late, when the last packet is long written, or never.
"""
import http.client
import os
import shutil
import ssl
import sys
import tempfile
import threading
import time

WHEN, COUNT, ADDRESSES = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
log = os.environ["SSLKEYLOGFILE"]
mine = {"now": log, "first": log, "late": tempfile.mktemp(), "never": "/dev/null"}[WHEN]


def logging_to(path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode, context.keylog_filename = False, ssl.CERT_NONE, path
    return context


contexts = [logging_to("/dev/null" if WHEN == "first" and number else mine) for number in range(COUNT)]
barrier = threading.Barrier(COUNT * len(ADDRESSES))


def ask(address, number):
    barrier.wait()
    connection = http.client.HTTPSConnection(address, context=contexts[number])
    connection.request("GET", f"/python/{number}")
    print(connection.getresponse().read().decode(), end="", flush=True)


threads = [threading.Thread(target=ask, args=(address, n)) for address in ADDRESSES for n in range(COUNT)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if WHEN == "late":
    # A block of a stream is held for 300 ms, and each handshake may be in one of its own.
    time.sleep(3)
    with open(mine, "rb") as early, open(log, "ab") as late:
        shutil.copyfileobj(early, late)
    os.unlink(mine)
