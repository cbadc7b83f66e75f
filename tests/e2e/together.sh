#!/bin/sh
# Several recipients share a message where a section allows it: of one domain only, and each
# has its own result.
. "$(dirname "$0")/lib.sh"
wants python3
conf=$work/hikyaku.conf
cat >"$work/zone.conf" <<'Z'
    local-data: "many.example. 300 IN MX 10 mx.example."
    local-data: "other.example. 300 IN MX 10 mx.example."
    local-data: "one.example. 300 IN MX 10 mx1.example."
    local-data: "mx.example. 300 IN A 127.0.6.1"
    local-data: "mx1.example. 300 IN A 127.0.6.2"
Z
for i in 1 2 3; do
    echo "    local-data: \"no$i.example. 300 IN MX 10 mx.no$i.example.\""
    echo "    local-data: \"mx.no$i.example. 300 IN A 127.0.6.$((i + 2))\""
done >>"$work/zone.conf"
start_unbound
port=$(free_port)
start_sink 127.0.6.1:"$port"=picky 127.0.6.2:"$port"
write_conf "$port" 'messages_per_connection = 0'
cat >>"$conf" <<'C'
mx 'mx.example' { recipients_per_message = 20 connections = 1 message_rate = "50/s" }
C
{
    echo email
    seq -f 'user%g@many.example' 1 400
    for i in $(seq 1 30); do echo "a$i@many.example"; echo "a$i@other.example"; done
    seq -f 'user%g@one.example' 1 30
} >"$work/list.tsv"

# A message that differs from row to row cannot be shared, and nothing is left behind.
printf 'From: News <news@sender.test.example>\nTo: readers: ;\nSubject: Hi\n\nHi {{email}}\n' >"$work/own.eml"
status=0
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/own.eml" -j own 2>"$work/err" || status=$?
same "exit status" 78 "$status"
same "complaint" "hikyaku: -7 LE $conf:11: recipients_per_message: $work/own.eml is not the same for all recipients: it must have a To of its own, and no placeholder" \
    "$(cat "$work/err")"
[ ! -e "$XDG_STATE_HOME/hikyaku/own" ] || die "a job is left"

printf 'From: News <news@sender.test.example>\nTo: readers: ;\nSubject: Hi\n\nHi all\n' >"$work/message.eml"
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j job --quiet --trace=smtp \
    >"$work/sum" 2>"$work/err" || die "$?: $(cat "$work/err")"
stop_sink
"$hikyaku" results -c "$conf" job >"$work/results.tsv"
python3 "$here/check_job.py" "$XDG_STATE_HOME/hikyaku/job" "$work/results.tsv" "$(cat "$work/sum")" \
    "$work/record.tsv" shared
python3 - "$work" <<'P'
import collections, email, glob, sys
work = sys.argv[1]
rows = [l.rstrip("\n").split("\t") for l in open(work + "/record.tsv")]
ids = collections.Counter(r[3] for r in rows)
kept = len(glob.glob(work + "/mail/*.eml"))
shared = [r for r in rows if r[1].endswith(("@many.example", "@other.example"))]
single = [r for r in rows if r[1].endswith("@one.example")]
assert len({r[3] for r in shared}) == 1, "one Message-ID for all"
assert len({r[3] for r in single}) == len(single) == 30, "and one for each where they are alone"
messages = kept - len(single)
assert messages >= len(shared) / 20 and messages < 60, (kept, messages)
# No message is for two domains: what stands between a MAIL and the next on its connection.
domains = collections.defaultdict(set)
for line in open(work + "/err"):
    connection, _, words = line.rstrip().partition(" C: ")
    if words.startswith("MAIL"):
        domains[connection].clear()
    elif words.startswith("RCPT"):
        domains[connection].add(words.split("@")[1])
        assert len(domains[connection]) == 1, words
print(f"{len(shared)} recipients in {messages} messages")
refused = sum(l.split("\t")[2] == "550" for l in open(work + "/results.tsv"))
assert 1 <= refused <= 60, refused
P

