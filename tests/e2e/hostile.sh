#!/bin/sh
# Hostile lists and templates: whatever stands in a cell, no header, recipient, message, command
# or log line comes of it, and the text arrives as it was meant. The messages are read from the
# receiver's disk with Python's email package.
. "$(dirname "$0")/lib.sh"
wants python3
cat >"$work/zone.conf" <<'Z'
    local-zone: "one.example." static
    local-data: "one.example. 300 IN MX 10 mx.one.example."
    local-data: "mx.one.example. 300 IN A 127.0.0.1"
Z
start_unbound
start_sink 127.0.0.1:0=accept
write_conf "$sink_port"

python3 - "$work" <<'P'
import json, sys, urllib.parse
work = sys.argv[1]
LONG = "10 MB of text.\u00e9 " * 600000
VALUES = [
    "plain", "", " ", "  outer spaces  ", "{{name}}", "{{", "}}", "{{{text}}}", "{{nobody|url}}",
    "a\rBcc: evil@evil.example", "a\r\rb", "\r.\r", "\rDATA\rQUIT\r", ".", "..", ".\r", "\x1b[31mred",
    "a\x85Bcc: evil@evil.example", "a\u2028Bcc: evil@evil.example", "\x0b\x0c\x01\x7f",
    "%0d%0aBcc: evil@evil.example", "\\r\\nBcc: evil@evil.example", "&#13;&#10;Bcc: x@evil.example",
    "=0D=0ABcc: evil@evil.example", "=?UTF-8?Q?a=0D=0ABcc:_evil@evil.example?=",
    "=?utf-8?b?DQpCY2M6IGV2aWxAZXZpbC5leGFtcGxl?=", "=?UTF-8?Q?unfinished", "?=",
    "\ufeffBOM", "\u202egnp.exe", "\u05e9\u05dc\u05d5\u05dd", "<script>alert('x')</script>",
    "\"", "\\", "\"\\", "a\" <evil@evil.example>, \"b", "a, evil@evil.example", "a; b: c",
    "(comment", "comment)", "<evil@evil.example>", "--BOUND--", "--BOUND", "\r--BOUND\rX: y\r\r",
    "javascript:alert(1)", "https://evil.example/", "><b>", "' onclick='x", "\U0001f4a9" * 40,
    "x" * 998, "\u98db" * 300, "a " * 700, "=" * 400, "From me", ">From you", "-", "Subject: x",
]
ADDRESSES = [  # the cell, the code, who gets it
    (b"x%0d%0aRCPT@one.example", 250, "x%0d%0aRCPT@one.example"),
    (b" outer@one.example ", 250, "outer@one.example"),
    (b"a..b@one.example", 250, '"a..b"@one.example'),
    (b'"q@q"@one.example', 250, '"q@q"@one.example'),
    (b'"b\\\\s"@one.example', 250, '"b\\\\s"@one.example'),
    (b"{{name}}@one.example", 250, "{{name}}@one.example"),
    (b"a\rRCPT TO:<evil@one.example>@one.example", 611, None),
    (b"b@one.example\r", 611, None), (b"c@one.example>\rDATA", 611, None),
    (b"d@one.example> SIZE=1", 611, None), (b"<e@one.example>", 611, None),
    (b'"f f"@one.example', 611, None), (b'"g\rg"@one.example', 611, None),
    (b"h@one.example,evil@one.example", 611, None), (b"i@one.example\x85", 800, None),
    ("j\u2028@one.example".encode(), 611, None), (b"k@one\rexample", 611, None),
    (b"l\x1bm@one.example", 611, None), (b"m@one.example\0", 800, None), (b"", 800, None),
    (b"@evil.example:n@one.example", 611, None), (b"o@[127.0.0.1]", 611, None),
    (b"p" * 65 + b"@one.example", 611, None), (b"q@one.example\\n", 611, None),
    ("\u98db@one.example".encode(), 611, None), (b"r@one.example (evil)", 611, None),
]
lines, rows = [], {}

