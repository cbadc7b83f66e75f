#!/bin/sh
# Rehearsals interrupted anywhere, once, twice and on and on.
. "$(dirname "$0")/lib.sh"
wants python3
python3 "$here/engine_interrupt.py" "$hikyaku" "$work"
