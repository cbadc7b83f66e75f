#!/bin/sh
# ./dev demo: a newsletter of 10,000 rows over a dozen domains with mixed moods. The receiver
# and its DNS are our own, on loopback: nothing leaves this machine.
set -eu
cd "$(dirname "$0")/../.."
rows=${1-10000}
hikyaku=$PWD/build/hikyaku
spool=$(mktemp -d)
trap 'rm -rf "$spool"' EXIT
awk -v rows="$rows" 'BEGIN {
    n = split("accept distant picky full greylist tempfail filter closer limited narrow plain old", mood)
    srand(7)
    print "email\tname\tcity\tcode"
    for (i = 1; i <= rows; i++) {
        where = mood[1 + int(rand() * n)] ".example"
        if (i % 997 == 0) where = "nxdomain.example"
        if (i % 1999 == 0) where = "servfail.example"
        who = "reader" i
        if (i % 2503 == 0) who = "not an address"
        printf "%s@%s\tReader %d\tTokyo\tC-%05d\n", who, where, i, i
    }
}' >"$spool/list.tsv"
cat <<T
hikyaku demo: $rows recipients at 14 domains, each with a receiver of its own mood (one is far
away, one greylists, one refuses 3 %, one closes after 20 messages, …; docs/rehearsal.md).

T
status=0
HIKYAKU_CONFIG=tests/demo/hikyaku.conf XDG_STATE_HOME="$spool" \
    "$hikyaku" rehearse --list "$spool/list.tsv" --message examples/newsletter.eml --job demo ||
    status=$?
echo
echo "One result for every row (hikyaku results demo); the first twelve, then some that failed:"
results() { XDG_STATE_HOME="$spool" "$hikyaku" results demo "$@" | cut -f 1-7; }
results >"$spool/results.tsv"
head -13 "$spool/results.tsv"
echo ...
awk -F '\t' '$6 != "delivered" && !seen[$3]++' "$spool/results.tsv" | tail -n +2 | head -12
echo
echo "Results by code and outcome:"
awk -F '\t' 'NR > 1 { n[$3 " " $6]++ } END { for (k in n) printf "%8d  %s\n", n[k], k }' \
    "$spool/results.tsv" | sort -rn
exit $status
