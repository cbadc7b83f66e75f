"""Was any limit exceeded? limits_check.py RECORD LAG LIMITS…

A limit: ADDRESSES:connections:connection rate:message rate:messages a connection, where
ADDRESSES is "first-last", numbers of the last byte; with "own" behind it each address is a
provider by itself. An address may be in several: all hold for it. 0: no limit. LAG: seconds by which the record may be late.
"""
import sys
from collections import defaultdict

record, lag = sys.argv[1], float(sys.argv[2])
providers_of, limits = defaultdict(list), {}
for text in sys.argv[3:]:
    addresses, *numbers = text.split(":")
    own = addresses.endswith("own")
    first, last = map(int, addresses.removesuffix("own").split("-"))
    for n in range(first, last + 1):
        provider = f"{n}" if own else addresses
        providers_of[n].append(provider)
        limits[provider] = [float(x) for x in numbers]

open_now, messages = defaultdict(int), defaultdict(int)
most_open = defaultdict(int)
times = {"connect": defaultdict(list), "mail": defaultdict(list)}
names, wrong = defaultdict(set), []
for line in open(record):
    at, here, there, what, number, more = line.rstrip("\n").split("\t")
    if what == "moved":
        wrong.append(f"{more} came again from another source")
        continue
    if what == "mail":
        messages[number] += 1
        names[there].add(more)
    for provider in providers_of[int(here.rsplit(".", 1)[1])]:
        key = provider, there
        if what == "close":
            open_now[key] -= 1
            continue
        times[what][key].append(float(at))
        if what == "connect":
            open_now[key] += 1
            most_open[key] = max(most_open[key], open_now[key])
        elif limits[provider][3] and messages[number] > limits[provider][3]:
            wrong.append(f"{key}: {messages[number]} messages on a connection")


def check_rate(key, what, rate):
    """No stretch holds more than rate × T + one second's worth."""
    at = times[what][key]
    burst = max(rate, 1)
    # The fullest stretch that ends at each moment, as a bucket that leaks by the rate.
    level, before = 0.0, None
    for t in at:
        if before is not None:
            level = max(0.0, level - rate * (t - before))
        before = t
        level += 1
        if level > burst + rate * lag + 1e-6:
            wrong.append(f"{key}: {what} {level:.2f} > {burst} at {rate}/s")
            return


for key in times["connect"]:
    connections, connection_rate, message_rate, _ = limits[key[0]]
    if connections and most_open[key] > connections:
        wrong.append(f"{key}: {most_open[key]} connections at once")
    if connection_rate:
        check_rate(key, "connect", connection_rate)
    if message_rate:
        check_rate(key, "mail", message_rate)

for there, said in sorted(names.items()):
    if len(said) != 1:
        wrong.append(f"{there} said {said}")
busy = sum(most_open[k] == limits[k[0]][0] for k in most_open)
print(f"{sum(messages.values())} messages, {len(times['connect'])} paths, "
      f"{len(names)} sources, {busy} paths at their limit of connections")
if len(names) != 4 or busy == 0:
    wrong.append("the limits were never reached: this shows nothing")
for text in wrong[:20]:
    print(text)
sys.exit(bool(wrong))
