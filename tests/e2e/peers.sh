#!/bin/sh
# Real servers, not ours, take mail from us over TLS: Postfix, Exim and OpenSMTPD. With each:
# STARTTLS to a self-signed certificate, `verify` with an authority of our own and with a wrong
# name; every message in its mailbox is the one that was meant, by BDAT where CHUNKING is offered
# (Postfix and Exim) and by DATA. With Exim: AUTH as a relay.
# Exim and OpenSMTPD run from build-peers/ (./dev peers), in namespaces of mounts and processes,
# so that they find their users and folders, and leave none.
. "$(dirname "$0")/lib.sh"
wants postfix openssl unbound python3 unshare
[ "$(id -u)" -eq 0 ] || skip "the servers need root"
peers=${HIKYAKU_PEERS-$here/../../build-peers}/root
[ -x "$peers/usr/sbin/exim4" ] && [ -x "$peers/usr/sbin/smtpd" ] ||
    skip "no Exim and OpenSMTPD in build-peers: ./dev peers fetches them"
peers=$(readlink -f "$peers")
unshare --mount true 2>/dev/null || skip "no namespaces of mounts here"

cat >"$work/box" <<'B'
# box PEERS WORK COMMAND…: run it in the midst of the packages' files.
set -eu
peers=$1 work=$2
shift 2
cp -a /etc/. "$work/etc"
for user in Debian-exim:64901 opensmtpd:64902 opensmtpq:64903; do
    echo "${user%:*}:x:${user#*:}:${user#*:}::/nonexistent:/usr/sbin/nologin" >>"$work/etc/passwd"
    echo "${user%:*}:x:${user#*:}:" >>"$work/etc/group"
