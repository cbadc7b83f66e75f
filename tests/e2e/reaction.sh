#!/bin/sh
# Reply rules, end to end: one's own and those of the program, on servers that say what
# receivers say. What became of each row, how often it was tried and over how many connections;
# the list of replies at the end; a reload; mistakes with their line; check --explain.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
conf=$work/hikyaku.conf

# name ADDRESS: a domain whose MX host mx.NAME.example has that address.
: >"$work/zone.conf"
name() {
    cat >>"$work/zone.conf" <<Z
    local-data: "$1.example. 300 IN MX 10 mx.$1.example."
    local-data: "mx.$1.example. 300 IN A $2"
Z
}
name later 127.0.7.1
name never 127.0.7.2
name again 127.0.7.3
name asks 127.0.7.4
name odd 127.0.7.5
name full 127.0.7.6
name twice 127.0.7.8
cat >>"$work/zone.conf" <<'Z' # a company whose mail is at Google
    local-data: "company.example. 300 IN MX 10 aspmx.l.google.com."
    local-data: "aspmx.l.google.com. 300 IN A 127.0.7.7"
    local-data: "spare.example. 300 IN MX 10 mx.later.example."
    local-data: "spare.example. 300 IN MX 20 aspmx.l.google.com."
    local-data: "spare.example. 300 IN MX 30 mx.full.example."
Z
start_unbound

# transaction REPLY: one whose dot is answered so.
hello() { printf 'S: 220 mx.x ESMTP\nC: EHLO *\nS: 250 mx.x hello\n'; }
mail() { printf 'C: MAIL FROM:<*>*\nS: %s\n' "${1-250 ok}"; }
rcpt() { printf 'C: RCPT TO:<user*>\nS: %s\n' "${1-250 ok}"; }
dot() { printf 'C: DATA\nS: 354 go ahead\nC> {body}\nC: .\nS: %s\n' "${1-250 taken}"; }
bye() { printf 'C: QUIT\nS: 221 bye\n'; }
{ # a 5xx that means later
    hello; mail; rcpt; dot '550 5.7.1 This email has been rate limited.'; bye
    echo 'connection 2'
    hello; mail; rcpt; dot; bye
} >"$work/later.txt"
{ hello; mail; rcpt '450 4.7.1 we know you and do not want you'; bye; } >"$work/never.txt"
{ # two messages a connection; the next MAIL may be on its way already
    for connection in 1 2; do
        echo "connection $connection"
        hello; mail; rcpt; dot; mail; rcpt; dot
        mail '452 4.7.0 Too many messages for this session'
        printf 'C: *\nS: 421 4.7.0 Too many messages for this session\nX close\n'
    done
    echo 'connection 3'
    hello; mail; rcpt; dot; bye
} >"$work/again.txt"
{ # it greylists, and says how long
    hello; mail; rcpt '450 4.2.0 Greylisted for 1 seconds'; bye
    echo 'connection 2'
    hello; mail; rcpt; dot; bye
} >"$work/asks.txt"
{ # nobody knows what this is
    hello; mail; rcpt '451 4.7.99 [X17] come to the <desk@odd.example> at 3'; bye
    echo 'connection 2'
    hello; mail; rcpt '451 4.7.99 [X17] come to the <desk@odd.example> at 4'; bye
    echo 'connection 3'
    hello; mail; rcpt; dot; bye
} >"$work/odd.txt"
{ # the field's own words; then one connection, then more
    hello; mail; rcpt; dot '421 4.7.28 Gmail has detected an unusual rate of email'; echo 'X close'
    echo 'connection 2'
    hello; mail; rcpt; dot; mail; rcpt; dot; mail; rcpt; dot; bye
} >"$work/full.txt"
{ # the same again behind the suspension
    for connection in 1 2; do
        echo "connection $connection"
        hello; mail; rcpt '451 4.7.29 slowly'; bye
    done
    echo 'connection 3'
    hello; mail; rcpt; dot; bye
} >"$work/twice.txt"
line_of() { grep -n "$1" "$conf" | head -1 | cut -d: -f1; } # of the settings
{
    hello; mail; rcpt; dot
    mail '421-4.7.28 Gmail has detected an unusual rate of email originating from your IP'
    printf 'S: 421 4.7.28 address.\nX close\n'
} >"$work/gmail.txt"
port=$(free_port)
"$hikyaku" sink --listen 127.0.7.1:"$port" --scenario "$work/later.txt" \
    --scenario "$work/never.txt" --scenario "$work/again.txt" --scenario "$work/asks.txt" \
    --scenario "$work/odd.txt" --scenario "$work/full.txt" --scenario "$work/gmail.txt" \
    --scenario "$work/twice.txt" >"$work/sink.out" 2>&1 &
