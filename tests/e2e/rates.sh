#!/bin/sh
# Rates and connections as the receiver sees them: two domains behind hosts of one mx section
# share its budget, over two workers; connections that are begun slowly; less than a message
# a second; and a run that ends while all wait.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
conf=$work/hikyaku.conf

cat >"$work/zone.conf" <<'Z'
    local-data: "one.example. 300 IN MX 10 mx1.provider.example."
    local-data: "two.example. 300 IN MX 10 mx2.provider.example."
    local-data: "mx1.provider.example. 300 IN A 127.0.8.1"
    local-data: "mx2.provider.example. 300 IN A 127.0.8.1"
    local-data: "begun.example. 300 IN A 127.0.8.2"
    local-data: "slow.example. 300 IN A 127.0.8.3"
    local-data: "free.example. 300 IN A 127.0.8.4"
Z
start_unbound
port=$(free_port)
# A connection over three to the provider's address is refused, and counted.
start_sink 127.0.8.1:"$port"=narrow 127.0.8.2:"$port" 127.0.8.3:"$port" 127.0.8.4:"$port"
write_conf "$port" "lifetime = 1h"
sed -i '/lifetime = "3s"/d' "$conf"
cat >>"$conf" <<'C'
mx '*.provider.example' { message_rate = "20/s"  connections = 3 }
domain "begun.example" { connection_rate = "120/min"  messages_per_connection = 1 }
domain "slow.example" { message_rate = "30/min" }
C

{
    echo email
    seq -f 'user%g@one.example' 1 60
    seq -f 'user%g@two.example' 1 40
    seq -f 'user%g@begun.example' 1 8
    seq -f 'user%g@slow.example' 1 3
    seq -f 'user%g@free.example' 1 300
} >"$work/list.tsv"
began=$(date +%s%3N)
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j rates --quiet \
    >"$work/sum" 2>"$work/err" || die "send: $?: $(cat "$work/err")"
same "what became of it" \
    "rows 411 = delivered 411 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/sum")"

# A delay on the way makes a message late, never early: since the start not one too many may
# have come. Two may come closer to each other by it, so any stretch has half a second more.
python3 - "$work/record.tsv" "$began" <<'P' || die "a limit was exceeded"
import sys

SLACK_MS = 500
limits = {  # messages an hour, and how many may come at once
    ("one.example", "two.example"): (72000, 20),
    ("begun.example",): (7200, 2),
    ("slow.example",): (1800, 1),
}
began = int(sys.argv[2])
lines = [line.split("\t") for line in open(sys.argv[1], encoding="utf-8")]
ends = {}
for domains, (per_hour, burst) in limits.items():
    times = sorted(int(l[0]) for l in lines if l[1].rpartition("@")[2] in domains)
    ends[domains[0]] = times[-1]
    ms = 3600000 / per_hour
    for i, time in enumerate(times):
        # 20 ms: two clocks were read
        least = began + (i + 1 - burst) * ms - 20
        assert time >= least, f"{domains}: message {i + 1} came {least - time} ms too soon"
        for j in range(i):
            n, span = i - j + 1, time - times[j] + SLACK_MS
            assert n <= burst + span / ms, f"{domains}: {n} messages within {span} ms"
# The others do not wait for them.
free = max(int(l[0]) for l in lines if l[1].endswith("@free.example"))
assert free < min(ends.values()), (free, ends)
P

# Nobody waits for a rate when the run is to end.
cat >>"$conf" <<'C'
domain "free.example" { message_rate = "1/h" }
C
{ echo email; seq -f 'late%g@free.example' 1 3; } >"$work/late.tsv"
"$hikyaku" send -c "$conf" -l "$work/late.tsv" -m "$work/message.eml" -j late --quiet \
    >"$work/sum" 2>"$work/err" &
pid=$!
until_true grep -qs 'late[0-9]@free' "$work/record.tsv" || die "nothing was sent"
kill -INT "$pid"
status=0
wait "$pid" || status=$?
same "exit status of the interrupted run" 3 "$status"
same "what it left" \
    "rows 3 = delivered 1 + error 0 + absent 0 + pending 2 (in-doubt 0, assumed 0)" \
    "$(cat "$work/sum")"

stop_sink
grep -q '^connections [0-9]* (refused 0)' "$work/sink.out" || die "too many: $(cat "$work/sink.out")"
