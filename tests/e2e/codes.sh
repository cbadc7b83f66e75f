#!/bin/sh
# The codes that no dialogue makes: the list's, the name server's, our own machine's, and the
# ends of the road. Each `made` line is a fault and what the log says of it.
. "$(dirname "$0")/lib.sh"
wants unbound python3
cat >"$work/zone.conf" <<'Z'
    local-zone: "gone.example." static
    local-zone: "refused.example." refuse
    local-zone: "null.example." static
    local-data: "null.example. 300 IN MX 0 ."
    local-zone: "nohost.example." static
    local-data: "nohost.example. 300 IN MX 10 mx.nohost.example."
    local-data: "nohost.example. 300 IN TXT none"
    local-zone: "nothing.example." static
    local-data: "nothing.example. 300 IN TXT none"
    local-zone: "loop.example." static
    local-data: "loop.example. 300 IN MX 10 mx.loop.example."
    local-data: "mx.loop.example. 300 IN A 127.0.0.1"
    local-zone: "one.example." static
    local-data: "one.example. 300 IN A 127.0.0.1"
    local-zone: "two.example." static
    local-data: "two.example. 300 IN A 127.0.0.1"
    local-zone: "three.example." static
    local-data: "three.example. 300 IN A 127.0.0.1"
    local-zone: "dead.example." static
    local-data: "dead.example. 300 IN A 127.0.2.1"
    do-not-query-localhost: no
forward-zone:
    name: "servfail.example."
    forward-addr: 127.0.0.1@1
Z
start_unbound
start_sink 127.0.0.1:0
tab=$(printf '\t')
cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: Hello

Hello
M
hikyaku_conf=$work/hikyaku.conf

# job NAME STATUS ADDRESS...: a job of these rows; its log is then $log.
job() {
    name=$1
    want=$2
    shift 2
    { echo email; printf '%s\n' "$@"; } >"$work/list.tsv"
    status=0
    $wrap "$hikyaku" send --config "$hikyaku_conf" --list "$work/list.tsv" \
        --message "$work/message.eml" --job "$name" --quiet >"$work/sum" 2>"$work/err" || status=$?
    log=$XDG_STATE_HOME/hikyaku/$name/attempts.tsv
    [ "$status" -eq "$want" ] || die "$name: exit status $status: $(cat "$work/err" "$log")"
}
wrap=

# made CODE STAGE OUTCOME ROW: such a line stands in the log of that row (0: an event).
made() {
    awk -F '\t' -v code="$1" -v stage="$2" -v outcome="$3" -v row="$4" '
        $5 == code && $7 == stage && $8 == outcome && $2 == row { found = 1 }
        END { exit !found }' "$log" ||
        die "no line \"$1 $2 $3\" of row $4 in the log: $(cat "$log")"
}

write_conf "$sink_port" "max_attempts = 2"
sed -i "s/retry_interval = .*/retry_interval = {'2500ms'}/; s/lifetime = .*/lifetime = '1h'/" "$hikyaku_conf"
job names 0 a@gone.example b@servfail.example c@refused.example d@null.example e@nohost.example \
    f@nothing.example g@dead.example "h h@one.example" '' "j@one.example${tab}x" k@one.example k@one.example
made 700 dns absent 1
made 710 dns retry 2
made 711 dns retry 3
made 720 dns absent 4
made 720 dns absent 5
made 720 dns absent 6
made 601 connect retry 7
made 607 retry-limit error 7
made 611 addr absent 8
made 800 addr absent 9
made 800 addr absent 10
made 250 wait-end delivered 11
made 801 classify absent 12

sed -i "s/max_attempts = .*//; s/lifetime = .*/lifetime = '300ms'/" "$hikyaku_conf"
job lifetime 0 a@dead.example b@servfail.example
made 606 deadline error 1
made 606 deadline error 2

sed '/^deny_destinations/d' "$hikyaku_conf" >"$work/deny.conf"
hikyaku_conf=$work/deny.conf
job denied 0 a@loop.example
made 730 dns absent 1

# A storm: everybody refuses us, at three sites.
refuser=$(free_port)
"$hikyaku" sink --listen "127.0.0.1:$refuser=refuse" >"$work/refuse.out" &
pids="$pids $!"
until_true grep -qs '^listening' "$work/refuse.out" || die "the refuser does not listen"
hikyaku_conf=$work/storm.conf
{ sed "s/port = .*/port = $refuser/" "$work/hikyaku.conf"; echo "storm { consecutive = 6 }"; } >"$hikyaku_conf"
sed -i "s/lifetime = .*/lifetime = '1h'/" "$hikyaku_conf"
job storm 4 a@one.example b@two.example c@three.example
made -11 run event 0

# Memory ends: one sentence. (A sanitizer needs all the address space there is.)
if ! ldd "$hikyaku" | grep -q 'lib[at]san'; then
    { cat "$work/message.eml"; head -c 40000000 /dev/zero | tr '\0' x; } >"$work/large.eml"
    (ulimit -v 80000 && exec "$hikyaku" check --config "$work/hikyaku.conf" --list "$work/list.tsv" \
        --message "$work/large.eml") 2>&1 | grep -q '^hikyaku: -3 LE ' || die "memory did not end"
    rm "$work/large.eml"
fi

# No name server answers anybody: the job waits, and burns no attempt (codes rule 12).
python3 - >"$work/mute.port" <<'P' &
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(60)
P
pids="$pids $!"
until_true test -s "$work/mute.port" || die "no mute name server"
hikyaku_conf=$work/mute.conf
sed "s/^resolver.*/resolver { servers = {'127.0.0.1:$(cat "$work/mute.port")'}  timeout = '200ms'  tries = 1 }/" \
    "$work/hikyaku.conf" >"$hikyaku_conf"
wrap="timeout -s INT 3"
job mute 124 a@one.example b@two.example
wrap=
[ -z "$(awk -F '\t' '$2 + 0 > 0' "$log")" ] || die "a row was touched: $(cat "$log")"
made 608 dns event 0

# No port is free for a second connection to the same address: our own trouble, no fault of
# the row.
[ "$(id -u)" -eq 0 ] && unshare -n true 2>/dev/null || { echo "609: skipped, needs root"; exit 0; }
cat >"$work/no_port.sh" <<N
ip link set lo up
unbound -d -c "$work/unbound.conf" 2>"$work/unbound.err" &
unbound=\$!
"$hikyaku" sink --listen 127.0.0.1:25=distant >"$work/far.out" &
sink=\$!
tries=0
until grep -qs '^listening' "$work/far.out" || [ \$tries -gt 100 ]; do
    tries=\$((tries + 1))
    sleep 0.05
done
echo 40000 40000 >/proc/sys/net/ipv4/ip_local_port_range
status=0
"\$@" || status=\$?
kill \$unbound \$sink
wait
exit \$status
N
hikyaku_conf=$work/no_port.conf
sed "s/port = .*/port = 25/; s/lifetime = .*/lifetime = '10s'/" "$work/hikyaku.conf" >"$hikyaku_conf"
wrap="unshare -n sh $work/no_port.sh"
job port 0 a@one.example b@two.example
[ "$(awk -F '\t' '$5 == 250' "$log" | wc -l)" -eq 2 ] || die "both should come through: $(cat "$log")"
awk -F '\t' '$5 == 609 { found = 1 } END { exit !found }' "$log" || die "no 609: $(cat "$log")"
