#!/bin/sh
# ./dev bench [blast|chunking|tls|distant|start|lending]...: figures of this machine at this hour, on loopback,
# as tables for docs/performance.md. All of it takes some seven minutes.
# ROUNDS (3), MESSAGES, ROWS in the environment make it shorter or longer.
set -eu
cd "$(dirname "$0")/.."
hikyaku=${HIKYAKU-build/hikyaku}
[ $# -gt 0 ] || set -- blast chunking tls distant start lending
echo "$(uname -srm), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)," \
    "$(nproc) processors, $(date -u +%Y-%m-%dT%H:%MZ), load $(cut -d ' ' -f 1-3 /proc/loadavg)"
"$hikyaku" --version
for part; do
    echo
    sh "bench/$part.sh" "$hikyaku"
done
echo
echo "load at the end $(cut -d ' ' -f 1-3 /proc/loadavg)"
