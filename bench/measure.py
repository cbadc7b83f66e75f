#!/usr/bin/env python3
"""Run one sender and write what it cost as one line.

measure.py OUT NAME MESSAGES RECEIVER-PID COMMAND...

OUT gets a line: name, messages, seconds, the sender's CPU seconds (user and system), the
receiver's CPU seconds meanwhile; TAB-separated.
Only the sender's own processes are counted, by wait4. Ends with the sender's exit status.
"""
import os
import subprocess
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


out, name, messages, receiver = sys.argv[1:5]
before = cpu_of(receiver)
began = time.monotonic()
child = subprocess.Popen(sys.argv[5:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
took = time.monotonic() - began
status = os.waitstatus_to_exitcode(status)
if status == 0:
    with open(out, "a") as f:
        print(name, messages, f"{took:.3f}", f"{usage.ru_utime + usage.ru_stime:.3f}",
              f"{cpu_of(receiver) - before:.2f}", sep="\t", file=f)
else:
    print(f"{' '.join(sys.argv[5:])}: exit status {status}", file=sys.stderr)
sys.exit(1 if status else 0)