def row(email, name, subject, url, text, reply, code, rcpt, raw=None):
    cells = [name, subject, url, text, reply]
    line = email + b"\t" + "\t".join(cells).encode("utf-8") if raw is None else raw
    lines.append(line)
    rows[len(lines)] = {"code": code, "rcpt": rcpt, "name": name, "subject": subject,
                        "url": url, "text": text, "reply": reply}

good = ("r@sender.test.example",)
for i, v in enumerate(VALUES):
    for n, cells in enumerate([(v, "s", "u", "t"), ("n", v, "u", "t"), ("n", "s", v, "t"),
                               ("n", "s", "u", v), (v, v, v, v)]):
        who = f"v{i}.{n}@one.example"
        uri = "<https://news.example/u/>" + urllib.parse.quote(cells[2], safe="")
        row(who.encode(), *cells, *good, 800 if len(uri) > 900 else 250, who)
    if v and "@" not in v:  # a cell that must be an address
        row(f"v{i}.r@one.example".encode(), "n", "s", "u", "t", v, 800, None)
for i, cell in enumerate(("a@b.example\rBcc: evil@evil.example", "a@b.example, evil@evil.example",
                          "a@b.example\r\r.\r", "<a@b.example>", '"a" <a@b.example>', "a@b.example>")):
    row(f"reply{i}@one.example".encode(), "n", "s", "u", "t", cell, 800, None)
for email, code, rcpt in ADDRESSES:
    row(email, "n", "s", "u", "t", *good, code, rcpt)
row(b"long@one.example", "n", "s", "u", LONG, *good, 250, "long@one.example")
for n in range(3):  # a value that no header and no URI has room for
    cells = ["n", "s", "u"]
    cells[n] = "y" * 5000
    row(f"wide{n}@one.example".encode(), *cells, "t", *good, 800, None)
for raw in (b"raw1@one.example\tn\ts\tu\tt\tr@sender.test.example\tmore",  # a TAB too many
            b"raw2@one.example\tn\ts\tu", b"Bcc: evil@evil.example",       # an LF within
            b"raw3@one.example\tn\ts\tu\tt\r", b"", b".", b"\r", b"\t", b"QUIT", b"\t\t\t\t\t",
            b"raw4@one.example\tn\0\ts\tu\tt\tr@sender.test.example",
            b"raw5@one.example\tn\ts\tu\tt\0", b"\0" * 100,
            b"raw6@one.example\tn\xff\ts\tu\tt\tr@sender.test.example",
            b"raw7@one.example\tn\xc0\x80\ts\tu\tt\tr@sender.test.example",
            b"raw8@one.example\tn\xed\xa0\x80\ts\tu\tt\tr@sender.test.example",
            b"raw9@one.example\tn\xe3\x81\ts\tu\tt\tr@sender.test.example"):
    row(b"", "", "", "", "", "", 800, None, raw)
with open(work + "/list.tsv", "wb") as f:
    f.write(b"\xef\xbb\xbfemail\tname\tsubject\turl\ttext\treply\r\n")
    for i, line in enumerate(lines):
        f.write(line + (b"\r\n" if i % 3 == 0 else b"\n"))
json.dump(rows, open(work + "/rows.json", "w"))
open(work + "/message.eml", "wb").write(
    b"From: News <news@sender.test.example>\r\n"
    b"To: {{name}} <{{email}}>\n"
    b"Subject: =?UTF-8?Q?Hello_?= {{subject}}\r"
    b"X-Id: {{subject}}\r\n"
    b"Reply-To: {{name}} <{{reply}}>\r\n"
    b"List-Unsubscribe: <https://news.example/u/{{url}}>\r\n"
    b"Content-Type: multipart/alternative; boundary=\"BOUND\"\r\n\r\n"
    b"--BOUND\nContent-Type: text/plain; charset=UTF-8\n\n"
    b"Dear {{name}},\r\n.\r\n..\n.\n.dot\r.\rQUIT\r\n{{text}}\n{{text}}{{subject}}\nend\n"
    b"--BOUND\r\nContent-Type: text/html; charset=UTF-8\r\n\r\n"
    b"<p title=\"{{name}}\" class='{{subject}}'>{{text}}</p>\r\n"
    b"--BOUND--\r\n")
