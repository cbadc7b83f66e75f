#!/bin/sh
# `hikyaku why`: the story of one recipient in a rehearsal with greylisting, refusals, DNS
# troubles, a duplicate and rows that are no address; while a job runs; after kill -9; and after
# resume, where a row in doubt was sent again.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{name}}\n' >"$work/message.eml"
cat >"$work/hikyaku.conf" <<'C'
hostname = "sender.test.example"
workers = 2
policy { retry_interval = {"2200ms"}  lifetime = "5s"  connections = 2 }
C
export HIKYAKU_CONFIG="$work/hikyaku.conf"
tab=$(printf '\t')

why() { # JOB WHO [option …]: sets $story; exit status 0 and nothing on standard error
    story=$("$hikyaku" why "$@" 2>"$work/why.err") || die "why $*: exit status $?: $(cat "$work/why.err")"
    same "why $*: standard error" "" "$(cat "$work/why.err")"
}
says() { # a line that is, or begins with, each of these (basic regular expressions)
    for line; do
        printf '%s\n' "$story" | grep -q "^ *$line" || die "no line \"$line\" in: $story"
    done
}
never() {
    for line; do
        ! printf '%s\n' "$story" | grep -q "$line" || die "\"$line\" in: $story"
    done
}
fails() { # STATUS WORDS arguments …: one line on standard error, nothing else
    want=$1 words=$2
    shift 2
    status=0
    "$hikyaku" why "$@" >"$work/why.out" 2>"$work/why.err" || status=$?
    same "why $*: exit status" "$want" "$status"
    same "why $*: standard output" "" "$(cat "$work/why.out")"
    same "why $*: lines on standard error" 1 "$(wc -l <"$work/why.err")"
    grep -qF -- "$words" "$work/why.err" || die "why $*: \"$words\" is not in: $(cat "$work/why.err")"
}

# ---- a job that is over ----
cat >"$work/list.tsv" <<L
email${tab}name
a@accept.example${tab}A
Bob@greylist.example${tab}B
c@refuse.example${tab}C
d@nxdomain.example${tab}D
bob@GREYLIST.example${tab}B again
not an address${tab}X
f@servfail.example${tab}F
m@メール.example${tab}M
broken@accept.example
L
"$hikyaku" rehearse -l "$work/list.tsv" -m "$work/message.eml" -j over -q >"$work/sum"
time='20[0-9-]*T[0-9:.]*Z'

why over a@accept.example
says 'row 1: a@accept.example$' "job over, made at $time, a rehearsal: nothing leaves this machine$" \
    "$time  attempt 1: delivered$" \
    'mx.accept.example \[127.0.0.[0-9]*\] answered 250 to the end of the message: "2.0.0 accepted' \
    '250 2.0.0: final dot answered 2xx, receiver took the message$' 'in clear$' \
    'result: delivered, after 1 attempt$' 'It waits for nothing'
never 'row 2' 'in doubt' 'not running' 'handed'

# Both rows of an address, in whatever case it is asked for.
why over BOB@greylist.EXAMPLE
says 'row 2: Bob@greylist.example$' "$time  attempt 1: not yet$" \
    'mx.greylist.example .* answered 450 to RCPT TO: "4.7.1 greylisted' \
    "450 4.7.1 (BE, the recipient's side): mailbox unavailable for now$" \
    "next attempt not before $time\$" "$time  attempt 2: delivered$" 'result: delivered, after 2 attempts$' \
    'row 5: bob@greylist.example$' "$time  decided without an attempt: failed for good (absent)$" \
    'step classify: "duplicate of row 2"$' '801 5.2.1' 'result: absent, after 0 attempts$'
why over 2 --lang ja
says '450 4.7.1 (BE, the recipient.s side): メールボックスが一時的に使えない$' "$time  attempt 2: delivered$"
never 'row 5'

why over c@refuse.example
says "$time  attempt 1: not yet$" 'mx.refuse.example .* answered 554 as its greeting: "5.7.1 no mail from you"$' \
    "$time  given up after attempt [2-9]\$" 'the last trouble was 554: "5.7.1 no mail from you"$' \
    '606 4.4.7 .*: message lifetime ran out' 'result: error, after [2-9] attempts$'
why over d@nxdomain.example
says "$time  attempt 1: failed for good (absent)$" 'step dns: "nxdomain.example does not exist"$' '700 5.1.2'
why over 7
says 'row 7: f@servfail.example' "$time  attempt 1: not yet$" 'step dns: "MX of servfail.example: SERVFAIL"$' '710 4.4.3'
why over ' not an address '
says 'row 6: not an address$' 'step addr:' '611 5.1.3'
why over broken@accept.example
says 'row 9: broken@accept.example$' '800 '
why over m@xn--4dkua4c.example
says 'row 8: m@xn--4dkua4c.example$' 'result: '
why over "m@メール.example"
says 'row 8: m@xn--4dkua4c.example$'
why "$XDG_STATE_HOME/hikyaku/over" 1
says 'row 1: '