pids="$pids $!"
until_true grep -qs '127\.0\.7\.8' "$work/sink.out" || die "nobody listens: $(cat "$work/sink.out")"

{
    echo email
    echo user@later.example
    echo user@never.example
    seq -f 'user%g@again.example' 1 5
    echo user@asks.example
    echo user@odd.example
    seq -f 'user%g@full.example' 1 3
    echo user@twice.example
} >"$work/list.tsv"
write_conf "$port" 'connections = 1'
sed -i 's/"500ms"/"100ms"/; s/"3s"/"1h"/' "$conf"
cat >>"$conf" <<'C'
reply "550 5.7.1" { mx = 'mx.later.*'  text = 'rate.limited'  action = "treat-as 450" }
reply "4xx" { domain = never.example  action = fail }
reply "4.7.28" { mx = 'mx.full.*'  action = suspend  for = 700ms  connections = 1 }
reply "4.7.41" { stage = wait-rcpt  action = slow  scope = source  for = 5m }
reply "4.7.29" { mx = 'mx.twice.*'  action = suspend  for = 300ms }
reply "450 4.2.0" { action = retry }
reply "451 4.7.99" { mx = 'mx.odd.*'  text = '(.+)+[;!]'  action = fail }
C
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j first \
    >"$work/first.sum" 2>"$work/first.err" || die "first: $?: $(cat "$work/first.err")"
"$hikyaku" results -c "$conf" first >"$work/first.results"
for name in email code outcome attempts; do
    cut -f "$(column "$work/first.results" $name)" "$work/first.results" | tail -n +2 >"$work/$name"
done
# The code stays the server's. The third and the fifth of `again` met the limit of a connection
# and cost it no attempt.
same "what became of each" "user@later.example 250 delivered 2
user@never.example 450 error 1
user1@again.example 250 delivered 1
user2@again.example 250 delivered 1
user3@again.example 250 delivered 1
user4@again.example 250 delivered 1
user5@again.example 250 delivered 1
user@asks.example 250 delivered 2
user@odd.example 250 delivered 3
user1@full.example 250 delivered 2
user2@full.example 250 delivered 1
user3@full.example 250 delivered 1
user@twice.example 250 delivered 3" \
    "$(paste -d ' ' "$work/email" "$work/code" "$work/outcome" "$work/attempts")"
log=$XDG_STATE_HOME/hikyaku/first/attempts.tsv
same "first attempt" "550 retry" "$(awk -F '\t' '$3 == "user@later.example" && $4 == 1 { print $5, $8 }' "$log")"
# The path stood still: no other row was tried meanwhile, and the log says why and how long.
awk -F '\t' -v line="$(line_of 'reply "4.7.28"')" '
    function ms(t) { return substr(t, 12, 2) * 3600000 + substr(t, 15, 2) * 60000 + substr(t, 18, 6) * 1000 }
    $2 == 0 && /suspended until/ && $5 == 421 && $13 == "mx.full.example" {
        if (index($0, "by rule 4.7.28 (" conf ":" line "): 4.7.28 Gmail has detected")) began = ms($1)
        events++
    }
    $3 ~ /@full.example$/ && $8 == "delivered" && (ms($1) - began + 86400000) % 86400000 < 650 { early = 1 }
    END { exit !(events == 1 && began && !early) }' conf="$conf" "$log" ||
    die "not suspended: $(grep full.example "$log")"
