#!/bin/sh
# Run each fuzz target of a build folder for some seconds, two at a time, with the seeds that
# belong to it.
set -eu
cd "$(dirname "$0")/../.."
folder=$1
seconds=$2
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

run_target() {
    target=$1
    name=${target##*/fuzz_}
    seeds=tests/fuzz/seeds/$name
    log=$results/$name.log
    mkdir "$results/$name"
    [ -d "$seeds" ] || seeds=
    if timeout $((seconds + 60)) "$target" -max_total_time="$seconds" -max_len=20000 -timeout=20 \
        -rss_limit_mb=2048 -artifact_prefix="$folder/crash-$name-" "$results/$name" $seeds \
        >"$log" 2>&1; then
        echo "fuzz $name: $(sed -n 's/^Done \([0-9]*\) runs.*/\1 runs/p' "$log"), nothing found"
    else
        tail -40 "$log"
        echo "fuzz $name: FAILED"
        touch "$results/failed"
    fi
}

waiting=
for target in "$folder"/tests/fuzz_*; do
    [ -x "$target" ] || continue
    run_target "$target" &
    if [ -n "$waiting" ]; then
        wait
        waiting=
    else
        waiting=yes
    fi
done
wait
[ ! -e "$results/failed" ]
