#!/bin/sh
# Run each fuzz target of a build folder for some seconds, with the seeds that belong to it.
set -eu
cd "$(dirname "$0")/../.."
folder=$1
seconds=$2
failed=0
for target in "$folder"/tests/fuzz_*; do
    [ -x "$target" ] || continue
    name=${target##*/fuzz_}
    seeds=tests/fuzz/seeds/$name
    found=$(mktemp -d)
    log=$(mktemp)
    [ -d "$seeds" ] || seeds=
    if timeout $((seconds + 60)) "$target" -max_total_time="$seconds" -max_len=20000 -timeout=20 \
        -rss_limit_mb=2048 -artifact_prefix="$folder/crash-$name-" "$found" $seeds >"$log" 2>&1; then
        echo "fuzz $name: $(sed -n 's/^Done \([0-9]*\) runs.*/\1 runs/p' "$log"), nothing found"
    else
        tail -40 "$log"
        echo "fuzz $name: FAILED"
        failed=1
    fi
    rm -rf "$found" "$log"
done
exit $failed