# A pattern that would search for ages is given up, and that is told once.
same "given up" "451 rule 451 4.7.99 ($conf:$(line_of 'reply "451 4.7.99"')): its text takes too long to search for \
in this reply, which does not match then: 451 4.7.99 [X17] come to the <desk@odd.example> at 3" \
    "$(awk -F '\t' '/takes too long/ { print $5, $21 }' "$log")"
same "suspended each time" 2 "$(grep -c 'suspended until .* by rule 4\.7\.29 ' "$log")"
if grep '^complaint' "$work/sink.out"; then die "another dialogue"; fi

# Greylisting said when to come again, later than the retry interval.
awk -F '\t' '
    function ms(t) { return substr(t, 12, 2) * 3600000 + substr(t, 15, 2) * 60000 + substr(t, 18, 6) * 1000 }
    $3 == "user@asks.example" { at[$4] = ms($1) }
    END { exit !((at[2] - at[1] + 86400000) % 86400000 >= 990) }' "$log" || die "it came too early"

# At the end the replies that nobody has a rule for, counted by kind: the one that greylists meets
# a rule, which names no receiver.
sed -n '/^replies that/,$ { s/^ *//; p }' "$work/first.err" | grep -v '^finished' >"$work/unmatched"
same "replies without a rule" "replies that made rows wait and that no rule of yours or of their own receiver matched:
2  451 4.7.99 [X17] come to the <desk@odd.example> at 3" "$(cat "$work/unmatched")"

# check --explain names the rules that concern a destination.
"$hikyaku" check -c "$conf" --explain later.example >"$work/explain.out" || die "explain: $?"
grep -q "^550 5.7.1 .*hikyaku.conf:[0-9]* .*treat-as 450: rate.limited$" "$work/explain.out" ||
    die "no rule: $(cat "$work/explain.out")"
grep -q "^4.7.41 at wait-rcpt .*slow for 5m, scope 'source'$" "$work/explain.out" || die "no step, no scope"
if grep -q "hikyaku.conf:.* fail" "$work/explain.out"; then die "a rule of another domain"; fi
grep -q '^4xx .*receivers.conf:[0-9]* .*reconnect' "$work/explain.out" || die "no shipped rule"
# What a host says that is asked only when the first one fails.
"$hikyaku" check -c "$conf" --explain spare.example >"$work/explain.out" || die "explain: $?"
grep -q '^MX        mx.later.example; then aspmx.l.google.com, mx.full.example$' "$work/explain.out" ||
    die "MX: $(cat "$work/explain.out")"
grep -q "^550 5.7.1 .*hikyaku.conf:[0-9]* .*treat-as 450: rate.limited$" "$work/explain.out" ||
    die "no rule: $(cat "$work/explain.out")"
grep -q '^4.7.28 .*receivers.conf:.* connection (said by aspmx.l.google.com)$' "$work/explain.out" ||
    die "no rule of a backup: $(cat "$work/explain.out")"
grep -q '^4.7.28 .*hikyaku.conf:.* connection (said by mx.full.example)$' "$work/explain.out" ||
    die "no rule of a backup: $(cat "$work/explain.out")"
grep -q '^4xx .*receivers.conf:[0-9]* .*reconnect.*[^)]$' "$work/explain.out" || die "no rule for all"
echo 'receivers = "no"' >>"$conf"
"$hikyaku" check -c "$conf" --explain later.example >"$work/explain.out" || die "explain: $?"
if grep -q 'receivers.conf' "$work/explain.out"; then die "shipped rules although switched off"; fi
sed -i '$d' "$conf"

