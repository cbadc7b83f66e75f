#!/bin/sh
# Two jobs of one spool are one sender for a receiver: never more connections than the limit,
# nor more messages than the rate, whoever comes, stands still, ends or is killed; what a
# receiver said to one of them goes for all, also for those that begin or are resumed later.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
{
    echo email
    seq -f 'user%g@slow.example' 1 20000
} >"$work/list.tsv"
cat >"$work/zone.conf" <<'Z'
    local-zone: "slow.example." static
    local-data: "slow.example. 300 IN A 127.0.7.1"
    local-data: "strict.example. 300 IN A 127.0.7.2"
    local-data: "hourly.example. 300 IN A 127.0.7.3"
Z
start_unbound
port=$(free_port)
python3 "$here/engine_peer.py" "$port" "$work/peer.log" 127.0.7.1=dot:0.1,count:1 127.0.7.3=dot:0 &
peer=$!
pids="$pids $peer"
wait_for 127.0.7.1 "$port"
conf=$work/hikyaku.conf
write_conf "$port" 'connections = 4 messages_per_connection = 0'
spool=$XDG_STATE_HOME/hikyaku

send() { # JOB: in the background; its process is $JOB_pid
    "$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j "$1" --quiet \
        >"$work/$1.sum" 2>"$work/$1.err" &
    eval "$1_pid=$!"
    pids="$pids $!"
}
says() { # JOB KEY: of status --json; connections: those of all its sites
    "$hikyaku" status "$spool/$1" --json | python3 -c 'import json, sys
s = json.load(sys.stdin)
s["connections"] = sum(site["connections"] for site in s["sites"])
print(s[sys.argv[1]])' "$2"
}
is() { [ "$(says "$1" "$2" 2>/dev/null)" = "$3" ]; } # JOB KEY VALUE
becomes() {
    until_true is "$@" || die "$1: $2 is $(says "$1" "$2"), not $3: $("$hikyaku" status "$spool/$1")"
}
noted() { # JOB TIMES WORDS: its log says so, so often
    [ "$(cut -f 21 "$spool/$1/attempts.tsv" 2>/dev/null | grep -cx "$3")" = "$2" ]
}
notes() { until_true noted "$@" || die "$1: not $2 times \"$3\": $(cut -f 21 "$spool/$1/attempts.tsv")"; }
divided='2 jobs of this spool run: they share limits'
shared='2 jobs of this spool run: they share connections and rates'
whole='no other job of this spool runs'

# A job by itself has all; a rehearsal beside it takes nothing away.
send first
becomes first connections 4
same "jobs" 1 "$(says first jobs)"
printf 'email\nuser@defer.example\n' >"$work/few.tsv"
"$hikyaku" rehearse -c "$conf" -l "$work/few.tsv" -m "$work/message.eml" -j rehearsal --quiet \
    >"$work/rehearsal.sum" 2>"$work/rehearsal.err" || die "rehearsal: $(cat "$work/rehearsal.err")"
noted first 0 "$divided" || die "limits are divided for a rehearsal"

# A second one begins as the first makes room; then each has half.
send second
becomes first connections 2
becomes second connections 2
same "jobs" 2 "$(says second jobs)"
same "jobs" 2 "$(says first jobs)"
same "what status says" "$shared" "$("$hikyaku" status "$spool/first" | sed -n 3p)"

# Who stands still leaves its share, and has it again afterwards.
"$hikyaku" pause "$spool/first"
becomes second connections 4
same "jobs of the paused one" 0 "$(says first jobs)"
"$hikyaku" continue "$spool/first"
becomes second connections 2
becomes first connections 2

most=$(sed -n 's/^open //p' "$work/peer.log" | sort -n | tail -1)
same "connections at once, by the receiver's record" 4 "$most"

# Who is killed is counted no more (but our receiver sleeps over the end of its connections).
kill -KILL "$second_pid"
wait "$second_pid" 2>/dev/null || true
becomes first connections 4
same "jobs" 1 "$(says first jobs)"
notes first 1 "$divided"
notes first 1 "$whole"
notes second 2 "$divided"
notes second 1 "$whole"

