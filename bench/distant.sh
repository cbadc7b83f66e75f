#!/bin/sh
# The same with a receiver that answers everything 50 ms later. A new site is opened
# carefully (one connection more a round of good news), so the whole blast is slower than
# its best second, which is shown as well; few connections show the round trips.
. "$(dirname "$0")/lib.sh"
messages=${MESSAGES-20000}
rounds=${ROUNDS-3}
few=500
make_list "$messages" 1
make_list $few 1
make_message
start_dns
start_sink distant
settings 2 200
round=0
while [ $round -lt "$rounds" ]; do
    KEEP_JOB=1 ours 2 "$messages"
    awk -F '\t' '$8 == "delivered" { n[substr($1, 1, 19)]++ }
        END { for (s in n) if (n[s] > best) best = n[s]; print best }' \
        "$work/state/hikyaku/bench/attempts.tsv" >>"$work/best"
    rm -rf "$work/state/hikyaku/bench"
    theirs "$messages" 200
    round=$((round + 1))
done
echo "### 50 ms away: $messages messages of 10 kB, 200 connections"
echo
python3 "$bench/table.py" "$work/runs"
echo
echo "Most messages delivered by hikyaku within one second:" \
    "$(sort -n "$work/best" | sed -n "$(((rounds + 1) / 2))p")"
rm "$work/runs"
settings 2 5
ours 2 $few
theirs $few 5
echo
echo "### Round trips: $few messages, 5 connections, 50 ms away"
echo
python3 "$bench/table.py" "$work/runs" --trips 0.05 5
