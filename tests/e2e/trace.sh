#!/bin/sh
# A trace from the field becomes a server: what --trace=smtp wrote of a dialogue with the
# receiver is cut out and played as a scenario, and the sender comes to the same results. No
# word of a message is ever in a trace.
. "$(dirname "$0")/lib.sh"
wants unbound python3
cat >"$work/zone.conf" <<'Z'
    local-zone: "one.example." static
    local-data: "one.example. 300 IN A 127.0.0.1"
Z
start_unbound
start_sink 127.0.0.1:0=picky
{ echo email; seq 1 60 | sed 's/.*/user&@one.example/'; } >"$work/list.tsv"
cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: confidential

confidential words
M
send() {
    "$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" \
        --message "$work/message.eml" --quiet "$@" >"$work/sum.$job" 2>"$work/trace.$job" ||
        die "$job: $(cat "$work/trace.$job")"
}
results() { "$hikyaku" results --config "$work/hikyaku.conf" "$1" | cut -f1-6; }

# once_more CHUNKING LINE: LINE shows how the messages left.
once_more() {
    write_conf "$sink_port" "connections = 1
    chunking = $1"
    real=real-$1 job=real-$1
    send --job $real --trace=smtp
    grep -q "^\[[0-9]*\] $2" "$work/trace.$real" || die "$1: no dialogue in the trace"
    ! grep -v '^\[[0-9]*\] ' "$work/trace.$real" || die "a line without a connection"
    ! grep -i confidential "$work/trace.$real" || die "a message is in the trace"
    results $real | grep -q 550 || die "nobody is refused: the test shows little"
    same "connections" 1 "$(sed 's/ .*//' "$work/trace.$real" | sort -u | wc -l)"
    # The receiver's mood took this dialogue; a scenario takes it once more.
    sed 's/^\[[0-9]*\] //' "$work/trace.$real" >"$work/again-$1.txt"
    "$hikyaku" sink --scenario "$work/again-$1.txt" --listen 127.0.0.1:0 >"$work/again-$1.out" &
    pids="$pids $!"
    until_true grep -qs '^listening' "$work/again-$1.out" || die "the scenario is not played"
    again=$(sed -n 's/.* port \([0-9]*\),.*/\1/p' "$work/again-$1.out")
    sed -i "s/port = .*/port = $again/" "$work/hikyaku.conf"
    job=again-$1
    send --job $job
    if grep '^complaint' "$work/again-$1.out"; then die "the client did otherwise"; fi
    results $real >"$work/results.$real"
    results $job | diff "$work/results.$real" - || die "other results"
}
once_more auto 'C: BDAT [0-9]* LAST'
once_more off 'S: 354'
