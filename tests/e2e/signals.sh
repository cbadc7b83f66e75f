#!/bin/sh
# SIGINT and SIGTERM: nothing new is begun, what is in flight ends, the sum adds up, exit 3; a
# second one ends at once, and says "in doubt" of exactly the rows whose dot had left.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n{{text}}\n' >"$work/message.eml"

delivered() { # of job $1, in its log, so far
    cat "$XDG_STATE_HOME/hikyaku/$1/attempts.tsv" 2>/dev/null | grep -c '	delivered	' || true
}
more_than() { [ "$(delivered "$1")" -gt "$2" ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
end() { # 3, for job $1; then look at it all. $2: the receiver's record
    status=0
    wait "$sender" || status=$?
    same "$1: exit status" 3 "$status"
    same "$1: standard error" "" "$(cat "$work/$1.err")"
    "$hikyaku" results -c "$work/hikyaku.conf" "$1" >"$work/$1.results"
    python3 "$here/check_job.py" "$XDG_STATE_HOME/hikyaku/$1" "$work/$1.results" \
        "$(cat "$work/$1.sum")" "$2" pending
}

# interrupt JOB SIGNAL WORKERS send|rehearse RECORD: 20,000 rows, 50 ms away: with four
# connections that would take minutes.
interrupt() {
    write_conf "${sink_port-25}" "connections = 4"
    sed -i "s/^workers.*/workers = $3/" "$work/hikyaku.conf"
    "$hikyaku" "$4" -c "$work/hikyaku.conf" -l "$work/far.tsv" -m "$work/message.eml" -j "$1" \
        --quiet >"$work/$1.sum" 2>"$work/$1.err" &
    sender=$!
    pids="$pids $sender"
    until_true more_than "$1" 200 || die "$1: no mail goes out: $(cat "$work/$1.err")"
    kill "-$2" "$sender"
    end "$1" "$5"
    case $(cat "$work/$1.sum") in
    *'+ pending 0 '*) die "$1: it was over before the signal" ;;
    *'error 0 + absent 0 + pending '*'(in-doubt 0, assumed 0)') ;;
    *) die "$1: $(cat "$work/$1.sum")" ;;
    esac
    # What the signal met in flight came to its end: no attempt failed because of it.
    same "$1: attempts that failed" 0 "$(grep -c '	retry	' "$XDG_STATE_HOME/hikyaku/$1/attempts.tsv" || true)"
    same "$1: accepted" "$(delivered "$1")" "$(wc -l <"$5")"
}
{
    echo 'email	text'
    seq -f 'user%g@distant.example	x' 1 20000
} >"$work/far.tsv"
dns_port=53 # a rehearsal has its own
interrupt rehearsal INT 2 rehearse "$XDG_STATE_HOME/hikyaku/rehearsal/received.tsv"
interrupt one-loop TERM 0 rehearse "$XDG_STATE_HOME/hikyaku/one-loop/received.tsv"

# The same into a receiver of its own.
cat >"$work/zone.conf" <<'Z'
    local-zone: "distant.example." static
    local-data: "distant.example. 300 IN A 127.0.0.1"
Z
for n in 1 2 3 4 5 6; do
    echo "    local-zone: \"p$n.example.\" static"
    echo "    local-data: \"p$n.example. 300 IN A 127.0.4.$n\""
done >>"$work/zone.conf"
start_unbound
start_sink 127.0.0.1:0=distant
interrupt sent INT 2 send "$work/record.tsv"
stop_sink
expect_sink bare 0 early 0 bad-commands 0

# Peers that fall silent: p1 before its greeting, p2 at MAIL, p3 at DATA, p4 behind the dot;
# p5 reads nothing behind its 354; p6 takes a message and is silent behind the dot of the next.
cat >"$work/peer.py" <<'P'
import socket, sys, threading
port, log, lock = int(sys.argv[1]), open(sys.argv[2], "w"), threading.Lock()

def note(*words):
    with lock: print(*words, file=log, flush=True)

def serve(mood, connection):
    lines = connection.makefile("rb")
    def say(text): connection.sendall(text.encode() + b"\r\n")
    def silent(*words):
        note("silent", mood, *words)
        while lines.readline(): pass
        raise EOFError
    if mood == 1: silent()
    say("220 peer")
    while line := lines.readline():
        verb = line[:4].upper()
        if verb == b"EHLO": say("250-peer\r\n250 PIPELINING")
        elif verb == b"MAIL": silent() if mood == 2 else say("250 ok")
        elif verb == b"RCPT":
            who = line.split(b"<")[1].split(b">")[0].decode()
            say("250 ok")
        elif verb == b"DATA":
            if mood == 3: silent()
            say("354 go on")
            if mood == 5:
                note("silent", mood)
                threading.Event().wait()
            while lines.readline() != b".\r\n": pass
            if mood == 4 or who.startswith("last"): silent(who)
            note("taken", who)
            say("250 taken")
        elif verb == b"QUIT": say("221 bye"); return
        else: say("500 what")

def run(mood, connection):
    try: serve(mood, connection)
    except (EOFError, OSError): pass
    note("closed", mood)
    connection.close()

def listen(mood):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if mood == 5: listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    listener.bind((f"127.0.4.{mood}", port))
    listener.listen(100)
    note("listening", mood)
    while True:
        threading.Thread(target=run, args=(mood, listener.accept()[0]), daemon=True).start()

