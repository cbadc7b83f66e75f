#!/bin/sh
# TLS from end to end: what each `tls` setting makes of a receiver that offers it well, badly
# or not at all, and whom `verify` believes.
. "$(dirname "$0")/lib.sh"
wants openssl unbound python3
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
site modern 127.0.0.5 >/dev/null
site modest 127.0.0.5 >/dev/null
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

# ---- each destination by its own authorities ----

# good is for ours, foreign for theirs. modern gets nothing older than TLS 1.3, which its
# receiver does not know; modest has the same receiver.
cat >"$work/tls12.py" <<'P'
import socketserver, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.maximum_version = ssl.TLSVersion.TLSv1_2
context.load_cert_chain(sys.argv[3], sys.argv[4])
class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.serve(self.request, b"220 old.example\r\n", b"250-old.example\r\n250 STARTTLS\r\n")
    def serve(self, s, greeting, ehlo):
        s.sendall(greeting)
        lines = s.makefile("rb")
        for line in lines:
            verb = line[:4].upper()
            s.sendall(ehlo if verb == b"EHLO" else b"354 go\r\n" if verb == b"DATA" else b"250 ok\r\n")
            if verb == b"STAR":
                return self.serve(context.wrap_socket(s, server_side=True), b"", b"250 old.example\r\n")
            if verb == b"DATA":
                while lines.readline() != b".\r\n":
                    pass
                s.sendall(b"250 taken\r\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    def handle_error(self, request, address):
        pass
Server((sys.argv[1], int(sys.argv[2])), Session).serve_forever()
P
python3 "$work/tls12.py" 127.0.0.5 "$port" "$work/good.pem" "$work/good.key" &
pids="$pids $!"
wait_for 127.0.0.5 "$port"
for site in modern modest; do echo "a@$site.example" >>"$work/list.tsv"; done
write_conf "$port" "tls = verify
    tls_ca_file = \"ours.pem\""
cat >>"$work/hikyaku.conf" <<C
domain "foreign.example" { tls_ca_file = "theirs.pem" tls_min_version = 1.3 }
domain "modern.example" { tls = encrypt tls_min_version = 1.3 }
domain "modest.example" { tls = encrypt }
mx 'mx.alone.*' { tls = encrypt }
mx 'mx.wrong.*' {
    tls_ca_file = "theirs.pem"
}
C
send_own() { # JOB
    status=0
    (cd / && "$hikyaku" send -c "$work/hikyaku.conf" -l "$work/list.tsv" -m "$work/message.eml" \
        -j "$1" --quiet) >"$work/sum" 2>"$work/err" || status=$?
    "$hikyaku" results -c "$work/hikyaku.conf" "$1" >"$work/$1.results" 2>/dev/null || :
}
send_own own
for site in good foreign; do
    same "own, $site" "250 TLSv1.3:TLS_AES_256_GCM_SHA384:verified" "$(of own $site code) $(of own $site tls)"
done
same "own, alone" "250 TLSv1.3:TLS_AES_256_GCM_SHA384" "$(of own alone code) $(of own alone tls)"
same "own, wrong" "602 certificate: unable to get local issuer certificate" \
    "$(of own wrong last_code) $(of own wrong message)"
same "own, old" "602 certificate: certificate has expired" "$(of own old last_code) $(of own old message)"
same "own, modern" "602 TLS alert from the peer: protocol version" "$(of own modern last_code) $(of own modern message)"
same "own, modest" "250 TLSv1.2" "$(of own modest code) $(of own modest tls | cut -d: -f1)"
# The job's own settings name the files whatever the folder it is resumed from.
grep -q "^    tls_ca_file = '$work/theirs.pem'$" "$XDG_STATE_HOME/hikyaku/own/job.conf" ||
    die "job.conf: $(grep tls_ca_file "$XDG_STATE_HOME/hikyaku/own/job.conf")"
# A file that cannot be used is told with its line, before there is a job.
sed -i 's/^    tls_ca_file = "theirs.pem"/    tls_ca_file = "none.pem"/' "$work/hikyaku.conf"
send_own missing
same "a missing file" "78 hikyaku: -7 LE $work/hikyaku.conf:$(grep -n none.pem "$work/hikyaku.conf" | cut -d: -f1): tls_ca_file: cannot read certificates from \"$work/none.pem\": No such file or directory" \
    "$status $(cat "$work/err")"
[ ! -e "$XDG_STATE_HOME/hikyaku/missing" ] || die "a job was made"
echo "tls: every setting does what it says; verify believes only the right one"
