#!/bin/sh
# A job is asked and steered while it runs: status, pause, continue, cancel, reload; the error
# storm ends it; what was cancelled is sent only when somebody says so.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
{
    echo email
    seq -f 'user%g@distant.example' 1 8000
} >"$work/far.tsv"
cat >"$work/zone.conf" <<'Z'
    local-zone: "distant.example." static
    local-data: "distant.example. 300 IN A 127.0.0.1"
Z
for n in 1 2 3 4; do
    echo "    local-zone: \"no$n.example.\" static"
    echo "    local-data: \"no$n.example. 300 IN A 127.0.5.$n\""
done >>"$work/zone.conf"
start_unbound
conf=$work/hikyaku.conf

run() { # JOB COMMAND LIST …: in the background; sets $sender
    job=$1 command=$2 list=$3
    shift 3
    "$hikyaku" "$command" -c "$conf" -l "$list" -m "$work/message.eml" -j "$job" --quiet "$@" \
        >"$work/$job.sum" 2>"$work/$job.err" &
    sender=$!
    pids="$pids $sender"
}
ended() { # STATUS: of the sender
    status=0
    wait "$sender" || status=$?
    same "$job: exit status" "$1" "$status"
    same "$job: standard error" "" "$(cat "$work/$job.err")"
}
ask() { "$hikyaku" "$1" -c "$conf" "$job"; } # COMMAND
refused() { # COMMAND STATUS; by the job's path, for which no settings are needed
    status=0
    "$hikyaku" "$1" "$XDG_STATE_HOME/hikyaku/$job" >"$work/refused" 2>&1 || status=$?
    same "$job: $1" "$2" "$status"
}
says() { # KEY: of status --json; parsed by somebody else's parser
    "$hikyaku" status "$XDG_STATE_HOME/hikyaku/$job" --json | python3 -c 'import json, sys
print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}
is() { [ "$(says "$1")" = "$2" ]; }
more_than() { [ "$(says delivered)" -gt "$1" ]; }
counted() { # OUTCOME: rows of the results
    "$hikyaku" results -c "$conf" "$job" --only "$1" | tail -n +2 | wc -l
}
check() { # RECORD: every row has its one true result
    "$hikyaku" results -c "$conf" "$job" >"$work/$job.results"
    python3 "$here/check_job.py" "$XDG_STATE_HOME/hikyaku/$job" "$work/$job.results" \
        "$(cat "$work/$job.sum")" "$1" "${2-}" >/dev/null
}

# Live figures; pause stands, continue goes on; cancel ends.
start_sink 127.0.0.1:0=distant
write_conf "$sink_port" 'connections = 4'
run steered send "$work/far.tsv"
until_true more_than 50 2>/dev/null || die "no figures: $(cat "$work/steered.err")"
same "state" running "$(says state)"
same "rows" 8000 "$(says rows)"
same "socket" srw------- "$(ls -l "$XDG_STATE_HOME/hikyaku/steered/control" | cut -c 1-10)"
says sites | grep -q "'name': '.*distant.example'" || die "no site: $(says sites)"
"$hikyaku" status -c "$conf" | grep -q '^job steered: running$' || die "the newest job is another"
ask pause
same "state" paused "$(says state)"
quiet() { [ "$(says sites | grep -o "'connections': [0-9]*")" = "'connections': 0" ]; }
until_true quiet || die "connections stay: $(says sites)"
before=$(says delivered)
lines=$(wc -l <"$XDG_STATE_HOME/hikyaku/steered/attempts.tsv")
sleep 1
same "delivered while it is paused" "$before" "$(says delivered)"
same "lines of the log meanwhile" "$lines" "$(wc -l <"$XDG_STATE_HOME/hikyaku/steered/attempts.tsv")"
ask continue
same "state" running "$(says state)"
until_true more_than "$((before + 50))" || die "it does not go on: $(says sites)"
ask cancel
ended 4
same "state" cancelled "$(says state)"
same "why" cancelled "$(says reason)"
grep -q '+ pending 0 (in-doubt 0, assumed 0)$' "$work/steered.sum" || die "$(cat "$work/steered.sum")"
same "rows with -11" "$(says error)" \
    "$("$hikyaku" results -c "$conf" steered | awk -F '\t' '$3 == -11 { n++ } END { print n + 0 }')"
