#!/bin/sh
# Relays of some destinations: by sections domain and mx, each with its own TLS, user and
# password, while other mail of the same job is direct; and a relay for all but some. Judges
# are the records of those who took it, and what the name server was asked.
. "$(dirname "$0")/lib.sh"
wants openssl unbound python3
port=$(free_port)
{
    echo '    log-queries: yes'
    mx() { # DOMAIN ADDRESS
        echo "    local-data: \"$1.example. 300 IN MX 10 mx.$1.example.\""
        echo "    local-data: \"mx.$1.example. 300 IN A $2\""
    }
    mx direct 127.0.8.1
    mx denied 127.0.8.4
    mx out.jp 127.0.8.1
    mx careful 127.0.8.5
    mx hosted 127.0.8.3
    echo '    local-data: "tenant.example. 300 IN MX 10 mx.hosted.example."'
    echo '    local-data: "relay-a.example. 300 IN A 127.0.8.11"'
    echo '    local-data: "relay-b.example. 300 IN A 127.0.8.12"'
    echo '    local-data: "relay-c.example. 300 IN A 127.0.8.13"'
    echo '    local-zone: "example." static'
} >"$work/zone.conf"
start_unbound
authority ours
certificate relay relay-a.example 2 ours

# sink NAME ADDRESS:PORT=MOOD …: its record is NAME.record.
sink() {
    name=$1
    shift
    listens=
    for l; do listens="$listens --listen $l"; done
    "$hikyaku" sink $listens --cert "$work/relay.pem" --key "$work/relay.key" \
        --record "$work/$name.record" >"$work/$name.out" 2>&1 &
    pids="$pids $!"
    until_true grep -qs '^listening' "$work/$name.out" || die "$name: $(cat "$work/$name.out")"
}
sink direct "127.0.8.1:$port"
sink hosted "127.0.8.3:$port"
sink careful "127.0.8.5:$port=greylist"
sink a "127.0.8.11:$port=auth"
sink b "127.0.8.12:$port=smtps"
sink c "127.0.8.13:$port=greylist"
# took NAME: domains and how often, of all that it took so far.
took() {
    sed 's/^[^	]*	[^@]*@\([^	]*\)	.*/\1/' "$work/$1.record" 2>/dev/null | sort | uniq -c | xargs
}
forget() { for r in "$work"/*.record; do : >"$r"; done; }

domains="direct denied docomo au.jp soft.jp out.jp hosted tenant careful grey lost"
{
    echo email
    for domain in $domains; do seq -f "r%g@$domain.example" 1 3; done
} >"$work/list.tsv"
printf 'From: News <news@sender.test.example>\nSubject: Hello\n\nHello {{email}}\n' >"$work/message.eml"
echo secret >"$work/right"
echo geheim >"$work/wrong"

# conf NAME [policy lines]: the sections come from standard input.
lifetime=6s
conf() {
    {
        cat <<C
hostname = "sender.test.example"
workers = 2
resolver { servers = {"127.0.0.1:$dns_port"} }
deny_destinations = {"127.0.8.4", "127.0.8.8/29"}
policy {
    port = $port
    retry_interval = {"300ms"}
    lifetime = "$lifetime"
    ${2-}
}
C
        cat
    } >"$work/$1.conf"
}
send() { # JOB, by the settings of that name
    status=0
    (cd / && "$hikyaku" send -c "$work/$1.conf" -l "$work/list.tsv" -m "$work/message.eml" -j "$1" \
        --quiet) >"$work/$1.sum" 2>"$work/$1.err" || status=$?
    [ "$status" -eq 0 ] || die "$1: $status: $(cat "$work/$1.err")"
    results "$1"
}
results() {
    cat "$work"/*.record >"$work/all"
    log=$XDG_STATE_HOME/hikyaku/$1/attempts.tsv
    "$hikyaku" results -c "$work/$1.conf" "$1" >"$work/$1.results"
    python3 "$here/check_job.py" "$XDG_STATE_HOME/hikyaku/$1" "$work/$1.results" \
        "$(cat "$work/$1.sum")" "$work/all" >/dev/null
}
# of JOB DOMAIN COLUMN …: the different values of that domain's rows, each once.
of() {
    awk -F '\t' -v domain="$2.example" -v names="$3 ${4-} ${5-} ${6-}" '
        NR == 1 { n = split(names, want, " "); for (i = 1; i <= NF; i++) c[$i] = i; next }
        $(c["domain"]) == domain { line = ""
            for (i = 1; i <= n; i++) line = line (i > 1 ? " " : "") $(c[want[i]])
            print line }' "$work/$1.results" | sed 's/reused,*//; s/ $//; s/TLSv1.3:[A-Z0-9_]*/TLSv1.3/' | sort -u
}

# ---- some through relays ----