fails 65 '"nobody@accept.example" is not in job "over", which has rows 1 to 9' over nobody@accept.example
fails 65 '"10" is not in job "over"' over 10
fails 65 '"0" is not in job "over"' over 0
fails 65 '"" is not in job "over"' over ''
fails 65 '"x\x1b[2J" is not in' over "$(printf 'x\033[2J')"
fails 66 'cannot open job "none"' none a@accept.example
fails 64 'JOB is missing'
fails 64 'ADDRESS is missing' over
fails 64 'unexpected "more"' over 1 more
fails 64 '--lang "fr" is not en or ja' over 1 --lang fr
"$hikyaku" why --help | grep -q '^Usage: hikyaku why JOB ADDRESS|ROW' || die "no help"
"$hikyaku" --help | grep -q '^  why ' || die "not among the commands"

# A proof: all rows go to one address, which names each of them.
"$hikyaku" rehearse -l "$work/list.tsv" -m "$work/message.eml" -j proof -q --rows 1-2 \
    --to me@accept.example >"$work/sum"
why proof me@accept.example
says 'row 1: a@accept.example, a proof that goes to me@accept.example$' \
    'row 2: Bob@greylist.example, a proof that goes to me@accept.example$'
why proof bob@greylist.example
says 'row 2: '
never 'row 1: ' 'row 5: '
fails 65 'rows 1 to 2' proof c@refuse.example

# ---- a job that runs, and is killed ----
{
    echo "email${tab}name"
    seq -f "user%g@distant.example${tab}x" 1 5000
    echo "slow@greylist.example${tab}x"
} >"$work/far.tsv"
sed 's/2200ms/60s/; s/"5s"/"10m"/; s/connections = 2/connections = 8/' "$work/hikyaku.conf" >"$work/far.conf"
HIKYAKU_CONFIG="$work/far.conf"
job="$XDG_STATE_HOME/hikyaku/killed"
"$hikyaku" rehearse -l "$work/far.tsv" -m "$work/message.eml" -j killed -q >"$work/sum" &
sender=$!
pids="$pids $sender"
some() { [ "$(cat "$job/attempts.tsv" 2>/dev/null | grep -c "${tab}$1${tab}")" -ge "$2" ]; }
until_true some delivered 200 || die "no mail goes out"
why killed 5000
says 'row 5000: ' 'The log has no line about it' 'result: pending, after 0 attempts$' \
    'It waits for its turn at mx.distant.example: .*\.$' \
    'There [0-9]* rows are on their way or wait, with [0-9]* of [0-9]* connections\.$'
never 'not running' 'The job is' 'never tried'
until_true some retry 1 || die "nobody is greylisted"
why killed slow@greylist.example
says 'result: pending, after 1 attempt$' "It waits for its next attempt, at $time (in [0-9]* seconds) or later.$"
never 'not running' 'handed'
kill -KILL "$sender"
wait "$sender" 2>/dev/null || true
"$hikyaku" status -c "$work/hikyaku.conf" killed >"$work/status"
grep -qx 'job killed: stopped (no clean end: it was killed, or it failed)' "$work/status" ||
    die "status: $(cat "$work/status")"

# Rows that were lent and have no line: each is in the air. The flight file knows more.
cat >"$work/open.py" <<'P'
import sys
lent, told = [], set()
for line in open(sys.argv[1], encoding="utf-8").read().split("\n")[2:-1]:
    f = line.split("\t")
    if f[7] == "lease":
        for part in f[20].split(","):
            first, _, last = part.partition("-")
            lent += range(int(first), int(last or first) + 1)
    elif f[1] != "0":
        told.add(int(f[1]))
print(*[row for row in lent if row not in told])
P
open=$(python3 "$work/open.py" "$job/attempts.tsv")
[ -n "$open" ] || die "nothing was in the air when it was killed"
doubtful= sure=
for row in $open; do
    why killed "$row"
    says 'result: pending, after 0 attempts$' \
        "It was handed to a connection of mx.distant.example at $time, and the log knows nothing since; " \
        'The job is not running: hikyaku resume killed goes on with it.$'
    case $story in
    *'the end of the mail may have left, and no reply to it was read.'*) doubtful="$doubtful $row" ;;
    *'the end of the mail has not left.'*) sure=$row ;;
    esac
done
[ -n "$sure" ] || die "no row that had not left among: $open"
why killed 5000
says 'It was never tried yet.$' 'The job is not running'
never 'handed'
why killed slow@greylist.example
says "It waits for its next attempt, at $time (in [0-9]* seconds) or later.$" 'The job is not running'

# What is in doubt has its line now; the job goes on, is stopped, and every story says so.
"$hikyaku" resume killed -q >"$work/sum" 2>"$work/resume.err" &
sender=$!
pids="$pids $sender"
before=$(grep -c "${tab}delivered${tab}" "$job/attempts.tsv")
until_true some delivered $((before + 600)) || die "resume sends nothing: $(cat "$work/resume.err")"
kill -TERM "$sender"
status=0
wait "$sender" || status=$?
same "resume, stopped: exit status" 3 "$status"
for row in $doubtful; do
    why killed "$row"
    says "$time  attempt 1: not yet$" "handed to a connection of mx.distant.example at $time\$" \
        'step wait-end: "the run ended before the reply was read"$' '625 4.4.2 ' 'in doubt: ' \
        "$time  the job was resumed$" "$time  attempt 2: delivered$" \
        'an earlier attempt was in doubt: this may be the second copy$' \
        'In doubt: an attempt before may have arrived too, so this recipient may have it twice.$'
