#include "smtp/stages.h"

const struct smtp_stage_line smtp_stages[SMTP_STAGE_COUNT] = {
#define X(name, waiting, sending, key, ms, want, lost_w, timeout_w, lost_s, timeout_s, \
          blame)                                                                       \
    {waiting, sending,   #key,   ms,        want,                                      \
     lost_w,  timeout_w, lost_s, timeout_s, SMTP_BLAME_##blame},
    SMTP_STAGES(X)
#undef X
};