P
# The header cells are four times as wide as they may be: rows of the 5,000 bytes end as 800.
status=0
"$hikyaku" send -c "$work/hikyaku.conf" -l "$work/list.tsv" -m "$work/message.eml" -j hostile \
    --quiet >"$work/sum" 2>"$work/err" || status=$?
same "exit status" 0 "$status"
same "standard error" "" "$(cat "$work/err")"
"$hikyaku" results -c "$work/hikyaku.conf" hostile >"$work/results.tsv"
python3 "$here/check_job.py" "$XDG_STATE_HOME/hikyaku/hostile" "$work/results.tsv" \
    "$(cat "$work/sum")" "$work/record.tsv"
python3 - "$work" "$XDG_STATE_HOME/hikyaku/hostile" <<'P'
import email, email.header, email.policy, email.utils, html, json, os, re, sys, urllib.parse
work, job = sys.argv[1:3]
rows = {int(k): v for k, v in json.load(open(work + "/rows.json")).items()}
results = [l.split("\t") for l in
           open(work + "/results.tsv", encoding="utf-8", newline="").read().split("\n")[1:-1]]
assert len(results) == len(rows), (len(results), len(rows))
for r in results:
    want = rows[int(r[0])]
    assert int(r[2]) == want["code"], (r, want)
    if int(r[2]) == 250: assert r[1] == want["rcpt"], (r, want)
log = open(job + "/attempts.tsv", "rb").read()
ours = [l for l in log.split(b"\n")[2:-1] if l.split(b"\t")[1] == b"0"]  # leases and events
assert log.count(b"\n") == 2 + len(rows) + len(ours), (log.count(b"\n"), len(rows))
assert log.count(b"\t") == 21 * (1 + len(rows) + len(ours))
assert not any(b"evil" in l for l in ours)
sent = {"<" + r[-1] + ">": rows[int(r[0])] for r in results if r[2] == "250"}
record = [l.split("\t") for l in open(work + "/record.tsv", encoding="utf-8").read().split("\n")[:-1]]
assert sorted(r[1].replace("\\\\", "\\") for r in record) == sorted(w["rcpt"] for w in sent.values())
assert {r[2] for r in record} == {"news@sender.test.example"}

def clean(text):  # what may stand in a header
    return re.sub("[\x00-\x1f\x7f-\x9f]", " ", text)

def flat(text):
    return " ".join(clean(text).replace("\u2028", " ").split())

HEADERS = sorted(["From", "To", "Subject", "X-Id", "Reply-To", "List-Unsubscribe",
                  "Content-Type", "Message-ID", "Date", "MIME-Version"])
names = os.listdir(work + "/mail")
assert len(names) == len(sent), (len(names), len(sent))
for name in names:
    raw = open(work + "/mail/" + name, "rb").read()
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", raw), raw[:2000]
    assert max(len(l) for l in raw.split(b"\r\n")) <= 998
    raw.decode("ascii")
    head = raw[:raw.index(b"\r\n\r\n")].decode("ascii")
    fields = [l.split(":")[0] for l in head.split("\r\n") if l[0] not in " \t"]
    assert sorted(fields) == HEADERS, head
    assert all(l.strip() for l in head.split("\r\n")), head
    m = email.message_from_bytes(raw, policy=email.policy.default)
    plainly = email.message_from_bytes(raw)
    want = sent.pop(m["Message-ID"])
    try:
        assert not m.defects, m.defects
        assert flat(m["Subject"]) == flat("Hello " + want["subject"]), m["Subject"]
        assert flat(m["X-Id"]) == flat(want["subject"]), m["X-Id"]
        for field, address in ("To", want["rcpt"]), ("Reply-To", want["reply"]):
            boxes = m[field].addresses
            assert len(boxes) == 1, (field, m[field])
            # The new parser puts a space between encoded words of a phrase; the old does not.
            (shown, box), = email.utils.getaddresses([plainly[field]])
            shown = str(email.header.make_header(email.header.decode_header(shown)))
            assert flat(shown) == flat(want["name"]) and box == address, (field, shown, box)
        url = re.fullmatch("<https://news[.]example/u/([A-Za-z0-9._~%-]*)>",
                           "".join(m["List-Unsubscribe"].split()))
        assert url, m["List-Unsubscribe"]
        assert urllib.parse.unquote(url[1]) == clean(want["url"]), url
        parts = list(m.iter_parts())
        assert [p.get_content_type() for p in parts] == ["text/plain", "text/html"]
        for p in parts: assert not p.defects and p["Content-Transfer-Encoding"] != "8bit"
        plain, page = (p.get_payload(decode=True).decode("utf-8") for p in parts)
        text, who, subject = clean(want["text"]), clean(want["name"]), clean(want["subject"])
        assert plain == (f"Dear {who},\r\n.\r\n..\r\n.\r\n.dot\r\n.\r\nQUIT\r\n{text}\r\n"
                         f"{text}{subject}\r\nend"), repr(plain[:3000])
        cells = re.fullmatch("<p title=\"([^\"<>]*)\" class='([^'<>]*)'>([^<>]*)</p>", page)
        assert cells, page
        assert [html.unescape(c) for c in cells.groups()] == [who, subject, text], page
    except Exception:
        sys.stderr.write(repr(want)[:500] + "\n" + raw[:3000].decode("ascii") + "\n")
        raise
