"""A user at a terminal: types into an interactive bash and waits for what it prints.

usage: terminal.py {type TEXT | see REGEX | lend}...

TEXT takes backslash escapes (\\r, \\x03). Prints everything the terminal showed; status 1 when something did not come up within 15 s.
`lend` waits until the shell has handed the terminal over: `fg` says which job it is a moment before.
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


def lend():
    deadline = time.monotonic() + 15
    while os.tcgetpgrp(terminal) == pid:
        if time.monotonic() > deadline:
            sys.exit(f"the terminal stays with the shell:\n{shown}")
        time.sleep(0.01)


see("prompt> ")
words = iter(sys.argv[1:])
for verb in words:
    if verb == "see":
        see(next(words))
    elif verb == "lend":
        lend()
    else:
        os.write(terminal, next(words).encode().decode("unicode_escape").encode())
print(shown)
