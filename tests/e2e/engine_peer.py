"""An SMTP server that is slow, small or late where it is told to be.

engine_peer.py PORT LOG ADDRESS=mood,mood… …   moods: greet:S ehlo:S mail:S dot:S (seconds)
size:N (SIZE in EHLO) count:1 (a line "open N" whenever N connections stand now) refuse:IP (whoever
comes from there, with 421, and a line "refused"). LOG gets a line "taken ADDRESS" for each recipient of a message that was answered 250, and "quit N" with the
messages of a connection that ended with QUIT."""
import socket
import sys
import threading
import time

port, log = int(sys.argv[1]), open(sys.argv[2], "w")
lock = threading.Lock()


def note(*words):
    with lock:
        print(*words, file=log, flush=True)


class Connections:
    """Those that stand at one address."""

    def __init__(self, mood):
        self.n, self.told = 0, "count" in mood

    def add(self, change):
        with lock:
            self.n += change
            if self.told:
                print("open", self.n, file=log, flush=True)


def serve(connection, mood):
    """True: it ends with QUIT, which waits for its answer."""
    def say(*lines):
        connection.sendall("".join(line + "\r\n" for line in lines).encode())

    def wait(what):
        time.sleep(float(mood.get(what, 0)))

    if connection.getpeername()[0] == mood.get("refuse"):
        note("refused")
        say("421 4.7.0 [TSS04] Messages from you temporarily deferred")
        return False
    lines = connection.makefile("rb")
    messages, rcpt = 0, None
    wait("greet")
    say("220 peer.example")
    while line := lines.readline():
        verb = line[:4].upper()
        if verb == b"EHLO":
            wait("ehlo")
            size = ["250-SIZE " + mood["size"]] if "size" in mood else []
            say("250-peer.example", *size, "250 PIPELINING")
        elif verb == b"MAIL":
            wait("mail")
            say("250 sender ok")
        elif verb == b"RCPT":
            rcpt = line.split(b"<")[1].split(b">")[0].decode()
            say("250 recipient ok")
        elif verb == b"DATA":
            say("354 go on")
            while (line := lines.readline()) != b".\r\n":
                if not line:
                    return False
            wait("dot")
            messages += 1
            note("taken", rcpt)
            say("250 taken")
        elif verb == b"QUIT":
            note("quit", messages)
            return True
        else:
            say("500 what")
    return False


def run(connection, mood, connections):
    quits = False
    try:
        quits = serve(connection, mood)
    except OSError:
        pass
    connections.add(-1)  # before the client knows it
    try:
        if quits:
            connection.sendall(b"221 bye\r\n")
    except OSError:
        pass
    connection.close()


def listen(address, mood):
    listener = socket.create_server((address, port), backlog=1000)
    connections = Connections(mood)
    while True:
        connection, _ = listener.accept()
        connections.add(1)
        threading.Thread(target=run, args=(connection, mood, connections), daemon=True).start()


for word in sys.argv[3:]:
    address, _, moods = word.partition("=")
    mood = dict(m.split(":") for m in moods.split(",") if m)
    threading.Thread(target=listen, args=(address, mood), daemon=True).start()
threading.Event().wait()
