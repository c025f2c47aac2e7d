"""Runs `runtape top` on a terminal of its own: argv is what ends it, then the command. Prints what came of it."""

import fcntl, os, pty, select, signal, struct, subprocess, sys, termios, time

end, command = sys.argv[1], sys.argv[2:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
before = termios.tcgetattr(slave)
env = dict(os.environ, TERM="xterm-256color", LC_ALL="C.UTF-8")
child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
if end == "hangup":
    # Nothing but the program holds the terminal then. It is not the one it is controlled by: no signal tells it.
    os.close(slave)
seen, deadline = b"", time.monotonic() + 60


def until(what, there):
    """Reads until it is there in what came since."""
    global seen
    start = len(seen)
    while not there(seen[start:]):
        if time.monotonic() > deadline:
            sys.exit(f"{what} never came: {seen!r}")
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)


def press(keys):
    """Only what changed is drawn, so that any answer will do."""
    os.write(master, keys)
    until(keys, lambda new: new)


until("the first picture", lambda new: b"decisions" in new)
if end == "hangup":
    os.close(master)
    print(end, child.wait(timeout=30))
    sys.exit()
assert termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO) == 0, "keys are read one by one"
for keys in [b"?", b"\x1b", b"/", b"a", b"\r"]:
    press(keys)
if end == "term":
    child.send_signal(signal.SIGTERM)
else:
    os.write(master, {"q": b"q", "interrupt": b"\x03"}[end])
until("the end", lambda new: b"\x1b[?1049l" in new and b"\x1b[?25h" in new)
code = child.wait(timeout=30)
assert b"\x1b[?1049h" in seen, "it took the other screen"
assert seen.rfind(b"\x1b[?1049l") > seen.rfind(b"\x1b[?1049h"), "it gave the screen back"
assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l"), "the cursor is there again"
assert termios.tcgetattr(slave) == before, "the terminal is as it was"
print(end, code)
