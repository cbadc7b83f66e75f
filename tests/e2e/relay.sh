#!/bin/sh
# Everything through a relay: found by its host name and no MX, with STARTTLS, TLS from the
# first byte or in clear, with a password and without; and what it makes of every result.
. "$(dirname "$0")/lib.sh"
wants openssl unbound
cat >"$work/zone.conf" <<'Z'
    local-zone: "example." static
    local-data: "relay.example. 300 IN A 127.0.0.1"
    local-data: "relay.example. 300 IN MX 10 wrong.example."
    local-data: "wrong.example. 300 IN A 127.0.0.9"
    local-data: "empty.example. 300 IN TXT nothing"
Z
start_unbound

authority ours
certificate relay relay.example 2 ours

"$hikyaku" sink --cert "$work/relay.pem" --key "$work/relay.key" --record "$work/record.tsv" \
    --listen 127.0.0.1:0=auth --listen 127.0.0.1:0=smtps \
    --listen 127.0.0.1:0=authclear --listen 127.0.0.1:0=accept --listen 127.0.0.1:0=picky \
    --listen 127.0.0.1:0=tls >"$work/sink.out" &
pids="$pids $!"
until_true grep -qs 'mood tls$' "$work/sink.out" || die "the receiver does not listen"
port_of() { sed -n "s/.* port \([0-9]*\), mood $1\$/\1/p" "$work/sink.out"; }

# Three domains that nobody knows: the relay's trouble, not ours.
{
    echo email
    for i in 1 2 3 4 5 6 7 8 9 10; do
        for domain in one.invalid two.invalid three.invalid; do echo "r$i@$domain"; done
    done
} >"$work/list.tsv"
cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: Hello

Hello {{email}}
M
echo secret >"$work/right"
printf 'geheim\r\nsecret\n' >"$work/wrong"

# send JOB RELAY [policy lines]: with deny_destinations as they are; a relay on this machine
# was named by the user.
send() {
    cat >"$work/$1.conf" <<C
hostname = "sender.test.example"
workers = 2
resolver { servers = {"127.0.0.1:$dns_port"} }
policy {
    relay = "$2"
    retry_interval = {"200ms"}
    lifetime = "500ms"
    ${3-}
}
C
    status=0
    "$hikyaku" send -c "$work/$1.conf" -l "$work/list.tsv" -m "$work/message.eml" -j "$1" \
        --quiet >"$work/$1.sum" 2>"$work/$1.err" || status=$?
    "$hikyaku" results -c "$work/$1.conf" "$1" >"$work/$1.results" 2>/dev/null || :
    log="$XDG_STATE_HOME/hikyaku/$1/attempts.tsv"
}
# The different values of some columns of a table, each once.
values() { # FILE COLUMN …
    awk -F '\t' -v names="${2-} ${3-} ${4-} ${5-} ${6-}" '
        /^#/ { next }
        !n { n = split(names, want, " "); for (i = 1; i <= NF; i++) c[$i] = i; next }
        $(c["outcome"]) == "lease" || $(c["row"]) == 0 { next }
        { line = ""; for (i = 1; i <= n; i++) line = line (i > 1 ? " " : "") $(c[want[i]])
          print line }' "$1" | sort -u
}
delivered="rows 30 = delivered 30 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)"
failed="rows 30 = delivered 0 + error 30 + absent 0 + pending 0 (in-doubt 0, assumed 0)"
# taken JOB VERIFIED: all rows, through relay.example, over TLS.
taken() {
    same "$1: sum" "$delivered" "$(cat "$work/$1.sum")"
    same "$1: where" "relay.example relay.example 127.0.0.1" "$(values "$log" site mx_host mx_address)"
    same "$1: class" "250 - delivered" "$(values "$log" code class outcome)"
    same "$1: flag" "$(printf 'relay\nreused,relay')" "$(values "$log" flags)"
    same "$1: TLS" "$2" "$(values "$log" tls | sed 's/^TLSv1.3:[A-Z0-9_]*/TLSv1.3/')"
}
user="relay_user = user relay_password_file = \"$work/right\""

# ---- the password ----
send starttls "relay.example:$(port_of auth)" "$user"
taken starttls TLSv1.3
send implicit "Relay.Example:$(port_of smtps)" "$user relay_tls = implicit"
taken implicit TLSv1.3
send clear "relay.example:$(port_of authclear)" "$user relay_tls = none relay_auth_clear = yes"
taken clear ""
send verified "relay.example:$(port_of auth)" "$user tls = verify tls_ca_file = \"$work/ours.pem\""
taken verified TLSv1.3:verified
send verified-implicit "relay.example:$(port_of smtps)" \
    "$user relay_tls = implicit tls = verify tls_ca_file = \"$work/ours.pem\""
taken verified-implicit TLSv1.3:verified
same "authenticated rows" 150 "$(wc -l <"$work/record.tsv")"

