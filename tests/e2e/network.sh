#!/bin/sh
# Our own network: a cable is cut in the middle of a job, the routes vanish, there are none from
# the start. The job says network-down and waits, no row uses up an attempt, and when it is back
# all is delivered. Two network namespaces with a cable between them.
. "$(dirname "$0")/lib.sh"
wants unbound python3
two_namespaces
ip -n "$near" addr add 10.99.255.1/24 dev near
ip -n "$far" addr add 10.99.255.2/24 dev far
ip -n "$far" route add local 10.98.0.0/24 dev lo
routes() { ip -n "$near" route "$1" 10.98.0.0/24 via 10.99.255.2; }
routes add
in_far nft add table inet cable
in_far nft add chain inet cable in '{ type filter hook input priority 0; }'

# Six sites, each two rows at a time, a fifth of a second for each reply.
sites="1 2 3 4 5 6"
for n in $sites 7; do
    echo "    local-zone: \"s$n.example.\" static"
    echo "    local-data: \"s$n.example. 300 IN A 10.98.0.$n\""
done >"$work/zone.conf"
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
{
    echo email
    for i in $(seq 1 120); do echo "user$i@s$((i % 6 + 1)).example"; done
} >"$work/list.tsv"
start_unbound
dns_port=53
sed "s/@[0-9]*\$/@$dns_port/" "$work/unbound.conf" >"$work/unbound.near"
ip netns exec "$near" unbound -d -c "$work/unbound.near" 2>"$work/unbound.err" &
pids="$pids $!"
in_near python3 -c 'import socket, time
for i in range(200):
    try: socket.create_connection(("127.0.0.1", 53), 1).close(); break
    except OSError: time.sleep(0.05)'
listens=
for n in $sites; do listens="$listens --listen 10.98.0.$n:25=distant"; done
ip netns exec "$far" "$hikyaku" sink $listens --record "$work/record" >"$work/sink.out" 2>&1 &
pids="$pids $!"
until_true grep -qs '^listening' "$work/sink.out" || die "nobody listens: $(cat "$work/sink.out")"

cat >"$work/hikyaku.conf" <<C
hostname = "sender.test.example"
workers = 2
resolver { servers = {"127.0.0.1:53"} }
deny_destinations = {}
network_silence = "3s"
policy {
    connections = 2
    messages_per_connection = 2
    retry_interval = {"1s"}
    lifetime = "1h"
    timeout { connect = "1s" greeting = "20s" helo = "20s" mail = "20s" rcpt = "20s" data = "20s"
              body = "20s" end = "60s" }
}
C
begin() { # JOB: in the background; sets $job, $log, $sender
    job=$1
    log="$XDG_STATE_HOME/hikyaku/$job/attempts.tsv"
    ip netns exec "$near" "$hikyaku" send -c "$work/hikyaku.conf" -l "$work/list.tsv" \
        -m "$work/message.eml" -j "$job" --quiet >"$work/$job.sum" 2>"$work/$job.err" &
    sender=$!
    pids="$pids $sender"
}
says() { # KEY: of status --json
    "$hikyaku" status "$XDG_STATE_HOME/hikyaku/$job" --json | python3 -c 'import json, sys
print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}
is_now() { [ "$(says state 2>/dev/null)" = "$1" ]; }
more_than() { [ "$(says delivered 2>/dev/null)" -gt "$1" ]; }
attempts() { awk -F '\t' '$2 > 0' "$log" | wc -l; }
down() { # WORDS SECONDS: it says network-down, and no attempt is used up
    until_true is_now network-down || die "$job: it says $(says state)"
    same "$job: the reason" "$1" "$(says reason)"
    before=$(attempts)
    sleep "$2" # one probe is made every five seconds
    same "$job: state" network-down "$(says state)"
    same "$job: attempts while it is down" "$before" "$(attempts)"
}
back() { # it goes on by itself, and every row is delivered
    status=0
    wait "$sender" || status=$?
    same "$job: exit status" 0 "$status"
    same "$job: standard error" "" "$(cat "$work/$job.err")"
    grep -q '= delivered 120 + error 0 + absent 0 + pending 0 ' "$work/$job.sum" || die "$job: $(cat "$work/$job.sum")"
    grep -q '	the network is back	' "$log" || die "$job: it is not back"
}
no_failure() { same "$job: attempts that failed" 0 "$(grep -c '	retry	' "$log" || true)"; }

# The cable swallows everything. Before that is sure, a few rows have failed to connect.
begin cable
until_true more_than 20 2>/dev/null || die "no mail goes out: $(cat "$work/cable.err")"
in_far nft add rule inet cable in iifname far drop
down "nothing connects any more, one probe at a time" 7
in_far nft flush chain inet cable in
back

# Our own routes are gone: that is sure at once, and costs nobody an attempt but the rows whose
# dot has left. What stood goes on when the route is back.
begin routes
until_true more_than 20 2>/dev/null || die "no mail goes out: $(cat "$work/routes.err")"
routes del
down "no route to any host, one probe at a time" 1
routes add
back
no_failure

# There is none from the start.
routes del
begin start
down "no route to any host, one probe at a time" 6
same "start: delivered" 0 "$(says delivered)"
routes add
back
no_failure
# A source that has routes of its own is asked about those: a host that refuses is to blame itself.
routes del
ip -n "$near" route add 10.98.0.0/24 via 10.99.255.2 table 99
ip -n "$near" rule add from 10.99.255.1 table 99
sed 's/^policy {/source "a" { address = "10.99.255.1" }\n&\n    pool = "a"\n    max_attempts = 1/' "$work/hikyaku.conf" >"$work/source.conf"
printf 'email\nnobody@s7.example\n' >"$work/one.tsv"
in_near timeout 20 "$hikyaku" send -c "$work/source.conf" -l "$work/one.tsv" -m "$work/message.eml" -j own \
    --quiet >"$work/own.sum" || die "own: exit status $?"
same "own" "rows 1 = delivered 0 + error 1 + absent 0 + pending 0 (in-doubt 0, assumed 0)" "$(cat "$work/own.sum")"
! grep network-down "$XDG_STATE_HOME/hikyaku/own/attempts.tsv" || die "own: its routes are not asked"
echo "network: cut, without routes, without any from the start: nobody paid"
