#!/usr/bin/env python3
"""Print the lines of measure.py as a table: the median of each sender's runs.

table.py FILE [--trips SECONDS CONNECTIONS]

With --trips, one more column: round trips a message, from the time that the receiver lets
pass before each answer and the number of connections that were open all the time.
"""
import statistics
import sys

runs = {}
with open(sys.argv[1]) as f:
    for line in f:
        name, *numbers = line.rstrip("\n").split("\t")
        runs.setdefault(name, []).append([float(n) for n in numbers])
trips = [float(n) for n in sys.argv[3:5]] if sys.argv[2:3] == ["--trips"] else None

head = ["sender", "messages/s", "CPU a message", "receiver's", "runs"]
print("| " + " | ".join(head + (["round trips"] if trips else [])) + " |")
print("|---" + "|---:" * (len(head) - 1 + bool(trips)) + "|")
for name, lines in runs.items():
    rate = statistics.median(l[0] / l[1] for l in lines)
    own = statistics.median(l[2] / l[0] for l in lines) * 1e6
    theirs = statistics.median(l[3] / l[0] for l in lines) * 1e6
    cells = [name, f"{rate:,.0f}", f"{own:.1f} µs", f"{theirs:.1f} µs",
             str(len(lines))]
    if trips:
        cells.append(f"{trips[1] / (rate * trips[0]):.2f}")
    print("| " + " | ".join(cells) + " |")
