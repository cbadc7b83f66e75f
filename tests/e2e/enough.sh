#!/bin/sh
# A server that closes without a word after 20 messages: twice it surprises us, then each
# connection ends by itself before that. Nobody's attempt is lost on it.
. "$(dirname "$0")/lib.sh"
cat >"$work/zone.conf" <<'Z'
    local-zone: "one.example." static
    local-data: "one.example. 300 IN A 127.0.0.1"
Z
start_unbound
start_sink 127.0.0.1:0=closer
write_conf "$sink_port" 'connections = 1 connection_rate = "0"'
{ echo email; seq 1 230 | sed 's/.*/user&@one.example/'; } >"$work/list.tsv"
printf 'From: News <news@sender.test.example>\nSubject: x\n\nhi\n' >"$work/message.eml"
"$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" --message "$work/message.eml" \
    --job job --quiet --trace=smtp >"$work/sum" 2>"$work/trace" || die "$?: $(cat "$work/trace")"
same "sum" "rows 230 = delivered 230 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/sum")"
"$hikyaku" results -c "$work/hikyaku.conf" job >"$work/results.tsv"
same "attempts of each row" 1 \
    "$(cut -f "$(column "$work/results.tsv" attempts)" "$work/results.tsv" | tail -n +2 | sort -u)"
# Messages of each connection, in order: two of 20, ten of 19. The trace may also show an
# envelope that a close had left without an answer.
sed 's/^\[[0-9]*\] //' "$work/trace" | awk '
    /^S: 220/ { if (n) print n; n = 0 }
    /^S: 354/ { n++ }
    END { print n }' >"$work/counts"
same "messages a connection" "20 20 19 19 19 19 19 19 19 19 19 19" "$(tr '\n' ' ' <"$work/counts" | sed 's/ $//')"
stop_sink
echo "enough: counted, and one fewer from then on"
