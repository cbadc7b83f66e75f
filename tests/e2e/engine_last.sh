#!/bin/sh
# Hosts that hang up behind their 250 just when the job ends: word for a connection that is
# gone may still be waiting for the disk then.
. "$(dirname "$0")/lib.sh"
wants python3
timeout 100 python3 "$here/engine_last.py" "$hikyaku" "$work"
