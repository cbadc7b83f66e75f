#!/bin/sh
# BDAT beside DATA, one after another, five times: near, with one loop and one worker, and then
# round trips 50 ms away, where the receiver allows pipelining and where it does not.
. "$(dirname "$0")/lib.sh"
messages=${MESSAGES-100000}
rounds=${ROUNDS-5}
few=500
make_list "$messages" 1
make_list $few 1
make_message
start_dns
# turns ROWS WORKERS...
turns() {
    rows=$1
    shift
    round=0
    while [ $round -lt "$rounds" ]; do
        for workers; do
            ours "$workers" "$rows" auto
            ours "$workers" "$rows" off
        done
        round=$((round + 1))
    done
}
start_sink accept
for workers in 0 1; do
    settings $workers 20 auto
    settings $workers 20 off
done
turns "$messages" 0 1
echo "### BDAT and DATA: $messages messages of 10 kB, 20 connections"
echo
python3 "$bench/table.py" "$work/runs"
rm "$work/runs"
start_sink distant
rounds=1
settings 0 5 auto
settings 0 5 off
turns $few 0
for way in auto off; do
    settings 1 5 $way
    sed -i 's/policy {/policy { pipelining = off /' "$work/1-$way.conf"
    python3 "$bench/measure.py" "$work/runs" "pipelining = off, chunking = $way" "$few" "$sink" \
        "$hikyaku" send --config "$work/1-$way.conf" --list "$work/list-$few.tsv" \
        --message "$work/message.eml" --job bench --quiet
    rm -rf "$work/state/hikyaku/bench"
done
echo
echo "### Round trips: $few messages, 5 connections, 50 ms away"
echo
python3 "$bench/table.py" "$work/runs" --trips 0.05 5
