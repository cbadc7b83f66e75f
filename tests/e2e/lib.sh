# What the end-to-end tests share: a work folder, real servers on high ports of loopback that
# always end with the test, and words for failure. Source it; $1 of the test is the binary.
set -eu
hikyaku=$(readlink -f "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
chmod 755 "$work"
pids= boxes=
cleanup() {
    status=$?
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    # unshare holds softer signals back; all that is in its namespace ends with it.
    for pid in $boxes; do kill -KILL "$pid" 2>/dev/null || true; done
    [ -z "${postfix_config-}" ] || postfix -c "$postfix_config" stop >/dev/null 2>&1 || true
    wait 2>/dev/null || true
    if [ "$status" -ne 0 ] && [ -n "${KEEP-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
export XDG_STATE_HOME="$work/state" LC_ALL=C.UTF-8
unset HIKYAKU_CONFIG || true

die() { echo "FAILED: $*" >&2; exit 1; }
same() { [ "$2" = "$3" ] || die "$1: expected \"$2\", got \"$3\""; }
skip() { echo "skipped: $*"; [ -z "${CI-}" ] || die "CI must not skip"; exit 77; }
wants() { for tool; do command -v "$tool" >/dev/null || skip "$tool is missing"; done; }

# A port that nobody listens on: bound once by the kernel's choice.
free_port() {
    python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Wait until a TCP connection to address $1 port $2 stands.
wait_for() {
    python3 - "$1" "$2" <<'P' || die "nobody listens at $1 port $2"
import socket, sys, time
for i in range(300):
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
        sys.exit(0)
    except OSError:
        time.sleep(0.05)
sys.exit(1)
P
}

# start_unbound: answers for the zone data in $work/zone.conf (local-data lines); sets
# $dns_port.
start_unbound() {
    wants unbound
    dns_port=$(free_port)
    {
        cat <<U
server:
    directory: "$work"
    username: ""
    chroot: ""
    pidfile: "$work/unbound.pid"
    logfile: "$work/unbound.log"
    use-syslog: no
    do-daemonize: no
    interface: 127.0.0.1@$dns_port
    access-control: 127.0.0.0/8 allow
    module-config: "iterator"
    num-threads: 1
U
        cat "$work/zone.conf"
        echo 'remote-control:'
        echo '    control-enable: no'
    } >"$work/unbound.conf"
    unbound -d -c "$work/unbound.conf" 2>"$work/unbound.err" &
    pids="$pids $!"
    wait_for 127.0.0.1 "$dns_port"
}

# start_sink ADDR:PORT[=MOOD] …: the built-in receiver; sets $sink_port (of the first) and
# $sink_pid. It keeps messages in $work/mail and writes $work/record.tsv.
start_sink() {
    listens=
    for l; do listens="$listens --listen $l"; done
    mkdir -p "$work/mail"
    : >"$work/sink.out" # an earlier one's, before it is looked at
    "$hikyaku" sink $listens --record "$work/record.tsv" --keep "$work/mail" >"$work/sink.out" &
    sink_pid=$!
    pids="$pids $sink_pid"
    until_true grep -qs '^listening' "$work/sink.out" || die "the receiver does not listen"
    sink_port=$(sed -n '1s/.* port \([0-9]*\),.*/\1/p' "$work/sink.out")
}

# End it and look at what it counted: expect_sink WORD NUMBER …
stop_sink() {
    kill -TERM "$sink_pid"
    wait "$sink_pid" || die "the receiver ended with $?"
}
expect_sink() {
    while [ $# -gt 0 ]; do
        same "the receiver's $1" "$2" "$(sed -n "s/^connections.*  $1 \([0-9]*\).*/\1/p" "$work/sink.out")"
        shift 2
    done
}

# Try a command until it is true, for at most 30 seconds.
until_true() {
    tries=0
    while ! "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || return 1
        sleep 0.05
    done
}

# write_conf SMTP-PORT [more policy lines]: settings for the loopback.
write_conf() {
    cat >"$work/hikyaku.conf" <<C
hostname = "sender.test.example"
workers = 2
resolver { servers = {"127.0.0.1:$dns_port"} }
deny_destinations = {}
policy {
    port = $1
    retry_interval = {"500ms"}
    lifetime = "3s"
    ${2-}
}
C
}

column() { # number of a column of results.tsv, by name
    head -1 "$1" | tr '\t' '\n' | grep -nx "$2" | cut -d: -f1
}

# authority NAME: makes $work/NAME.pem and NAME.key, which sign certificates.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -keyout "$work/$1.key" -out "$work/$1.pem" 2>>"$work/openssl.log"
}
# certificate FILE HOST DAYS AUTHORITY: makes $work/FILE.pem and FILE.key for that host.
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
        -keyout "$work/$1.key" -out "$work/$1.csr" 2>>"$work/openssl.log"
    echo "subjectAltName = DNS:$2" >"$work/ext"
    openssl x509 -req -in "$work/$1.csr" -CA "$work/$4.pem" -CAkey "$work/$4.key" \
        -CAcreateserial -days "$3" -extfile "$work/ext" -out "$work/$1.pem" \
        2>>"$work/openssl.log" || die "no certificate: $(cat "$work/openssl.log")"
}

# two_namespaces: $near and $far with a cable between them, links "near" and "far", both up;
# in_near and in_far run a command there. They vanish with the test.
two_namespaces() {
    wants ip nft unshare
    [ "$(id -u)" -eq 0 ] || skip "network namespaces need root"
    near=hikyaku-near-$$
    far=hikyaku-far-$$
    trap leave_namespaces EXIT
    ip netns add "$near" 2>/dev/null || skip "no network namespaces here"
    ip netns add "$far"
    ip link add near netns "$near" type veth peer name far netns "$far"
    for ns in near far; do
        eval "space=\$$ns"
        ip -n "$space" link set lo up
        ip -n "$space" link set "$ns" up
    done
}
leave_namespaces() {
    status=$?
    ip netns del "$near" 2>/dev/null || true
    ip netns del "$far" 2>/dev/null || true
    set +e
    (exit "$status")
    cleanup
}
in_near() { ip netns exec "$near" "$@"; }
in_far() { ip netns exec "$far" "$@"; }
