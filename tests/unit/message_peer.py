"""Reads rendered messages with Python's email package, which knows nothing of our code, and
compares what a reader would see with what was meant. Lines on standard input, fields in hex
between TABs: wire form, Subject, display name of To, then the text of each leaf part."""
import email.policy
import sys
from email.parser import BytesParser


def unstuff(wire):
    assert wire.endswith(b"\r\n"), "no CRLF at the end"
    lines = wire[:-2].split(b"\r\n")
    for line in lines:
        assert b"\r" not in line and b"\n" not in line and b"\0" not in line, line
        assert len(line) <= 998 and line != b".", line
        assert not line.startswith(b".") or line.startswith(b".."), line
    return b"\r\n".join(l[1:] if l.startswith(b".") else l for l in lines) + b"\r\n"


def flat(text):
    return " ".join(text.split())


def check(wire, subject, name, parts):
    message = BytesParser(policy=email.policy.default).parsebytes(unstuff(wire))
    assert flat(str(message["subject"])) == flat(subject), (message["subject"], subject)
    to = message["to"].addresses
    assert len(to) == 1 and to[0].addr_spec == "to@example.net", to
    assert flat(to[0].display_name) == flat(name), (to[0].display_name, name)
    for once in ("from", "to", "subject", "date", "message-id", "mime-version"):
        assert len(message.get_all(once, [])) == 1, once
    assert message["bcc"] is None
    assert not message.defects, message.defects
    leaves = [p for p in message.walk() if not p.is_multipart()]
    assert len(leaves) == len(parts), (len(leaves), len(parts))
    for leaf, want in zip(leaves, parts):
        assert leaf["content-transfer-encoding"] in ("7bit", "quoted-printable", "base64")
        if leaf["content-transfer-encoding"] == "quoted-printable":
            for line in leaf.get_payload().split("\r\n"):
                assert len(line) <= 76 and not line.endswith((" ", "\t")), line
        got = leaf.get_payload(decode=True).decode(leaf.get_content_charset("us-ascii"))
        assert got == want, (leaf.as_string(), got, want)


def main():
    count = 0
    for line in sys.stdin:
        fields = [bytes.fromhex(f) for f in line.rstrip("\n").split("\t")]
        texts = [f.decode("utf-8") for f in fields[1:]]
        try:
            check(fields[0], texts[0], texts[1], texts[2:])
        except Exception:
            sys.stderr.write(fields[0].decode("latin-1") + "\n")
            raise
        count += 1
    assert count > 0, "nothing to read"


main()
