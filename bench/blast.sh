#!/bin/sh
# One after another, three times: hikyaku on one loop, with one and with two workers, and
# Postfix's generator, all to the same receiver on loopback. 20 connections, one site.
. "$(dirname "$0")/lib.sh"
messages=${MESSAGES-100000}
rounds=${ROUNDS-3}
make_list "$messages" 1
make_message
start_dns
start_sink accept
for workers in 0 1 2; do settings $workers 20; done
round=0
while [ $round -lt "$rounds" ]; do
    for workers in 0 1 2; do ours $workers "$messages"; done
    theirs "$messages" 20
    round=$((round + 1))
done
echo "### $messages messages of 10 kB, 20 connections"
echo
python3 "$bench/table.py" "$work/runs"