for mood in range(1, 7): threading.Thread(target=listen, args=(mood,), daemon=True).start()
threading.Event().wait()
P
python3 - >"$work/stuck.tsv" <<'P'
print("email\ttext")
for n in 1, 2, 3, 4, 5: print(f"a@p{n}.example\t" + "big " * (2000000 if n == 5 else 1))
for n in 1, 2, 3, 4, 5: print(f"b@p{n}.example\tx")
print("a@p6.example\tx\nlast@p6.example\tx\nb@p6.example\tx")
P
noted() { [ "$(grep -c "$1" "$work/peer.log")" -ge "$2" ]; }

# stuck JOB WORKERS: one signal does not end it, the second does.
stuck() {
    port=$(free_port)
    : >"$work/peer.log"
    python3 "$work/peer.py" "$port" "$work/peer.log" &
    peer=$!
    pids="$pids $peer"
    until_true noted listening 6 || die "the peers do not listen"
    write_conf "$port" 'connections = 1'
    sed -i "s/^workers.*/workers = $2/; s/^    lifetime.*/    lifetime = \"1h\"/" "$work/hikyaku.conf"
    "$hikyaku" send -c "$work/hikyaku.conf" -l "$work/stuck.tsv" -m "$work/message.eml" -j "$1" \
        --quiet >"$work/$1.sum" 2>"$work/$1.err" &
    sender=$!
    pids="$pids $sender"
    until_true noted silent 6 || die "$1: not everybody fell silent: $(cat "$work/peer.log")"
    kill -INT "$sender"
    # Where nothing is in flight the connection is closed at once; the others are waited for.
    until_true noted 'closed 1' 1 || die "$1: the first signal was not heard"
    ! gone "$sender" || die "$1: it did not wait for what is in flight"
    same "$1: said so far" "" "$(cat "$work/$1.sum")"
    kill -INT "$sender"
    until_true gone "$sender" || die "$1: the second signal does not end it"
    end "$1" -
    kill "$peer"
    wait "$peer" 2>/dev/null || true
    same "$1: taken" "taken a@p6.example" "$(grep taken "$work/peer.log")"
    same "$1: sum" "rows 13 = delivered 1 + error 0 + absent 0 + pending 12 (in-doubt 2, assumed 0)" \
        "$(cat "$work/$1.sum")"
    flags=$(column "$work/$1.results" flags)
    same "$1: in doubt" "a@p4.example last@p6.example " \
        "$(awk -F '\t' -v f="$flags" '$f ~ /in-doubt/ { print $2 }' "$work/$1.results" | tr '\n' ' ')"
    attempts=$(column "$work/$1.results" attempts)
    same "$1: rows that waited behind others" "b@p1 b@p2 b@p3 b@p4 b@p5 b@p6 " \
        "$(awk -F '\t' -v a="$attempts" '$a == 0 && $2 ~ /^b/ { sub(".example", "", $2); print $2 }' \
            "$work/$1.results" | tr '\n' ' ')"
}
stuck stuck 2
stuck stuck-one-loop 0

# Ended while resume still reads the log: it says so like any run, and nothing was sent. A pipe
# in the place of the settings holds it up there.
mkfifo "$work/slow.conf"
lines=$(wc -l <"$XDG_STATE_HOME/hikyaku/sent/attempts.tsv")
"$hikyaku" resume -c "$work/slow.conf" "$XDG_STATE_HOME/hikyaku/sent" -q >"$work/again.sum" 2>"$work/again.err" &
sender=$!
pids="$pids $sender"
exec 8>"$work/slow.conf" # it has opened it
kill -TERM "$sender"
cat "$work/hikyaku.conf" >&8
exec 8>&-
status=0
wait "$sender" || status=$?
same "ended while resume reads: exit status" 3 "$status"
same "ended while resume reads: standard error" "" "$(cat "$work/again.err")"
same "ended while resume reads: sum" "$(cat "$work/sent.sum")" "$(cat "$work/again.sum")"
same "ended while resume reads: lines of attempts" "" \
    "$(tail -n "+$((lines + 1))" "$XDG_STATE_HOME/hikyaku/sent/attempts.tsv" | awk -F '\t' '$2 > 0 || $8 == "lease"')"

# Ended while it still reads the list: no job and no mail, and what stood aside is swept away by
# the next one.
spool=$XDG_STATE_HOME/hikyaku
mkfifo "$work/pipe"
exec 9<>"$work/pipe"
printf 'email\ttext\na@p6.example\tx\n' >&9
"$hikyaku" send -c "$work/hikyaku.conf" -l - -m "$work/message.eml" -j early -q <"$work/pipe" \
    >"$work/early.out" 2>&1 9<&- &
sender=$!
pids="$pids $sender"
aside() { ls -A "$spool" | grep -q '^[.]new-early-'; }
until_true aside || die "no job is being made: $(cat "$work/early.out")"
kill -TERM "$sender"
status=0
wait "$sender" 2>/dev/null || status=$?
exec 9<&-
same "ended while it reads: exit status" 143 "$status"
[ ! -e "$spool/early" ] || die "half a job has a name"
printf 'email\ttext\n' >"$work/none.tsv"
"$hikyaku" send -c "$work/hikyaku.conf" -l "$work/none.tsv" -m "$work/message.eml" -j late -q >/dev/null
! aside || die "what a dead process left is still there"
echo "signals: what was in flight ended, what was in doubt says so"