kill -TERM "$first_pid"
status=0
wait "$first_pid" || status=$?
same "first: exit status" 3 "$status"
same "first: standard error" "" "$(cat "$work/first.err")"
same "the file of the spool" -rw------- "$(stat -c %A "$spool/.running")"

# What one was told.
cat >"$work/strict.txt" <<'S'
S: 220 mx.x ESMTP
C: EHLO *
S: 250 mx.x hello
C: MAIL FROM:<*>*
S: 250 ok
C: RCPT TO:<user*>
S: 451 4.7.0 not before tomorrow
C: *
S: 221 bye
X close
S
"$hikyaku" sink --listen 127.0.7.2:"$port" --scenario "$work/strict.txt" >"$work/strict.out" 2>&1 &
pids="$pids $!"
until_true grep -qs '127\.0\.7\.2' "$work/strict.out" || die "nobody listens: $(cat "$work/strict.out")"
cat >>"$conf" <<'C'
reply "451 4.7.0" { domain = "strict.example" action = suspend for = 1h }
domain "hourly.example" { message_rate = "2/h" }
C
tries() { cut -f 3,8 "$spool/$1/attempts.tsv" 2>/dev/null | grep -c "^user@$2	" || true; } # JOB DOMAIN
tried() { [ "$(tries "$1" "$2")" = "$3" ]; }                                   # … TIMES
waits() { # JOB DOMAIN WORDS: that is why its row stands still
    "$hikyaku" why "$spool/$1" "user@$2" >"$work/why.out" 2>&1
    grep -q "$3" "$work/why.out"
}
printf 'email\nuser@strict.example\nuser@hourly.example\n' >"$work/list.tsv"
send third
until_true tried third strict.example 1 || die "third: $(cat "$work/third.err")"
until_true tried third hourly.example 1 || die "third: $(cat "$work/third.err")"
send fourth
until_true waits fourth strict.example 'suspended.*not before tomorrow' ||
    die "fourth, strict: $(cat "$work/why.out")"
until_true waits fourth hourly.example rate || die "fourth, hourly: $(cat "$work/why.out")"
for job in third fourth; do
    eval "kill -KILL \$${job}_pid; wait \$${job}_pid" 2>/dev/null || true
done
# And nobody forgets it, even if all are gone meanwhile.
"$hikyaku" resume "$spool/fourth" --quiet >"$work/again.sum" 2>"$work/again.err" &
again=$!
pids="$pids $again"
until_true waits fourth strict.example 'suspended.*not before tomorrow' ||
    die "resumed, strict: $(cat "$work/why.out")"
until_true waits fourth hourly.example rate || die "resumed, hourly: $(cat "$work/why.out")"
kill -TERM "$again"
status=0
wait "$again" || status=$?
same "resumed: exit status" 3 "$status"
same "tries of the fourth" "0 0" "$(tries fourth strict.example) $(tries fourth hourly.example)"
same "messages that came" 1 "$(grep -c '^taken user@hourly.example' "$work/peer.log")"

# Where there can be no such file a job runs all the same, and says so; it tries again, and tells
# when somebody takes the file away.
spool=$work/other
mkdir -p "$spool/.running"
echo "spool = '$spool'" >>"$conf"
{
    echo email
    seq -f 'user%g@slow.example' 1 20000
} >"$work/list.tsv"
send alone
notes alone 1 'other jobs do not see this one: cannot use ".running" of the spool: Is a directory'
rmdir "$spool/.running"
notes alone 1 'other jobs see this one now'
rm "$spool/.running"
notes alone 1 'somebody deleted ".running" of the spool: jobs that begin now do not see this one'
kill -TERM "$alone_pid"
status=0
wait "$alone_pid" || status=$?
same "alone: exit status" 3 "$status"
echo "share: two jobs, one sender"