done
mount --bind "$work/etc" /etc
for folder in /run /var/spool /var/lib; do mount -t tmpfs tmpfs $folder; done
cp -a "$peers/usr" /run/usr
chown -R root:root /run/usr
chmod 4755 /run/usr/sbin/exim4 # a user's unpacking has lost it
ls -d /run/usr/lib/*-linux-gnu >/etc/ld.so.conf.d/0-peers.conf 2>/dev/null || :
ldconfig
mount --bind /run/usr/libexec /usr/libexec
mkdir -p /var/lib/opensmtpd/empty /etc/exim4
mkdir -m 711 /var/spool/smtpd
"$@" & # a program with the setuid bit would not end with unshare
wait
B
# in_box NAME COMMAND…: in the background, ending with us.
in_box() {
    mkdir -p "$work/$1/etc"
    name=$1
    shift
    unshare --mount --pid --fork --kill-child sh "$work/box" "$peers" "$work/$name" "$@" \
        >"$work/$name/out" 2>&1 &
    boxes="$boxes $!"
}

# ---- names and certificates ----

authority ours
authority self # signed by itself, and nobody knows it
for peer in postfix exim opensmtpd; do
    certificate $peer mx.$peer.example 2 ours
    cat >>"$work/zone.conf" <<Z
    local-zone: "$peer.example." static
    local-data: "$peer.example. 300 IN MX 10 mx.$peer.example."
    local-data: "mx.$peer.example. 300 IN A 127.0.0.1"
    local-data: "other.$peer.example. 300 IN MX 10 mx.other.$peer.example."
    local-data: "mx.other.$peer.example. 300 IN A 127.0.0.1"
Z
    mkdir -p "$work/box-$peer"
    chown nobody "$work/box-$peer"
done
start_unbound
users=$(seq -f 'user%g' 1 20)

# ---- the servers ----

# Each sets self_port (self-signed certificate) and ca_port (the authority's).
start_postfix() {
    self_port=$(free_port)
    ca_port=$(free_port)
    postfix_config="$work/postfix"
    mkdir -p "$postfix_config" "$work/queue" "$work/data"
    chown postfix "$work/data"
    cat >"$postfix_config/main.cf" <<P
compatibility_level = 3.6
queue_directory = $work/queue
data_directory = $work/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = $work
maillog_file = $work/postfix/log
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.postfix.example
mydestination =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_auth_destination, reject
virtual_mailbox_domains = postfix.example, other.postfix.example
virtual_mailbox_base = $work/box-postfix
virtual_mailbox_maps = texthash:$postfix_config/boxes
virtual_uid_maps = static:$(id -u nobody)
virtual_gid_maps = static:$(id -g nobody)
virtual_minimum_uid = 1
smtpd_peername_lookup = no
smtpd_tls_security_level = may
P
    for user in $users; do echo "$user@postfix.example $user/"; done >"$postfix_config/boxes"
    cat >"$postfix_config/master.cf" <<P
127.0.0.1:$self_port inet n - n - - smtpd
    -o smtpd_tls_cert_file=$work/self.pem -o smtpd_tls_key_file=$work/self.key
127.0.0.1:$ca_port inet n - n - - smtpd
    -o smtpd_tls_cert_file=$work/postfix.pem -o smtpd_tls_key_file=$work/postfix.key
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
P
    postfix -c "$postfix_config" start >"$work/postfix.out" 2>&1 || die "Postfix: $(cat "$work/postfix.out")"
}

start_exim() {
    self_port=$(free_port)
    ca_port=$(free_port)
    plain_port=$(free_port)
    login_port=$(free_port)
    smtps_port=$(free_port)
    clear_port=$(free_port)
    mkdir -p "$work/exim/log"
    chown 64901:64901 "$work/exim/log"
    for user in $users; do echo "$user: $user"; done >"$work/exim/users"
    cp "$work/self.pem" "$work/self.key" "$work/exim.pem" "$work/exim.key" "$work/exim"
    chmod 644 "$work/exim"/*.key # it reads them as its user
    cat >"$work/exim/conf" <<E
exim_path = /run/usr/sbin/exim4
primary_hostname = mx.exim.example
log_file_path = $work/exim/log/%slog
daemon_smtp_ports = $self_port : $ca_port : $plain_port : $login_port : $smtps_port : $clear_port
tls_on_connect_ports = $smtps_port
local_interfaces = 127.0.0.1
disable_ipv6 = true
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
tls_advertise_hosts = \${if ={\$received_port}{$clear_port} {} {*}}
tls_certificate = $work/exim/\${if ={\$received_port}{$self_port} {self} {exim}}.pem
tls_privatekey = $work/exim/\${if ={\$received_port}{$self_port} {self} {exim}}.key
acl_smtp_rcpt = rcpt
begin acl
rcpt:
    deny !authenticated = *
        condition = \${if !forany {$self_port : $ca_port} {={\$item}{\$received_port}}}
        message = 530 5.7.0 Authentication required
    require verify = recipient
    accept
begin routers
ours:
    driver = accept
    domains = exim.example : other.exim.example
    local_parts = lsearch;$work/exim/users
    transport = box
begin transports
box:
    driver = appendfile
    maildir_format
    directory = $work/box-exim/\$local_part_data
    user = nobody
begin authenticators
plain:
    driver = plaintext
    public_name = PLAIN
    server_prompts = :
    server_condition = \${if and {{eq{\$auth2}{sender@relay}}{eq{\$auth3}{correct \\\\ 電池 staple}}}}
    server_set_id = \$auth2
    server_advertise_condition = \${if forany {$plain_port : $smtps_port : $clear_port} {={\$item}{\$received_port}}}
login:
    driver = plaintext
    public_name = LOGIN
    server_prompts = Username:: : Password::
    server_condition = \${if and {{eq{\$auth1}{sender@relay}}{eq{\$auth2}{correct \\\\ 電池 staple}}}}
    server_set_id = \$auth1
    server_advertise_condition = \${if ={\$received_port}{$login_port}}
E
    in_box exim sh -c "cp '$work/exim/conf' /etc/exim4/exim4.conf && exec /run/usr/sbin/exim4 -bdf"
}

start_opensmtpd() {
    self_port=$(free_port)
    ca_port=$(free_port)
    mkdir -p "$work/opensmtpd"
    cat >"$work/opensmtpd/conf" <<O
pki self cert "$work/self.pem"
pki self key "$work/self.key"
pki ours cert "$work/opensmtpd.pem"
pki ours key "$work/opensmtpd.key"
table users { $(for user in $users; do printf '"%s" = "nobody", ' "$user"; done | sed 's/, $//') }
listen on 127.0.0.1 port $self_port tls pki self hostname mx.opensmtpd.example
listen on 127.0.0.1 port $ca_port tls pki ours hostname mx.opensmtpd.example
action "box" maildir "$work/box-opensmtpd/%{dest.user}" virtual <users>
match from any for domain { "opensmtpd.example", "other.opensmtpd.example" } action "box"
O
    in_box opensmtpd /run/usr/sbin/smtpd -d -f "$work/opensmtpd/conf"
}

# ---- sending ----

cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: {{job}} {{name}}
Content-Type: text/plain; charset=UTF-8

Dear {{name}},
.{{text}}
.
end
M
# send JOB PORT DOMAIN [policy lines [chunking]]
send() {
    write_conf "$2" "tls_ca_file = \"$work/ours.pem\"
    chunking = ${5-auto}
    ${4-}"
    sed -i 's/lifetime = .*/lifetime = "700ms"/' "$work/hikyaku.conf"
    {
        printf 'email\tjob\tname\ttext\n'
        for user in $users nobody.known; do
            printf '%s@%s\t%s\t鈴木 %s\t%s leads\n' $user "$3" "$1" $user "$1"
        done
    } >"$work/$1.tsv"
    "$hikyaku" send -c "$work/hikyaku.conf" -l "$work/$1.tsv" -m "$work/message.eml" -j "$1" \
        --quiet >"$work/$1.sum" 2>"$work/$1.err" || die "$1: $(cat "$work/$1.err")"
    "$hikyaku" results -c "$work/hikyaku.conf" "$1" >"$work/$1.results"
}
# The different values of some columns of the results, each once, how often.
values() { # JOB COLUMN …
    awk -F '\t' -v names="${2-} ${3-} ${4-} ${5-}" '
        NR == 1 { n = split(names, want, " "); for (i = 1; i <= NF; i++) c[$i] = i; next }
        { line = ""; for (i = 1; i <= n; i++) line = line " " $(c[want[i]]); print line }' \
        "$work/$1.results" | sed 's/^ //; s/TLSv1.3:[A-Z0-9_]*/TLSv1.3/; s/reused,//' | sort | uniq -c | sed 's/^ *//'
}
# taken JOB TLS: each to its mailbox, the unknown one refused.
taken() {
    same "$1" "$(printf '%s\n' "20 250 delivered $2" "1 $unknown absent $2")" "$(values "$1" code outcome tls)"
    expected="$expected $1"
}
# refused JOB CODE-AND-LAST WORDS: nobody had it.
refused() {
    same "$1" "21 $2" "$(values "$1" code last_code)"
    values "$1" message | grep -q "$3" || die "$1: $(values "$1" message)"
}

