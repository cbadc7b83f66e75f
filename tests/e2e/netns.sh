#!/bin/sh
# What only a network can do: segments that are lost for good, so that the peer stops
# acknowledging (66x, 68x), silent and unreachable hosts, no name server, no free port. Two
# network namespaces with a cable between them; nft drops on the far side. They vanish with
# the test.
. "$(dirname "$0")/lib.sh"
wants unbound python3
two_namespaces
# One segment is one packet, so that nft sees where each begins.
ip -n "$near" link set near gso_max_segs 1
ip -n "$near" addr add 10.99.255.1/16 dev near
ip -n "$far" addr add 10.99.255.2/16 dev far
ip -n "$far" route add local 10.99.0.0/17 dev lo
ip -n "$near" route add unreachable 10.98.0.0/16
ip -n "$near" route add prohibit 10.97.0.0/16

scenarios=$(cd "$here/../scenarios/netns" && pwd)
first=10.99.0.1
port=25
cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: A scenario
Content-Type: text/plain; charset=UTF-8

{{text}}
{{pad}}
M
limits="max_attempts = 1
    timeout { connect = '2s' greeting = '2s' helo = '2s' mail = '2s' rcpt = '2s' data = '2s'
              body = '2s' end = '2s' rset = '1s' quit = '1s' }"

# How large are the messages? A receiver near by tells.
python3 "$here/scenarios.py" prepare "$work" "$first" "$scenarios"/*.txt
sed 's/10\.9[789]\.[0-9]*\.[0-9]*/127.0.0.1/' "$work/zone.conf" >"$work/zone.near"
mv "$work/zone.conf" "$work/zone.far"
cp "$work/zone.near" "$work/zone.conf"
start_unbound
probe=$(free_port)
"$hikyaku" sink --listen 127.0.0.1:"$probe" --record "$work/record" >"$work/probe.out" 2>&1 &
pids="$pids $!"
until_true grep -qs '^listening at' "$work/probe.out" || die "nobody listens: $(cat "$work/probe.out")"
write_conf "$probe" "chunking = auto"
"$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" \
    --message "$work/message.eml" --job probe --quiet >"$work/sum"
python3 "$here/scenarios.py" pad "$work" "$work/record" "$first" "$scenarios"/*.txt

# The real run: name server and sender on the near side, the faults on the far one.
in_far nft add table inet lost
in_far nft add chain inet lost in '{ type filter hook input priority 0; }'
python3 "$here/scenarios.py" rules "$first" $port "$scenarios"/*.txt | in_far nft -f -
(
    set --
    while IFS= read -r arg; do set -- "$@" "$arg"; done <"$work/scenario.args"
    exec ip netns exec "$far" "$hikyaku" sink --listen "$first:$port" "$@" >"$work/sink.out" 2>&1
) &
pids="$pids $!"
until_true grep -qs '^listening at' "$work/sink.out" || die "nobody listens: $(cat "$work/sink.out")"
dns_port=53
sed "s/@[0-9]*\$/@$dns_port/" "$work/unbound.conf" | awk -v zone="$work/zone.far" '
    /local-(zone|data)/ { next }
    /remote-control:/ { while ((getline line < zone) > 0) print line }
    { print }' >"$work/unbound.near"
ip netns exec "$near" unbound -d -c "$work/unbound.near" 2>"$work/unbound.err" &
pids="$pids $!"
in_near python3 -c 'import socket, time
for i in range(200):
    try: socket.create_connection(("127.0.0.1", 53), 1).close(); break
    except OSError: time.sleep(0.05)'
write_conf $port "chunking = auto
    $limits"
# Not over a connection that stands idle (scenarios.sh).
sed -i "s/retry_interval = .*/retry_interval = {'2500ms'}/; s/lifetime = .*/lifetime = '1h'/" "$work/hikyaku.conf"
echo "storm { failures = 0  consecutive = 0 }" >>"$work/hikyaku.conf"
in_near "$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" \
    --message "$work/message.eml" --job netns --quiet >"$work/sum" 2>"$work/err" ||
    die "send ended with $?: $(cat "$work/err")"
bad=
python3 "$here/scenarios.py" compare "$work" "$XDG_STATE_HOME/hikyaku/netns/attempts.tsv" \
    "$first" "$scenarios"/*.txt || bad=yes
if grep '^complaint' "$work/sink.out"; then bad=yes; fi
[ -z "$bad" ] || die "see above"
