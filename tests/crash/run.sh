#!/bin/sh
# Kills, failing calls, lost power, damage: run.py with real DNS and a receiver that remembers.
#   run.sh BINARY LIBINJECT [short|long|PART…]; SEED=N for the same again.
. "$(dirname "$0")/../e2e/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
inject=$(readlink -f "$2")
shift 2
wants python3
{
    for i in 1 2 3 4; do
        echo "    local-zone: \"d$i.example.\" static"
        echo "    local-data: \"d$i.example. 300 IN MX 10 mx.d$i.example.\""
        echo "    local-data: \"mx.d$i.example. 300 IN A 127.0.0.$i\""
    done
} >"$work/zone.conf"
start_unbound
python3 "$here/run.py" "$hikyaku" "$inject" "$work" "$dns_port" "$@"