# What is in the mailboxes of a peer: each job of $expected once for each user, as meant.
mailboxes() { # PEER
    python3 - "$work/box-$1" $expected <<'P' || die "$1: mailboxes: $(tail -5 "$work/$1"/log* "$work/$1/out" 2>/dev/null)"
import collections, email, email.policy, glob, os, sys, time
box, jobs = sys.argv[1], sys.argv[2:]
deadline = time.monotonic() + 60
while True:  # it delivers from its queue in its own time
    files = glob.glob(box + "/*/new/*")
    if len(files) >= 20 * len(jobs) or time.monotonic() > deadline: break
    time.sleep(0.1)
seen = collections.Counter()
for f in files:
    raw = open(f, "rb").read()
    m = email.message_from_bytes(raw, policy=email.policy.default)
    user = os.path.basename(os.path.dirname(os.path.dirname(f)))
    job = m["Subject"].split(" ")[0]
    assert m["Subject"] == f"{job} \u9234\u6728 {user}", m["Subject"]
    want = f"Dear \u9234\u6728 {user},\n.{job} leads\n.\nend\n"
    assert m.get_content() == want, repr(m.get_content())
    assert b"\r" not in raw
    seen[job, user] += 1
want = {(j, f"user{i}"): 1 for j in jobs for i in range(1, 21)}
assert seen == want, (len(files), seen - collections.Counter(want), collections.Counter(want) - seen)
P
    echo "$1: $(echo $expected | wc -w) times 20 messages, each as meant"
}

# ---- AUTH, through Exim as a relay ----

