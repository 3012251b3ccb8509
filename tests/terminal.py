"""A user at a terminal: types into an interactive bash and waits for what it prints.

usage: terminal.py {type TEXT | see REGEX}...

TEXT takes backslash escapes (\\r, \\x03). Prints everything the terminal showed; status 1 when something did not come up within 15 s.
"""
import os
import pty
import re
import select
import sys
import time

pid, terminal = pty.fork()
if pid == 0:
    os.environ["PS1"] = "prompt> "
    os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])

shown, seen = "", 0


def see(pattern):
    global shown, seen
    deadline = time.monotonic() + 15
    while not (found := re.compile(pattern).search(shown, seen)):
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        if not ready:
            sys.exit(f"never saw {pattern!r} in:\n{shown}")
        shown += os.read(terminal, 4096).decode()
    seen = found.end()


see("prompt> ")
for verb, text in zip(sys.argv[1::2], sys.argv[2::2]):
    if verb == "see":
        see(text)
    else:
        os.write(terminal, text.encode().decode("unicode_escape").encode())
print(shown)
