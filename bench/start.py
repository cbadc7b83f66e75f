#!/usr/bin/env python3
"""Start a blast, watch its memory, stop it after some seconds.

start.py RECORD SECONDS COMMAND...

RECORD is the receiver's: its first line says when the first message was accepted. Prints
seconds until then, the most anonymous memory on the way and what it is afterwards
(smaps_rollup), and the largest resident size, in MB.
"""
import os
import signal
import subprocess
import sys
import time


def anonymous(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            for line in f:
                if line.startswith("Anonymous:"):
                    return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        pass
    return 0.0


record, seconds = sys.argv[1], float(sys.argv[2])
offset = os.path.getsize(record)
began_wall, began = time.time(), time.monotonic()
child = subprocess.Popen(sys.argv[3:], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
most = last = 0.0
while time.monotonic() - began < seconds:
    now = anonymous(child.pid)
    last = now or last
    most = max(most, now)
    time.sleep(0.01)
os.kill(child.pid, signal.SIGTERM)  # not send_signal: it may reap the child
_, status, usage = os.wait4(child.pid, 0)
if os.waitstatus_to_exitcode(status) not in (0, 3):
    sys.exit(f"exit status {os.waitstatus_to_exitcode(status)}")
with open(record) as f:
    f.seek(offset)
    first = int(f.readline().split("\t")[0]) / 1000
print(f"{first - began_wall:.2f}\t{most:.1f}\t{last:.1f}\t{usage.ru_maxrss / 1024:.1f}")