auth() {
    printf 'correct \\ 電池 staple\nthe rest is no password\n' >"$work/right"
    printf 'horse\n' >"$work/wrong"
    for way in plain:$plain_port:starttls login:$login_port:starttls \
        implicit:$smtps_port:implicit; do
        job=${way%%:*} tls=${way##*:}
        at=${way#*:}
        at="relay = \"mx.exim.example:${at%:*}\" relay_tls = $tls relay_user = sender@relay"
        send $job 1 exim.example "$at relay_password_file = \"$work/right\" tls = verify"
        taken $job TLSv1.3:verified
        same "$job" "$(printf '%s\n' "20 - relay" "1 LE relay")" \
            "$(values $job class flags)"
        send $job-wrong 1 exim.example "$at relay_password_file = \"$work/wrong\""
        refused $job-wrong "606 535" "Incorrect authentication data"
        same "$job-wrong" "21 LE relay" "$(values $job-wrong class flags)"
    done
    send stranger 1 exim.example "relay = \"mx.exim.example:$plain_port\""
    same "without a user" "21 530 LE relay" "$(values stranger code class flags)"
    at="relay = \"mx.exim.example:$clear_port\" relay_user = sender@relay"
    at="$at relay_password_file = \"$work/right\""
    send clear 1 exim.example "$at relay_tls = none relay_auth_clear = yes"
    taken clear ""
    send no-starttls 1 exim.example "$at"
    refused no-starttls "606 602" "STARTTLS is not offered"
    accepted=$(grep -c " <= .* A=\(plain\|login\):sender@relay " "$work/exim/log/mainlog")
    same "Exim's log: messages from who has the password" 80 "$accepted"
}

# Can this peer do at all what it offers? OpenSMTPD 6.8 of Debian 12 cannot, with nobody: built
# with OpenSSL 3, it does not find its own private key.
handshakes() {
    openssl s_client -connect "127.0.0.1:$self_port" -starttls smtp </dev/null >"$work/handshake" 2>&1
}
over_tls() {
    send $peer-may "$self_port" $peer.example "tls = may"
    taken $peer-may TLSv1.3
    send $peer-encrypt "$self_port" $peer.example "tls = encrypt"
    taken $peer-encrypt TLSv1.3
    send $peer-verify "$ca_port" $peer.example "tls = verify"
    taken $peer-verify TLSv1.3:verified
    send $peer-stranger "$self_port" $peer.example "tls = verify"
    refused $peer-stranger "606 602" "certificate: self-signed"
    send $peer-misnamed "$ca_port" other.$peer.example "tls = verify"
    refused $peer-misnamed "606 602" "certificate: hostname mismatch"
}
# `may` goes on in clear, over a new connection; the others send nothing.
broken_tls() {
    [ $peer = opensmtpd ] || die "$peer: no TLS: $(cat "$work/handshake")"
    echo "$peer: its TLS is broken: $(grep -m 1 -o 'alert.*' "$work/handshake")"
    send $peer-may "$self_port" $peer.example "tls = may"
    taken $peer-may ""
    send $peer-encrypt "$self_port" $peer.example "tls = encrypt"
    refused $peer-encrypt "606 602" "TLS alert from the peer"
    send $peer-verify "$ca_port" $peer.example "tls = verify"
    refused $peer-verify "606 602" "TLS alert from the peer"
}

for peer in postfix exim opensmtpd; do
    expected= unknown=550
    [ $peer != opensmtpd ] || unknown=524 # "Mailing list expansion problem"
    start_$peer
    wait_for 127.0.0.1 "$self_port"
    wait_for 127.0.0.1 "$ca_port"
    send $peer-none "$self_port" $peer.example "tls = none"
    taken $peer-none ""
    send $peer-data "$self_port" $peer.example "tls = none" off
    taken $peer-data ""
    if handshakes; then
        over_tls
    else
        broken_tls
    fi
    if [ $peer = exim ]; then # its log says K of a message that came in chunks
        auth
        log=$work/exim/log/mainlog
        same "Exim: messages by BDAT" $((20 * ($(echo $expected | wc -w) - 1))) \
            "$(grep -c ' <= .* K ' "$log")"
        same "Exim: messages by DATA" 20 "$(grep ' <= ' "$log" | grep -vc ' K ')"
    fi
    mailboxes $peer
done
