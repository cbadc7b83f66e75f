#!/bin/sh
# What a row costs the scheduler alone, over one domain and over 50,000.
cd "$(dirname "$0")/.."
folder=$(dirname "${1-build/hikyaku}")
cmake --build "$folder" --target bench_lending >/dev/null
rows=${ROWS-1000000}
echo "### The scheduler alone: $rows rows"
echo
"$folder/bench_lending" "$rows"
