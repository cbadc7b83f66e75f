"""Receivers that keep their own record: limits.py PORT RECORD FIRST-ADDRESS HOW-MANY

One line an event: seconds, provider, source, what ("connect", "mail", "close"), connection.
The provider is told by the address that was connected to: limits.sh knows which. Every
third recipient is greylisted once, and must come again from the same source. Prints
"ready", and at the end of its input how far the record may lag behind the wire.
"""
import asyncio
import sys
import time

port, record_path, first, many = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
record = open(record_path, "w")
grey = {}
connections = 0


def note(what, here, there, number, more=""):
    print(f"{time.monotonic():.6f}\t{here}\t{there}\t{what}\t{number}\t{more}", file=record)


async def serve(reader, writer):
    global connections
    connections += 1
    number = connections
    here = writer.get_extra_info("sockname")[0]
    there = writer.get_extra_info("peername")[0]
    note("connect", here, there, number)

    def say(text):
        writer.write(text.encode() + b"\r\n")

    try:
        say("220 hi")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                say("250-hi\r\n250 PIPELINING")
                name = line[5:].strip().decode()
            elif verb == b"MAIL":
                note("mail", here, there, number, name)
                say("250 ok")
            elif verb == b"RCPT":
                address = line.split(b":", 1)[1].strip()
                came = grey.setdefault(address, there)
                if came != there:
                    note("moved", here, there, number, address.decode())
                if len(grey) % 3 == 0 and (address, "seen") not in grey:
                    grey[address, "seen"] = there
                    say("451 4.7.1 greylisted")
                else:
                    say("250 ok")
            elif verb == b"DATA":
                say("354 go")
                while (await reader.readline()) not in (b".\r\n", b""):
                    pass
                say("250 taken")
            elif verb == b"RSET":
                say("250 ok")
            elif verb == b"QUIT":
                say("221 bye")
                break
            else:
                say("503 no")
            await writer.drain()
    except OSError:
        pass
    note("close", here, there, number)
    writer.close()


async def main():
    stem, last = first.rsplit(".", 1)
    for n in range(many):
        await asyncio.start_server(serve, f"{stem}.{int(last) + n}", port, backlog=500)
    print("ready", flush=True)
    lag, before = 0.0, time.monotonic()
    loop = asyncio.get_running_loop()
    done = loop.run_in_executor(None, sys.stdin.read)
    while not done.done():
        await asyncio.sleep(0.01)
        now = time.monotonic()
        lag = max(lag, now - before - 0.01)
        before = now
    record.flush()
    print(f"{lag:.3f}", flush=True)


asyncio.run(main())
