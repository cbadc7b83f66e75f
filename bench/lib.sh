# What the benchmarks share: the servers and words of the end-to-end tests, a personalised
# message of 10 kB, a list, and a receiver on loopback. Source it; $1 is the binary.
bench=$(cd "$(dirname "$0")" && pwd)
. "$bench/../tests/e2e/lib.sh"
# The sbin folders hold Postfix's and unbound's programs.
PATH=$PATH:/usr/sbin:/sbin
wants python3 unbound smtp-source
address=127.0.0.2 # the receiver's

# make_list ROWS DOMAINS: $work/list-ROWS.tsv; domain 0 is bench0.example.
make_list() {
    awk -v rows="$1" -v domains="$2" 'BEGIN {
        print "email\tname\tcity\tcode"
        for (i = 1; i <= rows; i++)
            printf "reader%d@bench%d.example\tReader Number %d\tKyoto\tC-%07d\n", \
                i, i % domains, i, i
    }' >"$work/list-$1.tsv"
}

# make_message: about 10,240 bytes as sent, four fields, plain ASCII.
make_message() {
    {
        cat <<'M'
From: Bench <bench@sender.test.example>
To: {{name}} <{{email}}>
Subject: News for {{name}} in {{city}}
Content-Type: text/plain; charset=US-ASCII

Dear {{name}},

M
        awk 'BEGIN { for (i = 1; i <= 133; i++)
            printf "%03d The couriers ran from station to station, and the mail went on and on.\n", i }'
        printf '\nYour code is {{code}}.\n'
    } >"$work/message.eml"
}

# start_dns: MX answers for bench0 … bench11.example.
start_dns() {
    for i in 0 1 2 3 4 5 6 7 8 9 10 11; do
        cat <<Z
    local-zone: "bench$i.example." static
    local-data: "bench$i.example. 3600 IN MX 10 mx.bench$i.example."
    local-data: "mx.bench$i.example. 3600 IN A $address"
Z
    done >"$work/zone.conf"
    start_unbound
}

# start_sink MOOD [options]: sets $sink and $port.
start_sink() {
    mood=$1
    shift
    : >"$work/sink.out"
    "$hikyaku" sink --listen "$address:0=$mood" "$@" >"$work/sink.out" &
    sink=$!
    pids="$pids $sink"
    port=
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$(sed -n 's/.* port \([0-9]*\),.*/\1/p' "$work/sink.out")
        [ -z "$port" ] || break
        sleep 0.2
    done
    [ -n "$port" ] || die "the receiver does not listen"
}

# settings WORKERS CONNECTIONS [CHUNKING]: $work/WORKERS.conf, or $work/WORKERS-CHUNKING.conf
settings() {
    cat >"$work/$1${3:+-$3}.conf" <<C
hostname = "sender.test.example"
workers = $1
resolver { servers = {"127.0.0.1:$dns_port"} }
deny_destinations = {}
policy { port = $port  connections = $2  connection_rate = "0"  messages_per_connection = 0
         chunking = ${3:-off} }
C
}

# ours WORKERS ROWS [CHUNKING]: one blast, measured; the job is removed.
ours() {
    python3 "$bench/measure.py" "$work/runs" "hikyaku, workers = $1${3:+, chunking = $3}" \
        "$2" "$sink" \
        "$hikyaku" send --config "$work/$1${3:+-$3}.conf" --list "$work/list-$2.tsv" \
        --message "$work/message.eml" --job bench --quiet
    [ -n "${KEEP_JOB-}" ] || rm -rf "$work/state/hikyaku/bench"
}

# theirs MESSAGES CONNECTIONS: Postfix's generator, kept connections, no queue, no log.
theirs() {
    python3 "$bench/measure.py" "$work/runs" "Postfix smtp-source -d" "$1" "$sink" \
        smtp-source -d -l 10240 -s "$2" -m "$1" -f bench@sender.test.example \
        -t reader@bench0.example "$address:$port"
}
