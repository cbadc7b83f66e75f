#!/bin/sh
# Servers that take their time, a process that is stopped for a while, a machine without
# descriptors: no row is tried for nothing, sent twice or left behind.
. "$(dirname "$0")/lib.sh"
wants python3 prlimit
: >"$work/zone.conf"
for i in $(seq 1 40); do
    echo "    local-zone: \"d$i.example.\" static" >>"$work/zone.conf"
    echo "    local-data: \"d$i.example. 300 IN A 127.0.3.$i\"" >>"$work/zone.conf"
done
start_unbound
printf 'From: a@sender.test.example\nSubject: x\n\nHello {{email}}\n' >"$work/message.eml"
limit=0 # of descriptors; 0: as it is

# peers MOOD …: one server for each mood, on 127.0.3.1 and on.
peers() {
    port=$(free_port)
    at=0
    words=
    for mood; do
        at=$((at + 1))
        words="$words 127.0.3.$at=$mood"
    done
    python3 "$here/engine_peer.py" "$port" "$work/taken" $words &
    peer=$!
    pids="$pids $peer"
    wait_for 127.0.3."$at" "$port"
    : >"$work/taken"
}
# list ROWS DOMAINS
list() {
    awk -v rows="$1" -v domains="$2" 'BEGIN { print "email"
        for (i = 1; i <= rows; i++) print "u" i "@d" i % domains + 1 ".example" }' >"$work/list.tsv"
}
# start JOB: sends in the background; $sender is its process.
start() {
    job=$1
    set -- "$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" \
        --message "$work/message.eml" --job "$job" --quiet
    [ "$limit" = 0 ] || set -- prlimit --nofile="$limit:$limit" "$@"
    "$@" >"$work/sum" 2>"$work/err" &
    sender=$!
    pids="$pids $sender"
}
# end STATUS: waits for it.
end() {
    status=0
    wait "$sender" || status=$?
    [ "$status" = "$1" ] || cat "$work/err"
    same "$job: exit status" "$1" "$status"
    kill "$peer"
    "$hikyaku" results --config "$work/hikyaku.conf" "$job" >"$work/results.tsv"
}
cell() { # values of a column, each once
    awk -F '\t' -v c="$(column "$work/results.tsv" "$1")" 'NR > 1 { print $c }' \
        "$work/results.tsv" | sort -u | tr '\n' ' '
}
until_log() { # until the peers have noted so many lines
    for _ in $(seq 1 200); do
        [ "$(wc -l <"$work/taken")" -lt "$1" ] || return 0
        sleep 0.05
    done
    die "$job: the peer has not noted $1 lines"
}

# Greetings later than the time after which a stalled connection gives its rows back.
peers greet:3
list 4 1
write_conf "$port"
start greeting
end 0
same "slow greeting" "rows 4 = delivered 4 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/sum")"
same "attempts" "1 " "$(cell attempts)"
same "connections without a message" 0 "$(grep -c '^quit 0' "$work/taken" || true)"

# SIGINT while greetings are waited for: nothing is in flight, so it ends, and no row was tried.
peers greet:60
write_conf "$port"
start interrupted
sleep 1
kill -INT "$sender"
begin=$(date +%s)
end 3
[ $(($(date +%s) - begin)) -lt 20 ] || die "a slow greeting holds up SIGINT"
same "nothing tried" "0 " "$(cell attempts | sed 's/^ *$/0 /')"

# Every message is larger than the server takes: told by SIZE, decided without a byte.
peers size:50
list 12 1
write_conf "$port"
start size
end 0
same "codes" "552 " "$(cell code)"
same "taken" 0 "$(grep -c '^taken' "$work/taken" || true)"

# Stopped (^Z, a machine asleep) for longer than any time limit: replies that came meanwhile
# are read before anybody says that they are late.
peers dot:1
list 4 1
write_conf "$port" 'timeout { body = "2s" end = "2s" }'
start stopped
until_log 1
sleep 0.3
kill -STOP "$sender"
sleep 4
kill -CONT "$sender"
end 0
same "each taken once" "" "$(grep '^taken' "$work/taken" | sort | uniq -d)"
same "nothing in doubt" "rows 4 = delivered 4 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/sum")"

# No descriptor is left: our trouble is no attempt of any row.
peers $(for i in $(seq 1 40); do echo "dot:0.2"; done)
list 120 40
write_conf "$port" 'max_attempts = 1'
limit=60
start descriptors
end 0
limit=0
same "all delivered" "rows 120 = delivered 120 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/sum")"
grep -q 'socket	event' "$work/state/hikyaku/descriptors/attempts.tsv" || die "609 is not in the log"
# Not even enough to begin: a sentence and a status, not a crash.
limit=16
start begin
status=0
wait "$sender" || status=$?
same "too few descriptors to begin" 74 "$status"
grep -q '^hikyaku: -20 LE ' "$work/err" || die "no sentence: $(cat "$work/err")"

echo "slow greetings, SIGINT, SIZE, ^Z and no descriptors: every row once"