# Mistakes are told with their line before anything is sent.
cp "$conf" "$work/kept.conf"
printf 'reply "421" {\n    text = %s\n}\n' "'\\d(b'" >>"$conf"
status=0
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j bad 2>"$work/err" || status=$?
same "a bad pattern" 78 "$status"
grep -q "^hikyaku: -7 LE .*hikyaku.conf:$(($(wc -l <"$conf") - 1)): reply.text: missing closing parenthesis at offset 4 of \"\\\\\\\\d(b\"\$" \
    "$work/err" || die "other words: $(cat "$work/err")"
[ ! -e "$XDG_STATE_HOME/hikyaku/bad" ] || die "it left a job"
cp "$work/kept.conf" "$conf"

# A reload takes the rules anew: what was to be tried for an hour fails at the next attempt.
printf 'email\nuser@never.example\n' >"$work/list.tsv"
sed -i 's/action = fail/action = retry/' "$conf"
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j reloaded --quiet \
    >"$work/reloaded.sum" 2>"$work/err" &
sender=$!
pids="$pids $sender"
log=$XDG_STATE_HOME/hikyaku/reloaded/attempts.tsv
until_true grep -qs 'retry' "$log" || die "no attempt"
cp "$work/kept.conf" "$conf"
"$hikyaku" reload "$XDG_STATE_HOME/hikyaku/reloaded" || die "reload: $?"
wait "$sender" || die "reloaded: $?: $(cat "$work/err")"
same "quiet" "" "$(cat "$work/err")"
same "after the reload" "450 error" "$(awk -F '\t' '$2 == 1 { last = $5 " " $8 } END { print last }' "$log")"
# What comes with the program: Gmail's published way back, known by the MX host and the code. The
# reply came to a later MAIL and cost no attempt; the path is left alone all the same.
write_conf "$port" 'connections = 1'
printf 'email\nuser1@company.example\nuser2@company.example\nuser3@company.example\n' >"$work/list.tsv"
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j gmail --quiet \
    >"$work/gmail.sum" 2>"$work/err" &
sender=$!
pids="$pids $sender"
log=$XDG_STATE_HOME/hikyaku/gmail/attempts.tsv
until_true grep -qs 'suspended until .* by rule 4\.7\.28 (receivers.conf:[0-9]*): 4\.7\.28 Gmail' "$log" ||
    die "not suspended: $(cat "$log")"
"$hikyaku" status "$XDG_STATE_HOME/hikyaku/gmail" >"$work/status" || die "status: $?"
grep -q 'rule 4\.7\.28 (receivers.conf:' "$work/status" || die "no reason: $(cat "$work/status")"
kill -INT "$sender"
status=0
wait "$sender" || status=$?
same "stopped while suspended" 3 "$status"
same "rows that are left" "rows 3 = delivered 1 + error 0 + absent 0 + pending 2 (in-doubt 0, assumed 0)" \
    "$(cat "$work/gmail.sum")"

# A relay's replies are its own: rules of receivers do not match them, the others do.
echo 'email
user@never.example' >"$work/list.tsv"
relayed() { # JOB RULE: code, class, last code if it is another, attempts
    write_conf "$port" "relay = '127.0.7.2:$port' relay_tls = none max_attempts = 2"
    sed -i 's/"500ms"/"100ms"/; s/"3s"/"1h"/' "$conf"
    echo "$2" >>"$conf"
    "$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j "$1" --quiet \
        >"$work/$1.sum" 2>"$work/err" || die "$1: $?: $(cat "$work/err")"
    "$hikyaku" results -c "$conf" "$1" >"$work/$1.results"
    for name in code class last_code attempts; do
        cut -f "$(column "$work/$1.results" $name)" "$work/$1.results" | tail -n +2
    done | xargs
}
same "rules of receivers" "607 LE 450 2" \
    "$(relayed strange 'reply "4xx" { mx = "*" action = fail } reply "4xx" { domain = never.example action = fail }')"
same "a rule for all" "450 LE 1" "$(relayed own 'reply "450 4.7.1" { action = fail }')"
echo "each reply by its rule"
