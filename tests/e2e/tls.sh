#!/bin/sh
# TLS from end to end: what each `tls` setting makes of a receiver that offers it well, badly
# or not at all, and whom `verify` believes.
. "$(dirname "$0")/lib.sh"
wants openssl unbound
cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: Hello

Hello {{email}}
M

# ---- the moods, in rehearsals ----

rehearse() { # JOB TLS-SETTING
    cat >"$work/$1.conf" <<C
hostname = "sender.test.example"
policy {
    tls = $2
    retry_interval = {"1s"}
    lifetime = "3s"
    timeout { starttls = "1s" }
}
C
    "$hikyaku" rehearse -c "$work/$1.conf" -l "$work/moods.tsv" -m "$work/message.eml" -j "$1" \
        --quiet >"$work/$1.sum" 2>"$work/$1.err" || [ $? -eq 1 ] || die "$1: $(cat "$work/$1.err")"
    "$hikyaku" results -c "$work/$1.conf" "$1" >"$work/$1.results"
}
# expect JOB MOOD RESULT: "code last_code tls flags-without-others message", the same for every
# row of the domain.
expect() {
    awk -F '\t' -v domain="@$2.example" '
        NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i }
        index($c["email"], domain) { print $c["code"], $c["last_code"] ? $c["last_code"] : "-",
            $c["tls"] ? "tls" : "clear", $c["code"] == 250 ? "" : $c["message"] }' \
        "$work/$1.results" | sort | uniq -c | sed 's/^ *//; s/ *$//' >"$work/got"
    same "$1, $2" "20 $3" "$(cat "$work/got")"
}

moods="accept tls tlsonly notls454 tlshang tlsgarbage tlsinject"
{
    echo email
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        for mood in $moods; do echo "r$i@$mood.example"; done
    done
} >"$work/moods.tsv"

rehearse may may
for mood in accept notls454 tlshang tlsgarbage tlsinject; do expect may $mood "250 - clear"; done
for mood in tls tlsonly; do expect may $mood "250 - tls"; done

rehearse encrypt encrypt
for mood in tls tlsonly; do expect encrypt $mood "250 - tls"; done
expect encrypt accept "606 602 clear STARTTLS is not offered"
expect encrypt notls454 "606 454 clear 4.7.0 TLS is not available now"
expect encrypt tlshang "606 610 clear no TLS handshake in time"
expect encrypt tlsgarbage "606 602 clear TLS: wrong version number"
expect encrypt tlsinject "606 602 clear plaintext after STARTTLS"

rehearse none none
for mood in accept tls notls454 tlshang tlsgarbage tlsinject; do
    expect none $mood "250 - clear"
done
expect none tlsonly "530 - clear 5.7.0 Must issue STARTTLS first"

# ---- whom verify believes ----

authority ours
authority theirs
certificate good mx.good.example 2 ours
certificate old mx.old.example -1 ours
certificate foreign mx.foreign.example 2 theirs

: >"$work/zone.conf"
site() { # NAME ADDRESS
    cat >>"$work/zone.conf" <<Z
    local-zone: "$1.example." static
    local-data: "$1.example. 300 IN MX 10 mx.$1.example."
    local-data: "mx.$1.example. 300 IN A $2"
Z
    echo "a@$1.example"
}
{
    echo email
    site good 127.0.0.1
    site wrong 127.0.0.1 # the good one's certificate, another name
    site old 127.0.0.2
    site foreign 127.0.0.3
    site alone 127.0.0.4
} >"$work/list.tsv"
start_unbound
port=$(free_port)
serve() { # FILE ADDRESS
    "$hikyaku" sink --listen "$2:$port=tls" ${1:+--cert "$work/$1.pem" --key "$work/$1.key"} \
        >>"$work/sinks.out" &
    pids="$pids $!"
    wait_for "$2" "$port"
}
serve good 127.0.0.1
serve old 127.0.0.2
serve foreign 127.0.0.3
serve "" 127.0.0.4

send() { # TLS-SETTING
    write_conf "$port" "tls = $1
    tls_ca_file = \"$work/ours.pem\""
    status=0
    "$hikyaku" send -c "$work/hikyaku.conf" -l "$work/list.tsv" -m "$work/message.eml" \
        -j "send-$1" --quiet >"$work/sum" 2>"$work/err" || status=$?
    "$hikyaku" results -c "$work/hikyaku.conf" "send-$1" >"$work/send-$1.results"
}
of() { # JOB SITE COLUMN
    awk -F '\t' -v site="@$2.example" -v n="$(column "$work/$1.results" "$3")" \
        -v e="$(column "$work/$1.results" email)" 'index($e, site) { print $n }' "$work/$1.results"
}
send encrypt
for site in good wrong old foreign alone; do
    same "encrypt, $site" 250 "$(of send-encrypt $site code)"
    same "encrypt, $site" TLSv1.3:TLS_AES_256_GCM_SHA384 "$(of send-encrypt $site tls)"
done
send verify
same "verify, good" 250 "$(of send-verify good code)"
same "verify, good" TLSv1.3:TLS_AES_256_GCM_SHA384:verified "$(of send-verify good tls)"
refused() { # SITE WORDS
    same "verify, $1" "606 602 certificate: $2" \
        "$(of send-verify "$1" code) $(of send-verify "$1" last_code) $(of send-verify "$1" message)"
}
refused wrong "hostname mismatch"
refused old "certificate has expired"
refused foreign "unable to get local issuer certificate"
refused alone "self-signed certificate"
echo "tls: every setting does what it says; verify believes only the right one"
