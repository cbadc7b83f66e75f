# The bytes of FROM as C: const char NAME[], const size_t NAME_n.
file(READ ${FROM} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE ${TO} "#include <stddef.h>
extern const char ${NAME}[];
extern const size_t ${NAME}_n;
const char ${NAME}[] = {${bytes}};
const size_t ${NAME}_n = ${size};
")
