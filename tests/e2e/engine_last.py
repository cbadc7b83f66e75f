"""The ends of jobs.

Hosts that hang up behind their 250, all within a few milliseconds, while one name that does not
exist keeps every connection open for more rows until shortly before: the job must end. SIGHUP as
soon as a job stands is no end. A first SIGTERM while a cancelled job ends waits for the dots that
have left.

engine_last.py BINARY WORK"""
import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

binary, work = sys.argv[1:]
HOSTS, RUNS = 12, 8
dots = itertools.count()
patience = 0.4  # of hosts, behind the dot
begun = threading.Event()  # a dot has come


def answer(server, query, peer):
    end = 12
    while query[end]:
        end += query[end] + 1
    kind, end = struct.unpack(">H", query[end + 1:end + 3])[0], end + 5
    late = query[13:17].lower() == b"late"
    if late:
        time.sleep(0.2)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1])
    records = 1 if kind == 1 and not late else 0
    server.sendto(query[:2] + struct.pack(">HHHHH", 0x8183 if late else 0x8180, 1, records, 0, 0)
                  + query[12:end] + record * records, peer)


def serve(connection):
    def say(text):
        connection.sendall(text + b"\r\n")

    lines = connection.makefile("rb")
    say(b"220 peer.example")
    while line := lines.readline():
        if line[:4].upper() != b"DATA":
            say(b"250 ok")
            continue
        say(b"354 go on")
        while lines.readline() != b".\r\n":
            pass
        begun.set()
        time.sleep(patience + 0.002 * (next(dots) % HOSTS))
        say(b"250 taken")
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        return


def host(connection):
    try:
        serve(connection)
    except OSError:  # the other side is gone
        pass


def names(server):
    while True:
        query, peer = server.recvfrom(4096)
        threading.Thread(target=answer, args=(server, query, peer), daemon=True).start()


def hosts(listener):
    while True:
        threading.Thread(target=host, args=(listener.accept()[0],), daemon=True).start()


dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
smtp = socket.socket()
for s in dns, smtp:
    s.bind(("127.0.0.1", 0))
smtp.listen(100)
threading.Thread(target=names, args=(dns,), daemon=True).start()
threading.Thread(target=hosts, args=(smtp,), daemon=True).start()
with open(work + "/hikyaku.conf", "w") as f:
    f.write(f'hostname = "me.example"\nspool = "{work}/spool"\nworkers = 1\ndeny_destinations = {{}}\n'
            f'resolver {{ servers = {{"127.0.0.1:{dns.getsockname()[1]}"}} }}\n'
            f'policy {{ port = {smtp.getsockname()[1]} }}\n')
with open(work + "/list.tsv", "w") as f:
    f.write("email\n" + "".join(f"a@h{i}.example\n" for i in range(HOSTS)) + "a@late.example\n")
with open(work + "/message.eml", "w") as f:
    f.write("From: a@sender.test.example\nSubject: x\n\nHello\n")


def send(job):
    return subprocess.Popen(
        [binary, "send", "--config", work + "/hikyaku.conf", "--list", work + "/list.tsv",
         "--message", work + "/message.eml", "--job", job, "--quiet"], stdout=subprocess.PIPE)


def expect(job, sender, status, words):
    out = sender.communicate(timeout=60)[0].decode()
    assert sender.returncode == status and words in out, (job, sender.returncode, out)


ALL = f"delivered {HOSTS} + error 0 + absent 1 + pending 0 (in-doubt 0"
for run in range(RUNS):
    expect(run, send(f"run{run}"), 0, ALL)

patience = 0
for run in range(5):
    sender = send(f"hangup{run}")
    while not os.path.exists(f"{work}/spool/hangup{run}") and sender.poll() is None:
        pass
    sender.send_signal(signal.SIGHUP)
    expect("hangup", sender, 0, ALL)

patience = 2
begun.clear()
sender = send("cancelled")
assert begun.wait(30)
subprocess.run([binary, "cancel", "--config", work + "/hikyaku.conf", "cancelled"], check=True)
sender.terminate()
expect("cancelled", sender, 4, "(in-doubt 0")
print(f"{RUNS} jobs whose last connections were closed from outside: each came to its end")
