#!/bin/sh
# Blasts under STARTTLS, connections kept. smtp-source does not speak TLS, so there is no
# rival here; compare with the same senders in the clear.
. "$(dirname "$0")/lib.sh"
messages=${MESSAGES-100000}
rounds=${ROUNDS-3}
make_list "$messages" 1
make_message
start_dns
start_sink tls
for workers in 0 2; do settings $workers 20; done
round=0
while [ $round -lt "$rounds" ]; do
    for workers in 0 2; do ours $workers "$messages"; done
    round=$((round + 1))
done
echo "### $messages messages of 10 kB under TLS, 20 connections"
echo
python3 "$bench/table.py" "$work/runs"