same "lines with -11" 1 "$(cut -f 5 "$XDG_STATE_HOME/hikyaku/steered/attempts.tsv" | grep -c '^-11$')"
same "attempts that failed" 0 "$(grep -c '	retry	' "$XDG_STATE_HOME/hikyaku/steered/attempts.tsv" || true)"
[ ! -e "$XDG_STATE_HOME/hikyaku/steered/control" ] || die "the socket is still there"
check "$work/record.tsv"
refused pause 69
refused cancel 69

# It stays cancelled, unless somebody says otherwise.
status=0
"$hikyaku" resume -q -c "$conf" steered >"$work/refused" 2>&1 || status=$?
same "resume of a cancelled job" 4 "$status"
stop_sink
start_sink 127.0.0.1:0
write_conf "$sink_port"
sed -i 's/^policy {/&\n    messages_per_connection = 0/' "$conf"
"$hikyaku" resume -q -c "$conf" steered --retry-cancelled >"$work/steered.sum"
same "sum" "rows 8000 = delivered 8000 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/steered.sum")"
same "state" finished "$(says state)"
check -
stop_sink

# Receivers at four sites that refuse us: after some replies of three of them the job is over,
# and nobody else is bothered.
cat >"$work/peer.py" <<'P'
import socket, sys, threading
port, log = int(sys.argv[1]), open(sys.argv[2], "w")
def serve(c):
    lines = c.makefile("rb")
    c.sendall(b"220 peer\r\n")
    for line in lines:
        verb = line[:4].upper()
        c.sendall({b"EHLO": b"250 peer\r\n", b"MAIL": b"550 5.7.1 we do not like you\r\n",
                   b"QUIT": b"221 bye\r\n"}.get(verb, b"503 no\r\n"))
        if verb == b"QUIT": break
    c.close()
def run(c):
    try: serve(c)
    except OSError: pass
def listen(n):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((f"127.0.5.{n}", port))
    s.listen(100)
    print("listening", file=log, flush=True)
    while True: threading.Thread(target=run, args=(s.accept()[0],), daemon=True).start()
for n in 1, 2, 3, 4: threading.Thread(target=listen, args=(n,), daemon=True).start()
threading.Event().wait()
P
port=$(free_port)
python3 "$work/peer.py" "$port" "$work/peer.log" &
peer=$!
pids="$pids $peer"
listening() { [ "$(grep -cs listening "$work/peer.log")" = 4 ]; }
until_true listening || die "the peers do not listen"
{
    echo email
    for i in $(seq 1 1000); do echo "user$i@no$((i % 4 + 1)).example"; done
} >"$work/no.tsv"
cancelled() { # the words of rows with -11
    "$hikyaku" results -c "$conf" "$job" | awk -F '\t' '$3 == -11 { print $5 }'
}
storm() { # JOB, the storm's settings, the words that are expected
    write_conf "$port"
    echo "storm { $2 }" >>"$conf"
    run "$1" send "$work/no.tsv"
    ended 4
    same "$1: state" storm "$(says state)"
    says reason | grep -qx "$3" || die "$1: $(says reason)"
    check -
    [ "$(cancelled | wc -l)" -gt 500 ] || die "$1: it stopped late: $(cat "$work/$1.sum")"
    cancelled | grep 'error storm' >/dev/null || die "$1: the rows do not say why"
}
storm row 'consecutive = 30' 'error storm: [0-9]* replies in a row, from [34] sites, refuse us or the address'
storm share 'window = 100 min = 40 failures = 90 consecutive = 0' \
    'error storm: [0-9]* of the last [0-9]* replies, from [34] sites, refuse us or the address'