sections() {
    cat <<C
domain "docomo.example" {
    relay = "relay-a.example:$port"
    relay_user = user
    relay_password_file = "right"
    tls = verify
    tls_ca_file = "ours.pem"
}
domain '*.jp.example' {
    relay = "Relay-B.example:$port"
    relay_tls = implicit
    relay_user = user
    relay_password_file = "right"
}
domain "soft.jp.example" { relay_password_file = "wrong"  lifetime = "500ms" }
domain "out.jp.example" { relay = "" }
domain "lost.example" { relay = "nowhere.example:$port"  lifetime = "500ms" }
domain "grey.example" { relay = "relay-c.example:$port"  relay_tls = none }
mx 'mx.hosted.*' { relay = "127.0.8.11:$port"  relay_user = user  relay_password_file = "right" }
reply "4xx" { mx = '*'  action = fail }
C
}
sections | conf some
send some
same "direct" "3 direct.example 3 out.jp.example" "$(took direct)"
same "hosted" "" "$(took hosted)"
same "careful" "" "$(took careful)"
same "relay a" "3 docomo.example 3 hosted.example 3 tenant.example" "$(took a)"
same "relay b" "3 au.jp.example" "$(took b)"
same "relay c" "3 grey.example" "$(took c)"
same "direct: result" "250 - mx.direct.example" "$(of some direct code class mx_host flags)"
same "denied: result" "730 BE" "$(of some denied code class)"
same "docomo: result" "250 - relay-a.example relay" "$(of some docomo code class mx_host flags)"
same "docomo: TLS" "TLSv1.3:verified" "$(of some docomo tls)"
same "au: result" "250 - relay-b.example relay" "$(of some au.jp code class mx_host flags)"
same "soft: result" "606 LE 535 relay" "$(of some soft.jp code class last_code flags)"
same "out: result" "250 - mx.out.jp.example" "$(of some out.jp code class mx_host flags)"
same "tenant: result" "250 - 127.0.8.11 relay" "$(of some tenant code class mx_host flags)"
same "lost: result" "606 LE 700 relay" "$(of some lost code class last_code flags)"
# A rule of receivers is for receivers: the relay that says the same is asked again.
same "careful: result" "450 BE mx.careful.example" "$(of some careful code class mx_host flags)"
same "grey: result" "250 - relay-c.example relay" "$(of some grey code class mx_host flags)"
# Nobody's MX is asked who has a relay without it.
asked() { grep -q " $1\. MX IN" "$work/unbound.log"; }
until_true asked hosted.example || die "the queries are not logged"
for domain in direct denied out.jp hosted tenant careful; do
    asked "$domain.example" || die "$domain: its MX was not asked"
done
for domain in docomo au.jp soft.jp lost grey; do
    if asked "$domain.example"; then die "$domain: its MX was asked"; fi
done

# What is said before anything is sent.
"$hikyaku" check -c "$work/some.conf" -l "$work/list.tsv" -m "$work/message.eml" --quiet >"$work/check" ||
    die "check: $?"
for line in "relay     relay-a.example port $port, STARTTLS, as user: 3 rows of 1 domains" \
    "relay     relay-b.example port $port, TLS from the first byte, as user: 6 rows of 2 domains" \
    "relay     relay-c.example port $port, in clear: 3 rows of 1 domains" \
    "relay     127.0.8.11 port $port, STARTTLS, as user: 6 rows of 2 domains" \
    "No mail can be sent to 1 domains (3 rows): the relay: 700 LE: nowhere.example does not exist (would be retried)"; do
    grep -qxF "$line" "$work/check" || die "check: no \"$line\": $(cat "$work/check")"
done
grep -q "^ *3  denied.example  *730 BE: " "$work/check" || die "check: $(cat "$work/check")"
explain() { "$hikyaku" check -c "$work/some.conf" --explain "$1" >"$work/explain" || die "explain: $?"; }
says() { grep -qxF "$1" "$work/explain" || die "no \"$1\": $(cat "$work/explain")"; }
explain soft.jp.example
says "relay     relay-b.example port $port, TLS from the first byte, as user"
says "MX        not asked, so no mx section matches"
says "sections  domain 'soft.jp.example', domain '*.jp.example'"
says "budget    of the relay: its limits hold for all together that go through it, but for sections with limits"
explain tenant.example
says "relay     127.0.8.11 port $port, STARTTLS, as user"
says "MX        mx.hosted.example"
if grep -q "some.conf.*fail" "$work/explain"; then die "a rule for no relay: $(cat "$work/explain")"; fi
explain direct.example
grep -q '^relay  *[^ ]* *default$' "$work/explain" || die "a relay: $(cat "$work/explain")"
grep -q "some.conf.*fail" "$work/explain" || die "no rule: $(cat "$work/explain")"
"$hikyaku" why -c "$work/some.conf" some "r1@soft.jp.example" >"$work/why"
grep -q "our relay relay-b.example \[127.0.8.12\]" "$work/why" || die "why: $(cat "$work/why")"
"$hikyaku" why -c "$work/some.conf" some "r1@direct.example" >"$work/why"
if grep -q "our relay" "$work/why"; then die "why: $(cat "$work/why")"; fi