# A storm counts replies: sixty recipients of three messages are refused three times.
cat >"$work/refuse.txt" <<'S'
S: 220 mx.example
C: EHLO *
S: 250 mx.example
C: MAIL *
S: 550 5.7.1 not from you
C: QUIT
S: 221 bye
X close
S
"$hikyaku" sink --listen 127.0.6.3:"$port" --scenario "$work/refuse.txt" --scenario "$work/refuse.txt" \
    --scenario "$work/refuse.txt" >"$work/refuse.out" &
pids="$pids $!"
until_true grep -qs '^listening' "$work/refuse.out" || die "the refuser does not listen"
write_conf "$port" 'recipients_per_message = 20 connections = 1 message_rate = "10/s"'
echo 'storm { failures = 0  consecutive = 6 }' >>"$conf"
{
    echo email
    for i in 1 2 3; do seq -f "user%g@no$i.example" 1 20; done
} >"$work/list.tsv"
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j refused --quiet \
    >"$work/sum" 2>"$work/err" || die "no storm: $?: $(cat "$work/err")"
same "refused" 60 "$("$hikyaku" results -c "$conf" refused | cut -f 3 | grep -c '^550$')"

# A cap of a warm-up, and what a server takes on a connection, are messages, not recipients.
TZ="NOON$(($(date -u +%-H) - 12))" # no midnight comes between
export TZ
rm "$work"/mail/*
start_sink 127.0.6.1:"$port" 127.0.6.2:"$port"=closer
write_conf "$port" 'connections = 2 recipients_per_message = 4 messages_per_connection = 0'
cat >>"$conf" <<C
warmup "slowly" { start = $(date +%F)  caps = {7} }
source "new" { address = "127.0.1.1"  warmup = "slowly" }
source "old" { address = "127.0.1.2" }
domain "many.example" { pool = "new" }
domain "one.example" { pool = "old" connections = 1 connection_rate = "0" }
C
{
    echo email
    seq -f 'user%g@many.example' 1 100
    seq -f 'user%g@one.example' 1 1000
} >"$work/list.tsv"
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j capped --quiet --trace=smtp \
    >"$work/sum" 2>"$work/err" &
sender=$!
pids="$pids $sender"
both() { # what may go has gone
    "$hikyaku" status -c "$conf" capped >"$work/status" 2>/dev/null &&
        grep -q 'mx.example .*warm-up cap of today' "$work/status" &&
        [ "$(grep -c '@one.example' "$work/record.tsv")" = 1000 ]
}
until_true both || die "$(cat "$work/status")"
"$hikyaku" cancel -c "$conf" capped
wait "$sender" || true
stop_sink
python3 - "$work/err" <<'P'
import collections, sys
mails = collections.Counter()     # by domain
takes = collections.defaultdict(collections.Counter) # messages of each connection
begins, domain, greeted = {}, {}, collections.Counter()
for line in open(sys.argv[1]):
    connection, side, words = line.rstrip().partition(" C: ")
    if not side:
        connection, side, words = line.rstrip().partition(" S: ")
        greeted[connection] += words.startswith("220")
        if words.startswith("354"):
            takes[domain[connection]][connection, greeted[connection]] += 1
    elif words.startswith("MAIL"):
        begins[connection] = True
    elif words.startswith("RCPT") and begins.pop(connection, False):
        domain[connection] = words.split("@")[1].split(">")[0]
        mails[domain[connection]] += 1
assert mails["many.example"] == 7, mails
# The server closes behind the 20th; that is learned, and one fewer is sent.
one = sorted(takes["one.example"].values(), reverse=True)
assert one[:4] == [20, 20, 19, 19], one
P
capped=$(grep -c '@many.example' "$work/record.tsv")
[ "$capped" -gt 7 ] || die "a cap of 7 messages was reached by $capped recipients"
echo "$capped recipients within a cap of 7 messages; a limit of 20 a connection is learned"