done
why killed "$sure"
says "$time  handed to a connection of mx.distant.example; that run ended before the mail had left$" \
    "$time  the job was resumed$" "$time  attempt 1: delivered$" 'result: delivered, after 1 attempt$'
never 'n doubt'
why killed 5000
says "$time  the job was resumed$" "$time  the run was stopped, this row was pending$" \
    'It was never tried yet.$' 'The job is not running'

# Cancelled by somebody: that is the reason, and no other is told.
first=$job
job="$XDG_STATE_HOME/hikyaku/given-up"
"$hikyaku" rehearse -l "$work/far.tsv" -m "$work/message.eml" -j given-up -q >"$work/sum" &
sender=$!
pids="$pids $sender"
until_true some delivered 20 || die "no mail goes out"
"$hikyaku" cancel given-up
wait "$sender" || true
why given-up 5000
says "$time  everything that was pending was cancelled\$" '-11 (LE, our side), the reason: "cancelled"$' \
    'result: error (cancelled), after 0 attempts$'
never 'too many errors'
job=$first

# ---- what a running job waits for ----
# One message a minute; a 450 that stops all mail to its host; then the whole job is paused.
cat >"$work/waits.conf" <<'C'
hostname = "sender.test.example"
workers = 1
policy { retry_interval = {"10m"}  connections = 2 }
domain "accept.example" { message_rate = "1/min" }
reply "450" { domain = "greylist.example"  action = suspend  scope = site  for = "1h" }
C
HIKYAKU_CONFIG="$work/waits.conf"
{
    printf 'email\tname\n'
    seq -f "user%g@accept.example${tab}x" 1 3
    seq -f "user%g@greylist.example${tab}x" 1 3
} >"$work/waits.tsv"
job="$XDG_STATE_HOME/hikyaku/waits"
"$hikyaku" rehearse -l "$work/waits.tsv" -m "$work/message.eml" -j waits -q >"$work/sum" &
sender=$!
pids="$pids $sender"
until_true some delivered 1 || die "no mail goes out"
until_true some retry 1 || die "nobody is greylisted"
tells() { "$hikyaku" why "$1" "$2" | grep -q "$3"; }
until_true tells waits 3 '^It waits for its turn at mx.accept.example: rate until' ||
    die "no rate: $("$hikyaku" why waits 3)"
why waits 3
says "It waits for its turn at mx.accept.example: rate until $time\.\$" \
    'There 2 rows are on their way or wait, with 0 of [0-9]* connections\.$'
never 'The job is' 'not running'
until_true tells waits 5 'suspended until' || die "not suspended: $("$hikyaku" why waits 5)"
why waits 5
says "It waits for .*at $time (in [0-9]* [a-z]*) or later\.\$" \
    "Nor before this ends at mx.greylist.example: suspended until $time: rule .* after 450 4.7.1"
"$hikyaku" status waits >"$work/status"
local='20[0-9-]* [0-9:]*'
grep -q "^  [0-9] rows wait for their next attempt, the first at $local\$" "$work/status" ||
    die "no next attempt: $(cat "$work/status")"
grep -q "^  mx.accept.example  .* rate until $local\$" "$work/status" || die "no rate: $(cat "$work/status")"
"$hikyaku" status waits --json >"$work/status"
python3 - "$work/status" <<'P'
import json, re, sys
s = json.load(open(sys.argv[1]))
time = r"20[0-9-]*T[0-9:.]*Z"
assert s["until"] is None and s["resolving"] == 0 and s["retrying"] >= 1, s
assert re.fullmatch(time, s["next_attempt"]), s
[site] = [x for x in s["sites"] if x["name"] == "mx.accept.example"]
assert site["waiting"] == 2 and re.fullmatch("rate until " + time, site["reason"]), s
P
"$hikyaku" pause waits
why waits 3
says 'It waits for its turn at mx.accept.example: ' 'The job is paused: by `hikyaku pause`\.$'
"$hikyaku" cancel waits
wait "$sender" || true
HIKYAKU_CONFIG="$work/far.conf"
job="$XDG_STATE_HOME/hikyaku/killed"

# A torn tail is passed over; a damaged line is said.
head -c 300 /dev/zero | tr '\0' 'x' >>"$job/attempts.tsv"
why killed slow@greylist.example
says 'result: pending, after 1 attempt$'
echo >>"$job/attempts.tsv"
"$hikyaku" why killed 5000 >"$work/why.out" 2>"$work/why.err"
same "damage" 'hikyaku: why: damaged lines in attempts.tsv, passed over: 1' "$(cat "$work/why.err")"
echo "why: every story told, $(echo $doubtful | wc -w) in doubt, $(echo $open | wc -w) in the air"