# What people are told: why it ended, and what may be done.
status=0
"$hikyaku" send -c "$conf" -l "$work/no.tsv" -m "$work/message.eml" -j told \
    >"$work/told.sum" 2>"$work/told.err" || status=$?
same "told: exit status" 4 "$status"
grep -q '^error storm: [0-9]* of the last' "$work/told.err" || die "why? $(cat "$work/told.err")"
grep -qx 'what is left: hikyaku resume told --retry-cancelled' "$work/told.err" ||
    die "what now? $(cat "$work/told.err")"
"$hikyaku" send -c "$conf" -l "$work/no.tsv" -m "$work/message.eml" -j tomorrow \
    --start "$(date -d tomorrow +%FT%TZ)" >"$work/tomorrow.sum" 2>"$work/tomorrow.err" &
sender=$!
pids="$pids $sender"
until_true grep -qs '^0:00 .*scheduled, waits for its start until 2' "$work/tomorrow.err" ||
    die "until when? $(cat "$work/tomorrow.err")"
kill -INT "$sender"
wait "$sender" || status=$?
same "tomorrow: exit status" 3 "$status"
grep -qx 'what is left: hikyaku resume tomorrow' "$work/tomorrow.err" ||
    die "what now? $(cat "$work/tomorrow.err")"
# Switched off, it goes on to the end.
write_conf "$port"
echo 'storm { failures = 0 consecutive = 0 }' >>"$conf"
run off send "$work/no.tsv"
ended 0
same "switched off" finished "$(says state)"
# Two sites are not everywhere: each is left alone for a retry interval, and the log and
# status say why.
grep -v 'no[34]' "$work/no.tsv" >"$work/two.tsv"
write_conf "$port"
echo 'storm { min = 10 consecutive = 10 }' >>"$conf"
run two send "$work/two.tsv"
both() {
    [ "$(grep -sc 'left alone until .*it refuses us again and again' \
        "$XDG_STATE_HOME/hikyaku/$job/attempts.tsv")" = 2 ]
}
until_true both || die "nobody is left alone"
same "two sites" running "$(says state)"
calm() {
    [ "$(says sites | grep -o 'suspended until [^ ]* it refuses us again and again' | wc -l)" = 2 ]
}
until_true calm || die "status does not say why: $(says sites)"
kill -TERM "$sender"
ended 3
[ "$(sed -n 's/.*pending \([0-9]*\).*/\1/p' "$work/two.sum")" -gt 300 ] || die "$(cat "$work/two.sum")"
kill "$peer"
wait "$peer" 2>/dev/null || true

# Settings anew: more connections, at once; bad ones change nothing.
start_sink 127.0.0.1:0=distant
write_conf "$sink_port" 'connections = 2'
run fresh send "$work/far.tsv"
until_true more_than 20 2>/dev/null || die "no figures: $(cat "$work/fresh.err")"
write_conf "$sink_port" 'connections = 9'
ask reload
connections() { says sites | grep -o "'connections': [0-9]*" | grep -o '[0-9]*$'; }
nine() { [ "$(connections)" = 9 ]; }
until_true nine || die "it has $(connections) connections"
write_conf "$sink_port" 'connection = 3'
refused reload 78
grep -q -- '-6 LE .*hikyaku.conf:9: unknown keyword "connection"' "$work/refused" ||
    die "$(cat "$work/refused")"
nine || die "bad settings were taken"
write_conf "$sink_port" 'recipients_per_message = 5' # and each message is another
refused reload 78
grep -q 'recipients_per_message: .* is not the same for all recipients' "$work/refused" ||
    die "$(cat "$work/refused")"
