#!/bin/sh
# Every scenario of tests/scenarios, all in one job: each domain's server does what its file
# says, and the attempts log must say what the file says. Whole, then with the servers' words
# cut into single bytes, then at random places, then under TLS: the same results each time.
. "$(dirname "$0")/lib.sh"
wants unbound python3
scenarios=$(cd "$here/../scenarios" && pwd)
first=127.0.1.1

# play_all JOB POLICY FILE...: name server, fault server, job, comparison.
play_all() {
    job=$1
    policy=$2
    shift 2
    python3 "$here/scenarios.py" prepare "$work" "$first" "$@"
    start_unbound
    unbound=${pids##* }
    port=$(free_port)
    rm -f "$work/sink.out"
    (
        set --
        while IFS= read -r arg; do set -- "$@" "$arg"; done <"$work/scenario.args"
        exec "$hikyaku" sink --listen "$first:$port" --cut $cut "$@" >"$work/sink.out" 2>&1
    ) &
    sink=$!
    pids="$pids $sink"
    until_true grep -qs '^listening at' "$work/sink.out" || die "nobody listens: $(cat "$work/sink.out")"
    write_conf "$port" "chunking = auto
    $policy"
    # A connection may stand idle for 2 s while other domains are looked up: a retry that came
    # sooner would find it, where the scenario wants another one.
    sed -i "s/retry_interval = .*/retry_interval = {'2500ms'}/; s/lifetime = .*/lifetime = '1h'/" \
        "$work/hikyaku.conf"
    # So many refusals are the point here, not a storm.
    echo "storm { failures = 0  consecutive = 0 }" >>"$work/hikyaku.conf"
    "$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" \
        --message "$work/message.eml" --job "$job" --quiet >"$work/sum" 2>"$work/err" ||
        die "$job: send ended with $?: $(cat "$work/err")"
    python3 "$here/scenarios.py" compare "$work" "$XDG_STATE_HOME/hikyaku/$job/attempts.tsv" \
        "$first" "$@" || bad="$bad $job"
    if grep '^complaint' "$work/sink.out"; then bad="$bad $job"; fi
    kill "$sink" "$unbound"
    wait "$sink" "$unbound" 2>/dev/null || true
}
limits="max_attempts = 2
    timeout { connect = '2s' greeting = '2s' helo = '2s' mail = '2s' rcpt = '2s' data = '2s'
              starttls = '2s' body = '2s' end = '2s' rset = '1s' quit = '1s' }"
cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: A scenario
Content-Type: text/plain; charset=UTF-8

{{text}}
M
bad=
cut=whole play_all whole "$limits" "$scenarios"/*.txt
cut=bytes play_all bytes "$limits" "$scenarios"/*.txt
cut=random play_all random "$limits pipelining = 'group'" \
    $(ls "$scenarios"/*.txt | grep -v /auto_) # those want the next envelope behind the dot
cut="whole --starttls" play_all secure "$limits" "$scenarios"/*.txt
secure=$(cut -f16 "$XDG_STATE_HOME/hikyaku/secure/attempts.tsv" | grep -c '^TLSv1')
[ "$secure" -gt 200 ] || die "only $secure attempts were under TLS"
cut=whole play_all encrypt "$limits tls = 'encrypt'" "$scenarios"/encrypt/*.txt
cut=whole play_all assume "$limits end_timeout = 'assume'" "$scenarios"/assume/*.txt
[ -z "$bad" ] || die "see above:$bad"
