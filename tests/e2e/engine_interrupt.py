"""Rehearsals interrupted anywhere, the second ^C and many more included. What the receiver took
is what the results say: each recipient it accepted is delivered or in doubt, none delivered that
it did not take, none taken twice without the flag, and the sum line adds up.

engine_interrupt.py BINARY WORK"""
import collections
import os
import random
import signal
import subprocess
import sys
import time

binary, work = sys.argv[1:]
rng = random.Random(7)
ROWS, RUNS = 3000, 9

with open(work + "/list.tsv", "w") as f:
    f.write("email\n" + "".join(f"u{i}@d{i % 12}.example\n" for i in range(ROWS)))
with open(work + "/message.eml", "w") as f:
    f.write("From: a@sender.test.example\nSubject: x\n\nHello\n")


def interrupt(sender, run):
    """One signal, two at once, or one after another until the process is gone."""
    kind = run % 3
    sender.send_signal(signal.SIGINT)
    if kind == 1:
        sender.send_signal(signal.SIGTERM)
    while kind == 2 and sender.poll() is None:
        sender.send_signal(signal.SIGINT)
        time.sleep(0.002)


def received(path):
    with open(path) as f:
        return collections.Counter(
            field for line in f for field in line.split("\t")[:4] if "@d" in field)


for run in range(RUNS):
    conf, job = work + "/hikyaku.conf", f"run{run}"
    with open(conf, "w") as f:
        f.write('hostname = "me.example"\nspool = "%s/spool"\nworkers = %d\n'
                'policy { retry_interval = {"300ms"} lifetime = "5s" '
                'messages_per_connection = %d }\n' % (work, run % 3, (0, 3, 20)[run // 3]))
    sender = subprocess.Popen(
        [binary, "rehearse", "--config", conf, "--list", work + "/list.tsv", "--message",
         work + "/message.eml", "--job", job, "--quiet"], stdout=subprocess.PIPE)
    record = f"{work}/spool/{job}/received.tsv"
    while sender.poll() is None and not (os.path.exists(record) and os.path.getsize(record)):
        time.sleep(0.01)
    try:
        sender.wait(rng.uniform(0, 1.5))
    except subprocess.TimeoutExpired:
        interrupt(sender, run)
    out = sender.communicate(timeout=60)[0].decode().strip()
    text = subprocess.run([binary, "results", "--config", conf, job], check=True,
                          stdout=subprocess.PIPE).stdout.decode().splitlines()
    names = text[0].split("\t")
    rows = [dict(zip(names, line.split("\t"))) for line in text[1:]]
    count = collections.Counter(row["outcome"] for row in rows)
    doubt = {row["email"] for row in rows if "in-doubt" in row["flags"]}
    sound = {row["email"] for row in rows if row["outcome"] == "delivered"}
    took = received(record)
    want = (f"rows {ROWS} = delivered {count['delivered']} + error {count['error']} + absent "
            f"{count['absent']} + pending {count['pending']} (in-doubt {len(doubt)}, assumed 0)")
    assert sender.returncode == (3 if count["pending"] else 0), (run, sender.returncode)
    assert out == want, (run, out, want)
    assert not sound - set(took), (run, "delivered, but never taken", sound - set(took))
    untold = {e for e, n in took.items() if (n > 1 or e not in sound) and e not in doubt}
    assert not untold, (run, "taken, and nobody says so", untold)
print(f"{RUNS} rehearsals, interrupted: the receiver's record and the results agree")
