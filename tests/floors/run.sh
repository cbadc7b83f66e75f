#!/bin/sh
# Who includes whom: fails for whoever includes upwards, or a system header in the wrong room.
# The table is that of docs/architecture.md and CMakeLists.txt.
set -eu
cd "$(dirname "$0")/../.."
bad=0

# room: rooms it may include
check_room() {
    room=$1
    shift
    for file in "$room"/*.[ch] "$room"/*.def; do
        [ -e "$file" ] || continue
        for included in $(sed -n 's/^ *# *include "\([a-z]*\)\/.*/\1/p' "$file" | sort -u); do
            [ "$included" = "$room" ] && continue
            case " $* " in
            *" $included "*) ;;
            *)
                grep -n "include \"$included/" "$file" | sed "s|^|$file:|; s|\$|  ($room may not include $included)|"
                bad=1
                ;;
            esac
        done
    done
}
check_room base
check_room codes    base
check_room conf     base codes
check_room smtp     base codes
check_room message  base
check_room resolver base codes
check_room queue    base codes resolver
check_room report   base codes smtp
check_room sink     base smtp
check_room engine   base codes smtp message resolver queue report
check_room cli      base codes conf smtp message resolver queue report engine sink

# Of the rooms below, queue/ may know resolver/mx.h and deny.h alone, report/ of smtp/ the
# stages, and sink/ of smtp/ the reply parser.
only() { # folder pattern allowed
    if grep -nE "include \"$2/" "$1"/*.[ch] | grep -vE "include \"($3)\""; then
        echo "  ($1 may include of $2 only $3)"
        bad=1
    fi
}
only queue resolver 'resolver/mx.h|resolver/deny.h'
only report smtp 'smtp/stages.h|smtp/reply.h|smtp/verdict.h'
only sink smtp 'smtp/reply.h|smtp/tls.h'

# A system header, and the files that may include it.
header() { # regex files-regex words
    if grep -nE "include <($1)" base/*.[ch] codes/*.[ch] conf/*.[ch] smtp/*.[ch] message/*.[ch] \
        resolver/*.[ch] queue/*.[ch] report/*.[ch] sink/*.[ch] engine/*.[ch] cli/*.[ch] 2>/dev/null |
        grep -vE "^($2):"; then
        echo "  ($3)"
        bad=1
    fi
}
header 'uv\.h' 'resolver/resolver[a-z_]*\.c|engine/[a-z_]*\.[ch]|sink/receiver[a-z_]*\.c|sink/rehearsal\.c|sink/serve\.c|cli/plan\.c' 'uv.h: resolver.c, engine/, the shells of sink/ and cli/'
header 'ares' 'resolver/resolver[a-z_]*\.[ch]' 'ares.h: resolver.c alone'
header 'openssl/' 'message/identity\.c|message/dkim\.c|smtp/tls(_certificate)?\.c' 'OpenSSL: identity.c, dkim.c, tls.c, tls_certificate.c'
header 'confuse\.h' 'conf/[a-z_]*\.[ch]' 'confuse.h: conf/ alone'
header 'idn2\.h' 'base/address\.c' 'idn2.h: address.c alone'
header 'pcre2\.h' 'smtp/reaction\.c' 'pcre2.h: reaction.c alone'
header 'isa-l' 'base/crc32c\.c' 'ISA-L: crc32c.c alone'
header 'pthread\.h|threads\.h' '-' 'threads: through uv.h in engine/ alone'

# A clock may be read in engine/, resolver.c, the shells of sink/, and cli/ alone.
if grep -nE '\b(clock_gettime|gettimeofday|time\(NULL\)|uv_hrtime|uv_now)\b' base/*.c codes/*.c conf/*.c \
    smtp/*.c message/*.c queue/*.c report/*.c resolver/*.c sink/*.c 2>/dev/null |
    grep -vE '^(resolver/resolver[a-z_]*|sink/receiver[a-z_]*|sink/rehearsal)\.c:'; then
    echo "  (no clock in this room: time is an argument)"
    bad=1
fi

# A file past 600 lines was cut wrongly.
for file in $(git ls-files '*.c' '*.h' | grep -v '^tests/'); do
    lines=$(wc -l <"$file")
    [ "$lines" -le 650 ] || { echo "$file: $lines lines"; bad=1; }
done
[ "$bad" -eq 0 ] && echo "floors: every include goes down"
exit $bad
