"""The receiver that remembers: an SMTP server on several loopback addresses, one thread, that
writes down for each recipient what came and what was answered, and behaves as the first letters
of the local part say: ok, grey (451 at first), no (550), late (451 to the dot at first), bad (554
to the dot), slow (the reply to the dot takes up to 30 ms). A message may have several
recipients: the reply to its dot is for all of them, bad only when all are, late or slow when
one is. Every third site takes messages by BDAT."""
import asyncio
import collections
import random
import threading


class Record:
    """What is known of one recipient of one job. The words of events:
    begun   354 was sent, or BDAT came
    taken   the dot came, 250 was sent
    denied  the dot came, something else was sent
    died    the connection ended between 354 and the dot, or between the recipient's 250 and
            the chunk's end"""

    def __init__(self):
        self.events = collections.Counter()
        self.asked = 0


class Connection(asyncio.Protocol):
    def __init__(self, server, site):
        self.server, self.site = server, site
        self.buffer, self.rcpts, self.in_body = b"", [], False
        self.chunks, self.chunk_left = site % 3 == 0, None
        self.messages, self.waiting = 0, False

    def connection_made(self, transport):
        self.transport = transport
        self.server.open += 1
        transport.write(b"220 receiver.example\r\n")

    def connection_lost(self, error):
        self.server.open -= 1
        if self.in_body or self.chunks:
            self.note("died")

    def note(self, word):
        for rcpt in self.rcpts:
            self.server.records[rcpt].events[word] += 1

    def data_received(self, data):
        self.buffer += data
        self.go_on()

    def go_on(self):
        while not self.waiting and not self.transport.is_closing():
            if self.chunk_left is not None:
                if len(self.buffer) < self.chunk_left:
                    return
                self.buffer, self.chunk_left = self.buffer[self.chunk_left:], None
                self.dot()
            elif self.in_body:
                # The dot alone at once, or behind a line.
                end = 0 if self.buffer.startswith(b".\r\n") else self.buffer.find(b"\r\n.\r\n")
                if end < 0:
                    return
                self.buffer = self.buffer[end + (3 if end == 0 else 5):]
                self.dot()
            else:
                line, newline, rest = self.buffer.partition(b"\r\n")
                if not newline:
                    return
                self.buffer = rest
                self.command(line.decode())

    def say(self, text):
        self.transport.write(text.encode() + b"\r\n")

    def command(self, line):
        verb = line[:4].upper()
        if verb == "EHLO":
            self.say("250 receiver.example" if self.site == 2 else
                     "250-receiver.example\r\n250-CHUNKING\r\n250 PIPELINING" if self.chunks else
                     "250-receiver.example\r\n250 PIPELINING")
        elif verb == "RCPT":
            rcpt = line[line.index("<") + 1:line.index(">")]
            record = self.server.records[rcpt]
            record.asked += 1
            if rcpt.startswith("no"):
                self.say("550 5.1.1 nobody")
            elif rcpt.startswith("grey") and record.asked == 1:
                self.say("451 4.7.1 come back")
            else:
                self.rcpts.append(rcpt)
                self.say("250 ok")
        elif verb == "DATA":
            if not self.rcpts:
                self.say("503 5.5.1 no recipient")
                return
            self.in_body = True
            self.note("begun")
            self.say("354 go on")
        elif verb == "BDAT" and self.chunks and self.rcpts:
            _, size, last = line.split()
            assert last == "LAST", line
            self.chunk_left = int(size)
            self.note("begun")
        elif verb == "QUIT":
            self.say("221 bye")
            self.transport.close()
        elif verb in ("MAIL", "RSET", "NOOP"):
            self.rcpts = []
            self.say("250 ok")
        else:
            self.say("500 5.5.1 what")

    def dot(self):
        self.in_body = False
        self.messages += 1
        late = [r for r in self.rcpts if r.startswith("late")
                and self.server.records[r].events["begun"] == 1]
        if all(r.startswith("bad") for r in self.rcpts):
            answer = "554 5.7.1 not that"
        elif late:
            answer = "451 4.3.0 later"
        else:
            answer = "250 2.0.0 taken"
        self.note("taken" if answer[0] == "2" else "denied")
        slow = any(r.startswith("slow") for r in self.rcpts)
        self.rcpts = []
        if slow:
            self.waiting = True
            asyncio.get_running_loop().call_later(self.server.rng.uniform(0, 0.03),
                                                  self.answer, answer)
        else:
            self.answer(answer)

    def answer(self, text):
        self.waiting = False
        if self.transport.is_closing():
            return
        self.say(text)
        if self.site == 1 and self.messages == 7:
            self.transport.close()  # some do
            return
        self.go_on()


class Receiver:
    """Listens on 127.0.0.1, .2, … at one port; a site an address."""

    def __init__(self, sites, seed):
        self.rng, self.open = random.Random(seed), 0
        self.records = collections.defaultdict(Record)
        self.loop = asyncio.new_event_loop()
        self.port = self.loop.run_until_complete(self.listen(sites))
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def listen(self, sites):
        port = 0
        for site in range(sites):
            server = await self.loop.create_server(
                lambda site=site: Connection(self, site), f"127.0.0.{site + 1}", port,
                backlog=512)
            port = server.sockets[0].getsockname()[1]
        return port
