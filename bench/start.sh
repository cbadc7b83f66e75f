#!/bin/sh
# A list of a million rows over twelve domains: how long until the first message is taken,
# and what memory the rows cost. The blast is stopped after some seconds.
. "$(dirname "$0")/lib.sh"
rows=${ROWS-1000000}
rounds=${ROUNDS-3}
make_list "$rows" 12
make_list $((rows / 10)) 12
make_message
start_dns
: >"$work/record.tsv"
start_sink accept --record "$work/record.tsv"
settings 2 20

# The blast of a list of $1 rows, begun and stopped: a line of start.py.
begin() {
    python3 "$bench/start.py" "$work/record.tsv" "${EACH-4}" \
        "$hikyaku" send --config "$work/2.conf" --list "$work/list-$1.tsv" \
        --message "$work/message.eml" --job bench --quiet
    rm -rf "$work/state/hikyaku/bench"
}

round=0
while [ $round -lt "$rounds" ]; do
    begin $((rows / 10)) >>"$work/small"
    begin "$rows" >>"$work/large"
    round=$((round + 1))
done
echo "### A list of $rows rows," \
    "$(wc -c <"$work/list-$rows.tsv" | awk '{ printf "%.0f MB", $1 / 1e6 }')"
echo
python3 - "$work" "$rows" <<'P'
import statistics, sys
work, rows = sys.argv[1], int(sys.argv[2])
def column(name):
    lines = [[float(n) for n in l.split("\t")] for l in open(f"{work}/{name}")]
    return [statistics.median(c) for c in zip(*lines)]
small, large = column("small"), column("large")
print("| rows | first message after | anonymous memory, most | while sending | resident, most |")
print("|---:|---:|---:|---:|---:|")
for n, c in (rows // 10, small), (rows, large):
    print(f"| {n:,} | {c[0]:.2f} s | {c[1]:.1f} MB | {c[2]:.1f} MB | {c[3]:.1f} MB |")
print(f"\nAnonymous bytes for each further row: at most "
      f"{(large[1] - small[1]) * 2**20 / (rows * 0.9):.1f}, while sending "
      f"{(large[2] - small[2]) * 2**20 / (rows * 0.9):.1f}")
P