# refused JOB "CODE STAGE STATUS" WORDS [RESULT]: every attempt said so, and every line is LE and has the flag.
refused() {
    same "$1: sum" "$failed" "$(cat "$work/$1.sum")"
    same "$1: attempts" "$2" "$(values "$log" code stage status | grep -v '^606')"
    same "$1: class, flag" "LE relay" "$(values "$log" class flags | sed s/reused,// | sort -u)"
    values "$log" message | grep -q "$3" || die "$1: $(values "$log" message)"
    same "$1: last code" "${4-606 LE ${2%% *}}" "$(values "$work/$1.results" code class last_code)"
}
wrong="relay_user = user relay_password_file = \"$work/wrong\""
send wrong "relay.example:$(port_of auth)" "$wrong"
refused wrong "535 wait-helo 5.7.8" "5.7.8"
send wrong-implicit "relay.example:$(port_of smtps)" "$wrong relay_tls = implicit"
refused wrong-implicit "535 wait-helo 5.7.8" "5.7.8"
send nobody "relay.example:$(port_of auth)"
refused nobody "530 wait-from 5.7.0" "5.7.0" "530 LE "
send no-auth "relay.example:$(port_of tls)" "$user"
refused no-auth "535 wait-helo 5.7.8" "AUTH PLAIN and AUTH LOGIN are not offered"
send no-starttls "relay.example:$(port_of accept)"
refused no-starttls "602 session 4.4.2" "STARTTLS is not offered"
send untrusted "relay.example:$(port_of auth)" "$user tls = verify"
refused untrusted "602 session 4.4.2" "certificate"
send by-address "127.0.0.1:$(port_of auth)" "$user tls = verify tls_ca_file = \"$work/ours.pem\""
refused by-address "602 session 4.4.2" "mismatch"

# ---- what the relay says of recipients, and where it is not ----
cp "$work/list.tsv" "$work/short.tsv"
seq -f 'q%g@many.invalid' 1 300 >>"$work/list.tsv"
send picky "127.0.0.1:$(port_of picky)" "relay_tls = none"
same "picky: classes" "$(printf '%s\n' '250 - 127.0.0.1' '550 LE 127.0.0.1')" "$(values "$log" code class site)"
mv "$work/short.tsv" "$work/list.tsv"
send nowhere "nowhere.example:25" "$user"
refused nowhere "700 dns 4.4.4" "nowhere.example does not exist"
send empty "empty.example:25" "$user"
refused empty "720 dns 4.4.4" "empty.example has no address"
send closed "relay.example:$(free_port)" "$user"
refused closed "601 connect 4.4.1" "refused"
same "nothing more was taken" "$((150 + $(awk -F '\t' '$5 == 250' "$XDG_STATE_HOME/hikyaku/picky/attempts.tsv" | wc -l)))" \
    "$(wc -l <"$work/record.tsv")"

# ---- settings that cannot be ----
bad() { # WORDS policy-lines
    send bad "relay.example:25" "$2"
    same "$1: status" 78 "$status"
    grep -q "^hikyaku: -7 LE .*$1" "$work/bad.err" || die "$1: $(cat "$work/bad.err")"
    [ ! -e "$XDG_STATE_HOME/hikyaku/bad" ] || die "$1: a job was made"
}
bad "\"$work/none\": No such file" "relay_user = user relay_password_file = \"$work/none\""
: >"$work/empty"
bad "\"$work/empty\": its first line is empty" "relay_user = user relay_password_file = \"$work/empty\""
printf '\r\nsecret\n' >"$work/empty2"
bad "\"$work/empty2\": its first line is empty" "relay_user = user relay_password_file = \"$work/empty2\""
printf 'a\0b\n' >"$work/nul"
bad "NUL" "relay_user = user relay_password_file = \"$work/nul\""
head -c 600 /dev/zero | tr '\0' x >"$work/long"
bad "too long" "relay_user = user relay_password_file = \"$work/long\""
bad "\"$work\": Is a directory" "relay_user = user relay_password_file = \"$work\""
bad "relay_password_file is not set" "relay_user = user"
bad "in clear" "$user relay_tls = none"
bad "tls = verify" "relay_tls = none tls = verify"
bad "tls = encrypt" "relay_tls = none tls = encrypt"
# The job's own secret has a line; the password has none, and no line repeats it.
for word in secret geheim "$(printf secret | base64)" "$(printf '\0user\0secret' | base64)"; do
    if grep -rh "$word" "$XDG_STATE_HOME" | grep -v "secret *= "; then die "the password was copied"; fi
done

# ---- check and rehearse ----
"$hikyaku" check -c "$work/starttls.conf" -l "$work/list.tsv" -m "$work/message.eml" --quiet >"$work/check"
grep -qx "relay     relay.example port $(port_of auth), STARTTLS, as user" "$work/check" || die "check: $(cat "$work/check")"
grep -q "^ *30 *3  relay.example  *relay.example \[127.0.0.1\]$" "$work/check" || die "check: $(cat "$work/check")"
"$hikyaku" check -c "$work/nowhere.conf" -l "$work/list.tsv" -m "$work/message.eml" --quiet >"$work/check"
grep -q "^No mail can be sent: the relay: 700 LE" "$work/check" || die "check: $(cat "$work/check")"
{ echo email; seq -f 'r%g@accept.example' 1 10; } >"$work/accept.tsv"
"$hikyaku" rehearse -c "$work/closed.conf" -l "$work/accept.tsv" -m "$work/message.eml" -j rehearsal --quiet >"$work/sum"
same "a rehearsal goes to no relay" \
    "rows 10 = delivered 10 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" "$(cat "$work/sum")"
same "its flags" "$(printf 'rehearsal\nreused,rehearsal')" \
    "$(values "$XDG_STATE_HOME/hikyaku/rehearsal/attempts.tsv" flags)"
echo "a relay: every way in, every refusal"