print(f"{len(rows)} hostile rows, {len(names)} messages, each as meant")
P

# Hostile templates: refused with their line, before anything is made or sent.
printf 'email\tname\nvictim@one.example\tName\n' >"$work/one.tsv"
spool_before=$(find "$XDG_STATE_HOME" | sort)
record_before=$(cksum <"$work/record.tsv")
refuse() { # line, template in printf's words
    printf "$2" >"$work/bad.eml"
    status=0
    "$hikyaku" send -c "$work/hikyaku.conf" -l "$work/one.tsv" -m "$work/bad.eml" \
        >"$work/out" 2>"$work/err" || status=$?
    same "exit status for $2" 65 "$status"
    same "standard output for $2" "" "$(cat "$work/out")"
    same "lines of standard error for $2" 1 "$(wc -l <"$work/err")"
    case $(cat "$work/err") in
    "hikyaku: -21 LE $work/bad.eml:$1: "*) ;;
    *) die "$2: $(cat "$work/err")" ;;
    esac
    ! LC_ALL=C grep -q '[[:cntrl:]]' "$work/err" || die "unclean words: $(cat -v "$work/err")"
    same "the spool after $2" "$spool_before" "$(find "$XDG_STATE_HOME" | sort)"
}
from='From: n@sender.test.example\n'
refuse 2 "${from}Subject: {{nobody}}\n\nx\n"
refuse 2 "${from}Subject: {{name\n\nx\n"
refuse 2 "${from}Subject: {{name|shell}}\n\nx\n"
refuse 4 "${from}\nx\n{{no\\033body}}\n"
refuse 4 "${from}\nx\n{{name\n}}\n"
refuse 4 "${from}\nx\na\\000b\n"
refuse 2 "${from}Sub\\000ject: x\n\nx\n"
refuse 2 "${from}Bcc: evil@evil.example\n\nx\n"
refuse 2 "${from}Return-Path: <evil@evil.example>\n\nx\n"
refuse 2 "${from}Message-ID: <x@y>\n\nx\n"
refuse 2 "${from}no header\n\nx\n"
refuse 2 "${from}: no name\n\nx\n"
refuse 2 "${from}From: second@sender.test.example\n\nx\n"
refuse 3 "${from}Subject: a\nSubject: b\n\nx\n"
refuse 2 "${from}Date: {{name}}\n\nx\n"
refuse 2 "${from}Content-Type: text/plain; charset=no-such\n\n{{name}}\n"
refuse 2 "${from}Content-Type: multipart/mixed; boundary=b\n\nx\n"
refuse 1 'Subject: no From\n\nx\n'
refuse 1 'From: {{name}}\n\nx\n'
refuse 1 'From: not an address\n\nx\n'
refuse 1 ''
same "the receiver's record" "$record_before" "$(cksum <"$work/record.tsv")"
stop_sink
expect_sink messages "$(wc -l <"$work/record.tsv")" recipients "$(wc -l <"$work/record.tsv")" \
    refused 0 deferred 0 bare 0 early 0 bad-commands 0