write_conf "$sink_port" 'connections = 3'
again() { [ "$(grep -c '	settings were read anew	' "$XDG_STATE_HOME/hikyaku/$job/attempts.tsv")" = 2 ]; }
kill -HUP "$sender"
until_true again || die "SIGHUP is not heard"
same "state" running "$(says state)"
kill -TERM "$sender"
ended 3
same "state" stopped "$(says state)"
same "sum" "$(cat "$work/fresh.sum")" "$("$hikyaku" status -c "$conf" fresh | sed -n 2p)"
check "$work/record.tsv" pending
refused continue 69
stop_sink

# Scheduled, and its time: what is left then is 606.
soon() { date -u -d "+$1 seconds" +%Y-%m-%dT%H:%M:%SZ; }
start_sink 127.0.0.1:0=distant
write_conf "$sink_port" 'connections = 2'
run timed send "$work/far.tsv" --start "$(soon 3)" --until "$(soon 6)"
is_now() { [ "$(says state 2>/dev/null)" = "$1" ]; }
until_true is_now scheduled || die "it does not wait: $(cat "$work/timed.err")"
same "delivered before its start" 0 "$(says delivered)"
ended 0
grep -q '+ error [1-9][0-9]* + absent 0 + pending 0' "$work/timed.sum" || die "$(cat "$work/timed.sum")"
! grep -q '= delivered 0' "$work/timed.sum" || die "$(cat "$work/timed.sum")"
same "state" finished "$(says state)"
same "rows with 606" "$(says error)" \
    "$("$hikyaku" results -c "$conf" timed | awk -F '\t' '$3 == 606 { n++ } END { print n + 0 }')"
check "$work/record.tsv"
# Its time is over while it is stopped: resume has only to say so.
until=$(($(date +%s) + 5))
run late send "$work/far.tsv" --until "$(date -u -d "@$until" +%Y-%m-%dT%H:%M:%SZ)"
until_true more_than 10 2>/dev/null || die "no figures: $(cat "$work/late.err")"
kill -TERM "$sender"
ended 3
while [ "$(date +%s)" -le "$until" ]; do sleep 0.2; done
"$hikyaku" resume -q -c "$conf" late >"$work/late.sum"
grep -q '+ error [1-9][0-9]* + absent 0 + pending 0' "$work/late.sum" || die "$(cat "$work/late.sum")"
check -
stop_sink
for bad in '--start tomorrow' '--until 2020-01-01T00:00:00Z' '--until 25:00' \
    '--start 2020-01-01T00:00:00Z'; do
    status=0
    "$hikyaku" send -c "$conf" -l "$work/far.tsv" -m "$work/message.eml" -j never $bad \
        >"$work/refused" 2>&1 || status=$?
    same "$bad" 64 "$status"
done

# Quiet hours, which are taken away by reload.
start_sink 127.0.0.1:0
write_conf "$sink_port" "quiet_hours = \"$(date -d '-2 hours' +%H:%M)-$(date -d '+2 hours' +%H:%M)\""
head -1001 "$work/far.tsv" >"$work/few.tsv"
run quiet send "$work/few.tsv"
until_true is_now paused || die "it does not wait: $(cat "$work/quiet.err")"
same "why" "quiet hours" "$(says reason)"
same "delivered" 0 "$(says delivered)"
ask continue # is for `pause`
same "state" paused "$(says state)"
write_conf 25 # the port is not taken anew
sed -i 's/^workers = 2/workers = 3/' "$conf"
ask reload 2>"$work/said" || die "reload: $?"
kept="a running job does not take workers ($conf:2), policy.port ($conf:6)"
same "what is not taken" "hikyaku: reload: $kept" "$(cat "$work/said")"
ended 0
grep -qF "	settings were read anew; $kept	" "$XDG_STATE_HOME/hikyaku/quiet/attempts.tsv" ||
    die "the log does not say what is not taken"
same "sum" "rows 1000 = delivered 1000 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/quiet.sum")"
stop_sink
echo "control: asked, paused, cancelled, taken up again; storms end; settings anew"