# ---- all but some ----

forget
conf most "relay = \"relay-a.example:$port\" relay_user = user relay_password_file = \"right\"" <<C
domain "direct.example" { relay = "" }
domain '*.jp.example' { relay = ""  relay_password_file = "wrong" }
domain "au.jp.example" { relay = "relay-b.example:$port"  relay_tls = implicit
    relay_user = user  relay_password_file = "right" }
mx '*' { lifetime = "0" }
C
send most
same "most: direct" "3 direct.example 3 out.jp.example" "$(took direct)"
same "most: relay a" "3 careful.example 3 denied.example 3 docomo.example 3 grey.example 3 hosted.example 3 lost.example 3 tenant.example" "$(took a)"
same "most: relay b" "3 au.jp.example" "$(took b)"
same "most: no MX" "700 BE" "$(of most soft.jp code class)"
same "most: relayed" "250 relay" "$(of most tenant code flags)"

# A rehearsal uses none.
"$hikyaku" rehearse -c "$work/most.conf" -l "$work/list.tsv" -m "$work/message.eml" -j rehearsal --quiet >"$work/sum"
same "a rehearsal" "" "$(cut -f "$(awk -F '\t' 'NR == 2 { for (i = 1; i <= NF; i++) if ($i == "flags") print i }' \
    "$XDG_STATE_HOME/hikyaku/rehearsal/attempts.tsv")" "$XDG_STATE_HOME/hikyaku/rehearsal/attempts.tsv" | grep relay | cat)"

# ---- a relay stays, its password is read again ----

forget
cp "$work/wrong" "$work/password"
lifetime=1h
own() { # lines of the section
    conf again <<C
domain "docomo.example" {
    relay = "relay-a.example:$port"  relay_user = user  relay_password_file = "password"
    ${1-}
}
domain "au.jp.example" { relay = "relay-c.example:$port"  relay_tls = none }
C
}
own
printf 'email\nr1@docomo.example\nr2@docomo.example\n' >"$work/list.tsv"
(cd / && exec "$hikyaku" send -c "$work/again.conf" -l "$work/list.tsv" -m "$work/message.eml" -j again \
    --quiet) >"$work/again.sum" 2>"$work/again.err" &
sender=$!
pids="$pids $sender"
log=$XDG_STATE_HOME/hikyaku/again/attempts.tsv
refused() { [ "$(grep -s '	535	' "$log" | wc -l)" -ge "$1" ]; }
until_true refused 2 || die "not refused: $(cat "$work/again.err")"
own 'relay_tls = none'
if "$hikyaku" reload -c "$work/again.conf" again >"$work/out" 2>&1; then die "a password in clear"; fi
grep -q "again.conf:[0-9]*: relay_tls = none: the password would cross in clear" "$work/out" || die "reload: $(cat "$work/out")"
own
sed -i 's/relay-a/relay-c/; s/300ms/200ms/' "$work/again.conf"
"$hikyaku" reload -c "$work/again.conf" again || die "reload: $?"
cp "$work/right" "$work/password" # not before the next start
until_true refused 8 || die "not refused: $(cat "$work/again.err")"
same "one relay" "relay-a.example" "$(awk -F '\t' '$4 == 535 || $5 == 535 { for (i = 1; i <= NF; i++) if ($i ~ /^relay-/) print $i }' "$log" | sort -u)"
kill -INT "$sender"
wait "$sender" && die "it ended well"
grep -q "^    relay_password_file = '$work/password'$" "$XDG_STATE_HOME/hikyaku/again/job.conf" ||
    die "job.conf: $(cat "$XDG_STATE_HOME/hikyaku/again/job.conf")"
(cd / && "$hikyaku" resume "$XDG_STATE_HOME/hikyaku/again" --quiet) >"$work/again.sum" 2>"$work/err" || die "resume: $(cat "$work/err")"
results again
same "resumed" "250 relay-a.example relay" "$(of again docomo code mx_host flags)"
same "relay a, at last" "2 docomo.example" "$(took a)"
same "relay c never" "" "$(took c)"
# The job's own secret has a line; passwords have none, and no line repeats them.
for word in secret geheim "$(printf secret | base64)" "$(printf '\0user\0secret' | base64)"; do
    if grep -rh "$word" "$XDG_STATE_HOME" | grep -v "secret *= "; then die "a password was copied"; fi
done
echo "relays: each destination goes its own way"
